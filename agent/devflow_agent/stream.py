"""An open stream to the enrolled server: batches out, and their answers in whatever order they come.

It only carries. What goes over it is made and settled as an upload is, and stays pending until then,
so whatever ends it loses nothing and leaves nothing to be undone.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, reconnect

from devflow import wire
from devflow.errors import Invalid, Offline, TooLarge, Unauthorized
from devflow_agent import batches, measures, outbox
from devflow_agent.batches import Sendable
from devflow_agent.config import Home
from devflow_agent.outbox import Attempt, Waiting
from devflow_agent.remote import MAX_ANSWER_BYTES, Answer, Remote, Timeouts, Unavailable
from devflow_agent.store import Store
from devflow_agent.sync import Sending, one_sender

MOST_EVENTS: Final = 100
"""In a batch. Where more wait an upload is better, which is larger and compressed."""
POLL_S: Final = 0.2
"""So often the store is asked for new events, which takes it some 50 microseconds."""
PING_S: Final = 20.0
REPORT_S: Final = 60.0
"""So often at most a batch says how sync is doing, for which 100 attempts are looked at."""
CLOSE_S: Final = 0.3
"""For the server to say goodbye too; then the connection is cut."""
_PATH: Final = "/sync/stream"
_OPEN: Final = 101
_UPGRADE_REQUIRED: Final = 426
_FRAME_BYTES: Final = 128 + wire.MAX_REPORT  # more than what stands around a batch in its message
log = logging.getLogger(__name__)


class NeedsUpload(Exception):
    """What waits is more than a stream is for, or the server wants it in smaller parts."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A batch on its way, ``at_s`` on the monotonic clock."""

    part: list[Sendable]
    attempt: Attempt
    at_s: float


class Stream:
    """Use it as a context manager. Offline and Unauthorized, from any method, are its end."""

    def __init__(
        self,
        home: Home,
        store: Store,
        remote: Remote,
        connection: ClientConnection,
        clock: Callable[[], int],
        answer_s: float,
    ) -> None:
        self._home = home
        self._store = store
        self._remote = remote
        self._connection = connection
        self._clock = clock
        self._answer_s = answer_s
        self._sending = Sending(store, remote, clock, lambda so_far: None)
        self._device_id = store.device_id()
        self._on_their_way: dict[int, _Sent] = {}
        self._number = 0
        self._reported: tuple[float, int] | None = None  # when, and how many were told to wait then
        self.after = store.sequence()
        """Events up to this local id are none of ours: an upload has sent them, or has seen them refused."""
        self.has_settled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _where: TracebackType | None
    ) -> None:
        """Close it; batches without an answer are written down as lost, and their events wait on."""
        why = Offline(str(error) if isinstance(error, Offline) else "the stream was closed before the answer")
        for sent in self._on_their_way.values():
            self._sending.lost(sent.attempt, why)
        self._connection.close()

    def carry(self, is_over: Callable[[], bool]) -> None:
        """Send what waits and what comes meanwhile, until all has its answer or ``is_over``.

        Raise NeedsUpload, with nothing on its way, if that is better; Busy if another process sends.
        """
        if not self._waiting():
            return
        with one_sender(self._home.sync_lock):
            needs_upload = False
            while not is_over():
                needs_upload = needs_upload or not self._send()
                if not self._on_their_way:
                    break
                needs_upload = not self._receive() or needs_upload
        if needs_upload:
            raise NeedsUpload

    def rest(self) -> None:
        """Wait for a moment in which the server may end the stream; raise Offline if it did."""
        if self._message() is not None:
            raise Offline("the stream brought an answer that was not asked for")

    def _waiting(self) -> list[Waiting]:
        return outbox.pending(self._store, MOST_EVENTS + 1, after=self.after)

    def _send(self) -> bool:
        """Send what waits, as far as the window allows; return False if that is not for a stream."""
        self._sending.goes_by_levels_of_now()
        waiting = self._waiting()
        if len(waiting) > MOST_EVENTS:
            return False
        room = wire.MAX_FRAME_BYTES - _FRAME_BYTES
        for part in batches.cut_to_size(self._sending.sendable(waiting), room):
            if len(self._on_their_way) >= wire.STREAM_WINDOW:
                break
            body = batches.as_json(part, self._device_id)
            if len(body) > room:
                return False
            if self._sending.is_outdated():
                break
            self._send_part(part, body)
        return True

    def _send_part(self, part: list[Sendable], body: bytes) -> None:
        self._number += 1
        attempt = self._sending.begun(part, len(body), "live")
        self._on_their_way[self._number] = _Sent(part, attempt, time.monotonic())
        batch = wire.StreamBatch(
            number=self._number,
            sent_at=attempt.timestamp_ms,
            batch=msgspec.Raw(body),
            report=self._report(),
        )
        # From now on it is not sent again here, whatever becomes of it.
        self.after = part[-1].event.local_id
        with _ended():
            self._connection.send(wire.encode(batch), text=True)

    def _report(self) -> str | None:
        """What the server is told with a batch that has just joined those on their way; mostly nothing.

        That nothing waits any more is told as soon as it is so: the number told before could stand there
        until somebody works on this PC again.
        """
        now_s = time.monotonic()
        at_s, waiting = self._reported or (now_s - REPORT_S, 0)
        is_due = now_s - at_s >= REPORT_S
        if not is_due and not waiting:
            return None
        report = measures.report(self._store, sum(len(sent.part) for sent in self._on_their_way.values()))
        if not is_due and report.queue:
            return None
        self._reported = (now_s if is_due else at_s, report.queue or 0)
        return wire.report_header(report)

    def _receive(self) -> bool:
        """Settle by an answer, if one comes; return False if its batch has to be uploaded in parts."""
        message = self._message()
        if message is None:
            oldest = next(iter(self._on_their_way.values()))
            if time.monotonic() - oldest.at_s > self._answer_s:
                raise Offline(f"the stream brought no answer within {self._answer_s:.0f} s")
            return True
        try:
            said = wire.decode(message, wire.StreamAnswer)
        except Invalid as error:
            raise Offline(f"the stream brought something else than an answer: {error}") from error
        sent = self._on_their_way.pop(said.number, None)
        if sent is None:
            raise Offline(f"the stream brought an answer to {said.number}, which was not asked")
        is_settled = self._sending.settled(sent.part, sent.attempt, lambda: self._answer(said, sent))
        self.has_settled = self.has_settled or is_settled
        return is_settled

    def _answer(self, said: wire.StreamAnswer, sent: _Sent) -> Answer:
        """As an upload is answered; who the server is was said in the handshake."""
        epoch = self._remote.epoch
        return Answer(
            status=said.status,
            server=str(self._remote.server_id),
            epoch=None if epoch is None else str(epoch),
            retry_after=said.retry_after,
            body=bytes(said.body),
            latency_ms=round((time.monotonic() - sent.at_s) * 1_000),
            date=wire.clock(said.sent_at),
        )

    def _message(self) -> bytes | None:
        with _ended():
            try:
                return self._connection.recv(POLL_S, decode=False)
            except TimeoutError:
                return None


