"""Signing in by a code, signing out, and the list of one's PCs, from the agent's side."""

from __future__ import annotations

import json
import signal
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from devflow import wire
from devflow.errors import Offline, Unauthorized
from devflow_agent import credentials, enrolment
from devflow_agent.config import Home
from devflow_agent.credentials import Account
from tests.agent.scripted_server import (
    Answer,
    Play,
    ScriptedServer,
    answer_json,
    approved,
    denied,
    hang_up,
    pending,
    problem,
    says,
)
from tests.cli import Cli


@pytest.fixture
def home(tmp_path: Path, server: ScriptedServer) -> Home:
    home = Home(tmp_path / "home")
    with requests.Session() as http:
        enrolment.enrol(home, home.store(), http, server.url)
    return home


@pytest.fixture
def cli(home: Home, tmp_path: Path) -> Cli:
    return Cli(home.path, tmp_path)


def pair(home: Home, server: ScriptedServer, *plays: Play, pauses: list[float] | None = None) -> Account:
    """Pair with a server that answers so; an hour goes by in a few questions."""
    server.pairing.extend(plays)
    clock = count(step=600)
    shown: list[wire.Pairing] = []
    with requests.Session() as http:
        account = enrolment.pair(
            home,
            home.store(),
            http,
            on_code=shown.append,
            wait=([] if pauses is None else pauses).append,
            monotonic=lambda: float(next(clock)),
        )
    assert [begun.code for begun in shown] == ["BCDF-GHJK"]
    return account


def test_the_tokens_of_an_approved_pairing_are_kept(home: Home, server: ScriptedServer) -> None:
    pauses: list[float] = []
    account = pair(home, server, pending, pending, approved, pauses=pauses)
    assert (account.email, account.token) == ("ada@example.org", server.token)
    assert credentials.enrolled(home.credentials).signed_in() == account
    assert pauses == [1.0] * 3, "no server makes an agent ask more often than every second"
    asked = next(seen for seen in server.seen if seen.path == "/auth/pair")
    assert asked.json == {"deviceId": str(home.store().device_id()), "deviceName": enrolment.device_name()}


def test_a_server_that_is_away_is_asked_again_and_left_alone_as_it_asks(
    home: Home, server: ScriptedServer
) -> None:
    pauses: list[float] = []
    busy = says(problem(429, "slow down", **{"Retry-After": "30"}))
    portal = says(Answer(200, b"<html>", server=None))
    assert pair(home, server, hang_up, busy, portal, approved, pauses=pauses).email == "ada@example.org"
    assert pauses == [1.0, 1.0, 30.0, 1.0]


@pytest.mark.parametrize(
    ("plays", "error", "said"),
    [
        ([denied], Unauthorized, "turned away"),
        ([pending, says(problem(401, "this pairing has expired"))], Unauthorized, "expired.*sync auth"),
        ([pending] * 9, Offline, "expired"),
        ([hang_up] * 9, Offline, "expired .*did not answer"),
        ([says(answer_json(200, {"state": "approved", "tokens": None}))] * 9, Offline, "expired"),
        ([says(answer_json(200, {"state": "maybe"}))] * 9, Offline, "expired .*protocol"),
    ],
)
def test_a_pairing_that_comes_to_nothing_says_why_and_changes_nothing(
    home: Home, server: ScriptedServer, plays: list[Play], error: type[Exception], said: str
) -> None:
    before = home.credentials.read_bytes()
    with pytest.raises(error, match=said):
        pair(home, server, *plays)
    assert home.credentials.read_bytes() == before


def test_a_pc_that_was_enrolled_elsewhere_meanwhile_keeps_no_tokens(
    home: Home, server: ScriptedServer
) -> None:
    def enrolled_elsewhere(server: ScriptedServer, seen: object) -> Answer:
        other = credentials.Credentials(server_url="https://other.example.org", server_id=uuid4())
        credentials.save(home.credentials, other)
        return approved(server, seen)  # type: ignore[arg-type]

    with pytest.raises(Unauthorized, match="another server meanwhile"):
        pair(home, server, enrolled_elsewhere)
    assert credentials.enrolled(home.credentials).account is None


@pytest.mark.parametrize(
    ("node", "shown"),
    [
        ("lap", "lap"),
        ("a\x00b\u202e\udcff", "ab"),
        ("", "unnamed PC"),
        ("x" * 300, "x" * 100),
        ("\x1b", "unnamed PC"),
    ],
)
def test_a_pc_calls_itself_what_can_be_shown(monkeypatch: pytest.MonkeyPatch, node: str, shown: str) -> None:
    monkeypatch.setattr("platform.node", lambda: node)
    assert enrolment.device_name() == shown


