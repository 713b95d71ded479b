"""Odd requests, by the test client and by raw bytes to a real server: refused in words, never a fault."""

from __future__ import annotations

import gzip
import json
import socket
from typing import Final
from uuid import UUID

import pytest

from devflow import wire
from tests.browsing import OURS, Team
from tests.server_process import ServerProcess

JSON: Final = {"Content-Type": "application/json"}

BODIES: Final = {
    "/auth/login": {"email": "eve@example.com", "password": "a guess"},
    "/auth/refresh": {"refreshToken": "a guess"},
    "/sync/authors": {"authors": []},
    "/sync/events": {"events": [], "deviceId": str(UUID(int=0))},
}


@pytest.mark.parametrize("address", ["/auth/login", "/auth/refresh"])
def test_a_stranger_cannot_make_the_server_inflate_much(team: Team, address: str) -> None:
    bomb = gzip.compress(b" " * 20_000)
    client = team.app.test_client()
    small = client.post(address, data=bomb, headers={"Content-Encoding": "gzip"} | JSON)
    assert (small.status_code, "at most 16384 bytes after inflation" in small.text) == (413, True)
    plain = client.post(address, data=b" " * 16_385, headers=JSON)
    assert (plain.status_code, "at most 16384 bytes, got 16385" in plain.text) == (413, True)


def test_a_form_with_a_large_file_is_refused_before_it_is_kept(team: Team) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n'.ljust(
        wire.MAX_BODY_BYTES + 1
    )
    answer = team.app.test_client().post(
        "/sign-in", data=body, content_type="multipart/form-data; boundary=b", headers=OURS
    )
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("HEAD", "/sign-in", 200),
        ("HEAD", "/sync/projects", 401),
        ("HEAD", "/sync/events", 401),
        ("OPTIONS", "/sync/events", 200),
        ("BREW", "/sync/events", 405),
        ("POST", "/sync/events/", 404),
        ("POST", "/sync//events", 404),
        ("GET", "/projects/not-a-uuid", 404),
        ("GET", "/sign-in?next=%00%ff", 200),
        ("GET", "/setup/%00%ff%ED%A0%80", 404),
        ("GET", "/static/../app.py", 404),
        ("GET", "/static/%00", 404),
        ("GET", "/static/", 404),
        ("GET", "/static/css/", 404),
        ("TRACE", "/sign-in", 405),
        ("TRACE", "/sync/events", 405),
    ],
)
def test_odd_methods_and_addresses_are_answered_in_words(
    team: Team, method: str, address: str, status: int
) -> None:
    with team.app.test_client().open(address, method=method) as answer:
        assert answer.status_code == status


@pytest.mark.parametrize(
    "header",
    [
        "\xff\xfe",
        "Bearer \xff\xfe\xfd",
        "Bearer a.b.c",
        "Bearer " + "x" * 8_000,
        "bearer   ",
        "Bearer e30.e30.",
    ],
)
def test_a_token_of_any_characters_is_just_a_wrong_one(team: Team, header: str) -> None:
    for method, address in (("POST", "/sync/events"), ("GET", "/sync/projects"), ("PUT", "/sync/authors")):
        answer = team.app.test_client().open(
            address, method=method, json={"authors": []}, environ_overrides={"HTTP_AUTHORIZATION": header}
        )
        assert answer.status_code == 401


LOGIN: Final = json.dumps(BODIES["/auth/login"]).encode()
CHUNKED: Final = b"%x\r\n%s\r\n0\r\n\r\n" % (len(LOGIN), LOGIN)
RAW: Final = {
    "nonsense": (b"\x16\x03\x01\x02\x00\r\n\r\n", "400"),
    "no host": (b"GET /sign-in HTTP/1.1\r\n\r\n", "200"),
    "an impossible host": (b"GET /sign-in HTTP/1.1\r\nHost: a b<>\r\n\r\n", "200"),
    "two slashes": (b"POST //sync/events HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "401"),
    "another version": (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", "400"),
    "a header without end": (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9_000 + b"\r\n\r\n", "4"),
    "a chunked body": (
        b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED,
        "411",
    ),
    "a chunked form": (
        b"POST /sign-in HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        + b"200000\r\n"
        + b"x" * 0x200000
        + b"\r\n0\r\n\r\n",
        "422",
    ),
    "a length and chunks": (
        b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        + CHUNKED,
        "400",
    ),
    "two lengths": (
        b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "400",
    ),
    "a negative length": (b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", "400"),
    "two encodings": (
        b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        b"Content-Encoding: GZIP\r\nContent-Encoding: gzip\r\n\r\n{}",
        "415",
    ),
    "two types": (
        b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        b"Content-Type: text/plain\r\n\r\n{}",
        "400",
    ),
}


@pytest.mark.parametrize("backend", ["sqlite"])  # nothing of this reaches the database
def test_raw_bytes_of_any_kind_are_answered_in_words(server: ServerProcess) -> None:
    assert {name: raw(server, sent)[: len(status)] for name, (sent, status) in RAW.items()} == {
        name: status for name, (_, status) in RAW.items()
    }


def raw(server: ServerProcess, sent: bytes) -> str:
    """The status that these bytes get."""
    assert server.port is not None
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(sent)
        return connection.makefile("rb").readline().decode().partition(" ")[2]
