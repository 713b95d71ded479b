"""A trace tells the true cause and the right next step, whatever became of the event."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID, uuid4

import filelock
import pytest
import requests

from devflow import wire
from devflow.errors import Offline, Unauthorized
from devflow_agent import credentials, tracing
from devflow_agent.analyse import refusals
from devflow_agent.config import now_ms
from devflow_agent.connection import Connection
from devflow_agent.sync import PeriodicPush
from devflow_agent.tracing import Answer, Traced
from tests.agent.outbox import START_MS, Outbox
from tests.agent.recorded import add_project
from tests.agent.scripted_server import (
    Answer as Answered,
)
from tests.agent.scripted_server import (
    ScriptedServer,
    Seen,
    hang_up,
    problem,
    refuse_first,
    says,
    store_and_lose_the_answer,
)
from tests.cli import Cli

HOSTILE = "\x1b[2J\u202eevil"
Prepared = Callable[["Situation"], UUID]
"""Brings an event into a situation; returns its id."""


class Situation:
    """A PC, its server, and what lasts until the trace is over: a daemon that runs, a server that is down."""

    def __init__(self, box: Outbox, lasting: ExitStack) -> None:
        self.box = box
        self.server = box.server
        self.lasting = lasting
        self.at_ms: int | None = None

    def traced(self, event_id: UUID) -> Traced:
        with Connection.of(self.box.store) as http:
            return tracing.trace(self.box.home, self.box.store, http, event_id, now_ms(), at_ms=self.at_ms)

    def watched(self) -> None:
        """A daemon runs."""
        self.box.store.set_settings(daemon={"pid": os.getpid(), "since_ms": 0})
        self.lasting.enter_context(filelock.FileLock(self.box.home.daemon_lock))

    def sent(self) -> UUID:
        (event_id,) = self.box.record(1)
        self.box.push()
        return event_id


@pytest.fixture
def situation(outbox: Outbox) -> Iterator[Situation]:
    with ExitStack() as lasting:
        yield Situation(outbox, lasting)


def sync_off(here: Situation) -> UUID:
    here.box.store.set_settings(sync_enabled=False)
    return here.box.record(1)[0]


def synced_and_sync_off(here: Situation) -> UUID:
    event_id = here.sent()
    here.box.store.set_settings(sync_enabled=False)
    return event_id


def not_linked(here: Situation) -> UUID:
    return here.box.record(1, add_project(here.box.store, "till"))[0]


def no_server(here: Situation) -> UUID:
    here.box.home.credentials.unlink()
    return here.box.record(1)[0]


def signed_out(here: Situation) -> UUID:
    event_id = here.box.record(1)[0]
    here.server.token, here.server.refresh_refused = "another", True
    with pytest.raises(Unauthorized):
        here.box.push()
    return event_id


def signed_out_meanwhile(here: Situation) -> UUID:
    here.server.token, here.server.refresh_refused = "another", True
    return here.box.record(1)[0]


def unreachable(here: Situation) -> UUID:
    event_id = here.box.record(1)[0]
    server = credentials.enrolled(here.box.home.credentials)
    nobody = credentials.Credentials(
        server_url="http://127.0.0.1:1", server_id=server.server_id, account=server.account
    )
    credentials.save(here.box.home.credentials, nobody)
    with pytest.raises(Offline):
        here.box.push()
    return event_id


def synced_and_unreachable(here: Situation) -> UUID:
    event_id = here.sent()
    unreachable(here)
    return event_id


def a_stranger_answers(here: Situation) -> UUID:
    here.server.calls_itself = str(uuid4())
    return here.box.record(1)[0]


def backing_off(here: Situation) -> UUID:
    event_id = here.box.record(1)[0]
    here.server.script.append(says(problem(503, "later", **{"Retry-After": "120"})))
    with Connection.of(here.box.store) as http:
        PeriodicPush(here.box.home, here.box.store, http, lambda text: None)()
    here.watched()
    return event_id


def nobody_sends(here: Situation) -> UUID:
    return here.box.record(1)[0]


def due(here: Situation) -> UUID:
    here.watched()
    return here.box.record(1)[0]


def refused(code: str, *, retryable: bool = False) -> Prepared:
    def prepare(here: Situation) -> UUID:
        event_id = here.box.record(1)[0]
        here.server.script.append(refuse_first(code, retryable=retryable))
        here.box.push()
        return event_id

    return prepare


def refused_as_a_whole(status: int) -> Prepared:
    def prepare(here: Situation) -> UUID:
        event_id = here.box.record(1)[0]
        here.server.script.append(says(problem(status, "no")))
        here.box.push()
        return event_id

    return prepare


def on_the_server(here: Situation) -> UUID:
    return here.sent()


def stored_as(state: str) -> Prepared:
    def prepare(here: Situation) -> UUID:
        here.server.state = state
        return here.sent()

    return prepare


def answer_lost(here: Situation) -> UUID:
    event_id = here.box.record(1)[0]
    here.server.script.append(store_and_lose_the_answer)
    with pytest.raises(Offline):
        here.box.push()
    return event_id


def lost(here: Situation) -> UUID:
    event_id = here.sent()
    here.server.stored.clear()
    return event_id


def too_old_by_now(here: Situation) -> UUID:
    event_id = here.sent()
    here.server.stored.clear()
    here.server.keeps_since = START_MS + 86_400_000
    return event_id


def unknown(here: Situation) -> UUID:
    here.at_ms = START_MS
    return uuid4()


def unknown_without_time(here: Situation) -> UUID:
    return uuid4()


def of_pc(device_id: Callable[[Situation], str | None]) -> Prepared:
    def prepare(here: Situation) -> UUID:
        here.sent()
        (event,) = here.server.stored.values()
        stranger = uuid4()
        here.server.stored[str(stranger)] = {**event, "id": str(stranger), "deviceId": device_id(here)}
        here.at_ms = START_MS
        return stranger

    return prepare


@pytest.mark.parametrize(
    ("prepare", "answer", "cause", "next_step"),
    [
        (sync_off, Answer.NOT_ASKED, "sync off", "`devflow sync enable`"),
        (not_linked, Answer.NOT_ASKED, "not linked", "`devflow sync enable` in the project's folder"),
        (no_server, Answer.NOT_ASKED, "no server", "`devflow sync init URL`"),
        (signed_out, Answer.NOT_ASKED, "signed out", "`devflow sync auth`"),
        (signed_out_meanwhile, Answer.REFUSED_US, "signed out", "`devflow sync auth`"),
        (unreachable, Answer.UNREACHABLE, "unreachable", "`devflow sync test`"),
        (a_stranger_answers, Answer.UNREACHABLE, "unreachable", "`devflow sync test`"),
        (backing_off, Answer.LOST, "back-off", "`devflow sync push` now"),
        (nobody_sends, Answer.LOST, "nobody sends", "`devflow watch`"),
        (due, Answer.LOST, "due", "nothing"),
        *[(refused(code), Answer.LOST, f"refused: {code}", refusals.STEPS[code]) for code in wire.ErrorCode],
        (refused_as_a_whole(400), Answer.LOST, "refused: refused", "upgrade"),
        (refused_as_a_whole(413), Answer.LOST, "refused: too_large", "whether a proxy limits uploads"),
        (
            refused("project", retryable=True),
            Answer.LOST,
            "refused for now: project",
            "ask the project's lead",
        ),
        (refused("damaged", retryable=True), Answer.LOST, "refused for now: damaged", "restores a backup"),
        (refused("brand-new"), Answer.LOST, "refused for now: brand-new", "sent again with the next push"),
        (on_the_server, Answer.THERE, "synced", "nothing"),
        (synced_and_sync_off, Answer.NOT_ASKED, "not verified", "nothing"),
        (synced_and_unreachable, Answer.UNREACHABLE, "not verified", "`devflow sync test`"),
        (stored_as("damaged"), Answer.THERE, "damaged on the server", "tell the server's operator"),
        (stored_as("erased"), Answer.THERE, "erased on the server", "nothing"),
        (answer_lost, Answer.THERE, "answer lost", "the next push settles it"),
        (lost, Answer.LOST, "lost by the server", "sends it again, after "),
        (too_old_by_now, Answer.ABSENT, "no longer kept", "it stays on this PC"),
        (unknown, Answer.ABSENT, "unknown", "check the id and the time"),
        (unknown_without_time, Answer.NOT_ASKED, "unknown here", "check the id"),
        (of_pc(lambda here: str(uuid4())), Answer.THERE, "another PC", "trace it there"),
        (of_pc(lambda here: str(here.box.store.device_id())), Answer.THERE, "forgotten here", "nothing"),
        (of_pc(lambda here: None), Answer.THERE, "somebody else's PC", "it is counted once"),
    ],
)
def test_a_trace_tells_the_cause_and_the_next_step(
    situation: Situation, prepare: Prepared, answer: Answer, cause: str, next_step: str
) -> None:
    event_id = prepare(situation)
    before, asked = situation.box.rows(), len(situation.server.seen)
    found = situation.traced(event_id)
    assert found.on_server.answer == answer
    assert found.advice.cause == cause
    step = next_step.replace("retry ID", f"retry {event_id}")
    assert step in found.advice.next_step
    assert found.advice.says
    assert [tuple(row) for row in situation.box.rows()] == [tuple(row) for row in before], (
        "nothing is changed"
    )
    if answer == Answer.NOT_ASKED:
        assert len(situation.server.seen) == asked, "not even the id left this PC"


def test_attempts_are_those_whose_batch_held_the_event(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(2)
    outbox.push()
    first, second = outbox.record(2)
    server.script.extend([hang_up, refuse_first("project", retryable=True)])
    with pytest.raises(Offline):
        outbox.push()
    outbox.push()
    outbox.push()
    with requests.Session() as http:
        of_first = tracing.trace(outbox.home, outbox.store, http, first, now_ms())
        of_second = tracing.trace(outbox.home, outbox.store, http, second, now_ms())
    assert [one.outcome for one in of_first.attempts] == ["ok", "partial", "offline"]
    assert [one.outcome for one in of_second.attempts] == ["partial", "offline"]
    assert of_first.record is not None
    assert of_first.record.attempts == 2, "a silence is no verdict"


def test_a_trace_on_the_command_line(outbox: Outbox, server: ScriptedServer, tmp_path: Path) -> None:
    cli = Cli(outbox.home.path, tmp_path)
    (event_id,) = outbox.record(1, path=f"src/{HOSTILE}.py")
    outbox.push()
    found = cli.json("sync", "trace", str(event_id))
    assert (found["cause"], found["next"]) == ("synced", "nothing")
    assert (found["local"]["syncStatus"], found["local"]["timestamp"]) == ("synced", START_MS)
    assert (found["server"]["answer"], found["server"]["state"]) == ("there", "whole")
    text = cli.ok("sync", "trace", str(event_id))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "cause     synced: the server has it\n" in text
    stranger = str(uuid4())
    assert cli.json("sync", "trace", stranger)["cause"] == "unknown here"
    assert cli.json("sync", "trace", stranger, "--at", str(START_MS))["cause"] == "unknown"
    assert cli.json("sync", "trace", stranger, "--at", "2026-01-01T10:00")["cause"] == "unknown"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("no-id",),
        (str(uuid4()), "--at", "yesterday"),
        (str(uuid4()), "--at", "9" * 30),
        (str(uuid4()), "--at", "-1"),
        (str(uuid4()), str(uuid4())),
    ],
)
def test_a_trace_of_nothing_that_can_be_one_is_one_line(
    outbox: Outbox, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    Cli(outbox.home.path, tmp_path).fails(2, "sync", "trace", *arguments)


@pytest.mark.parametrize(
    "answered", ["[]", "{}", '{"state": "new"}', "<html>", json.dumps({"detail": HOSTILE})]
)
def test_what_is_no_trace_is_taken_for_no_answer(
    outbox: Outbox, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, answered: str
) -> None:
    (event_id,) = outbox.record(1)
    usual = server.answer

    def answer(seen: Seen) -> Answered | None:
        is_trace = seen.path.startswith("/sync/events/")
        return Answered(200, answered.encode()) if is_trace else usual(seen)

    monkeypatch.setattr(server, "answer", answer)
    with requests.Session() as http:
        found = tracing.trace(outbox.home, outbox.store, http, event_id, now_ms())
    assert (found.on_server.answer, found.advice.cause) == (Answer.UNREACHABLE, "unreachable")