# The commands


def test_the_command_shows_the_address_and_the_code_and_ends_signed_in(
    cli: Cli, server: ScriptedServer
) -> None:
    server.pairing.extend([approved, approved])
    said = cli.ok("sync", "auth")
    assert f"{server.url}/pair" in said
    assert "BCDF-GHJK" in said
    assert "signed in as ada@example.org" in said
    first, second = map(json.loads, cli.ok("sync", "auth", "--json").splitlines())
    assert first == {
        "url": f"{server.url}/pair",
        "code": "BCDF-GHJK",
        "expiresAt": "2096-10-02T07:06:40+00:00",
    }
    assert second == {"email": "ada@example.org", "userId": str(server.user_id)}


def test_a_denied_pairing_ends_the_command_with_the_code_for_not_signed_in(
    cli: Cli, server: ScriptedServer
) -> None:
    server.pairing.append(denied)
    done = cli.run("sync", "auth")
    assert (done.returncode, "turned away" in done.stderr) == (3, True)


def test_interrupting_the_command_leaves_everything_as_it_was(cli: Cli, server: ScriptedServer) -> None:
    server.pairing.extend([pending] * 100)
    before = cli.home.credentials.read_bytes()
    process = cli.start("sync", "auth", "--json")
    assert process.stdout is not None
    assert "BCDF-GHJK" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in stderr) == (130, False)
    assert cli.home.credentials.read_bytes() == before


def test_a_password_on_stdin_needs_an_address(cli: Cli) -> None:
    assert "--email" in cli.fails(2, "sync", "auth", "--password-stdin", stdin="x\n")


def signed_in(home: Home, server: ScriptedServer) -> None:
    pair(home, server, approved)


def test_logging_out_asks_the_server_and_deletes_the_tokens(
    home: Home, cli: Cli, server: ScriptedServer
) -> None:
    signed_in(home, server)
    assert "ada@example.org is signed out" in cli.ok("sync", "logout")
    assert server.seen[-1].path == "/auth/logout"
    assert credentials.enrolled(home.credentials).account is None
    assert "nobody is signed in" in cli.fails(3, "sync", "logout")


def test_logging_out_where_the_server_has_ended_the_tokens_deletes_them(
    home: Home, cli: Cli, server: ScriptedServer
) -> None:
    signed_in(home, server)
    server.token, server.refresh_refused = "another", True
    cli.ok("sync", "logout")
    assert credentials.enrolled(home.credentials).account is None


def test_logging_out_without_a_server_changes_nothing_unless_told_to(
    home: Home, cli: Cli, server: ScriptedServer
) -> None:
    signed_in(home, server)
    server.calls_itself = str(uuid4())
    assert "--local" in cli.fails(4, "sync", "logout")
    assert credentials.enrolled(home.credentials).account is not None
    cli.ok("sync", "logout", "--local")
    assert credentials.enrolled(home.credentials).account is None


def test_the_own_pcs_are_listed_and_one_is_revoked(home: Home, cli: Cli, server: ScriptedServer) -> None:
    signed_in(home, server)
    this, other = str(home.store().device_id()), str(uuid4())
    known = {"createdAt": 0, "lastSeenAt": None, "revokedAt": None}
    ended = {"createdAt": 0, "lastSeenAt": 1_000, "revokedAt": 2_000}
    server.devices = [
        {"deviceId": this, "name": "lap\x1b[2J", "isThis": True, **known},
        {"deviceId": other, "name": "tower", "isThis": False, **ended},
    ]
    said = cli.ok("sync", "devices")
    assert "(this PC)" in said and "revoked 1970-01-01T00:00:02" in said and "\x1b" not in said
    first, second = cli.json("sync", "devices")
    assert first == {
        "deviceId": this,
        "name": "lap\x1b[2J",
        "createdAt": "1970-01-01T00:00:00+00:00",
        "lastSeenAt": None,
        "revokedAt": None,
        "isThis": True,
    }
    assert second["revokedAt"] == "1970-01-01T00:00:02+00:00"
    assert "no such device" in cli.fails(2, "sync", "devices", "revoke", str(uuid4()))
    assert "is not a valid UUID" in cli.fails(2, "sync", "devices", "revoke", "lap")
    assert "shut out" in cli.ok("sync", "devices", "revoke", other)
    assert credentials.enrolled(home.credentials).account is not None
    assert "this PC: it is signed out" in cli.ok("sync", "devices", "revoke", this)
    assert credentials.enrolled(home.credentials).account is None
