"""The sync client against a real HTTP server that plays every way a server can answer."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.synchronize
import secrets
import socket
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import filelock
import msgspec
import pytest
import requests

import devflow_agent.store
from devflow import wire
from devflow.errors import Busy, Invalid, Offline, Unauthorized
from devflow_agent import batches, credentials, remote, sync
from devflow_agent.analyse.sync_state import sync_state
from devflow_agent.cli import show
from devflow_agent.config import now_ms
from devflow_agent.enrolment import sign_in
from devflow_agent.outbox import attempts
from devflow_agent.remote import Timeouts, Unavailable
from devflow_agent.settings import Settings
from devflow_agent.sync import Backoff, PeriodicPush, Pushed
from tests.agent.outbox import Outbox
from tests.agent.scripted_server import (
    PASSWORD,
    Answer,
    Play,
    ScriptedServer,
    Seen,
    answer_json,
    hang_up,
    names,
    problem,
    refusal,
    refuse_first,
    says,
    store_all,
    store_and_lose_the_answer,
    verdicts,
    wait_for,
)

DAY_MS = 86_400_000


def test_a_push_sends_everything_in_order_of_recording(outbox: Outbox, server: ScriptedServer) -> None:
    ids = outbox.record(1_200)
    assert outbox.push() == Pushed(synced=1_200)
    sent = [event_id for upload in server.uploads for event_id in upload.ids]
    assert sent == [str(event_id) for event_id in ids]
    assert [len(upload.ids) for upload in server.uploads] == [100, 100, 100, 100, 800]
    assert outbox.statuses() == {"synced": 1_200}
    outbox.assert_counters_are_true()


def test_a_batch_reads_its_events_once_and_writes_them_once(
    outbox: Outbox, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, said = devflow_agent.store.connect, list[str]()

    def traced(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.set_trace_callback(said.append)
        return connection

    def of_events(count: int) -> list[str]:
        """What one push of so many has asked of the events, without what was asked for."""
        outbox.record(count)
        said.clear()
        assert outbox.push() == Pushed(synced=count)
        return [" ".join(one.split()[:2]) for one in said if " events " in one]

    monkeypatch.setattr(devflow_agent.store, "connect", traced)
    outbox.store = outbox.home.store()
    assert Counter(of_events(300)) == {"SELECT local_id,": 3 + 1, "UPDATE events": 3}
    assert Counter(of_events(3_000)) == {"SELECT local_id,": 3 + 1, "UPDATE events": 3}


def test_the_next_batch_is_made_while_the_server_works_on_this_one(
    outbox: Outbox, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    compressed, made = batches.compressed, threading.Semaphore(0)

    def compressed_and_told(body: bytes) -> bytes:
        packed = compressed(body)
        made.release()
        return packed

    def store_once_two_are_made(server: ScriptedServer, seen: Seen) -> Answer:
        both = made.acquire(timeout=10) and made.acquire(timeout=10)
        return store_all(server, seen) if both else problem(500, "the next batch was not made")

    monkeypatch.setattr(batches, "compressed", compressed_and_told)
    outbox.record(200)
    server.script.append(store_once_two_are_made)
    assert outbox.push() == Pushed(synced=200)


def test_an_event_goes_out_with_the_bytes_it_was_recorded_with(
    outbox: Outbox, server: ScriptedServer
) -> None:
    outbox.record(1, path="src/ü.py")
    outbox.push()
    (row,) = outbox.rows()
    (upload,) = server.uploads
    assert row["event_data"].encode() in upload.body
    (event,) = upload.json["events"]
    assert event["userId"] == str(server.user_id)
    assert event["projectId"] == server.projects[0]["projectId"]
    assert event["deviceId"] == upload.json["deviceId"] == str(outbox.store.device_id())
    assert (event["localId"], event["timestamp"]) == (row["local_id"], row["timestamp"])
    received = wire.receive(wire.decode_batch(upload.body).events[0])
    assert wire.encode(received.event_data) == row["event_data"].encode()


def test_a_request_names_the_protocol_and_is_compressed(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(100)
    outbox.push()
    (upload,) = server.uploads
    assert upload.headers["DevFlow-Protocol"] == "1"
    assert upload.headers["Content-Encoding"] == "gzip"
    assert upload.headers["Content-Type"] == "application/json"
    assert upload.sent_bytes * 3 < len(upload.body)


@pytest.mark.parametrize(
    ("off_ms", "shown"), [(2 * DAY_MS, "2 days ahead of"), (-2 * DAY_MS, "2 days behind"), (0, None)]
)
def test_a_clock_that_is_off_is_told_to_the_server_and_shown_in_the_status(
    outbox: Outbox, server: ScriptedServer, off_ms: int, shown: str | None
) -> None:
    def clock() -> int:
        return now_ms() + off_ms

    outbox.record(1)
    outbox.push(clock=clock)
    (upload,) = server.uploads
    told = wire.clock_ahead(upload.headers["Date"], now_ms())
    assert told == off_ms
    state = sync_state(outbox.home, outbox.store)
    assert state.clock_skew_ms == off_ms
    lines = [line for line in show.sync_lines(state) if "clock" in line]
    assert len(lines) == (0 if shown is None else 1)
    assert (shown or "") in "".join(lines)
    outbox.record(1)
    outbox.push()
    assert sync_state(outbox.home, outbox.store).clock_skew_ms == 0, "set right"


def test_the_clock_of_a_stranger_says_nothing(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(1)
    portal = Answer(200, b"<html>", {"Date": wire.clock(0)}, server=None)
    server.script.append(says(portal))
    with pytest.raises(Offline):
        outbox.push()
    assert sync_state(outbox.home, outbox.store).clock_skew_ms is None


def test_an_empty_outbox_sends_nothing(outbox: Outbox, server: ScriptedServer) -> None:
    assert outbox.push() == Pushed()
    assert server.seen == []


def test_nothing_is_sent_while_sync_is_off(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(3)
    Settings.load(outbox.store).changed(enabled=False).save_sync(outbox.store)
    with pytest.raises(Invalid, match="sync is off"):
        outbox.push()
    assert server.seen == []
    assert outbox.statuses() == {"pending": 3}


def test_sync_is_off_until_switched_on(tmp_path: Path) -> None:
    assert Settings().sync_enabled is False


def test_events_of_a_project_that_is_not_linked_stay_here(outbox: Outbox, server: ScriptedServer) -> None:
    private = outbox.store.add_project("diary", Path("/diary"), Path("/diary/.git"), 0)
    outbox.record(2, private, path="secret.txt")
    outbox.record(2)
    assert outbox.push() == Pushed(synced=2)
    assert all(b"secret.txt" not in seen.body for seen in server.seen)
    assert outbox.statuses() == {"pending": 2, "synced": 2}


def test_switching_sync_off_stops_a_push_between_two_batches(outbox: Outbox, server: ScriptedServer) -> None:
    def off_meanwhile(server: ScriptedServer, seen: Seen) -> Answer:
        Settings.load(outbox.store).changed(enabled=False).save_sync(outbox.store)
        return store_all(server, seen)

    outbox.record(700)
    server.script.append(off_meanwhile)
    assert outbox.push() == Pushed(synced=100)
    assert outbox.statuses() == {"synced": 100, "pending": 600}


def test_switching_sync_off_ends_a_request_that_waits(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(700)
    release, arrived, done = threading.Event(), threading.Event(), threading.Event()

    def hold(server: ScriptedServer, seen: Seen) -> Answer:
        arrived.set()
        release.wait(30)
        return store_all(server, seen)

    def push() -> None:
        assert outbox.push() == Pushed()
        done.set()

    server.script.append(hold)
    pushing = threading.Thread(target=push)
    pushing.start()
    try:
        assert arrived.wait(10)
        Settings.load(outbox.store).changed(enabled=False).save_sync(outbox.store)
        assert done.wait(10)  # not the 30 s that it waits for an answer
    finally:
        release.set()
        pushing.join()
    assert outbox.statuses() == {"pending": 700}
    Settings.load(outbox.store).changed(enabled=True).save_sync(outbox.store)
    assert outbox.push() == Pushed(synced=700)
    assert len(server.stored) == 700


def test_to_a_server_in_the_place_of_ours_neither_an_event_nor_a_token_is_sent(
    outbox: Outbox, server: ScriptedServer
) -> None:
    outbox.record(3)
    server.calls_itself = str(uuid4())
    with pytest.raises(Offline, match="if it was set up anew"):
        outbox.push()
    assert [(seen.method, seen.path, seen.body) for seen in server.seen] == [("GET", "/sync/projects", b"")]
    assert "Authorization" not in server.seen[0].headers
    assert outbox.statuses() == {"pending": 3}
    assert [one.outcome for one in attempts(outbox.store, 9)] == ["offline"]
    server.calls_itself = None
    assert outbox.push() == Pushed(synced=3)


# Verdicts


def test_an_event_refused_for_good_is_failed_with_the_reason_and_the_others_are_synced(
    outbox: Outbox, server: ScriptedServer
) -> None:
    outbox.record(5)
    server.script.append(refuse_first("conflict", retryable=False))
    assert outbox.push() == Pushed(synced=4, failed=1)
    first, *others = outbox.rows()
    assert (first["sync_status"], first["last_sync_error"]) == ("failed", "conflict: because of conflict")
    assert {row["sync_status"] for row in others} == {"synced"}
    outbox.assert_counters_are_true()


@pytest.mark.parametrize(
    ("code", "retryable"), [("project", True), ("brand-new", False), ("brand-new", True)]
)
def test_an_event_refused_for_now_or_with_an_unknown_code_waits_and_blocks_nothing(
    outbox: Outbox, server: ScriptedServer, code: str, retryable: bool
) -> None:
    Settings.load(outbox.store).changed(batch_size=2).save_sync(outbox.store)
    outbox.record(5)
    server.script.append(refuse_first(code, retryable=retryable))
    assert outbox.push() == Pushed(synced=4, kept=1)
    first = outbox.rows()[0]
    assert first["sync_status"] == "pending"
    assert first["last_sync_error"] == f"{code}: because of {code}"
    assert first["sync_attempts"] == 1
    assert outbox.push() == Pushed(synced=1), "the next push sends it again"


def test_a_failed_event_is_sent_again_only_when_asked(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(1)
    server.script.append(refuse_first("invalid", retryable=False))
    outbox.push()
    assert outbox.push() == Pushed()
    assert outbox.push(retry_failed=True) == Pushed(synced=1)
    outbox.assert_counters_are_true()


def repeated_first(ids: list[str]) -> list[str]:
    return [ids[0], *ids[:-1]]


NOT_A_VERDICT: dict[str, Play] = {
    "wrong ids": names(lambda ids: [str(uuid4()) for _ in ids]),
    "missing ids": names(lambda ids: ids[1:]),
    "ids in capitals": names(lambda ids: [event_id.upper() for event_id in ids]),
    "one id for another": names(repeated_first),
    "every id twice": names(lambda ids: ids * 2),
    "no id": names(lambda _ids: []),
    "synced and refused": lambda _server, seen: verdicts(
        seen.ids, [refusal(seen, seen.ids[0], "invalid", retryable=False)]
    ),
    "no verdicts at all": says(answer_json(200, {"success": True})),
    "not even JSON": says(Answer(200, b"<html>welcome</html>", {"Content-Type": "text/html"})),
    "an empty body": says(Answer(200)),
    "a list": says(answer_json(200, [])),
    "ids that are numbers": says(answer_json(200, {"success": True, "syncedIds": [1], "errors": []})),
}
NOT_OUR_SERVER: dict[str, Play] = {
    "a captive portal": says(Answer(200, b"<html>log in</html>", {"Content-Type": "text/html"}, server=None)),
    "verdicts without the server's name": lambda _server, seen: Answer(
        200, verdicts(seen.ids, []).body, server=None
    ),
    "verdicts of another server": lambda _server, seen: Answer(
        200, verdicts(seen.ids, []).body, server="3b241101-e2bb-4255-8caf-4136c566a962"
    ),
    "400 of a proxy": says(Answer(400, server=None)),
    "401 of a proxy": says(Answer(401, server=None)),
    "413 of a proxy": says(Answer(413, server=None)),
    "201": lambda _server, seen: Answer(201, verdicts(seen.ids, []).body),
    "204": says(Answer(204)),
    "404": says(problem(404, "no such route")),
    "405": says(problem(405, "not this method")),
    "409": says(problem(409, "no")),
    "415": says(problem(415, "not this type")),
    "426": says(problem(426, "speak protocol 2")),
}
NOT_NOW: dict[str, Play] = {
    **{str(status): says(problem(status, "later")) for status in (408, 425, 429, 500, 502, 503, 504, 599)},
    "503 of a proxy": says(Answer(503, b"<html>", server=None)),
    "closed without an answer": hang_up,
    "a body cut short": lambda _server, seen: Answer(
        200, verdicts(seen.ids, []).body[:-10], declared_length=len(verdicts(seen.ids, []).body)
    ),
    "a body cut short on the way, whole as JSON": lambda _server, seen: Answer(
        200, verdicts(seen.ids, []).body, declared_length=len(verdicts(seen.ids, []).body) + 10
    ),
}
FAULTS = NOT_A_VERDICT | NOT_OUR_SERVER | NOT_NOW


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_keeps_every_event_and_the_next_push_sends_them_all(
    outbox: Outbox, server: ScriptedServer, fault: str
) -> None:
    outbox.record(4)
    server.script.append(FAULTS[fault])
    with pytest.raises(Offline):
        outbox.push()
    assert outbox.statuses() == {"pending": 4}
    assert {row["sync_attempts"] for row in outbox.rows()} == {0}, "the events are not to blame"
    assert attempts(outbox.store, 1)[0].outcome == "offline"
    assert outbox.push() == Pushed(synced=4)
    assert len(server.stored) == 4
    outbox.assert_counters_are_true()


def test_what_was_settled_before_a_fault_stays_settled(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(700)
    server.script.extend([store_all, hang_up])
    with pytest.raises(Offline):
        outbox.push()
    assert outbox.statuses() == {"synced": 100, "pending": 600}


def test_a_lost_answer_is_asked_for_again_with_the_same_ids(outbox: Outbox, server: ScriptedServer) -> None:
    ids = outbox.record(3)
    server.script.append(store_and_lose_the_answer)
    with pytest.raises(Offline):
        outbox.push()
    outbox.push()
    first, second = server.uploads
    assert first.ids == second.ids == [str(event_id) for event_id in ids]
    assert outbox.statuses() == {"synced": 3}


@pytest.mark.parametrize("status", [200, 400, 403, 413])
def test_a_server_that_does_not_say_who_it_is_as_agreed_settles_nothing(
    outbox: Outbox, server: ScriptedServer, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.record(2)
    monkeypatch.setattr(server, "answer", lambda _seen: problem(status, "no"))
    with pytest.raises(Offline):
        outbox.push()
    assert outbox.statuses() == {"pending": 2}
    assert all("Authorization" not in seen.headers for seen in server.seen)


def test_a_server_in_the_place_of_ours_learns_no_password(outbox: Outbox, server: ScriptedServer) -> None:
    server.calls_itself = str(uuid4())
    with requests.Session() as http, pytest.raises(Offline, match="if it was set up anew"):
        sign_in(outbox.home, outbox.store, http, "ada@example.org", PASSWORD)
    assert [(seen.path, seen.body) for seen in server.seen] == [("/sync/projects", b"")]


@pytest.mark.parametrize("ask", ["projects", "devices", "log_out"])
def test_no_question_brings_the_token_to_a_server_in_the_place_of_ours(
    outbox: Outbox, server: ScriptedServer, ask: str
) -> None:
    server.calls_itself = str(uuid4())
    with requests.Session() as http:
        asking = remote.Remote(outbox.home.credentials, http)
        with pytest.raises(Offline, match="if it was set up anew"):
            getattr(asking, ask)()
        assert all("Authorization" not in seen.headers for seen in server.seen)
        server.calls_itself = None
        asking.projects()
        asking.projects()
    assert [seen.headers.get("Authorization") is None for seen in server.seen] == [True, True, False, False]


def test_a_redirect_is_not_followed(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(1)
    server.script.append(says(Answer(302, headers={"Location": f"{server.url}/elsewhere"})))
    with pytest.raises(Offline, match="302"):
        outbox.push()
    assert [seen.path for seen in server.seen] == ["/sync/projects", "/sync/events"]
    assert outbox.statuses() == {"pending": 1}


def test_a_server_that_is_not_there_keeps_everything(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(2)
    enrolled = credentials.enrolled(outbox.home.credentials)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    moved = credentials.Credentials(
        server_url=f"http://127.0.0.1:{port}", server_id=enrolled.server_id, account=enrolled.account
    )
    credentials.save(outbox.home.credentials, moved)
    with pytest.raises(Offline, match=r"did not answer: Failed to establish .*refused$"):
        outbox.push()
    assert outbox.statuses() == {"pending": 2}
    assert attempts(outbox.store, 1)[0].latency_ms is None


def test_a_server_that_is_silent_is_given_up(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(2)
    release = threading.Event()
    server.script.append(wait_for(release))
    try:
        with pytest.raises(Offline, match="timed out"):
            outbox.push(timeouts=Timeouts(connect_s=1, read_s=0.1))
    finally:
        release.set()
    assert outbox.statuses() == {"pending": 2}


def test_an_answer_that_drips_is_given_up(outbox: Outbox) -> None:
    outbox.record(1)
    with dripping() as url:
        enrolled = credentials.enrolled(outbox.home.credentials)
        credentials.save(
            outbox.home.credentials,
            credentials.Credentials(server_url=url, server_id=enrolled.server_id, account=enrolled.account),
        )
        with pytest.raises(Offline, match="too long"):
            outbox.push(timeouts=Timeouts(connect_s=1, read_s=5, answer_s=0.2))
    assert outbox.statuses() == {"pending": 1}


@contextmanager
def dripping() -> Iterator[str]:
    """The address of a server that sends a byte of its answer now and then, for ever."""

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not over.wait(0.02):
                connection.sendall(b" ")

    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


# A batch refused as a whole


def bad(text: bytes, status: int) -> Callable[[ScriptedServer, Seen], Answer]:
    """Refuses a whole batch for one event in it, as a server that is less careful than ours."""

    def play(server: ScriptedServer, seen: Seen) -> Answer:
        return problem(status, "something in it is bad") if text in seen.body else store_all(server, seen)

    return play


@pytest.mark.parametrize("status", [400, 413])
def test_a_batch_refused_as_a_whole_is_halved_down_to_the_one_event(
    outbox: Outbox, server: ScriptedServer, status: int
) -> None:
    outbox.record(20)
    outbox.record(1, path="poison")
    outbox.record(20)
    server.script.extend([bad(b"poison", status)] * 12)
    assert outbox.push() == Pushed(synced=40, failed=1)
    (failed,) = [row for row in outbox.rows() if row["sync_status"] == "failed"]
    assert "poison" in failed["event_data"]
    code = {400: "refused", 413: "too_large"}[status]
    assert failed["last_sync_error"] == f"{code}: something in it is bad"
    assert len(server.stored) == 40
    outbox.assert_counters_are_true()


def test_a_large_outbox_is_cut_below_the_servers_limits(outbox: Outbox, server: ScriptedServer) -> None:
    Settings.load(outbox.store).changed(batch_size=1_000).save_sync(outbox.store)
    for _ in range(1_000):
        outbox.record(1, path=random_path(4_000))
    outbox.record_long(400)
    assert outbox.push() == Pushed(synced=1_400)
    assert max(upload.sent_bytes for upload in server.uploads) <= wire.MAX_BODY_BYTES
    assert max(len(upload.body) for upload in server.uploads) <= wire.MAX_INFLATED_BYTES
    assert len(server.uploads) > 2


def random_path(length: int) -> str:
    """Compresses badly."""
    return secrets.token_hex(length // 2)


# Signing in


def test_an_expired_token_is_renewed_once_and_the_new_one_is_kept(
    outbox: Outbox, server: ScriptedServer
) -> None:
    outbox.record(2)
    server.token = "another"
    assert outbox.push() == Pushed(synced=2)
    account = credentials.enrolled(outbox.home.credentials).signed_in()
    assert (account.token, account.refresh_token) == (server.token, server.refresh_token)
    assert [seen.path for seen in server.seen][1:4] == ["/sync/events", "/auth/refresh", "/sync/events"]
    assert [seen.path for seen in server.seen].count("/auth/refresh") == 1


def test_a_token_renewed_by_another_process_is_taken_over(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(2)

    def renewed_meanwhile(server: ScriptedServer, seen: Seen) -> Answer:
        with requests.Session() as http:
            other = remote.Remote(outbox.home.credentials, http)
            server.token = "another"
            other.projects()
        return problem(401, "this token is not valid")

    server.script.append(renewed_meanwhile)
    assert outbox.push() == Pushed(synced=2)
    assert [seen.path for seen in server.seen].count("/auth/refresh") == 1


def test_tokens_of_another_process_that_are_old_by_now_are_renewed(
    outbox: Outbox, server: ScriptedServer
) -> None:
    outbox.record(2)

    def replaced_meanwhile(server: ScriptedServer, _seen: Seen) -> Answer:
        enrolled = credentials.enrolled(outbox.home.credentials)
        other = msgspec.structs.replace(enrolled.signed_in(), token="of another process, and old")
        credentials.save(outbox.home.credentials, msgspec.structs.replace(enrolled, account=other))
        return problem(401, "this token was replaced")

    server.script.append(replaced_meanwhile)
    assert outbox.push() == Pushed(synced=2)
    assert [seen.path for seen in server.seen].count("/auth/refresh") == 1


def test_a_push_ends_when_another_person_has_signed_in(outbox: Outbox, server: ScriptedServer) -> None:
    """Their token is good, but what is on its way says that it is of somebody else."""
    outbox.record(2)

    def replaced_meanwhile(server: ScriptedServer, _seen: Seen) -> Answer:
        enrolled = credentials.enrolled(outbox.home.credentials)
        other = msgspec.structs.replace(
            enrolled.signed_in(), user_id=uuid4(), email="bea@example.org", token="of bea"
        )
        credentials.save(outbox.home.credentials, msgspec.structs.replace(enrolled, account=other))
        server.token = "of bea"
        return problem(401, "this token is not valid")

    server.script.append(replaced_meanwhile)
    with pytest.raises(Unauthorized, match=r"bea@example\.org has signed in meanwhile"):
        outbox.push()
    assert len(server.uploads) == 1
    assert outbox.statuses() == {"pending": 2}


def test_a_refused_refresh_looks_for_tokens_that_somebody_else_has_put_there(
    outbox: Outbox, server: ScriptedServer
) -> None:
    """A file system without locks, or a home that was copied: who is refused is not the one signed in."""
    outbox.record(2)
    server.token, server.refresh_token = "newer", "newer-refresh"

    def put_there() -> None:
        enrolled = credentials.enrolled(outbox.home.credentials)
        newer = msgspec.structs.replace(enrolled.signed_in(), token="newer", refresh_token="newer-refresh")
        credentials.save(outbox.home.credentials, msgspec.structs.replace(enrolled, account=newer))

    server.before_refresh = put_there
    assert outbox.push() == Pushed(synced=2)
    assert credentials.enrolled(outbox.home.credentials).signed_in().token == "newer"


def test_what_a_killed_process_left_half_written_is_deleted(outbox: Outbox) -> None:
    left = outbox.home.path / f".{outbox.home.credentials.name}.abc123"
    left.write_text("half of a token")
    credentials.save(outbox.home.credentials, credentials.enrolled(outbox.home.credentials))
    assert not left.exists()


def test_a_refused_refresh_signs_out_and_keeps_everything(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(2)
    server.token, server.refresh_refused = "another", True
    with pytest.raises(Unauthorized, match=r"devflow sync auth"):
        outbox.push()
    assert outbox.statuses() == {"pending": 2}
    asked = len(server.seen)
    with pytest.raises(Unauthorized, match="nobody is signed in"):
        outbox.push()
    assert len(server.seen) == asked, "a server that refused us is not asked again"


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_does_not_accept_the_person_pauses_and_keeps_everything(
    outbox: Outbox, server: ScriptedServer, status: int
) -> None:
    outbox.record(2)
    server.script.extend([says(problem(status, "this device is revoked"))] * 2)
    with pytest.raises(Unauthorized, match="this device is revoked"):
        outbox.push()
    assert outbox.statuses() == {"pending": 2}
    assert attempts(outbox.store, 1)[0].outcome == "unauthorized"
    server.script.clear()
    assert outbox.push() == Pushed(synced=2)


def test_a_strangers_401_does_not_cost_the_refresh_token(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(1)
    server.script.append(says(Answer(401, server=None)))
    with pytest.raises(Offline):
        outbox.push()
    assert [seen.path for seen in server.seen] == ["/sync/projects", "/sync/events"]


def test_an_unreachable_refresh_signs_nobody_out(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(1)

    def goes_away(server: ScriptedServer, seen: Seen) -> Answer:
        server.server_id, gone = uuid4(), server.server_id
        return Answer(401, server=str(gone))

    server.script.append(goes_away)
    with pytest.raises(Offline):
        outbox.push()
    assert credentials.enrolled(outbox.home.credentials).account is not None


def test_a_netrc_file_does_not_replace_the_token(
    outbox: Outbox, server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    outbox.record(1)
    assert outbox.push() == Pushed(synced=1)
    assert server.uploads[0].headers["Authorization"] == "Bearer token-0"


# One sender at a time


def _hold(
    lock: Path, held: multiprocessing.synchronize.Event, release: multiprocessing.synchronize.Event
) -> None:
    with filelock.FileLock(lock):
        held.set()
        release.wait(30)


def test_a_second_process_says_that_another_one_is_sending(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(1)
    spawn = multiprocessing.get_context("spawn")
    held, release = spawn.Event(), spawn.Event()
    other = spawn.Process(target=_hold, args=(outbox.home.sync_lock, held, release))
    other.start()
    try:
        assert held.wait(30)
        with pytest.raises(Busy, match="another process is sending"):
            outbox.push()
    finally:
        release.set()
        other.join()
    assert server.seen == []
    assert outbox.push() == Pushed(synced=1)


# What is written down


def test_each_attempt_is_written_down(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(3)
    server.script.extend([hang_up, refuse_first("invalid", retryable=False)])
    with pytest.raises(Offline):
        outbox.push()
    outbox.push()
    partial, offline = attempts(outbox.store, 10)
    assert (offline.outcome, offline.sent, offline.synced, offline.latency_ms) == ("offline", 3, 0, None)
    assert (partial.outcome, partial.sent, partial.synced, partial.failed) == ("partial", 3, 2, 1)
    assert partial.bytes == server.uploads[1].sent_bytes
    assert partial.latency_ms is not None


def test_progress_counts_what_was_settled(outbox: Outbox) -> None:
    outbox.record(1_200)
    said: list[int] = []
    outbox.push(on_progress=lambda so_far: said.append(so_far.sent))
    assert said == [100, 200, 300, 400, 1_200]


# Waiting


def test_retry_after_is_read_in_seconds_and_as_a_date_and_is_bounded() -> None:
    now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    assert remote.retry_after_s("120", now) == 120
    assert remote.retry_after_s("Mon, 23 Nov 2026 12:00:30 GMT", now) == 30
    assert remote.retry_after_s("Mon, 23 Nov 2026 11:00:00 GMT", now) == 0
    assert remote.retry_after_s("999999999", now) == remote.MAX_RETRY_AFTER_S
    assert [remote.retry_after_s(text, now) for text in ("soon", "-1", "", "1.5", "²")] == [None] * 5
    assert remote.retry_after_s(None, now) is None


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(1)
    server.script.append(says(problem(429, "slow down", **{"Retry-After": "77"})))
    with pytest.raises(Unavailable) as raised:
        outbox.push()
    assert Backoff(uniform=lambda low, high: low).failed(raised.value) == 77


def test_the_back_off_doubles_to_five_minutes_and_starts_again_after_a_success() -> None:
    backoff = Backoff(uniform=lambda low, high: high)
    delays = [backoff.failed(Offline("gone")) for _ in range(12)]
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    backoff.succeeded()
    assert backoff.failed(Offline("gone")) == 1


def test_the_back_off_draws_from_the_whole_range() -> None:
    bounds: list[tuple[float, float]] = []

    def drawn(low: float, high: float) -> float:
        bounds.append((low, high))
        return low

    backoff = Backoff(uniform=drawn)
    assert [backoff.failed(Offline("gone")) for _ in range(3)] == [0, 0, 0]
    assert bounds == [(0, 1), (0, 2), (0, 4)]


def test_a_periodic_push_says_what_lasts_once_and_when_it_is_over(
    outbox: Outbox, server: ScriptedServer
) -> None:
    outbox.record(2)
    server.script.extend([says(problem(503, "later"))] * 3)
    said: list[str] = []
    now_s = 0.0
    with requests.Session() as http:
        backoff = Backoff(uniform=lambda low, high: high, monotonic=lambda: now_s)
        periodic = PeriodicPush(outbox.home, outbox.store, http, said.append, backoff)
        for expected in (1, 2, 4, None):
            assert periodic() == expected
            now_s += expected or 0
    assert len(said) == 3
    assert "503" in said[0]
    assert "everything is kept" in said[0]
    assert said[1:] == ["sync works again", "synced 2 events"]


def test_a_periodic_push_that_is_called_too_early_asks_nobody(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(1)
    server.script.append(says(problem(429, "slow down", **{"Retry-After": "900"})))
    now_s = 0.0
    with requests.Session() as http:
        backoff = Backoff(monotonic=lambda: now_s)
        periodic = PeriodicPush(outbox.home, outbox.store, http, lambda said: None, backoff)
        assert periodic() == 900
        now_s = 300.0
        assert periodic() == 600
        assert len(server.uploads) == 1
        now_s = 900.0
        assert periodic() is None
    assert outbox.statuses() == {"synced": 1}


def test_a_periodic_push_survives_being_signed_out(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(1)
    server.token, server.refresh_refused = "another", True
    said: list[str] = []
    with requests.Session() as http:
        periodic = PeriodicPush(outbox.home, outbox.store, http, said.append)
        assert [periodic() for _ in range(3)] == [None, None, None]
    assert any("devflow sync auth" in message for message in said)
    assert len(said) <= 2


# Reading verdicts without a server


def test_verdicts_that_a_newer_server_extends_are_still_read() -> None:
    event_id = uuid4()
    body = json.dumps(
        {"success": True, "syncedIds": [str(event_id)], "errors": [], "serverTime": 1, "warnings": []}
    )
    assert sync.read_verdicts(body.encode(), [str(event_id)]).synced == [str(event_id)]
