"""The streams of a scripted server: well-behaved, or as a test tells it; plays are those of uploads."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from tests.agent.scripted_server import Answer, Play, ScriptedServer, Seen, problem, store_all

SWALLOW: Final = "swallow"
Opening = Callable[[ScriptedServer, Seen], Answer | str | None]
"""What is answered to a handshake: None opens the stream, SWALLOW says nothing at all."""


class ScriptedStreams:
    """``openings`` and ``script`` are for the next handshakes and batches, the ``always_`` for all others."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self.openings: deque[Opening] = deque()
        self.always_opening: Opening = if_known
        self.script: deque[Play] = deque()
        self.always: Play = store_all
        self.batches: list[Seen] = []
        self.tried = 0
        self.opened = 0
        self.ended = threading.Event()
        self._open: dict[socket.socket, Protocol] = {}
        server.stream = self.serve

    @property
    def ids(self) -> list[str]:
        """Of all events that came over streams, as often as they came."""
        return [event_id for batch in self.batches for event_id in batch.ids]

    @property
    def open_ones(self) -> int:
        return len(self._open)

    def serve(self, connection: socket.socket, seen: Seen) -> None:
        self.tried += 1
        said = (self.openings.popleft() if self.openings else self.always_opening)(self.server, seen)
        if said == SWALLOW:
            self.ended.wait(20)
            return
        if isinstance(said, Answer):
            connection.sendall(self._head(said.status, said.headers, said.server, said.body))
            return
        given = Headers([(name, value) for name, value in seen.headers.items() if name != "Host"])
        accepted = ServerProtocol().accept(Request(seen.path, given))
        connection.sendall(self._head(101, dict(accepted.headers.raw_items()), "own", None))
        self.opened += 1
        self._open[connection] = frames = Protocol(Side.SERVER)
        try:
            with suppress(OSError):
                self._converse(connection, frames)
        finally:
            self._open.pop(connection, None)

    def cut(self) -> None:
        """End every open stream without a word."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self, code: int) -> None:
        """End every open stream with a word."""
        for connection, frames in list(self._open.items()):
            frames.send_close(code)
            with suppress(OSError):
                connection.sendall(b"".join(frames.data_to_send()))

    def _head(self, status: int, headers: dict[str, str], server: str | None, body: bytes | None) -> bytes:
        named = dict(headers)
        if server is not None:
            named["DevFlow-Server"] = self.server.name if server == "own" else server
        if self.server.epoch is not None:
            named["DevFlow-Epoch"] = self.server.epoch
        if body is not None:
            named |= {"Content-Length": str(len(body)), "Connection": "close"}
        lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in named.items()), "", ""]
        return "\r\n".join(lines).encode() + (body or b"")

    def _converse(self, connection: socket.socket, frames: Protocol) -> None:
        while frames.state is State.OPEN and (data := connection.recv(65_536)):
            frames.receive_data(data)
            for frame in frames.events_received():
                assert isinstance(frame, Frame)
                if frame.opcode is Opcode.TEXT and not self._took(frames, frame.data):
                    connection.shutdown(socket.SHUT_RDWR)
                    return
            connection.sendall(b"".join(frames.data_to_send()))

    def _took(self, frames: Protocol, data: bytes | bytearray | memoryview) -> bool:
        """Play for a batch; return whether the stream goes on."""
        asked = json.loads(bytes(data))
        body = json.dumps(asked["batch"]).encode()
        reported = {"DevFlow-Sync": asked["report"]} if "report" in asked else {}
        seen = Seen("POST", "/sync/stream", reported, body, len(data))
        self.batches.append(seen)
        answer = (self.script.popleft() if self.script else self.always)(self.server, seen)
        if answer is None:
            return False
        if answer is not NO_ANSWER:
            frames.send_text(said(asked["number"], answer))
        return True


NO_ANSWER: Final = Answer(0)
"""As a play's answer: none comes, and the stream stays open."""


def said(number: int, answer: Answer) -> bytes:
    head: dict[str, Any] = {
        "number": number,
        "status": answer.status,
        "sentAt": time.time_ns() // 1_000_000,
        "retryAfter": answer.headers.get("Retry-After"),
    }
    return json.dumps(head)[:-1].encode() + b', "body": ' + answer.body + b"}"


def if_known(server: ScriptedServer, seen: Seen) -> Answer | None:
    """As the real server does: who has no good token is told so."""
    known = seen.headers.get("Authorization") == f"Bearer {server.token}"
    return None if known else problem(401, "this token is not valid")


def store_and_keep_silent(server: ScriptedServer, seen: Seen) -> Answer:
    store_all(server, seen)
    return NO_ANSWER


def answers(answer: Answer) -> Opening:
    return lambda _server, _seen: answer


def swallow(_server: ScriptedServer, _seen: Seen) -> str:
    return SWALLOW
