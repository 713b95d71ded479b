"""``devflow remove`` against a real server: what it says is done, and what was recorded stays as it was."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import select

from devflow import wire
from devflow.accounts import erasure
from devflow.config import Settings
from devflow.context import Context
from devflow.db import Database
from devflow.models import DeletionRequest, Role
from devflow_agent import archiving, credentials, removal
from devflow_agent.cli import show
from devflow_agent.cli.run import Run
from devflow_agent.config import Home, iso
from devflow_agent.removal import Step
from tests.agent import killing
from tests.agent.archived import assert_counters_are_true, rows
from tests.build import World
from tests.restoring import START_MS, Pc, set_up
from tests.server_process import ServerProcess
from tests.visitor import PASSWORD

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])  # how both delete a person, test_erasure shows
EVERYTHING = ("remove", "--yes", "--password-stdin")


@pytest.fixture
def ada(server: ServerProcess, tmp_path: Path) -> Pc:
    with set_up(server) as page:
        return prepared(server, tmp_path / "pc", page)


def prepared(server: ServerProcess, folder: Path, page: str) -> Pc:
    """A PC that has sent, archived half of it, and recorded more since."""
    pc = Pc.enrolled(server, folder, page)
    pc.record(60, first_commit=0)
    pc.push()
    assert archiving.run(pc.store, START_MS + 80 * wire.DAY_MS) > 20
    pc.record(4, first_commit=1_000)
    return pc


def another_admin(server: ServerProcess) -> None:
    """Without one the first may not go."""
    context = Context.open(Settings(data_dir=str(server.data_dir), database_url=server.database_url))
    World.of(context).person("Grace", Role.ADMIN)
    context.database.close()


def local(pc: Pc) -> dict[str, Any]:
    """Everything that has nothing to do with sync."""
    status = show.as_data(show.overview(pc.cli.home, pc.store, START_MS + 100 * wire.DAY_MS))
    return {
        "events": [row[:7] for row in rows(pc.store)],
        "status": {name: value for name, value in status.items() if name not in ("sync", "projects")},
        "projects": [(one["id"], one["name"], one["path"], one["events"]) for one in status["projects"]],
    }


def asked(server: ServerProcess) -> list[int]:
    """When the server is going to delete whom."""
    database = Database(server.database_url)
    with database.reading() as session:
        found = list(session.scalars(select(DeletionRequest.due_at)))
    database.close()
    return found


def token(pc: Pc) -> str:
    found = credentials.load(pc.cli.home.credentials)
    assert found is not None and found.account is not None
    return found.account.token


def status_of(server: ServerProcess, used: str) -> int:
    headers = {"Authorization": f"Bearer {used}", "DevFlow-Protocol": "1"}
    return requests.get(f"{server.url}/sync/projects", headers=headers, timeout=30).status_code


def nothing_of_sync_is_left(pc: Pc, before: dict[str, Any]) -> None:
    assert local(pc) == before
    assert {row[7:] for row in rows(pc.store)} == {("pending", 0, None, None, None)}
    assert_counters_are_true(pc.store)
    assert not pc.cli.home.credentials.exists()
    assert archiving.archived(pc.store) == 0
    assert pc.cli.json("sync", "status")["endpoint"] is None
    assert pc.cli.json("remove") == {"done": {}, "left": []}


def test_each_step_is_confirmed_and_done_on_both_ends(server: ServerProcess, ada: Pc) -> None:
    another_admin(server)
    before, used = local(ada), token(ada)
    assert status_of(server, used) == 200
    done = ada.cli.run("remove", "--password-stdin", stdin=f"y\ny\n{PASSWORD}\ny\ny\n")
    assert done.returncode == 0, done.stderr
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines()[:4])
    assert [*said] == ["disable", "account", "sign out", "local data"]
    (due_ms,) = asked(server)
    assert abs(due_ms - time.time() * 1_000 - erasure.WAIT_MS) < 600_000
    assert said["account"] == f"the server deletes it on {iso(due_ms)}"
    assert status_of(server, used) == 401
    nothing_of_sync_is_left(ada, before)


def test_what_the_server_refuses_or_cannot_be_asked_changes_nothing_and_can_be_run_again(
    server: ServerProcess, ada: Pc
) -> None:
    before, used = local(ada), token(ada)
    said = ada.cli.fails(2, *EVERYTHING, stdin=f"{PASSWORD}\n")
    assert "admin" in said, "the last one may not go"
    assert said.endswith("done: disable; left: account, sign out, local data")
    assert asked(server) == []
    said = ada.cli.fails(2, *EVERYTHING, stdin="wrong\n")
    assert "password" in said
    another_admin(server)
    server.stop()
    said = ada.cli.fails(4, *EVERYTHING, stdin=f"{PASSWORD}\n")
    assert said.endswith("done: nothing; left: account, sign out, local data")
    assert local(ada) == before
    server.start()
    assert status_of(server, used) == 200
    done = json.loads(ada.cli.ok(*EVERYTHING, "--json", stdin=f"{PASSWORD}\n"))["done"]
    assert [*done] == ["account", "sign out", "local data"]
    assert len(asked(server)) == 1
    nothing_of_sync_is_left(ada, before)


def take_away(home: str) -> None:
    """For a process of its own: the steps of the command."""
    run = Run(Home(Path(home)))
    for step in removal.left(run.home, run.store, keep_account=False):
        match step:
            case Step.DISABLE:
                removal.disable(run.store)
            case Step.ACCOUNT:
                removal.ask_deletion(run.home, run.store, run.http, PASSWORD)
            case Step.SIGN_OUT:
                removal.sign_out(run.home, run.http)
            case Step.LOCAL:
                removal.delete_local(run.home, run.store)


def test_killed_at_any_step_it_can_be_run_again(server: ServerProcess, tmp_path: Path) -> None:
    killed_while_removing(server, tmp_path, trials=2)


def killed_while_removing(server: ServerProcess, folder: Path, trials: int) -> None:
    """At so many of its moments, each time on a PC of its own."""
    with set_up(server) as page:
        counted = prepared(server, folder / "counted", page)
        another_admin(server)
        moments = killing.run("tests.test_remove:take_away", str(counted.cli.home.path))
        assert moments is not None
        for moment in range(moments // (trials + 1), moments, moments // (trials + 1)):
            pc = prepared(server, folder / str(moment), page)
            before = local(pc)
            home = str(pc.cli.home.path)
            assert killing.run("tests.test_remove:take_away", home, kill_at=moment) is None, moment
            assert local(pc) == before, moment
            pc.cli.ok(*EVERYTHING, stdin=f"{PASSWORD}\n")
            nothing_of_sync_is_left(pc, before)
    assert len(asked(server)) == 1
