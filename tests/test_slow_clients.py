"""Clients that take for ever, against the real server: they hold nothing up, and the slow but honest pass."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from tests.server_process import ServerProcess

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])  # nothing of this reaches the database
LOGIN: Final = json.dumps({"email": "nobody@example.org", "password": "a guess"}).encode()
QUICK: Final = "tests.quick_worker.Worker"
"""The server's worker with deadlines of three seconds, so that tests need not wait for longer."""


@pytest.fixture
def server(server: ServerProcess) -> ServerProcess:
    """A server that is run with short deadlines."""
    assert server.stop() == 0
    server.environ["GUNICORN_CMD_ARGS"] = f"--worker-class={QUICK}"
    server.start()
    return server


def drip(server: ServerProcess, at_once: bytes, then: bytes, pause_s: float = 0.1) -> tuple[str, float]:
    """The status that is answered to bytes that come one by one, empty if none is, and after how long."""
    assert server.port is not None
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=pause_s) as connection:
        connection.sendall(at_once)
        for byte in then:
            try:
                answer = connection.recv(1_000)
            except TimeoutError:
                connection.sendall(bytes([byte]))
                continue
            return answer.decode().partition("\r")[0], time.monotonic() - began
        connection.settimeout(20)
        return connection.recv(1_000).decode().partition("\r")[0], time.monotonic() - began


def head(length: int) -> bytes:
    return (
        b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % length
    )


CHUNKED: Final = (
    b"POST /sign-in HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
)
NEVER: Final = {
    "a head that never ends": ((b"GET /healthz HTTP/1.1\r\nX: ", b"x" * 300), ""),
    "a body that never ends": ((head(1_000), b" " * 300), "HTTP/1.1 408"),
    "a body that is never sent": ((head(1_000), b""), "HTTP/1.1 408"),
    "chunks that never end": ((CHUNKED, b"1\r\nx\r\n" * 60), "HTTP/1.1 400"),
}


def test_who_never_ends_is_not_waited_for(server: ServerProcess) -> None:
    with ThreadPoolExecutor(len(NEVER)) as pool:
        found = dict(zip(NEVER, pool.map(lambda sent: drip(server, *sent[0]), NEVER.values()), strict=True))
    assert {name: answer[:12] for name, (answer, _) in found.items()} == {
        name: answer for name, (_, answer) in NEVER.items()
    }
    assert max(took_s for _, took_s in found.values()) < 15


@pytest.mark.parametrize("chunks", [b"zz\r\nx\r\n", b"5\r\nxxxxxyy\r\n0\r\n\r\n", b"-1\r\n\r\n"])
def test_broken_chunks_are_the_clients_mistake(server: ServerProcess, chunks: bytes) -> None:
    assert server.port is not None
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(CHUNKED + chunks)
        assert connection.recv(4_096).startswith(b"HTTP/1.1 400")


def test_the_slow_but_honest_pass_and_hundreds_of_others_hold_nobody_up(server: ServerProcess) -> None:
    """More of them than there are threads would be waited for, for as long as one deadline."""
    assert server.port is not None
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    for number, connection in enumerate(slow):
        connection.sendall(b"GET / HT" if number % 2 else head(1_000))
    assert drip(server, head(len(LOGIN)) + LOGIN[:-5], LOGIN[-5:])[0].startswith("HTTP/1.1 401")
    for connection in slow:
        connection.settimeout(20)
        assert connection.recv(4_096)[:12] in (b"", b"HTTP/1.1 408")
        connection.close()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as kept:
        for _ in range(2):
            kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while b'{"status":"ok"}' not in answer:  # head and body may come apart
                answer += kept.recv(4_096)
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(3.5)  # longer than the deadlines, which do not count between requests
