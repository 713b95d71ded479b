"""``/sync/stream``: events as they happen, over a WebSocket that stays open.

A message of it is asked of ``POST /sync/events`` inside this process, as a request of its own: verdicts,
rights, pace, limits and errors are that door's, and cannot be others here.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any, Final, cast
from uuid import UUID

from flask import Flask, Response, current_app, request
from msgspec import Raw
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.wrappers import Response as Answer

from devflow import wire
from devflow.access import Action
from devflow.accounts import tokens
from devflow.context import Context
from devflow.errors import Invalid, Limited, Unauthorized
from devflow.web import guard
from devflow.web.api import bearer, bp, problem
from devflow.web.api.operation import operation
from devflow.web.api.uploads import unavailable
from devflow.web.current import context, session
from devflow.web.websocket import SOCKET, Bell, Gone, Upgrade, WebSocket, accepted
from devflow.wire import StreamEnd

MOST: Final = 384
"""Streams at a time. Each holds one of gunicorn's threads, as open pages do; the others are for requests."""
OF_ONE_DEVICE: Final = 4
"""An agent opens one; more are left of connections that a network cut unnoticed."""
LOOK_EVERY: Final = 3
"""Pings: once a minute it is looked whether who sends nothing still may, which takes some 1.5 ms.

What this process ends calls its streams at once; the minute is for what another one ends, and for time."""
UPLOAD: Final = "/sync/events"
EXTENSION: Final = "devflow_streams"
_REPORT: Final = f"HTTP_{wire.REPORT_HEADER.upper().replace('-', '_')}"
_OPEN: Final = 101
_BAD_REQUEST: Final = 400
_UNAUTHORIZED: Final = 401
# Of the handshake's environment, what an upload has to say too: who asks, by what name, and from where.
_KEPT: Final = (
    "HTTP_AUTHORIZATION",
    "HTTP_HOST",
    "HTTP_USER_AGENT",
    "HTTP_DEVFLOW_PROTOCOL",
    "REMOTE_ADDR",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "wsgi.url_scheme",
    "wsgi.errors",
    "wsgi.version",
    "wsgi.multithread",
    "wsgi.multiprocess",
    "wsgi.run_once",
)
log = logging.getLogger(__name__)


