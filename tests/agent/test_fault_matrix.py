"""Every way a server can answer, wherever in the queue, with the agent killed at every step of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from devflow import wire
from tests.agent.dying import MOMENTS, Pushes, pushes
from tests.agent.outbox import Outbox
from tests.agent.scripted_server import (
    Answer,
    Play,
    ScriptedServer,
    Seen,
    answer_json,
    hang_up,
    problem,
    refusal,
    says,
    store_all,
    store_and_lose_the_answer,
    verdicts,
)

BATCH: Final = 3
EVENTS: Final = 9
# The events that a fault is about, by their places; a request with one of them meets it.
PLACES: Final = {
    "the head": {0},
    "the middle": {4},
    "the tail": {8},
    "a whole batch": {3, 4, 5},
    "everything": set(range(EVENTS)),
}
LOGIN_PAGE: Final = Answer(200, b"<html>Welcome to our guest network", {"Content-Type": "text/html"}, None)


class Troubled(ScriptedServer):
    """Answers uploads that have one of ``targets`` by ``fault``, while there is one; others as it should."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Play | None = None
        self.targets: set[str] = set()
        self.refused: set[str] = set()
        """What was refused for good."""

    def answer(self, seen: Seen) -> Answer | None:
        if seen.path == "/sync/events" and self.fault is not None and self.targets & set(seen.ids):
            return self.fault(self, seen)
        return super().answer(seen)


def refuse(code: str, *, retryable: bool) -> Play:
    """The targets are refused, the others stored."""

    def play(server: Any, seen: Seen) -> Answer:
        refused = [event_id for event_id in seen.ids if event_id in server.targets]
        taken = [event for event in seen.json["events"] if event["id"] not in refused]
        server.stored.update({event["id"]: event for event in taken})
        if not retryable and code in set(wire.ErrorCode):
            server.refused.update(refused)
        errors = [refusal(seen, event_id, code, retryable=retryable) for event_id in refused]
        return verdicts([event["id"] for event in taken], errors)

    return play


def refuse_request(status: int) -> Play:
    """The request is refused as a whole; of one event that is for good."""

    def play(server: Any, seen: Seen) -> Answer:
        if len(seen.ids) == 1:
            server.refused.update(seen.ids)
        return problem(status, "because of what is in it")

    return play


def expire(server: ScriptedServer, seen: Seen) -> Answer:
    """The first token is worth nothing any more; a renewed one is."""
    if seen.headers["Authorization"] == "Bearer token-0":
        return problem(401, "this token has expired")
    return store_all(server, seen)


def sign_out(server: ScriptedServer, _seen: Seen) -> Answer:
    server.refresh_refused = True
    return problem(401, "this token was revoked")


def fall_silent(_server: ScriptedServer, _seen: Seen) -> None:
    time.sleep(0.25)  # longer than the agent waits


def claim(ids: list[str]) -> Play:
    return says(answer_json(200, {"success": True, "syncedIds": ids, "errors": []}))


# What the server does, and whether the agent may go on behind it in the same push.
GOES_ON: Final[dict[str, Play]] = {
    "every event is stored": store_all,
    "an event is refused for good": refuse("conflict", retryable=False),
    "an event is refused for now": refuse("busy", retryable=True),
    "an event is refused by a code of a newer server": refuse("unheard_of", retryable=False),
    "the request is wrong": refuse_request(400),
    "the request is too large": refuse_request(413),
    "the token has expired": expire,
}
STOPS: Final[dict[str, Play]] = {
    "the answer is lost": store_and_lose_the_answer,
    "the answer is cut": says(Answer(200, b'{"success": tr', declared_length=400)),
    "the connection is closed": hang_up,
    "nothing is answered": fall_silent,
    "other events are confirmed": claim(["00000000-0000-4000-8000-000000000000"]),
    "no event is named": claim([]),
    "a login page is shown": says(LOGIN_PAGE),
    "a proxy redirects": says(Answer(302, b"", {"Location": "http://127.0.0.1:9/login"}, None)),
    "a proxy knows no such page": says(Answer(404, b"<html>", {}, None)),
    "another server answers": says(Answer(200, b"{}", {}, "7f1d1d5c-0000-4000-8000-000000000000")),
    "the token is revoked": sign_out,
    "the person may not": says(problem(403, "not yours")),
    "the agent is too old": says(problem(426, "protocol 2 is spoken here")),
    "created is not stored": says(Answer(201, b"{}")),
    **{f"it answers {status}": says(problem(status, "not now")) for status in (405, 408, 425, 429)},
    **{f"it answers {status}": says(Answer(status, b"", {}, None)) for status in (500, 502, 503, 504)},
}
FAULTS: Final = GOES_ON | STOPS


