"""One WebSocket (RFC 6455), served by the one thread that waits for it: messages in, messages out, and pings.

The frames are read by ``websockets``, which does no I/O of its own. No extension is offered, so nothing
is ever inflated, and a message is never held beyond its limit, in however many fragments it comes.
"""

from __future__ import annotations

import logging
import math
import os
import select
import time
import weakref
from collections.abc import Callable, Iterator
from ssl import SSLSocket
from typing import TYPE_CHECKING, Any, Final, cast

from flask import Request, Response
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from devflow.web.streams import Aborted
from devflow.wire import StreamEnd

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PING_S: Final = 20.0
MISSES: Final = 2
"""So many pings may go without a sign of life; then the other side is gone."""
READ_S: Final = 1.0
"""For the rest of a record of TLS that has begun to come; what is longer about it is asked again."""
SEND_S: Final = 20.0
"""For an answer to be taken. Answers are small: who has not read them by then reads nothing."""
_READ_BYTES: Final = 16_384
_SILENT: Final = logging.getLogger("devflow.websocket")
_REASON_BYTES: Final = 123
_HANDSHAKE: Final = ("Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version")
SOCKET: Final = "gunicorn.socket"
"""Where gunicorn's threaded worker lets an application have the connection."""


class Gone(Exception):
    """The other side has left, or can no longer be spoken to."""


def accepted(request: Request) -> tuple[int, dict[str, str]]:
    """The status and the headers that answer a handshake: 101, or what is wrong with it."""
    given = Headers([(name, request.headers[name]) for name in _HANDSHAKE if name in request.headers])
    spoken = request.environ.get("SERVER_PROTOCOL", "")
    handshake = Handshake(request.path, given, method=request.method, protocol=spoken)
    answer = ServerProtocol(logger=_SILENT).accept(handshake)
    kept = {name: value for name, value in answer.headers.raw_items() if name not in ("Date", "Content-Type")}
    return answer.status_code, {name: value for name, value in kept.items() if name != "Content-Length"}


class Upgrade(Response):
    """101; then ``serve`` has the connection, in the same thread, until it returns. ``leave`` ends all.

    It runs when the request is over for Flask: what it needs it was given before.
    """

    def __init__(
        self, headers: dict[str, str], serve: Callable[[Any], None], leave: Callable[[], None]
    ) -> None:
        super().__init__(status=101, headers=headers)
        del self.headers["Content-Type"]
        self._serve = serve
        self._leave = leave

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> _Served:
        start_response(self.status, self.get_wsgi_headers(environ).to_wsgi_list())
        return _Served(environ[SOCKET], self._serve, self._leave)


class _Served:
    """What gunicorn takes for the body: of no bytes, and as long as the WebSocket is open."""

    def __init__(self, connection: Any, serve: Callable[[Any], None], leave: Callable[[], None]) -> None:
        self._connection = connection
        self._serve = serve
        self._leave = leave
        self._has_head = False

    def __iter__(self) -> _Served:
        return self

    def __next__(self) -> bytes:
        if not self._has_head:
            self._has_head = True
            return b""  # with its first chunk gunicorn sends the head
        self._serve(self._connection)
        raise Aborted  # else gunicorn would wait for another request here

    def close(self) -> None:
        """Called by gunicorn in any case, also when the head could not be sent."""
        self._leave()


class Bell:
    """Rings once, for all threads that wait with it. Shutting their sockets would wake them and end TLS."""

    def __init__(self) -> None:
        self._heard, self._rung = os.pipe()
        weakref.finalize(self, os.close, self._heard)  # once the last of them has heard it
        self.has_rung = False

    def ring(self) -> None:
        if not self.has_rung:
            self.has_rung = True
            os.close(self._rung)  # the other end can be read from now on: there is nothing more

    def fileno(self) -> int:
        return self._heard


