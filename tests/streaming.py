"""A stream to a real server, as a well-behaved program opens it and, by the byte, as a hostile one does."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.offered import Offer

TIMEOUT_S: Final = 20
TEXT: Final = 1
BINARY: Final = 2
PONG: Final = 10
CLOSE: Final = 8
FIN: Final = 0x80
MASK: Final = 0x80


@contextmanager
def streaming(offer: Offer, token: str | None = None, **headers: str) -> Iterator[ClientConnection]:
    """An open stream; raise InvalidStatus if the server opens none."""
    sent = {"Authorization": f"Bearer {token or offer.sender.token}", **headers}
    address = offer.server.url.replace("http", "ws", 1) + "/sync/stream"
    with connect(
        address, additional_headers=sent, compression=None, close_timeout=1, legacy=False
    ) as connection:
        yield connection


def message(number: int, batch: bytes | str, **more: Any) -> bytes:
    """A batch as it goes over the stream, whatever stands in it and beside it."""
    content = batch.encode() if isinstance(batch, str) else batch
    beside = "".join(f",{json.dumps(name)}:{json.dumps(value)}" for name, value in more.items())
    return b'{"number":%d,"sentAt":1,"batch":%s%s}' % (number, content, beside.encode())


def ask(connection: ClientConnection, number: int, batch: bytes | str, **more: Any) -> Any:
    connection.send(message(number, batch, **more), text=True)
    return json.loads(connection.recv(TIMEOUT_S))


def closed(connection: ClientConnection) -> tuple[int, str]:
    """The code and the reason with which the server ends the stream; what comes before is passed over."""
    try:
        while True:
            connection.recv(TIMEOUT_S)
    except ConnectionClosed as error:
        assert error.rcvd is not None, error
        return error.rcvd.code, error.rcvd.reason


class Refused(Exception):
    """The server opened no stream."""


class Raw:
    """A stream that is opened properly, and then spoken over by the byte. Answers no ping."""

    def __init__(self, offer: Offer) -> None:
        assert offer.server.port is not None
        self.socket = socket.create_connection(("127.0.0.1", offer.server.port), timeout=TIMEOUT_S)
        self.socket.sendall(handshake(offer))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.socket.recv(1)
        if not head.startswith(b"HTTP/1.1 101 "):
            self.socket.close()
            raise Refused(head)
        self.head = head

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def end(self) -> int | None:
        """The code of the close that comes, None if the connection ends without one."""
        received = b""
        try:
            while part := self.socket.recv(65_536):
                received += part
        except ConnectionError:
            pass
        self.socket.close()
        found = re.search(rb"\x88[\x02-\x7d](..)", received, re.DOTALL)
        return None if found is None else int(struct.unpack("!H", found[1])[0])


def handshake(offer: Offer, protocol: str = "HTTP/1.1", **headers: str) -> bytes:
    said = {
        "Host": f"127.0.0.1:{offer.server.port}",
        "Authorization": f"Bearer {offer.sender.token}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
        **headers,
    }
    lines = [f"GET /sync/stream {protocol}", *(f"{name}: {value}" for name, value in said.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode()


def frame(content: bytes, opcode: int = TEXT, *, fin: bool = True, length: int | None = None) -> bytes:
    """A masked frame; ``length`` is what it says of itself if that is not the truth."""
    size = len(content) if length is None else length
    if size < 126:
        told = struct.pack("!B", MASK | size)
    elif size < 65_536:
        told = struct.pack("!BH", MASK | 126, size)
    else:
        told = struct.pack("!BQ", MASK | 127, size)
    return bytes([(FIN if fin else 0) | opcode]) + told + bytes(4) + content  # masked by zeros
