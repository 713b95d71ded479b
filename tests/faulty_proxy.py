"""A proxy that fails as networks do: a plan says what happens to each request that passes it."""

from __future__ import annotations

import gzip
import random
import re
import socket
import statistics
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from enum import StrEnum
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any, BinaryIO, Final, cast

from tests.tunnel import Tunnel

TIMEOUT_S: Final = 60.0
UPLOAD: Final = b"POST /sync/events "
STREAM: Final = b"GET /sync/stream "
LOGIN: Final = b"/log-in-to-this-network"


class Fault(StrEnum):
    """What may happen to a request and its answer."""

    NONE = "passed on"
    LATE = "passed on late"
    CUT_BEFORE = "cut before the server saw it"
    CUT_REQUEST = "cut in the middle of the request"
    CUT_AFTER = "cut after the request"
    CUT_ANSWER = "cut in the middle of the answer"
    NO_ANSWER = "answer dropped, connection closed"
    SILENCE = "answer dropped, connection left open"
    TRUNCATED = "answer shortened, whole by its length"
    REPEATED = "sent to the server twice"
    AT_ONCE = "sent to the server twice at once"
    REPLAYED = "an old request sent again before it"
    PORTAL = "answered 200 by a login page"
    REDIRECT = "answered by a redirect to a login page"
    ERROR_UNASKED = "answered 502, 503 or 504, server not asked"
    ERROR_ASKED = "answered 502, 503 or 504 after the server took it"


def storm(chance: random.Random, share: float) -> Iterator[Fault]:
    """For ever: a fault for this share of the requests, each kind as often as any other.

    But for silence, which costs the client its whole timeout: it is a fifth as likely.
    """
    faults = [fault for fault in Fault if fault is not Fault.NONE]
    weights = [1 if fault is Fault.SILENCE else 5 for fault in faults]
    while True:
        yield chance.choices(faults, weights)[0] if chance.random() < share else Fault.NONE