@pytest.fixture(scope="module")
def agent() -> Iterator[Pushes]:
    with pushes() as running:
        yield running


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_is_answered_and_whenever_the_agent_dies_the_state_is_right(
    tmp_path: Path, agent: Pushes, fault: str
) -> None:
    for place, targets in PLACES.items():
        for moment in (None, *MOMENTS):
            with Troubled().running() as server:
                assert isinstance(server, Troubled)
                case = _Case(Outbox.signed_in(tmp_path / "home", server), server, targets)
                case.check(agent, fault, moment)
            assert not case.wrong, (place, moment, case.wrong)
            shutil.rmtree(tmp_path / "home")


class _Case:
    def __init__(self, outbox: Outbox, server: Troubled, targets: set[int]) -> None:
        self.outbox, self.server = outbox, server
        outbox.store.set_settings(sync_batch_size=BATCH)
        self.ids = [str(event_id) for event_id in outbox.record(EVENTS)]
        server.targets = {self.ids[place] for place in targets}
        self.first = min(targets)
        self.wrong: list[str] = []

    def check(self, agent: Pushes, fault: str, moment: str | None) -> None:
        self.server.fault = FAULTS[fault]
        request = self.first // BATCH + 1
        died = agent.push(self.outbox.home.path, dies=moment, request=request)
        self._check_what_is_known(fault, moment, died=died)
        self._check_that_it_gets_over_it(agent)

    def _check_what_is_known(self, fault: str, moment: str | None, *, died: bool) -> None:
        """Right while the fault lasts, also for who only ever saw this much."""
        states = self._states()
        stored, refused = set(self.server.stored), self.server.refused
        self._expect("synced only what is stored", states["synced"] <= stored)
        self._expect("failed only what was refused for good", states["failed"] <= refused)
        batch = set(self.ids[self.first // BATCH * BATCH :][:BATCH])
        before = set(self.ids[: self.first // BATCH * BATCH])
        self._expect("what came before is settled", before <= states["synced"])
        if died and moment != "after settling":
            self._expect("of an answer that was not settled nothing is known", batch <= states["pending"])
        if moment is None and fault in GOES_ON:
            self._expect("nothing is blocked", set(self.ids) - self.server.targets <= states["synced"])
            self._expect("what was refused for good has failed", states["failed"] == refused)
        if moment is None and fault in STOPS:
            self._expect("what was not confirmed waits", batch <= states["pending"])

    def _check_that_it_gets_over_it(self, agent: Pushes) -> None:
        """Nothing is lost and nothing doubled when the server is well again."""
        self.server.fault, self.server.refresh_refused = None, False
        self._sign_in_again()
        agent.push(self.outbox.home.path, dies=None, request=0)
        states = self._states()
        self._expect("all else is synced", states["synced"] == set(self.ids) - states["failed"])
        self._expect("failed only what was refused for good", states["failed"] <= self.server.refused)
        self._expect("the server has what is synced", set(self.server.stored) >= states["synced"])
        self.outbox.push(retry_failed=True)
        self._expect("sent again on request", self._states()["synced"] == set(self.ids))
        self._expect("the server has every event", sorted(self.server.stored) == sorted(self.ids))
        self._expect("an event never changes", self._sent_alike())
        self.outbox.assert_counters_are_true()

    def _sign_in_again(self) -> None:
        """As ``devflow sync auth`` does; a push goes on by itself then."""
        again = Outbox.signed_in(self.outbox.home.path, self.server)
        again.store.set_settings(sync_batch_size=BATCH)

    def _sent_alike(self) -> bool:
        told: dict[str, Any] = {}
        for seen in self.server.uploads:
            for event in seen.json["events"]:
                if told.setdefault(event["id"], event) != event:
                    return False
        return True

    def _states(self) -> dict[str, set[str]]:
        states: dict[str, set[str]] = {"pending": set(), "synced": set(), "failed": set()}
        for row in self.outbox.rows():
            states[row["sync_status"]].add(row["id"])
        return states

    def _expect(self, what: str, is_so: bool) -> None:
        if not is_so:
            self.wrong.append(what)
