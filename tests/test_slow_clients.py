"""Clients that take for ever, against the real server: they hold nothing up, and the slow but honest pass."""

from __future__ import annotations

import json
import socket
import time
from typing import Final

import pytest

from tests.server_process import ServerProcess

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])  # nothing of this reaches the database
LOGIN: Final = json.dumps({"email": "nobody@example.org", "password": "a guess"}).encode()
QUICK: Final = "tests.quick_worker.Worker"
"""The server's worker with deadlines of a second or two, so that tests need not wait for longer."""


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


def test_a_head_that_never_ends_is_not_waited_for(server: ServerProcess) -> None:
    answer, took_s = drip(server, b"GET /healthz HTTP/1.1\r\nX: ", b"x" * 200)
    assert answer == ""
    assert took_s < 6


def test_a_body_that_never_ends_is_answered_408(server: ServerProcess) -> None:
    answer, took_s = drip(server, head(1_000), b" " * 200)
    assert answer == "HTTP/1.1 408 Request Timeout"
    assert took_s < 8


def test_a_body_that_is_never_sent_is_answered_408(server: ServerProcess) -> None:
    answer, took_s = drip(server, head(1_000), b"")
    assert answer == "HTTP/1.1 408 Request Timeout"
    assert took_s < 8


def test_chunks_that_never_end_are_not_waited_for(server: ServerProcess) -> None:
    chunked = (
        b"POST /sign-in HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    answer, took_s = drip(server, chunked, b"1\r\nx\r\n" * 40)
    assert not answer.startswith("HTTP/1.1 5")
    assert took_s < 8


def test_a_slow_body_that_arrives_in_time_is_taken(server: ServerProcess) -> None:
    answer, _ = drip(server, head(len(LOGIN)), LOGIN, pause_s=0.01)
    assert answer == "HTTP/1.1 401 Unauthorized"


def test_a_connection_that_waits_between_requests_is_kept(server: ServerProcess) -> None:
    assert server.port is not None
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        for _ in range(2):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(4_096).startswith(b"HTTP/1.1 200")
            time.sleep(3)  # longer than the deadlines, which do not count here


def test_a_hundred_of_them_hold_nobody_up(server: ServerProcess) -> None:
    assert server.port is not None
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    for number, connection in enumerate(slow):
        connection.sendall(b"GET / HT" if number % 2 else head(1_000))
    answer, took_s = drip(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"")
    assert (answer, took_s < 5) == ("HTTP/1.1 200 OK", True)
    for connection in slow:
        connection.settimeout(20)
        assert connection.recv(4_096)[:12] in (b"", b"HTTP/1.1 408")
        connection.close()
