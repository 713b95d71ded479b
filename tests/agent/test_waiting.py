"""What waits, why, what was refused and what was tried: the commands that ask only this PC's records."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import filelock
import pytest

from devflow import wire
from devflow.errors import Invalid, Offline
from devflow_agent import batches, choices, credentials, outbox, sync
from devflow_agent.analyse import refusals, sync_history, waiting
from devflow_agent.analyse.waiting import Why
from devflow_agent.config import now_ms
from devflow_agent.connection import Connection
from devflow_agent.outbox import Attempt, Pause, note_pause, pause
from devflow_agent.settings import Settings
from devflow_agent.store import Observation
from tests.agent.outbox import START_MS, Outbox
from tests.agent.recorded import add_project
from tests.agent.scripted_server import (
    ScriptedServer,
    hang_up,
    problem,
    refusal,
    refuse_first,
    says,
    verdicts,
)
from tests.cli import Cli

HOSTILE = "\x1b[2J\u202eevil"


@pytest.fixture
def cli(outbox: Outbox, tmp_path: Path) -> Cli:
    return Cli(outbox.home.path, tmp_path)


def attempt(at_ms: int, outcome: str = "ok", latency_ms: int | None = 20, sent: int = 10) -> Attempt:
    synced = sent if outcome == "ok" else 0
    return Attempt(at_ms, sent, synced, 0, 100 * sent, latency_ms, outcome, "")


def tried(outbox_: Outbox, *attempts: Attempt) -> None:
    for one in attempts:
        outbox.settle(outbox_.store, (), attempt=one)


# The queue


def off(box: Outbox) -> None:
    box.store.set_settings(sync_enabled=False)


def signed_out(box: Outbox) -> None:
    server = credentials.enrolled(box.home.credentials)
    credentials.save(
        box.home.credentials,
        credentials.Credentials(server_url="http://127.0.0.1:1", server_id=server.server_id),
    )


def no_server(box: Outbox) -> None:
    box.home.credentials.unlink()


def damaged(box: Outbox) -> None:
    box.home.credentials.write_text("{")


def nothing(_box: Outbox) -> None:
    """As it is."""


@pytest.mark.parametrize(
    ("make", "linked", "other"),
    [
        (off, Why.OFF, Why.NOT_LINKED),
        (signed_out, Why.SIGNED_OUT, Why.SIGNED_OUT),
        (no_server, Why.NO_SERVER, Why.NO_SERVER),
        (damaged, Why.DAMAGED, Why.DAMAGED),
        (nothing, Why.NOBODY_SENDS, Why.NOT_LINKED),
    ],
)
def test_what_waits_says_why(outbox: Outbox, make: Callable[[Outbox], None], linked: Why, other: Why) -> None:
    unlinked = add_project(outbox.store, "till")
    outbox.record(3)
    outbox.record(2, unlinked)
    make(outbox)
    found = waiting.queue(outbox.home, outbox.store, now_ms())
    assert {one.project.name: one.why for one in found.projects} == {"shop": linked, "till": other}
    assert {one.project.name: one.events for one in found.projects} == {"shop": 3, "till": 2}
    assert (found.size, found.next_batch, found.oldest_ms) == (3, 3, START_MS)
    assert set(waiting.STEPS) == set(Why)


def test_a_daemon_that_backs_off_says_until_when_and_one_that_does_not_is_about_to_send(
    outbox: Outbox, server: ScriptedServer
) -> None:
    outbox.record(1)
    server.script.append(says(problem(503, "later", **{"Retry-After": "120"})))
    with Connection.of(outbox.store) as http:
        pushing = sync.PeriodicPush(outbox.home, outbox.store, http, lambda text: None)
        assert pushing() == pytest.approx(120, abs=1)
        outbox.store.set_settings(daemon={"pid": os.getpid(), "since_ms": 0})
        with filelock.FileLock(outbox.home.daemon_lock):
            now = now_ms()
            found = waiting.queue(outbox.home, outbox.store, now)
            assert [one.why for one in found.projects] == [Why.BACK_OFF]
            assert found.pause is not None
            assert found.pause.until_ms - now == pytest.approx(120_000, abs=5_000)
            assert "503" in found.pause.why
            later = waiting.queue(outbox.home, outbox.store, now + 121_000)
            assert [one.why for one in later.projects] == [Why.DUE]


def test_a_pause_that_a_clock_set_back_would_prolong_is_none(outbox: Outbox) -> None:
    note_pause(outbox.store, Pause(10_000_000, "because"))
    assert pause(outbox.store, 9_999_999) == Pause(10_000_000, "because")
    assert pause(outbox.store, 10_000_000) is None
    assert pause(outbox.store, 1_000) is None


def test_the_queue_of_the_command_line_is_the_one_of_the_store(
    outbox: Outbox, server: ScriptedServer, cli: Cli
) -> None:
    outbox.record(3)
    outbox.store.add(outbox.project.id, [Observation.own(START_MS - 1_000, wire.FileDeleted(path="old.py"))])
    server.script.append(refuse_first("project", retryable=True))
    outbox.push()
    outbox.record(2)
    found = cli.json("sync", "queue")
    (project,) = found["projects"]
    assert (found["syncQueueSize"], found["nextBatch"], found["currentBatchSize"]) == (3, 3, 100)
    assert project["byType"] == {"file.saved": 3}
    assert (project["refusedForNow"], project["why"], project["linkedTo"]) == (1, "nobody sends", "Shop")
    text = cli.ok("sync", "queue")
    assert "3 to send, 3 with the next batch" in text
    assert "next    `devflow watch` sends by itself" in text
    outbox.push()
    assert cli.ok("sync", "queue") == "nothing waits\n"
    assert cli.json("sync", "queue")["oldest"] is None


# What was refused


@pytest.mark.parametrize("code", [*wire.ErrorCode, "brand-new"])
@pytest.mark.parametrize("retryable", [True, False])
def test_each_refusal_is_told_with_its_code_reason_and_step(
    outbox: Outbox, server: ScriptedServer, code: str, *, retryable: bool
) -> None:
    (first, *_) = outbox.record(2)
    server.script.append(refuse_first(code, retryable=retryable))
    outbox.push()
    (found,) = refusals.latest(outbox.store, 10)
    assert (found.record.event.id, found.code, found.reason) == (first, code, f"because of {code}")
    assert found.is_final == (not retryable and code != "brand-new")
    assert found.record.attempts == 1
    assert found.record.last_attempt_ms is not None
    if found.is_final:
        assert found.step == refusals.STEPS[code]
    outbox.push(retry_failed=True)
    assert refusals.latest(outbox.store, 10) == [], "what the server took is no trouble any more"


def test_refusals_come_newest_first_and_are_limited(outbox: Outbox, server: ScriptedServer) -> None:
    for number, code in enumerate(("invalid", "expired", "person")):
        outbox.record(1)
        server.script.append(refuse_first(code, retryable=False))
        outbox.push(clock=lambda number=number: now_ms() + number * 1_000)
    assert [one.code for one in refusals.latest(outbox.store, 2)] == ["person", "expired"]


def test_a_hostile_server_cannot_steer_the_terminal_by_its_reasons(
    outbox: Outbox, server: ScriptedServer, cli: Cli
) -> None:
    (event_id,) = outbox.record(1)

    def refuse(_server: ScriptedServer, seen: Any) -> Any:
        hostile = {**refusal(seen, str(event_id), "invalid", retryable=False), "message": HOSTILE}
        return verdicts([], [hostile])

    server.script.append(refuse)
    outbox.push()
    for command in ("errors", "logs", "queue", "status"):
        shown = cli.ok("sync", command)
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    assert cli.json("sync", "errors")[0]["reason"] == HOSTILE
    assert r"\u{202e}evil" in cli.ok("sync", "errors")


def test_only_what_was_refused_for_good_can_be_retried_and_all_or_nothing(
    outbox: Outbox, server: ScriptedServer, cli: Cli
) -> None:
    refused, taken = outbox.record(2)
    server.script.append(refuse_first("invalid", retryable=False))
    outbox.push()
    stranger = uuid4()
    assert f"{stranger}, which is not on this PC" in cli.fails(
        2, "sync", "retry", str(refused), str(stranger)
    )
    assert f"{taken}, which is synced" in cli.fails(2, "sync", "retry", str(refused), str(taken))
    assert outbox.statuses() == {"failed": 1, "synced": 1}, "nothing was changed"
    assert "is not a valid UUID" in cli.fails(2, "sync", "retry", "one")
    twice = cli.json("sync", "retry", str(refused), str(refused))
    assert twice == {"waitingAgain": 1, "pending": 1}
    assert len(server.uploads) == 1, "nothing was sent"
    outbox.assert_counters_are_true()
    (again,) = cli.json("sync", "errors")
    assert (again["isFinal"], again["code"]) == (False, "invalid")
    assert cli.ok("sync", "retry") == "nothing was refused for good\n"
    outbox.push()
    assert outbox.statuses() == {"synced": 2}


# What would be sent


def test_a_preview_is_to_the_byte_what_the_next_upload_sends(
    outbox: Outbox, server: ScriptedServer, cli: Cli
) -> None:
    outbox.record(3, path="src/ü\u202e.py")
    shown = cli.ok("sync", "preview", "--json").encode()
    assert server.seen == [], "nothing was sent"
    text = cli.ok("sync", "preview")
    assert text.startswith(f"to {server.url}: 3 events (3 file.saved) in {len(shown) - 1:,} bytes")
    assert text.isascii()
    off(outbox)
    assert cli.ok("sync", "preview", "--json").encode() == shown, "it can be seen before it is switched on"
    outbox.store.set_settings(sync_enabled=True)
    outbox.push()
    (upload,) = server.uploads
    assert upload.body + b"\n" == shown
    assert upload.sent_bytes == len(batches.compressed(shown[:-1]))
    assert "nothing would be sent" in cli.ok("sync", "preview")
    assert cli.json("sync", "preview")["events"] == []


def test_a_preview_of_what_is_too_large_is_cut_as_an_upload_is(
    outbox: Outbox, server: ScriptedServer
) -> None:
    outbox.record_long(400)
    outbox.store.set_settings(sync_batch_size=1_000)
    seen = batches.preview(outbox.store, server.user_id, 1_000)
    assert 0 < seen.events < 400
    assert len(seen.body) <= wire.MAX_INFLATED_BYTES
    assert batches.preview(outbox.store, server.user_id, 2).events == 2


def test_a_preview_needs_somebody_whose_events_they_are(outbox: Outbox, cli: Cli) -> None:
    outbox.record(1)
    signed_out(outbox)
    assert "devflow sync auth" in cli.fails(3, "sync", "preview")
    no_server(outbox)
    assert "devflow sync init" in cli.fails(3, "sync", "preview")


# What was tried


def test_the_log_is_shown_newest_first(outbox: Outbox, server: ScriptedServer, cli: Cli) -> None:
    assert cli.ok("sync", "logs") == "never sent\n"
    ids = outbox.record(3)
    server.script.append(hang_up)
    with pytest.raises(Offline):
        outbox.push()
    outbox.push()
    newest, oldest = cli.json("sync", "logs")
    assert (newest["outcome"], newest["synced"], oldest["outcome"], oldest["latencyMs"]) == (
        "ok",
        3,
        "offline",
        None,
    )
    assert len(cli.json("sync", "logs", "--last", "1")) == 1
    assert "offline: " in cli.ok("sync", "logs").splitlines()[-1]
    rows = outbox.rows()
    assert len(rows) == len(ids)


def test_the_history_adds_up_each_day_of_this_pcs_calendar(
    outbox: Outbox,
) -> None:
    noon = round(datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp() * 1000)
    day = 86_400_000
    tried(
        outbox,
        attempt(noon - 20 * day),
        attempt(noon - day, latency_ms=40),
        attempt(noon - day, latency_ms=20),
    )
    tried(outbox, attempt(noon - day + 1, "offline", None), attempt(noon, "offline", None))
    today, yesterday = sync_history.by_day(outbox.store, 14, noon)
    assert (yesterday.date, yesterday.attempts, yesterday.batches, yesterday.events) == (
        "2026-03-09",
        3,
        2,
        20,
    )
    assert (yesterday.bytes, yesterday.average_latency_ms) == (3_000, 30)
    assert yesterday.success_rate == pytest.approx(2 / 3)
    assert (today.success_rate, today.average_latency_ms) == (0, None), "no answer has no latency"
    assert len(sync_history.by_day(outbox.store, 30, noon)) == 3


def test_the_history_of_the_command_line(outbox: Outbox, cli: Cli) -> None:
    assert cli.ok("sync", "history") == "nothing was sent on these days\n"
    outbox.record(2)
    outbox.push()
    (day,) = cli.json("sync", "history")
    assert (day["events"], day["batches"], day["syncSuccessRate"]) == (2, 1, 1)
    assert "100.0%" in cli.ok("sync", "history")


@pytest.mark.parametrize(
    "arguments",
    [
        ("errors", "--last", "0"),
        ("errors", "--last", "ten"),
        ("logs", "--last=-1"),
        ("history", "--days", "99999999999999999999"),
        ("preview", "--limit", "1001"),
        ("queue", "now"),
    ],
)
def test_a_question_out_of_range_is_one_line_and_exit_code_2(cli: Cli, arguments: tuple[str, ...]) -> None:
    cli.fails(2, "sync", *arguments)


# Settings


def test_values_are_listed_with_where_each_comes_from(cli: Cli) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        cli.env.pop(name, None)
    done = cli.json("sync", "configure", "--interval", "60")
    assert done["syncInterval"] == {
        "value": 60,
        "from": "set",
        "device": None,
    }
    cli.env["HTTPS_PROXY"] = "http://ada:secret@proxy.example.org:3128"
    found = cli.json("sync", "configure")
    assert found["syncInterval"] == {"value": 60, "from": "set", "device": None}
    assert found["batchSize"] == {"value": 1_000, "from": "default", "device": None}
    shown = "http://***@proxy.example.org:3128"
    assert found["proxy"] == {"value": shown, "from": "HTTPS_PROXY", "device": None}
    assert found["caFile"] == {"value": None, "from": "default", "device": None}
    assert found.keys() == {choice.name for choice in choices.TABLE}
    done = cli.json(
        "sync",
        "configure",
        "--no-on-start",
        "--proxy",
        "http://other.example.org:80",
        "--default",
        "syncInterval",
    )
    assert done["syncOnStart"] == {"value": False, "from": "set", "device": None}
    assert done["proxy"] == {"value": "http://other.example.org:80", "from": "set", "device": None}
    assert done["syncInterval"] == {"value": 300, "from": "default", "device": None}
    assert "secret" not in cli.ok("sync", "configure")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--interval", "9", "from 10 to 86400 seconds, got 9"),
        ("--batch-size", "0", "from 1 to 1000 events, got 0"),
        ("--alert-failure-rate", "nan", "above 0 and at most 1"),
        ("--alert-failure-rate", "1.5", "above 0 and at most 1"),
        ("--alert-queue", "0", "expected a whole number from 1"),
        ("--alert-offline", "1", "expected a whole number from 60"),
        ("--proxy", "socks5://localhost:1080", "this is one by SOCKS"),
        ("--proxy", "http://ada:secret@", "expected an address like http://proxy"),
        ("--proxy", "http://[::1", "expected an address like http://proxy"),
        ("--proxy", "", "expected an address like http://proxy"),
        ("--ca-file", "ca.pem", "expected the whole path"),
        ("--ca-file", "/etc/\x1b[2J", "expected the whole path"),
        ("--default", "colour", "expected one of syncEnabled, syncInterval"),
    ],
)
def test_a_wrong_value_is_refused_and_changes_nothing(cli: Cli, option: str, value: str, said: str) -> None:
    before = cli.home.store().settings()
    message = cli.fails(2, "sync", "configure", "--alert-queue", "7", option, value)
    assert said in message
    assert "secret" not in message
    assert "\x1b" not in message
    assert cli.home.store().settings() == before


def test_a_value_and_its_default_at_once_are_refused(cli: Cli) -> None:
    assert "got both" in cli.fails(2, "sync", "configure", "--interval", "60", "--default", "syncInterval")


def test_a_damaged_setting_is_named(outbox: Outbox) -> None:
    for field, value in {
        "sync_on_start": "yes",
        "sync_proxy": 5,
        "alert_failure_rate": True,
        "sync_ca_file": [],
    }.items():
        outbox.store.set_settings(**{field: value})
        with pytest.raises(Invalid, match="expected"):
            Settings.load(outbox.store)
        outbox.store.set_settings(**{field: getattr(Settings(), field)})