class Streams:
    """The open streams of one server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of_device: Counter[UUID] = Counter()
        self._open: set[_Stream] = set()
        self._bell: Bell | None = None
        self._has_ended = False

    def __len__(self) -> int:
        """How many places are taken."""
        return self._of_device.total()

    def take_place(self, device: UUID) -> Callable[[], None]:
        """What gives the place back; raise Limited or ServiceUnavailable if there is none."""
        with self._lock:
            if self._has_ended:
                raise unavailable("the server is stopping")
            if self._of_device[device] >= OF_ONE_DEVICE:
                raise Limited(f"expected at most {OF_ONE_DEVICE} streams of one device at a time", 30)
            if len(self) >= MOST:
                raise full()
            self._of_device[device] += 1
        return lambda: self._leave(device)

    def _leave(self, device: UUID) -> None:
        with self._lock:
            self._of_device[device] -= 1
            self._of_device += Counter()  # drops what is down to nothing

    @contextmanager
    def listening(self, stream: _Stream) -> Iterator[None]:
        """Within the block ``call`` reaches the stream."""
        with self._lock:
            self._open.add(stream)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(stream)

    def bell(self) -> Bell | None:
        """What wakes all streams next; None if they have to end. One for all, since it takes two files."""
        with self._lock:
            if self._has_ended:
                return None
            if self._bell is None:
                self._bell = Bell()
            return self._bell

    def call(self, whose: Set[UUID]) -> None:
        """Have the streams of these devices and people look at once whether they may go on."""
        if not whose:
            return
        with self._lock:
            called = [stream for stream in self._open if not stream.whose.isdisjoint(whose)]
            for stream in called:
                stream.is_called = True
            if called:
                self._ring()

    def end(self) -> None:
        """Close all, and open no more; for a worker that has to stop. Returns before they are closed."""
        with self._lock:
            self._has_ended = True
            self._ring()

    def _ring(self) -> None:
        """Wake everybody: who was not called goes back to sleep, with the next bell."""
        if self._bell is not None:
            self._bell.ring()
            self._bell = None


def init_app(app: Flask) -> None:
    streams = app.extensions[EXTENSION] = Streams()
    shared: Context = app.extensions["devflow"]
    shared.database.after_commit = lambda info: streams.call(info.get(tokens.ENDED, frozenset()))


def of(app: Flask) -> Streams:
    return cast(Streams, app.extensions[EXTENSION])


def full() -> ServiceUnavailable:
    """Streams last: to come back within seconds would be in vain."""
    return ServiceUnavailable(
        "the server has as many streams as it can hold: upload instead", retry_after=300
    )


@bp.get("/sync/stream")  # so that who asks by mistake is told so, and by whose right
@bp.get("/sync/stream", websocket=True)
@guard.needs(Action.SYNC)
@operation(
    "Open a stream of events",
    {
        400: "It is the handshake of a WebSocket, and has a mistake.",
        426: "It is not the handshake of a WebSocket.",
        429: "This PC has too many streams open.",
        503: "There is no room for another stream; uploads go on.",
    },
    status=_OPEN,
)
def stream() -> Response:
    """A WebSocket: each message a ``StreamBatch``, answered by a ``StreamAnswer`` with its number."""
    asking = bearer.current(session())
    device = asking.device
    if device is None:
        raise Unauthorized("expected a token of a device: log in with a deviceId")
    status, headers = accepted(request)
    if status != _OPEN or SOCKET not in request.environ:
        return _not_a_websocket(status, headers)
    app = cast(Any, current_app)._get_current_object()
    served = _Stream(app, request.environ, frozenset({device.public_id, asking.person.public_id}))
    leave = of(app).take_place(device.public_id)
    return Upgrade(headers, served.serve, leave)


def _not_a_websocket(status: int, headers: Mapping[str, str]) -> Response:
    said = "expected the handshake of a WebSocket of version 13 over HTTP/1.1"
    answer = problem(status if status == _BAD_REQUEST else 426, "Upgrade required", said)
    answer.headers["Upgrade"] = headers.get("Upgrade", "websocket")
    return answer


class _Stream:
    """One stream, of one token; ``whose`` are the device and the person that it stands for."""

    def __init__(self, app: Flask, environ: Mapping[str, Any], whose: frozenset[UUID]) -> None:
        self.whose = whose
        self.is_called = True  # what ended between the handshake and now called nobody
        self._app = app
        self._context: Context = context()
        self._token = request.headers["Authorization"].partition(" ")[2]
        self._environ = {name: environ[name] for name in _KEPT if name in environ}
        self._last_number = 0
        self._pings = 0

    def serve(self, connection: Any) -> None:
        """Answer each message in turn until either side has enough."""
        streams = of(self._app)
        socket = WebSocket(connection, wire.MAX_FRAME_BYTES, streams.bell)
        with streams.listening(self), suppress(Gone):
            for message in socket.messages():
                if message is None:
                    self._look(socket)
                else:
                    self._take(socket, message)

    def _take(self, socket: WebSocket, message: bytes) -> None:
        try:
            asked = self._numbered(message)
        except (UnicodeDecodeError, Invalid) as error:
            socket.close(StreamEnd.NOT_JSON, str(error))
            return
        if asked.number <= self._last_number:
            socket.close(
                StreamEnd.MISUSED, f"expected a number above {self._last_number}, got {asked.number}"
            )
            return
        self._last_number = asked.number
        answer = self._answered(asked)
        socket.send(wire.encode(answer))
        if answer.status == _UNAUTHORIZED:
            socket.close(StreamEnd.UNAUTHORIZED, "this token is no longer good")

    @staticmethod
    def _numbered(message: bytes) -> wire.StreamBatch:
        message.decode()  # what is raw in it the decoder would pass over
        return wire.decode(message, wire.StreamBatch)

    def _answered(self, asked: wire.StreamBatch) -> wire.StreamAnswer:
        body = bytes(asked.batch)
        environ = {
            **self._environ,
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": UPLOAD,
            "QUERY_STRING": "",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_DATE": wire.clock(asked.sent_at),
            "wsgi.input": BytesIO(body),
        }
        if asked.report is not None:
            # As it will be kept: nothing else of what was sent comes near a header.
            environ[_REPORT] = wire.report_header(wire.read_report(asked.report))
        answer = Answer.from_app(self._app.wsgi_app, environ, buffered=True)
        return wire.StreamAnswer(
            number=asked.number,
            status=answer.status_code,
            sent_at=self._context.now(),
            retry_after=answer.headers.get("Retry-After"),
            body=Raw(answer.get_data()),
        )

    def _look(self, socket: WebSocket) -> None:
        """Close the stream of who may send no more, also if nothing is sent; called at each ping and bell."""
        if self.is_called:
            self.is_called = False
        else:
            self._pings += 1
            if self._pings % LOOK_EVERY:
                return
        vault, server_id, now = self._context.vault, self._context.server_id, self._context.now()
        try:
            with self._context.database.reading() as reading:
                tokens.holder(reading, tokens.claims(vault, self._token, server_id), now)
        except Unauthorized as error:
            socket.close(StreamEnd.UNAUTHORIZED, str(error))
        except SQLAlchemyError as error:
            # An outage ends no stream: the next batch is told of it.
            log.warning("could not look whether a stream may go on: %s", type(error).__name__)