class WebSocket:
    """The server's end. ``bells`` gives what wakes it next, and None when it has to be closed."""

    def __init__(
        self,
        connection: Any,
        max_bytes: int,
        bells: Callable[[], Bell | None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket = connection
        self._bells = bells
        self._bell: Bell | None = None
        self._waiting = select.poll()  # not select(), which knows no more than 1,024 files
        self._waiting.register(connection, select.POLLIN)
        self._frames = Protocol(Side.SERVER, max_size=max_bytes, logger=_SILENT)
        self._monotonic = monotonic
        self._ping_at = monotonic() + PING_S
        self._unanswered = 0
        self._message = bytearray()
        self._is_text = False

    def is_open(self) -> bool:
        return self._frames.state is State.OPEN

    def messages(self) -> Iterator[bytes | None]:
        """Each message, as UTF-8; None each ``PING_S``, and when a bell has rung, at the start above all.

        Ends with the connection, raises Gone if it broke.
        """
        while self.is_open():
            for frame in self._frames.events_received():
                message = self._taken(cast(Frame, frame))
                if message is not None:
                    yield message
                if not self.is_open():
                    return
                if self._bells() is None:
                    break
            self._flush()
            if self._bell is None or self._bell.has_rung:
                if not self._hears_another():
                    self.close(StreamEnd.STOPPING, "the server is stopping")
                    return
                yield None
            elif self._monotonic() >= self._ping_at:
                self._ping()
                yield None
            else:
                self._fill()
        self._flush()

    def _hears_another(self) -> bool:
        if self._bell is not None:
            self._waiting.unregister(self._bell)
        self._bell = self._bells()
        if self._bell is None:
            return False
        self._waiting.register(self._bell, select.POLLIN)
        return True

    def send(self, message: bytes) -> None:
        """Raise Gone if the other side does not take it."""
        self._frames.send_text(message)
        self._flush()

    def close(self, code: StreamEnd, reason: str = "") -> None:
        """Say why and be done with it; what comes afterwards is not read."""
        if self.is_open():
            self._frames.fail(code, reason.encode()[:_REASON_BYTES].decode(errors="ignore"))
            self._flush()

    def _taken(self, frame: Frame) -> bytes | None:
        """The message that is whole with this frame, None if none is."""
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._is_text = frame.opcode is Opcode.TEXT
        elif frame.opcode is not Opcode.CONT:
            return None
        if not self._is_text:
            self.close(StreamEnd.NOT_TEXT, "expected text, got a binary message")
            return None
        self._message += frame.data
        if not frame.fin:
            return None
        message, self._message = bytes(self._message), bytearray()
        return message

    def _ping(self) -> None:
        if self._unanswered >= MISSES:
            self.close(StreamEnd.SILENT, "no sign of life")
            raise Gone
        self._unanswered += 1
        self._ping_at = self._monotonic() + PING_S
        self._frames.send_ping(b"")
        self._flush()

    def _fill(self) -> None:
        """Wait for bytes until it is time to ping, or a bell rings."""
        if not self._is_ready():
            return
        self._socket.settimeout(READ_S)
        try:
            data = self._socket.recv(_READ_BYTES)
        except TimeoutError:
            return  # what had come was part of a record of TLS
        except OSError as error:
            raise Gone from error
        if data:
            self._unanswered = 0
            self._frames.receive_data(data)
        else:
            self._frames.receive_eof()

    def _is_ready(self) -> bool:
        if isinstance(self._socket, SSLSocket) and self._socket.pending():
            return True
        wait_s = max(self._ping_at - self._monotonic(), 0.0)
        ready = self._waiting.poll(math.ceil(wait_s * 1_000))
        return any(handle == self._socket.fileno() for handle, _ in ready)

    def _flush(self) -> None:
        self._socket.settimeout(SEND_S)
        try:
            for data in self._frames.data_to_send():
                if data:  # an empty one is the end, which comes as gunicorn closes
                    self._socket.sendall(data)
        except OSError as error:
            raise Gone from error
