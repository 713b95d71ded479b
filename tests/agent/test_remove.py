"""``devflow remove``: step by step, with nothing recorded lost, and going on after a failure."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from devflow_agent import archiving
from tests.agent.archived import assert_counters_are_true, rows
from tests.agent.outbox import START_MS, Outbox
from tests.agent.scripted_server import PASSWORD, ScriptedServer
from tests.cli import Cli


@pytest.fixture
def cli(outbox: Outbox, tmp_path: Path) -> Cli:
    outbox.record(20)
    outbox.push()
    archiving.run(outbox.store, START_MS + archiving.OLDER_THAN_MS + 10_000)
    outbox.record(3)
    return Cli(outbox.home.path, tmp_path)


def asked(server: ScriptedServer) -> list[str]:
    return [seen.path for seen in server.seen if seen.path.startswith(("/account", "/auth"))]


def nothing_of_sync_is_left(outbox: Outbox) -> None:
    assert not outbox.home.credentials.exists()
    assert len(rows(outbox.store)) == 23
    assert {row[7:] for row in rows(outbox.store)} == {("pending", 0, None, None, None)}
    assert_counters_are_true(outbox.store)
    with closing(sqlite3.connect(outbox.home.database)) as connection:
        for table in ("sync_projects", "sync_logs", "downloaded"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608
        keys = {key for (key,) in connection.execute("SELECT key FROM settings")}
        assert not [key for key in keys if key.startswith(("sync_", "removal"))]
    with closing(sqlite3.connect(outbox.home.path / "archive.db")) as connection:
        assert connection.execute("SELECT count(*) FROM archived_events").fetchone() == (0,)


def test_it_takes_sync_away_and_leaves_every_event(cli: Cli, outbox: Outbox, server: ScriptedServer) -> None:
    before = [row[:7] for row in rows(outbox.store)]
    said = json.loads(cli.ok("remove", "--yes", "--password-stdin", "--json", stdin=f"{PASSWORD}\n"))
    assert [*said["done"]] == ["disable", "account", "sign out", "local data"]
    assert said["left"] == []
    assert asked(server) == ["/account/deletion", "/auth/logout"]
    assert [row[:7] for row in rows(outbox.store)] == before
    nothing_of_sync_is_left(outbox)
    assert cli.json("remove") == {"done": {}, "left": []}
    assert cli.json("sync", "status")["endpoint"] is None


def test_the_account_can_stay(cli: Cli, outbox: Outbox, server: ScriptedServer) -> None:
    cli.ok("remove", "--yes", "--keep-account")
    assert asked(server) == ["/auth/logout"]
    nothing_of_sync_is_left(outbox)


def test_it_goes_on_after_a_failure_where_it_was(cli: Cli, outbox: Outbox, server: ScriptedServer) -> None:
    said = cli.fails(2, "remove", "--yes", "--password-stdin", stdin="wrong\n")
    assert said.endswith("done: disable; left: account, sign out, local data")
    assert outbox.home.credentials.exists()
    server.calls_itself = "somebody else"
    said = cli.fails(4, "remove", "--yes", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert said.endswith("done: nothing; left: account, sign out, local data")
    server.calls_itself = None
    done = json.loads(cli.ok("remove", "--yes", "--password-stdin", "--json", stdin=f"{PASSWORD}\n"))["done"]
    assert [*done] == ["account", "sign out", "local data"]
    nothing_of_sync_is_left(outbox)


def test_each_step_is_asked_for_and_a_no_ends_it(cli: Cli, outbox: Outbox, server: ScriptedServer) -> None:
    done = cli.run("remove", stdin="y\nn\n")
    assert (done.returncode, done.stdout) == (130, "disable: off\n")
    assert asked(server) == []
    assert outbox.home.credentials.exists()
    done = cli.run("remove", "--keep-account", stdin="y\ny\n")
    assert done.returncode == 0, done.stderr
    nothing_of_sync_is_left(outbox)


def test_what_a_kill_left_in_the_archive_is_deleted_by_the_next_run(cli: Cli, outbox: Outbox) -> None:
    with closing(sqlite3.connect(outbox.home.path / "archive.db")) as connection:
        left = connection.execute("SELECT * FROM archived_events").fetchall()
        cli.ok("remove", "--yes", "--keep-account")
        row = ", ".join("?" * len(left[0]))
        connection.executemany(f"INSERT INTO archived_events VALUES ({row})", left)  # noqa: S608
        connection.commit()
    assert cli.json("remove", "--yes")["done"] == {"local data": "deleted"}
    nothing_of_sync_is_left(outbox)


def test_a_script_says_what_it_wants(cli: Cli, server: ScriptedServer) -> None:
    assert cli.fails(2, "remove", "--json") == "--json asks nothing: add --yes"
    assert "--keep-account" in cli.fails(2, "remove", "--yes")
    assert "got nothing" in cli.fails(2, "remove", "--yes", "--password-stdin")
    assert asked(server) == []
