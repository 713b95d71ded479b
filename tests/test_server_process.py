"""The server as its operator meets it: starting, stopping, being killed, and saying what is wrong."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path

import pytest
import requests

from devflow import wire
from tests.server_process import ServerProcess


def test_a_server_starts_on_an_empty_database_and_prints_a_link_that_works(
    empty_database_url: str, tmp_path: Path
) -> None:
    server = ServerProcess(empty_database_url, tmp_path / "data")
    server.start()
    try:
        assert requests.get(server.setup_link(), timeout=10).status_code == 200
        assert requests.get(f"{server.url}/setup/guess", timeout=10).status_code == 404
    finally:
        assert server.stop() == 0


def test_a_killed_server_starts_again_as_the_same_one(server: ServerProcess) -> None:
    before, address, link = identity(server), server.url, server.setup_link()
    server.kill()
    with pytest.raises(requests.ConnectionError):
        identity(server)
    server.start()
    assert (identity(server), server.url) == (before, address)
    assert server.setup_link() != link


def test_a_waiting_connection_does_not_hold_up_the_end(server: ServerProcess) -> None:
    assert server.port is not None
    with socket.create_connection(("127.0.0.1", server.port)) as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(15) == b"HTTP/1.1 200 OK"
        began = time.monotonic()
        assert server.stop() == 0
    assert time.monotonic() - began < 8


def test_asked_to_end_the_server_tidies_up_in_time(server: ServerProcess) -> None:
    assert server.stop() == 0
    assert "SIGKILL" not in server.printed()
    assert server.printed().rstrip().endswith("Shutting down: Master")


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"DEVFLOW_TIMEZONE": "Mars/Olympus"}, "DEVFLOW_TIMEZONE: expected a zone name"),
        ({"DEVFLOW_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, "connection"),
    ],
)
def test_a_mistake_in_the_settings_is_said_in_a_sentence(
    tmp_path: Path, environ: dict[str, str], sentence: str
) -> None:
    server = ServerProcess(f"sqlite:///{tmp_path / 'devflow.db'}", tmp_path / "data", environ)
    with pytest.raises(RuntimeError, match="devflow cannot start: ") as failed:
        server.start()
    assert sentence in str(failed.value)
    assert "Traceback" not in server.printed()


@pytest.mark.parametrize("backend", ["sqlite"])  # nothing of this reaches the database
def test_gunicorn_itself_believes_no_header_of_a_neighbour(server: ServerProcess) -> None:
    """From loopback it would take these, and stumble: over the script, and over two schemes at once."""
    for headers in (
        {"SCRIPT_NAME": "/elsewhere"},
        {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"},
    ):
        assert requests.get(f"{server.url}/healthz", headers=headers, timeout=10).status_code == 200


def test_the_server_does_not_say_which_version_it_is(server: ServerProcess) -> None:
    for address in ("/sign-in", "/healthz", "/nothing", "/static/icon.svg"):
        answer = requests.get(server.url + address, timeout=10)
        assert not re.search(r"\d", answer.headers["Server"])
        assert "X-Powered-By" not in answer.headers


def test_the_first_start_says_once_where_the_secret_is_and_a_start_without_it_ends_with_1(
    tmp_path: Path,
) -> None:
    server = ServerProcess(f"sqlite:///{tmp_path / 'devflow.db'}", tmp_path / "data")
    server.start()
    file = tmp_path / "data" / "secret.key"
    assert (file.stat().st_mode & 0o777, len(file.read_bytes())) == (0o600, 32)
    assert server.stop() == 0
    server.start()
    assert server.stop() == 0
    assert server.printed().count(f"Made the secret {file}. Back it up now") == 1
    assert re.search(r"^\[[-\d]+ [:\d]+ [+-]\d{4}\] .* devflow\.keys: Made", server.printed(), re.MULTILINE)
    file.rename(tmp_path / "elsewhere")
    refused(server, f"expected the secret that this database was made with, in {file} or as ")
    assert not file.exists()
    server.environ["DEVFLOW_SECRET_KEY"] = "please-change-me-to-32-random-letters"
    refused(server, "DEVFLOW_SECRET_KEY: expected a secret of your own")


def test_a_secret_that_others_may_read_or_that_is_another_ones_stops_the_start(tmp_path: Path) -> None:
    server = ServerProcess(f"sqlite:///{tmp_path / 'devflow.db'}", tmp_path / "data")
    server.start()
    assert server.stop() == 0
    file = tmp_path / "data" / "secret.key"
    file.chmod(0o644)
    refused(server, "got mode 644; chmod 600 it")
    file.chmod(0o600)
    file.write_bytes(os.urandom(32))
    refused(server, "got another one from ")


def test_the_secret_is_changed_by_moving_its_file_away(tmp_path: Path) -> None:
    server = ServerProcess(f"sqlite:///{tmp_path / 'devflow.db'}", tmp_path / "data")
    server.start()
    assert server.stop() == 0
    file = tmp_path / "data" / "secret.key"
    file.rename(file.with_name("secret.key.old"))
    server.start()
    assert f"sealed under {file}; the secret from {file}.old is no longer needed" in server.printed()
    assert server.stop() == 0


def refused(server: ServerProcess, sentence: str) -> None:
    """A start ends with exit code 1 and one line that says why."""
    began = len(server.printed())
    with pytest.raises(RuntimeError):
        server.start()
    (line,) = [line for line in server.printed()[began:].splitlines() if "devflow" in line]
    assert line.startswith("devflow cannot start: ") and sentence in line
    assert server.exit_code == 1


def identity(server: ServerProcess) -> str:
    return requests.get(f"{server.url}/healthz", timeout=10).headers[wire.SERVER_HEADER]
