"""Live sync against a server that plays every way a stream can go: nothing lost, nothing twice."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import requests

from devflow import pseudonyms, wire
from devflow.errors import Invalid
from devflow_agent import batches, credentials, levels, stream
from devflow_agent import outbox as rows
from devflow_agent.live import Live, Patience
from devflow_agent.remote import Timeouts, Unavailable
from devflow_agent.settings import Settings
from devflow_agent.store import Level
from devflow_agent.sync import Backoff, one_sender
from tests.agent import scripted_stream
from tests.agent.outbox import START_MS, Outbox
from tests.agent.recorded import add_project
from tests.agent.scripted_server import (
    Answer,
    Play,
    ScriptedServer,
    Seen,
    answer_json,
    names,
    problem,
    refuse_first,
    says,
    store_all,
    store_and_lose_the_answer,
)
from tests.agent.scripted_stream import (
    Opening,
    ScriptedStreams,
    answers,
    store_and_keep_silent,
    swallow,
)
from tests.repo import Repo

DEADLINE_S = 10.0
QUICK = Timeouts(connect_s=0.5, read_s=1, answer_s=2)
HELD = Patience(tries=3, young_s=60, pause_s=600)


def until(true: Callable[[], Any], what: str = "it") -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.005)


@pytest.fixture
def streams(server: ScriptedServer) -> Iterator[ScriptedStreams]:
    scripted = ScriptedStreams(server)
    yield scripted
    scripted.ended.set()


class Running:
    """Live sync in a thread of the test, called again and again as the daemon does, but sooner."""

    def __init__(self, outbox: Outbox, patience: Patience, timeouts: Timeouts) -> None:
        self.messages: list[str] = []
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self.ahead_s = 0.0
        """How far its clock of pauses is ahead: a test ends a pause by this, and not by waiting."""
        self._http = requests.Session()
        self.live = Live(
            outbox.home,
            outbox.store,
            self._http,
            self.messages.append,
            self.stop,
            backoff=Backoff(uniform=lambda low, high: 0.02),
            timeouts=timeouts,
            patience=patience,
            monotonic=lambda: time.monotonic() + self.ahead_s,
        )
        self._outbox = outbox
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self.stop.is_set():
            if self._outbox.store.setting("sync_enabled"):
                try:
                    wait_s = self.live()
                except BaseException as error:
                    self.error = error
                    return
            self.stop.wait(0.02 if wait_s is None else min(wait_s, 0.02))

    def end(self) -> float:
        """Return how many seconds it took."""
        began = time.monotonic()
        self.stop.set()
        self._thread.join(DEADLINE_S)
        self._http.close()
        assert not self._thread.is_alive()
        assert self.error is None, self.error
        return time.monotonic() - began


@pytest.fixture
def start(outbox: Outbox) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(patience: Patience = HELD, timeouts: Timeouts = QUICK) -> Running:
        started.append(Running(outbox, patience, timeouts))
        return started[-1]

    yield start
    for one in started:
        one.end()


def synced(outbox: Outbox, count: int) -> Callable[[], bool]:
    return lambda: outbox.statuses()["synced"] == count


def ways(outbox: Outbox) -> list[tuple[str, str]]:
    """Way and outcome of each attempt, oldest first."""
    return [(attempt.via, attempt.outcome) for attempt in reversed(rows.attempts(outbox.store, 1_000))]


# What a stream carries


def test_what_is_recorded_goes_over_the_stream_at_once(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    start()
    until(lambda: streams.opened == 1)
    began = time.monotonic()
    ids = outbox.record(3)
    until(synced(outbox, 3))
    assert time.monotonic() - began < 2
    assert streams.ids == [str(event_id) for event_id in ids]
    assert server.uploads == []
    (attempt,) = rows.attempts(outbox.store, 10)
    assert (attempt.via, attempt.outcome, attempt.sent, attempt.synced) == ("live", "ok", 3, 3)
    assert attempt.latency_ms is not None and attempt.bytes > 3 * 200
    outbox.assert_counters_are_true()


def test_an_event_goes_over_a_stream_with_the_bytes_of_an_upload(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    outbox.record(1, path="src/ü.py")
    start()
    until(lambda: streams.opened == 1)
    outbox.record(1, path="src/ü.py")
    until(synced(outbox, 2))
    (uploaded,), (streamed,) = server.uploads[0].json["events"], streams.batches[0].json["events"]
    assert {**uploaded, "id": 0, "localId": 0} == {**streamed, "id": 0, "localId": 0}
    assert streams.batches[0].json["deviceId"] == str(outbox.store.device_id())


def reports(streams: ScriptedStreams) -> list[wire.Report | None]:
    """What each batch said of how sync is doing."""
    said = [batch.headers.get(wire.REPORT_HEADER) for batch in streams.batches]
    return [None if one is None else wire.read_report(one) for one in said]


def test_how_sync_is_doing_is_told_with_a_batch_once_a_minute(
    outbox: Outbox, streams: ScriptedStreams, start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.store.set_settings(sync_interval_s=30)
    start()
    until(lambda: streams.opened == 1)
    for number in range(1, 4):
        outbox.record(1)
        until(synced(outbox, number))
    monkeypatch.setattr(stream, "REPORT_S", 0)
    outbox.record(1)
    until(synced(outbox, 4))
    first, *between, last = reports(streams)
    release = wire.version_number(version("devflow-monitor"))
    known = wire.Report(queue=0, interval=30, batch=1_000, start=1, version=release)
    assert first == known, "nothing was sent before"
    assert between == [None, None]
    assert last is not None and (last.queue, last.success) == (0, 1_000) and last.latency is not None


def test_that_nothing_waits_any_more_is_told_before_the_minute_is_over(
    outbox: Outbox, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    start()
    until(lambda: streams.opened == 1)
    outbox.record_long(7)  # two go into a message
    until(synced(outbox, 7))
    outbox.record(1)
    until(synced(outbox, 8))
    assert [len(batch.ids) for batch in streams.batches] == [2, 2, 2, 1, 1]
    told = [None if report is None else report.queue for report in reports(streams)]
    assert told == [5, None, None, 0, None]


def test_what_has_piled_up_is_uploaded_first(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    outbox.record(1_200)
    start()
    until(synced(outbox, 1_200))
    until(lambda: streams.opened == 1)
    outbox.record(stream.MOST_EVENTS + 1)
    until(synced(outbox, 1_301))
    outbox.record(1)
    until(synced(outbox, 1_302))
    assert sum(len(upload.ids) for upload in server.uploads) == 1_301
    assert len(streams.ids) == 1
    assert streams.opened == 1, "it stays open while others upload"


def test_nothing_is_sent_twice_while_its_answer_is_awaited_and_the_window_is_kept(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    streams.always = store_and_keep_silent
    start(timeouts=Timeouts(connect_s=0.5, read_s=5, answer_s=5))
    until(lambda: streams.opened == 1)
    for number in range(1, wire.STREAM_WINDOW + 1):
        outbox.record(1)
        until(lambda: len(streams.batches) == number)  # noqa: B023
    outbox.record(3)
    time.sleep(3 * stream.POLL_S)
    assert len(streams.ids) == len(set(streams.ids)) == wire.STREAM_WINDOW
    until(synced(outbox, wire.STREAM_WINDOW + 3), "an upload, after no answer came")
    assert ways(outbox) == [*[("live", "offline")] * wire.STREAM_WINDOW, ("http", "ok")]


def test_refused_events_are_settled_as_after_an_upload(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    start()
    until(lambda: streams.opened == 1)
    streams.script.append(refuse_first("conflict", retryable=False))
    outbox.record(2)
    until(lambda: outbox.statuses() == {"failed": 1, "synced": 1})
    streams.script.append(refuse_first("project", retryable=True))
    outbox.record(2)
    until(synced(outbox, 2))
    outbox.record(1)
    until(synced(outbox, 3))
    assert outbox.statuses() == {"failed": 1, "synced": 3, "pending": 1}
    kept = next(row for row in outbox.rows() if row["sync_status"] == "pending")
    assert (kept["sync_attempts"], kept["last_sync_error"]) == (1, "project: because of project")
    assert streams.ids.count(kept["id"]) == 1, "it waits for the next upload"
    outbox.assert_counters_are_true()


def test_what_an_upload_has_seen_refused_for_now_is_not_tried_over_the_stream(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    server.script.append(refuse_first("project", retryable=True))
    (kept,) = outbox.record(1)
    start()
    until(lambda: streams.opened == 1)
    outbox.record(1)
    until(synced(outbox, 1))
    assert str(kept) not in streams.ids
    assert outbox.statuses() == {"pending": 1, "synced": 1}


@pytest.mark.parametrize("status", [400, 413])
def test_a_batch_that_is_refused_as_a_whole_is_uploaded_in_halves(
    outbox: Outbox,
    server: ScriptedServer,
    streams: ScriptedStreams,
    start: Callable[..., Running],
    status: int,
) -> None:
    start()
    until(lambda: streams.opened == 1)
    streams.script.append(says(problem(status, "no")))
    halves = [2, 1, 1] if status == 400 else [1, 1]  # of 413 the next upload learns at once
    for _ in halves[:-1]:
        server.script.append(says(problem(status, "no")))
    outbox.record(2)
    until(lambda: outbox.statuses() == {"failed": 1, "synced": 1})
    assert [len(upload.ids) for upload in server.uploads] == halves


def test_old_events_of_a_project_that_is_linked_go_at_once(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    folder = outbox.home.path / "till"
    till = outbox.store.add_project("till", folder, folder / ".git", START_MS)
    outbox.record(3, till)
    start()
    until(lambda: streams.opened == 1)
    outbox.link(till)
    until(synced(outbox, 3))
    outbox.record(1, till)
    until(synced(outbox, 4))
    assert ways(outbox) == [("http", "ok"), ("live", "ok")]
    assert streams.opened == 1, "it stays open"


@pytest.mark.parametrize("wanted", ["one", "all"])
def test_what_somebody_wants_tried_again_is_tried_at_once(
    outbox: Outbox,
    server: ScriptedServer,
    streams: ScriptedStreams,
    start: Callable[..., Running],
    wanted: str,
) -> None:
    server.script.append(refuse_first("invalid", retryable=False))
    (refused,) = outbox.record(1)
    start()
    until(lambda: outbox.statuses() == {"failed": 1})
    until(lambda: streams.opened == 1)
    if wanted == "one":
        rows.retry(outbox.store, [refused])
    else:
        rows.retry_failed(outbox.store)
    until(synced(outbox, 1))
    assert streams.ids == []


def test_what_was_asked_for_while_the_server_was_away_goes_when_it_is_back(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    server.script.append(refuse_first("invalid", retryable=False))
    outbox.record(1)
    start()
    until(lambda: streams.opened == 1 and outbox.statuses() == {"failed": 1})
    server.script.extend([says(problem(503, "not now"))] * 2)
    with pytest.raises(Unavailable):
        outbox.push(retry_failed=True)
    until(synced(outbox, 1))


def test_an_event_too_large_for_a_stream_is_uploaded(
    outbox: Outbox,
    server: ScriptedServer,
    streams: ScriptedStreams,
    start: Callable[..., Running],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME_BYTES", 20_000)
    start()
    until(lambda: streams.opened == 1)
    outbox.record_long(1)
    until(synced(outbox, 1))
    assert (len(server.uploads), streams.batches) == (1, [])


def test_large_events_are_cut_to_messages_that_the_server_takes(
    outbox: Outbox, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    start()
    until(lambda: streams.opened == 1)
    outbox.record_long(20)
    until(synced(outbox, 20))
    assert len(streams.ids) == len(set(streams.ids)) == 20
    assert max(batch.sent_bytes for batch in streams.batches) <= wire.MAX_FRAME_BYTES


# When it breaks


@pytest.mark.parametrize("play", [store_and_lose_the_answer, lambda _server, _seen: None])
def test_a_stream_that_is_cut_loses_nothing_and_doubles_nothing(
    outbox: Outbox,
    server: ScriptedServer,
    streams: ScriptedStreams,
    start: Callable[..., Running],
    play: Play,
) -> None:
    start()
    until(lambda: streams.opened == 1)
    streams.script.append(play)
    ids = {str(event_id) for event_id in outbox.record(5)}
    until(synced(outbox, 5))
    assert server.stored.keys() == ids
    until(lambda: streams.opened == 2, "another stream")
    outbox.record(1)
    until(synced(outbox, 6))
    assert ways(outbox) == [("live", "offline"), ("http", "ok"), ("live", "ok")]


NONSENSE: list[Play] = [
    names(lambda ids: ids[1:]),
    names(lambda ids: [*ids, str(uuid4())]),
    names(lambda ids: [ids[0], ids[0]]),
    says(Answer(200, b'"ok"')),
    says(Answer(200, b"null")),
    says(answer_json(204, {})),
    says(answer_json(302, {})),
    says(answer_json(404, {})),
    says(problem(503, "full", **{"Retry-After": "0"})),
    says(problem(429, "slowly", **{"Retry-After": "0"})),
    says(problem(401, "not valid")),
    says(problem(500, "broken")),
]


@pytest.mark.parametrize("play", NONSENSE)
def test_an_answer_that_is_none_settles_nothing(
    outbox: Outbox,
    server: ScriptedServer,
    streams: ScriptedStreams,
    start: Callable[..., Running],
    play: Play,
) -> None:
    server.script.extend([says(problem(503, "not now"))] * 3)
    start()
    until(lambda: streams.opened == 1)
    streams.script.append(play)
    outbox.record(2)
    until(lambda: any(via == "live" for via, _ in ways(outbox)))
    assert outbox.statuses() == {"pending": 2}
    assert {row["sync_attempts"] for row in outbox.rows()} == {0}
    server.script.clear()
    until(synced(outbox, 2), "the next upload")
    assert "ok" not in [outcome for via, outcome in ways(outbox) if via == "live"][:1]


@pytest.mark.parametrize(
    "garbage", [b"hello", b'{"number":99,"status":200,"sentAt":1,"retryAfter":null,"body":{}}', b"[" * 9_000]
)
def test_a_message_that_is_no_answer_ends_the_stream(
    outbox: Outbox,
    streams: ScriptedStreams,
    start: Callable[..., Running],
    garbage: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start()
    until(lambda: streams.opened == 1)
    with monkeypatch.context() as once:
        once.setattr(scripted_stream, "said", lambda _number, _answer: garbage)
        outbox.record(2)
        until(lambda: ways(outbox)[:1] == [("live", "offline")])
    until(synced(outbox, 2), "the upload of both")
    until(lambda: streams.opened == 2, "another stream")


def test_a_server_that_asks_for_time_gets_it(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    streams.always_opening = answers(problem(503, "full", **{"Retry-After": "300"}))
    running = start()
    until(lambda: streams.tried == 1)
    outbox.record(2)
    until(synced(outbox, 2))
    time.sleep(0.2)
    assert streams.tried == 1
    assert running.messages == ["synced 2 events"]


def test_a_server_without_room_is_not_taken_for_a_proxy_that_breaks_streams(
    outbox: Outbox, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    streams.always_opening = answers(problem(503, "full", **{"Retry-After": "0"}))
    running = start()
    until(lambda: streams.tried > 2 * HELD.tries)
    assert running.messages == []


# Who is at the other end


@pytest.mark.parametrize("calls_itself", ["7f1d1d5c-0000-4000-8000-000000000000", None])
def test_on_a_stream_to_another_server_nothing_is_sent(
    outbox: Outbox,
    server: ScriptedServer,
    streams: ScriptedStreams,
    start: Callable[..., Running],
    calls_itself: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = str(server.server_id)
    head = streams._head

    def misnamed(status: int, headers: dict[str, str], _server: str | None, body: bytes | None) -> bytes:
        return head(status, headers, calls_itself, body)

    monkeypatch.setattr(streams, "_head", misnamed)
    server.script.extend([says(problem(503, "not now"))] * 2)
    start()
    until(lambda: streams.opened >= 1)
    outbox.record(3)
    until(synced(outbox, 3), "an upload to the right one")
    assert streams.batches == []
    assert server.name == own


IN_ITS_PLACE: dict[str, Callable[[ScriptedServer], Answer]] = {
    "another server": lambda _: problem(401, "this token is not valid"),
    "another server that lets everybody in": lambda _: answer_json(200, {"projects": []}),
    "a login page": lambda _: Answer(200, b"<html>Welcome!</html>", server=None),
    "a proxy that redirects": lambda server: Answer(
        302, b"", {"Location": f"{server.url}/sync/stream"}, server=None
    ),
    "a gateway without the server": lambda _: Answer(502, b"<h1>Bad gateway</h1>", server=None),
}


@pytest.mark.parametrize("name", IN_ITS_PLACE)
def test_whoever_stands_in_the_servers_place_gets_no_token_by_a_stream(
    outbox: Outbox,
    server: ScriptedServer,
    streams: ScriptedStreams,
    start: Callable[..., Running],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = threading.Semaphore(0)

    def stranger(_seen: Seen) -> Answer:
        asked.release()
        return IN_ITS_PLACE[name](server)

    with monkeypatch.context() as patched:
        if name.startswith("another server"):
            server.calls_itself = str(uuid4())
        patched.setattr(server, "answer", stranger)
        running = start()
        for _ in range(2 * HELD.tries):  # also when streams have failed so often that uploads are tried
            assert asked.acquire(timeout=DEADLINE_S)
        running.end()
    assert streams.tried == 0
    assert all("Authorization" not in seen.headers and not seen.body for seen in server.seen)
    server.calls_itself = None
    start()
    until(lambda: streams.opened == 1)


def test_an_expired_token_is_renewed_at_the_handshake(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    server.token = "another"
    start()
    until(lambda: streams.opened == 1)
    outbox.record(1)
    until(synced(outbox, 1))
    asked = [seen.path for seen in server.seen]
    assert asked == ["/sync/projects", "/sync/stream", "/auth/refresh", "/sync/stream"]
    account = credentials.enrolled(outbox.home.credentials).account
    assert account is not None and account.token == server.token


def test_a_device_that_is_shut_out_is_told_once_and_keeps_everything(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    running = start()
    until(lambda: streams.opened == 1)
    server.token, server.refresh_refused = "another", True
    streams.close(wire.StreamEnd.UNAUTHORIZED)
    until(lambda: running.messages)
    outbox.record(3)
    time.sleep(0.3)
    assert outbox.statuses() == {"pending": 3}
    assert len(running.messages) == 1 and "sync is paused" in running.messages[0]
    assert credentials.enrolled(outbox.home.credentials).account is None
    assert streams.batches == []


def test_a_redirect_is_not_followed_and_takes_no_token_along(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    with ScriptedServer().running() as thief:
        elsewhere = {"Location": f"{thief.url.replace('http', 'ws')}/sync/stream"}
        streams.always_opening = answers(Answer(302, b"", elsewhere, server=None))
        start()
        until(lambda: streams.tried >= 2)
        assert thief.seen == []


def test_a_new_epoch_at_the_handshake_has_both_sides_compared(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    ids = outbox.record(4)
    outbox.push()
    for event_id in ids[:2]:
        del server.stored[str(event_id)]
    server.epoch = str(uuid4())
    running = start()
    until(lambda: len(server.stored) == 4)
    until(synced(outbox, 4))
    assert "the server had lost 2 events it confirmed; sending again" in running.messages


# What breaks streams on the way

PORTAL = Answer(200, b"<html>Welcome!</html>", server=None)
BREAKING: dict[str, Opening] = {
    "200 by a login page": answers(PORTAL),
    "400": answers(Answer(400, b"Bad request", server=None)),
    "403": answers(Answer(403, b"Forbidden", server=None)),
    "404 by an older server": answers(problem(404, "no such thing")),
    "407": answers(Answer(407, b"", server=None)),
    "426 since the upgrade was taken out": answers(problem(426, "no handshake")),
    "502": answers(Answer(502, b"<h1>Bad gateway</h1>", server=None)),
    "no HTTP": answers(Answer(99, b"")),
    "no answer": swallow,
}


@pytest.mark.parametrize("name", BREAKING)
def test_where_streams_do_not_get_through_events_are_uploaded(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running], name: str
) -> None:
    streams.always_opening = BREAKING[name]
    running = start()
    until(lambda: running.messages)
    tried = streams.tried
    assert tried == HELD.tries
    outbox.record(3)
    until(synced(outbox, 3))
    until(lambda: len(running.messages) == 2)
    assert "live sync does not get through" in running.messages[0] and "synced 3" in running.messages[1]
    assert (streams.tried, streams.batches) == (tried, [])


def test_streams_that_die_again_and_again_are_given_up_and_tried_again_later(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    running = start(HELD)
    for count in range(1, 1 + HELD.tries):
        until(lambda: streams.opened >= count and streams.open_ones)  # noqa: B023
        streams.cut()
        until(lambda: not streams.open_ones)
    until(lambda: running.messages)
    assert "live sync does not get through" in running.messages[0]
    outbox.record(1)
    until(synced(outbox, 1))
    assert ways(outbox) == [("http", "ok")]
    running.ahead_s = HELD.pause_s
    until(lambda: streams.open_ones, "another try")
    outbox.record(1)
    until(synced(outbox, 2))
    assert running.messages[-1] == "live sync works again"
    assert ways(outbox)[-1] == ("live", "ok")
    assert len([said for said in running.messages if "get through" in said]) == 1


def test_in_mode_live_streams_are_never_given_up(
    outbox: Outbox, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    Settings.load(outbox.store).changed(mode="live").save_sync(outbox.store)
    streams.always_opening = answers(PORTAL)
    start()
    until(lambda: streams.tried > 2 * HELD.tries)
    streams.always_opening = lambda _server, _seen: None
    until(lambda: streams.opened == 1)


def test_in_mode_batch_no_stream_is_opened(
    outbox: Outbox, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    Settings.load(outbox.store).changed(mode="batch").save_sync(outbox.store)
    start()
    outbox.record(3)
    until(synced(outbox, 3))
    assert streams.tried == 0


def test_while_the_server_is_gone_nothing_on_the_way_is_blamed(
    outbox: Outbox, start: Callable[..., Running]
) -> None:
    kept = credentials.enrolled(outbox.home.credentials)
    credentials.save(outbox.home.credentials, msgspec.structs.replace(kept, server_url="http://127.0.0.1:1"))
    running = start()
    time.sleep(0.5)
    assert running.messages == []


# The developer's word


@pytest.mark.parametrize("change", [{"sync_enabled": False}, {"sync_mode": "batch"}])
def test_switching_it_off_closes_the_stream_within_a_second(
    outbox: Outbox, streams: ScriptedStreams, start: Callable[..., Running], change: dict[str, Any]
) -> None:
    streams.always = store_and_keep_silent
    start()
    until(lambda: streams.opened == 1)
    outbox.record(1)
    until(lambda: streams.batches)
    began = time.monotonic()
    outbox.store.set_settings(**change)
    until(lambda: not streams.open_ones)
    assert time.monotonic() - began < 1


def share(outbox: Outbox, level: Level) -> None:
    levels.choose(outbox.store, {outbox.project.id: outbox.project.path}, level)


def test_a_project_that_shares_nothing_sends_nothing_over_an_open_stream_and_others_do(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    server.projects.append({"projectId": str(uuid4()), "name": "Till"})
    other = add_project(outbox.store, "till")
    outbox.link(other, 1)
    start()
    until(lambda: streams.opened == 1)
    outbox.record(1)
    until(synced(outbox, 1))
    share(outbox, Level.OFF)
    held = outbox.record(150)  # more than a stream is for
    sent = outbox.record(2, other)
    until(synced(outbox, 3))
    assert streams.ids[1:] == [str(event_id) for event_id in sent]
    assert server.uploads == []
    share(outbox, Level.METADATA)
    until(synced(outbox, 153))
    assert {str(event_id) for event_id in held} <= server.stored.keys()


def test_no_name_goes_over_an_open_stream_once_metrics_are_shared(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    repo = Repo(outbox.project.path)
    repo.write("a.py", "1\n")
    repo.commit()
    start()
    until(lambda: streams.opened == 1)
    outbox.record(1)
    until(synced(outbox, 1))
    share(outbox, Level.METRICS)
    outbox.record(5)
    until(synced(outbox, 6))
    (named,), *unnamed = (
        [event["eventData"]["path"] for event in batch.json["events"]] for batch in streams.batches
    )
    assert named == "src/a.py"
    assert all(pseudonyms.is_one(path) for paths in unnamed for path in paths)
    assert len(streams.ids) == 6


def test_what_a_level_forbids_is_not_sent_by_a_loop_that_has_made_it_ready(
    outbox: Outbox,
    streams: ScriptedStreams,
    start: Callable[..., Running],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The choice comes after the batch was made and before it is sent."""
    made = batches.as_json

    def made_and_forbidden(part: Sequence[batches.Sendable], device_id: UUID) -> bytes:
        share(outbox, Level.OFF)
        return made(part, device_id)

    start()
    until(lambda: streams.opened == 1)
    monkeypatch.setattr(batches, "as_json", made_and_forbidden)
    outbox.record(3)
    until(lambda: rows.held(outbox.store) == 3)
    outbox.store.set_settings(sync_enabled=False)
    until(lambda: not streams.open_ones)
    assert streams.batches == []
    assert outbox.statuses() == {"pending": 3}