def opened(
    home: Home,
    store: Store,
    remote: Remote,
    http: requests.Session,
    clock: Callable[[], int],
    timeouts: Timeouts,
) -> Stream:
    """Open a stream to the server that ``remote`` speaks to; an expired token is renewed.

    Raise Offline if anything else than that server answers, or it has none for us now; Unauthorized
    if it does not know us. Then nothing was sent.
    """
    made: list[ClientConnection] = []

    def once(url: str, token: str) -> Answer:
        answer, connection = _handshake(http, url, token, timeouts)
        made.extend([] if connection is None else [connection])
        return answer

    try:
        _check(remote, remote.ask(once))
    except BaseException:
        for connection in made:
            connection.close()
        raise
    return Stream(home, store, remote, made[0], clock, timeouts.read_s)


def _check(remote: Remote, answer: Answer) -> None:
    if answer.status == _UPGRADE_REQUIRED and answer.server == str(remote.server_id):
        raise Offline("something on the way makes a plain request of it")
    try:
        remote.checked(answer, expected=_OPEN)
    except (Invalid, TooLarge) as error:
        raise Offline(f"the server does not open a stream: {error}") from error
    except Unavailable as error:
        if answer.server != str(remote.server_id):  # a gateway's word is not the server's
            raise Offline(str(error)) from error
        raise


def _handshake(
    http: requests.Session, url: str, token: str, timeouts: Timeouts
) -> tuple[Answer, ClientConnection | None]:
    """What was answered, and the connection if it was 101. Raise Offline if nothing was."""
    began = time.monotonic()
    connection = None
    try:
        way = http.merge_environment_settings(url, {}, None, None, None)
        proxy = select_proxy(url, way["proxies"])
        connection = _Once(
            "ws" + url.removeprefix("http") + _PATH,
            ssl=_trusting(way["verify"]) if url.startswith("https:") else None,
            proxy=proxy,
            proxy_ssl=_trusting(way["verify"]) if proxy and proxy.startswith("https:") else None,
            additional_headers={
                wire.PROTOCOL_HEADER: str(wire.PROTOCOL),
                "Authorization": f"Bearer {token}",
            },
            compression=None,  # 181 kB a connection instead of 60, for messages that are small
            open_timeout=timeouts.connect_s,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            close_timeout=CLOSE_S,
            max_size=MAX_ANSWER_BYTES,
            logger=log,
        ).connect()
        response = connection.response
        assert response is not None  # noqa: S101 - it is open
    except InvalidStatus as error:
        response = error.response
    except (WebSocketException, OSError, EOFError, ValueError) as error:
        raise Offline(f"{url}{_PATH} did not open: {error or type(error).__name__}") from error
    if connection is not None:
        connection.pending_legacy_warning = False  # that we close it ourselves is meant
    headers: Mapping[str, Any] = dict(response.headers.raw_items())
    named = {name.lower(): value for name, value in headers.items()}
    answer = Answer(
        status=response.status_code,
        server=named.get(wire.SERVER_HEADER.lower()),
        epoch=named.get(wire.EPOCH_HEADER.lower()),
        retry_after=named.get("retry-after"),
        body=bytes(response.body or b""),
        latency_ms=round((time.monotonic() - began) * 1_000),
        date=named.get(wire.CLOCK_HEADER.lower()),
    )
    return answer, connection


class _Once(reconnect):
    """Follows no redirect: the token is for the enrolled server alone."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


def _trusting(verify: bool | str | None) -> ssl.SSLContext:
    """Trust whom requests trust: a file or a folder that was named, or the list of ``requests``."""
    where = Path(verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH)
    if where.is_dir():
        return ssl.create_default_context(capath=where)
    return ssl.create_default_context(cafile=where)


@contextmanager
def _ended() -> Iterator[None]:
    """The end of a connection as ours."""
    try:
        yield
    except ConnectionClosed as error:
        closed = error.rcvd
        if closed is not None and closed.code == wire.StreamEnd.UNAUTHORIZED:
            raise Unauthorized("the server ended the stream: this token is no longer good") from error
        raise Offline(f"the stream ended: {error}") from error
    except (WebSocketException, OSError) as error:
        raise Offline(f"the stream broke: {error or type(error).__name__}") from error