class FaultyProxy:
    """Passes HTTP on to the server at ``port``, with what ``plan`` has for each request.

    ``faults`` counts what was done, ``uploads`` the batches that began to arrive, ``resent`` those
    among them with an event that had come before, ``gone`` the requests that a killed server
    did not answer: for them it answers as a gateway does. ``followed`` holds who followed a redirect.
    A stream is one request to the plan: it is cut in the middle of what goes up or comes down where an
    upload would be. ``streams`` counts those that were passed on, ``takes_streams`` is False for a proxy
    that knows nothing of them and passes a plain request on, ``breaks_streams`` what happens to each whatever
    the plan says; ``refused_streams`` counts those that were not passed on.
    """

    def __init__(self, port: int, chance: random.Random) -> None:
        self.plan: Iterator[Fault] = iter(())
        self.faults: Counter[Fault] = Counter()
        self.uploads = 0
        self.resent = 0
        self.gone = 0
        self.followed: list[bytes] = []
        self.streams = 0
        self.takes_streams = True
        self.breaks_streams: Fault | None = None
        self.refused_streams = 0
        self._tunnels: set[socket.socket] = set()
        self._upstream = ("127.0.0.1", port)
        self._chance = chance
        self._changed = threading.Condition()
        self._seen: set[bytes] = set()
        self._earlier: deque[bytes] = deque(maxlen=20)
        self._took_s: deque[float] = deque([0.1], maxlen=20)
        self._server = _Listener(self)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def upload_takes_s(self) -> float:
        """How long the server takes for a batch, in the median of the last."""
        return statistics.median(self._took_s)

    @contextmanager
    def running(self) -> Iterator[FaultyProxy]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def wait_for_uploads(self, count: int, timeout_s: float) -> bool:
        """Wait until so many more batches have begun to arrive; return whether they did."""
        with self._changed:
            enough = self.uploads + count
            return self._changed.wait_for(lambda: self.uploads >= enough, timeout_s)

    def cut_streams(self) -> None:
        """Cut all that are open now."""
        for client in list(self._tunnels):
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def serve(self, client: socket.socket, reader: BinaryIO) -> None:
        """Take the requests of a connection until one of them ends it."""
        while head := _read_head(reader):
            if head.split(b" ", 2)[1].startswith(LOGIN):
                self.followed.append(head)
            with self._changed:
                fault, chance = next(self.plan, Fault.NONE), random.Random(self._chance.random())
                if head.startswith(STREAM):
                    fault = self.breaks_streams or fault
                    self.refused_streams += self.breaks_streams is not None or not self.takes_streams
                self.faults[fault] += 1
                self.uploads += head.startswith(UPLOAD)
                self._changed.notify_all()
            if not self._took(fault, chance, client, head, reader):
                return

    def _took(
        self, fault: Fault, chance: random.Random, client: socket.socket, head: bytes, reader: BinaryIO
    ) -> bool:
        """Take one request; return whether the connection stays open."""
        length = _length(head)
        if fault is Fault.CUT_BEFORE:
            return _cut(client, chance)
        if head.startswith(STREAM) and self.takes_streams:
            return self._took_stream(fault, chance, client, head)
        if fault is Fault.CUT_REQUEST:
            self._send(head + reader.read(chance.randrange(max(length, 1))), chance)
            return _cut(client, chance)
        request = head + reader.read(length)
        if head.startswith(UPLOAD):
            self._remember(request, length)
        if fault is Fault.CUT_AFTER:
            self._send(request, chance)
            return _cut(client, chance)
        if (page := self._page(fault, chance, request)) is not None:
            client.sendall(page)
            return True
        return _passed_back(fault, chance, client, self._answer(fault, chance, request))

    def _took_stream(self, fault: Fault, chance: random.Random, client: socket.socket, head: bytes) -> bool:
        """Pass a stream on until it ends, which it always does with the connection."""
        if (page := self._page(fault, chance, head)) is not None:
            client.sendall(page)
            return False
        if fault is Fault.SILENCE:
            client.recv(1)
            return False
        try:
            server = socket.create_connection(self._upstream, TIMEOUT_S)
            server.sendall(head)
        except OSError:
            self.gone += 1
            client.sendall(_error(chance))
            return False
        self.streams += 1
        tunnel = Tunnel(
            client,
            server,
            chance,
            self._note_batch,
            cuts_up=chance.randrange(1, 20_000) if fault in _CUTS_UP else None,
            cuts_down=chance.randrange(1_500, 6_000) if fault in _CUTS_DOWN else None,
        )
        self._tunnels.add(client)
        try:
            tunnel.run()
        finally:
            self._tunnels.discard(client)
        return False

    def _note_batch(self) -> None:
        with self._changed:
            self.uploads += 1
            self._changed.notify_all()

    def _send(self, request: bytes, chance: random.Random) -> None:
        """Send this much and cut."""
        with suppress(OSError), socket.create_connection(self._upstream, TIMEOUT_S) as server:
            server.sendall(request)
            _cut(server, chance)

    def _page(self, fault: Fault, chance: random.Random, request: bytes) -> bytes | None:
        """The page that comes in the place of the server's answer, if one does."""
        match fault:
            case Fault.PORTAL:
                return _made(b"200 OK", b"<html>Welcome to our wireless network!</html>")
            case Fault.REDIRECT:
                status = chance.choice([b"301 Moved", b"302 Found", b"307 Temporary", b"308 Permanent"])
                return _made(status, b"", b"Location: %s\r\n" % LOGIN)
            case Fault.ERROR_ASKED:
                with suppress(OSError):
                    self._ask(request)
                return _error(chance)
            case Fault.ERROR_UNASKED:
                return _error(chance)
            case _:
                return None

    def _answer(self, fault: Fault, chance: random.Random, request: bytes) -> bytes:
        """What the server answers, a gateway's page if it does not."""
        try:
            match fault:
                case Fault.LATE:
                    time.sleep(chance.uniform(0, 0.3))
                case Fault.REPLAYED if self._earlier:
                    self._ask(chance.choice(list(self._earlier)))
                case Fault.REPEATED:
                    self._ask(request)
                case Fault.AT_ONCE:
                    with ThreadPoolExecutor(1) as beside:
                        beside.submit(self._ask, request)
                        return self._ask(request)
                case _:
                    pass
            return self._ask(request)
        except OSError:
            self.gone += 1
            return _error(chance)

    def _ask(self, request: bytes) -> bytes:
        """The server's whole answer; raise OSError if none came."""
        began = time.monotonic()
        with socket.create_connection(self._upstream, TIMEOUT_S) as server:
            server.sendall(_CONNECTION.sub(b"\r\nConnection: close\r\n", request, count=1))
            answer = b"".join(iter(lambda: server.recv(65_536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head or len(body) != _length(head):
            raise ConnectionResetError("expected a whole answer of the server")
        if request.startswith(UPLOAD):
            self._took_s.append(time.monotonic() - began)
        return _CONNECTION.sub(b"\r\nConnection: keep-alive\r\n", answer, count=1)

    def _remember(self, request: bytes, length: int) -> None:
        """Note an upload, to be replayed, and whether any of it came before."""
        body = request[-length:]
        with suppress(OSError, EOFError):  # of a client that was killed while it sent
            ids = set(_IDS.findall(gzip.decompress(body)))
            with self._changed:
                self.resent += not self._seen.isdisjoint(ids)
                self._seen |= ids
                self._earlier.append(request)


_CUTS_UP: Final = {Fault.CUT_REQUEST, Fault.CUT_AFTER, Fault.REPEATED, Fault.AT_ONCE, Fault.REPLAYED}
_CUTS_DOWN: Final = {Fault.NO_ANSWER, Fault.CUT_ANSWER, Fault.TRUNCATED, Fault.LATE}
_CONNECTION: Final = re.compile(rb"\r\nConnection: [^\r]*\r\n", re.IGNORECASE)
_LENGTH: Final = re.compile(rb"\r\nContent-Length: (\d+)", re.IGNORECASE)
_IDS: Final = re.compile(rb'"id":"([0-9a-f-]{36})"')
_AT_ONCE: Final = struct.pack("ii", 1, 0)


def _read_head(reader: BinaryIO) -> bytes:
    """A request up to its empty line; nothing when the connection has ended."""
    lines = []
    while line := reader.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _length(head: bytes) -> int:
    found = _LENGTH.search(head)
    return 0 if found is None else int(found[1])


def _cut(connection: socket.socket, chance: random.Random) -> bool:
    """End it in one of the two ways: with a word (FIN), or as if the other end had crashed (RST)."""
    if chance.random() < 0.5:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    connection.close()
    return False


def _passed_back(fault: Fault, chance: random.Random, client: socket.socket, answer: bytes) -> bool:
    """Give the client what ``fault`` leaves of the answer; return whether the connection stays open."""
    match fault:
        case Fault.NO_ANSWER:
            return _cut(client, chance)
        case Fault.SILENCE:
            client.recv(1)  # ends when the client gives up, or is killed
            return False
        case Fault.CUT_ANSWER:
            client.sendall(answer[: chance.randrange(1, len(answer))])
            return _cut(client, chance)
        case Fault.TRUNCATED:
            head, _, body = answer.partition(b"\r\n\r\n")
            left = body[: chance.randrange(max(len(body), 1))]
            answer = _LENGTH.sub(b"\r\nContent-Length: %d" % len(left), head) + b"\r\n\r\n" + left
        case _:
            pass
    client.sendall(answer)
    return True


def _error(chance: random.Random) -> bytes:
    """A gateway's page; now and then it says when to come again."""
    status = chance.choice([b"502 Bad Gateway", b"503 Service Unavailable", b"504 Gateway Timeout"])
    return _made(status, b"<h1>%s</h1>" % status, chance.choice([b"", b"", b"", b"Retry-After: 0\r\n"]))


def _made(status: bytes, page: bytes, headers: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: text/html\r\n%sContent-Length: %d\r\n\r\n"
    return head % (status, headers, len(page)) + page


class _Listener(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False  # those that keep silent wait for their client
    request_queue_size = 64

    def __init__(self, proxy: FaultyProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.proxy = proxy

    def shutdown_request(self, request: Any) -> None:
        """Close it alone: a FIN, which is usual before that, would take the place of ``_cut``'s RST."""
        self.close_request(request)


class _Connection(StreamRequestHandler):
    def handle(self) -> None:
        with suppress(OSError):  # the client is gone
            cast(_Listener, self.server).proxy.serve(self.connection, cast(BinaryIO, self.rfile))
