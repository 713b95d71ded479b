"""Migrations of a store with a history: both ways, killed at any moment, and by the command."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from devflow_agent import archiving, schema
from devflow_agent.schema import archive
from devflow_agent.store import Store, connect
from tests.agent import killing
from tests.agent.archived import NOW_MS, answers, assert_counters_are_true, filled
from tests.cli import Cli

WORK = "tests.agent.archived:migrate"
SHOWN = "local_id, id, timestamp, project_id, event_type, event_data, checksum"


def local(home: Path) -> list[list[Any]]:
    """Everything that version 1 knows, read past our own code and out of the store's file alone."""
    with closing(sqlite3.connect(home / "devflow.db")) as connection:
        return [
            connection.execute(f"SELECT {what} ORDER BY 1, 2").fetchall()
            for what in (
                f"{SHOWN} FROM events",
                "* FROM projects",
                "* FROM event_counts",
                "* FROM git_refs",
                "* FROM settings",
                "* FROM sqlite_sequence WHERE name = 'events'",
            )
        ]


def version(home: Path) -> int:
    with closing(connect(home / "devflow.db")) as connection:
        return schema.version(connection)


def with_archive(home: Path, events: int = 200) -> None:
    store = filled(home / "devflow.db", random.Random(4), events=events)
    archiving.run(store, NOW_MS)


def copied(home: Path, to: Path) -> Path:
    """The same store again. Nobody may have it open: what is in its logs stays behind."""
    to.mkdir()
    for name in ("devflow.db", "archive.db"):
        shutil.copyfile(home / name, to / name)
    return to


def killed_in(home: Path, target: int, delay_s: float) -> bool:
    """Start the migration and kill it that much after it began; return whether that came in time."""
    script = f"from {WORK.partition(':')[0]} import migrate; print(flush=True); "
    script += f"migrate({str(home)!r}, '{target}')"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay_s)  # the kill is the random thing itself
        process.kill()
    return process.returncode != 0


def check(home: Path, v1: list[list[Any]], v2: dict[str, Any], seen: int) -> None:
    """A killed migration is one that ran or did not; either way the next one finds everything."""
    assert version(home) in (1, 2)
    with closing(connect(home / "devflow.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    if version(home) == 2 and seen == 2:
        assert answers(Store(home / "devflow.db")) == v2
    with closing(connect(home / "devflow.db")) as connection:
        schema.migrate(connection, 1)
        archive.clear(connection)
    assert local(home) == v1
    assert_counters_are_true(Store(home / "devflow.db"))


def images(home: Path) -> tuple[list[list[Any]], dict[str, Any]]:
    """What version 1 has to have in the end, and what version 2 answers."""
    store = Store(home / "devflow.db")
    answered = answers(store)
    del store
    below = copied(home, home.with_name("below"))
    with closing(connect(below / "devflow.db")) as connection:
        schema.migrate(connection, 1)
    return local(below), answered


def test_a_migration_killed_at_any_moment_is_one_that_ran_or_did_not(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with_archive(home)
    v1, v2 = images(home)
    assert len(v1[0]) == 200
    for start, target in ((2, 1), (1, 2)):
        first = copied(home if start == 2 else tmp_path / "below", tmp_path / f"to-{target}")
        moments = killing.run(WORK, str(copied(first, tmp_path / f"counted-{target}")), str(target))
        assert moments is not None
        for moment in random.Random(target).sample(range(1, moments + 1), 12):
            again = copied(first, tmp_path / f"{target}-{moment}")
            assert killing.run(WORK, str(again), str(target), kill_at=moment) is None
            check(again, v1, _like(v2, again), start)


def _like(answered: dict[str, Any], home: Path) -> dict[str, Any]:
    """The answers of the same store in another folder: one of them names it."""
    status = answered["status"]
    before = status[status.index('"home": "') + 9 : status.index('", "watching"')]
    return {**answered, "status": status.replace(before, str(home))}


def test_a_migration_killed_within_a_statement_is_one_that_ran_or_did_not(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with_archive(home, events=5_000)
    v1, v2 = images(home)
    chance = random.Random(1)
    for trial in range(4):
        for start, target in ((2, 1), (1, 2)):
            again = copied(home if start == 2 else tmp_path / "below", tmp_path / f"{trial}-{target}")
            killed_in(again, target, chance.uniform(0, 0.1))
            check(again, v1, _like(v2, again), start)


def test_what_was_archived_is_in_version_1_and_leaves_the_archive(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with_archive(home)
    cli = Cli(home, tmp_path)
    before = {row["id"] for row in cli.json("status")["lastEvents"]}
    assert cli.json("migrate", "status") == {"version": 2, "newest": 2}
    assert cli.json("migrate", "down", "--to=v1") == {"from": 2, "to": 1, "passed": [1]}
    assert len(local(home)[0]) == 200
    with closing(sqlite3.connect(home / "archive.db")) as connection:
        assert connection.execute("SELECT count(*) FROM archived_events").fetchone() == (0,)
    assert cli.json("migrate", "down", "--to=v1") == {"from": 1, "to": 1, "passed": []}
    assert cli.ok("migrate", "down", "--to=1") == "nothing to do: the store is at v1\n"
    assert cli.json("migrate", "up") == {"from": 1, "to": 2, "passed": [2]}
    assert cli.json("migrate", "up") == {"from": 2, "to": 2, "passed": []}
    assert {row["id"] for row in cli.json("status")["lastEvents"]} == before


@pytest.mark.parametrize("target", ["v0", "v3", "v999999", "-1", "", "v1; DROP", "v\u0661", "\x1b[2J"])
def test_a_version_that_is_none_is_refused(tmp_path: Path, target: str) -> None:
    home = tmp_path / "home"
    with_archive(home, events=50)
    said = Cli(home, tmp_path).fails(2, "migrate", "down", f"--to={target}")
    assert "\x1b" not in said
    assert version(home) == 2


def test_of_two_that_migrate_at_once_one_does_and_the_other_finds_it_done(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with_archive(home)
    v1, _ = images(home)
    cli = Cli(home, tmp_path)
    both = [cli.start("migrate", "down", "--to=v1", "--json") for _ in range(2)]
    for one in both:
        one.communicate(timeout=60)
    assert [one.returncode for one in both] == [0, 0]
    assert local(home) == v1
