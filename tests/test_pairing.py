"""Pairing from end to end: a real agent shows a code, a person approves it at a real server."""

from __future__ import annotations

import json
from pathlib import Path

import requests

from tests.cli import Cli
from tests.server_process import ServerProcess
from tests.visitor import EMAIL, Visitor


def test_a_pc_is_paired_listed_revoked_and_paired_again(server: ServerProcess, tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home", tmp_path)
    with requests.Session() as http:  # closed before the server, which would wait for it
        visitor = Visitor(server, http)
        visitor.set_up()
        cli.ok("sync", "init", server.url)
        pair(cli, visitor)
        (device,) = cli.json("sync", "devices")
        assert (device["isThis"], device["revokedAt"]) == (True, None)
        visitor.post(f"/devices/{device['deviceId']}/revoke")
        assert "revoked" in cli.fails(3, "sync", "devices")
        pair(cli, visitor)
        assert cli.json("sync", "devices")[0]["revokedAt"] is None
        cli.ok("sync", "logout")
        assert "nobody is signed in" in cli.fails(3, "sync", "devices")


def pair(cli: Cli, visitor: Visitor) -> None:
    process = cli.start("sync", "auth", "--json")
    assert process.stdout is not None
    shown = json.loads(process.stdout.readline())
    assert shown["url"] == f"{visitor.server.url}/pair"
    page = visitor.post("/pair", code=shown["code"])
    assert "Look at the screen" in page.text
    assert "goes on by itself" in visitor.post("/pair/approve", code=shown["code"]).text
    rest, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert json.loads(rest)["email"] == EMAIL