def test_it_ends_with_the_daemon_also_with_batches_on_their_way(
    outbox: Outbox, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    streams.always = store_and_keep_silent
    running = start()
    until(lambda: streams.opened == 1)
    outbox.record(1)
    until(lambda: streams.batches)
    assert running.end() < 0.7
    assert outbox.statuses() == {"pending": 1}
    assert ways(outbox) == [("live", "offline")]


def test_while_another_process_sends_the_stream_waits(
    outbox: Outbox, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    start()
    until(lambda: streams.opened == 1)
    with one_sender(outbox.home.sync_lock):
        outbox.record(2)
        time.sleep(0.5)
        assert streams.batches == []
    until(synced(outbox, 2))
    assert ways(outbox) == [("live", "ok")]


def test_a_mode_that_nobody_knows_is_refused(outbox: Outbox) -> None:
    with pytest.raises(Invalid, match="mode: expected auto, live, batch, got 'fast'"):
        Settings.load(outbox.store).changed(mode="fast")
    outbox.store.set_settings(sync_mode=[1])
    with pytest.raises(Invalid, match="mode: expected"):
        Settings.load(outbox.store)


# Everything together


def test_of_a_thousand_events_over_streams_that_are_cut_at_random_none_is_lost_or_doubled(
    outbox: Outbox, server: ScriptedServer, streams: ScriptedStreams, start: Callable[..., Running]
) -> None:
    chance = random.Random(11)

    def sometimes(server: ScriptedServer, seen: Seen) -> Answer | None:
        match chance.randrange(8):
            case 0:
                return None
            case 1:
                store_all(server, seen)
                return None
            case 2:
                return problem(503, "busy", **{"Retry-After": "0"})
            case _:
                return store_all(server, seen)

    streams.always = sometimes
    start(Patience(tries=10_000))
    recorded = set()
    for _ in range(250):
        recorded |= {str(event_id) for event_id in outbox.record(4)}
        time.sleep(chance.uniform(0, 0.02))
    until(synced(outbox, 1_000))
    assert server.stored.keys() == recorded
    assert {via for via, outcome in ways(outbox) if outcome == "ok"} == {"http", "live"}
    outbox.assert_counters_are_true()
