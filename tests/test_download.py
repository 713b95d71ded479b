"""Two PCs of one person at a real server: each can have the numbers of both."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import requests

from tests.cli import Cli
from tests.repo import Repo
from tests.server_process import ServerProcess
from tests.visitor import EMAIL, PASSWORD, Visitor, enrol


def two_pcs(server: ServerProcess, tmp_path: Path) -> tuple[Cli, Cli]:
    """Each with a commit that the server has."""
    desk_repo, lap_repo = Repo(tmp_path / "desk" / "shop"), Repo(tmp_path / "lap" / "shop")
    desk, lap = Cli(tmp_path / "home-desk", desk_repo.path), Cli(tmp_path / "home-lap", lap_repo.path)
    with requests.Session() as http:
        visitor = Visitor(server, http)
        visitor.set_up()
        page = enrol(desk, visitor)
    for repo, path in ((desk_repo, "a.py"), (lap_repo, "b.py")):
        repo.write(path, "1")
        repo.commit(f"add {path}", date=int(time.time()) - 600)
    lap.ok("init")
    lap.ok("sync", "init", server.url)
    lap.ok("sync", "auth", "--email", EMAIL, "--password-stdin", stdin=PASSWORD + "\n")
    lap.ok("sync", "enable", "--project-id", page.rpartition("/")[2])
    for cli in (desk, lap):
        cli.ok("import", "git")
        cli.ok("sync", "push")
    return desk, lap


def test_a_pc_counts_what_the_other_one_sent_once_it_has_fetched_it(
    server: ServerProcess, tmp_path: Path
) -> None:
    desk, lap = two_pcs(server, tmp_path)
    assert "run `devflow sync download`" in lap.run("activity", "--all-devices").stderr
    assert json.loads(lap.ok("sync", "download", "--json")) == {"downloaded": 1, "here": 1, "always": False}
    assert commits(lap) == 1
    assert commits(lap, "--all-devices") == 2
    assert commits(desk) == 1
    assert "0 events fetched, 1 of other PCs are here" in lap.ok("sync", "download", "--always")


@pytest.mark.parametrize("backend", ["sqlite"])  # a matter of the PCs
def test_a_setting_that_both_share_is_chosen_once(server: ServerProcess, tmp_path: Path) -> None:
    desk, lap = two_pcs(server, tmp_path)
    desk.ok("sync", "configure", "--interval", "60", "--share-settings")
    lap.ok("sync", "push")
    desk.ok("sync", "push")
    lap.ok("sync", "push")
    assert lap.json("sync", "configure")["syncInterval"]["value"] == 300, "it does not share"
    lap.ok("sync", "configure", "--alert-queue", "7", "--share-settings")
    lap.ok("sync", "push")
    desk.ok("sync", "push")
    shown = [cli.json("sync", "configure") for cli in (desk, lap)]
    assert [(one["syncInterval"]["value"], one["alertQueue"]["value"]) for one in shown] == [(60, 7)] * 2
    assert [one["syncInterval"]["device"] is None for one in shown] == [True, False]
    desk.ok("sync", "disable")
    lap.ok("sync", "push")
    assert lap.json("sync", "status")["enabled"] is True, "each PC's own"


def commits(cli: Cli, *options: str) -> int:
    found: int = json.loads(cli.ok("activity", "--since", "2026-01-01", "--json", *options))["total"][
        "commits"
    ]
    return found
