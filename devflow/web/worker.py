"""Gunicorn's worker of threads, in which no client can hold a thread by being slow to ask.

Gunicorn itself waits for a request without end once its first byte has come, so some hundreds of sockets that
drip would hold all threads. Here the whole head has a deadline, and the whole body another one, however
steadily either drips. Past it the socket is shut for reading only: of a head nothing comes any more,
and of a body the application sees that it is short, and can still say so. A WebSocket is a request without
a body whose answer does not end: it has no deadline here, only an end when the worker stops.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.errors import InvalidHeader, UnsupportedTransferCoding
from gunicorn.workers.gthread import ThreadWorker

HEAD_S: Final = 20
"""For the head, and before it for the handshake of TLS."""
BODY_S: Final = 30
BODY_BYTES_A_SECOND: Final = 8_192
"""What comes faster has all the time it needs; 1 MiB has 158 s."""
CHECK_EVERY_S: Final = 1.0
# Of malloc.h
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


@dataclass(slots=True)
class Wait:
    """A request that is being received: over what socket, until when, and the body once it has begun."""

    connection: Any
    deadline: float
    body: Any = None

    def is_over(self, now: float) -> bool:
        """Whether the time is up and something is still to come."""
        return now >= self.deadline and (self.body is None or _is_awaited(self.body.reader))

    def end(self) -> None:
        # Of the plain socket, also under TLS: the layer above must not be touched from another thread.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.connection.sock, socket.SHUT_RD)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    def init_process(self) -> None:
        give_memory_back()
        self.waits: dict[int, Wait] = {}
        self.end_streams: Callable[[], None] = lambda: None
        """Set by who loads the app: has the threads return that would wait for ever."""
        threading.Thread(target=self._watch, name="deadlines", daemon=True).start()
        super().init_process()

    def handle(self, conn: Any) -> Any:
        """One request, in a thread of its own; it can wait for the first byte as long as it likes."""
        me = threading.get_ident()
        self.waits[me] = Wait(conn, time.monotonic() + HEAD_S)
        try:
            return super().handle(conn)
        finally:
            del self.waits[me]

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Called by ``handle`` once the head is here."""
        self.waits[threading.get_ident()] = Wait(conn, time.monotonic() + _body_s(req.body.reader), req.body)
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """A transfer coding that nobody has is the client's mistake, as every other nonsense: no 501."""
        if isinstance(exc, UnsupportedTransferCoding):
            exc = InvalidHeader("TRANSFER-ENCODING", req=req)
        super().handle_error(req, client, addr, exc)

    def _watch(self) -> None:
        while self.alive:
            time.sleep(CHECK_EVERY_S)
            now = time.monotonic()
            for wait in list(self.waits.values()):
                if wait.is_over(now):
                    wait.end()
        self.end_streams()  # it was told to stop, and leaves them little time


def give_memory_back() -> None:
    """Have glibc return large buffers to the system when they are freed, and share its heaps among threads.

    Else it keeps a heap for many of the threads, and bodies of megabytes are scattered over them: 192 MiB
    after 6,000 malformed uploads (tests/soak), and 107 with this.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries do well without
        mallopt(_M_MMAP_THRESHOLD, 256 << 10)
        mallopt(_M_ARENA_MAX, 2)


def trim_memory() -> None:
    """Have glibc return what is free by now, as after loading all modules: 4 MB."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def _body_s(reader: Any) -> float:
    length = reader.length if isinstance(reader, LengthReader) else 0
    return BODY_S + length / BODY_BYTES_A_SECOND


def _is_awaited(reader: Any) -> bool:
    """Whether some of the body has not been read yet."""
    match reader:
        case LengthReader():
            return bool(reader.length > 0)
        case ChunkedReader():
            return reader.parser is not None
        case _:
            return True
