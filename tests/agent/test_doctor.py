"""The doctor: what it finds, and that a damaged store gives back what can be read, never anything changed."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import filelock
import pytest

from devflow.errors import Busy
from devflow_agent import archiving, checking, salvaging
from devflow_agent.checking import State
from devflow_agent.config import Home
from devflow_agent.store import Store
from tests.agent import killing
from tests.agent.archived import NOW_MS, answers, assert_counters_are_true, filled
from tests.cli import Cli

# What a developer may call without a repository; each reads the store in another way.
COMMANDS: Final = (
    ("status",),
    ("activity", "--by", "month", "--since", "2026-06-01", "--until", "2026-10-01"),
    ("sync", "status"),
    ("archive",),
    ("migrate", "status"),
    ("doctor",),
)
HELLO: Final = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}
Row = tuple[Any, ...]


def made(home: Path, events: int = 400) -> dict[str, Row]:
    """A store with an archive that nobody has open; return its events by id."""
    store = filled(home / "devflow.db", random.Random(7), events=events)
    archiving.run(store, NOW_MS)
    return recorded(store)


def recorded(store: Store) -> dict[str, Row]:
    with store.read() as connection:
        return {row["id"]: tuple(row)[:7] for row in connection.execute("SELECT * FROM all_events")}


def flip(path: Path, chance: random.Random, count: int) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(count):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def states(home: Home, now_ms: int = NOW_MS) -> dict[str, State]:
    return {one.name: one.state for one in checking.examine(home, now_ms)}


def salvaged_from_flips(home: Path, events: dict[str, Row], seed: int) -> int:
    """Damage a copy at random, salvage it; return how many events came back."""
    chance = random.Random(seed)
    name = chance.choice(("devflow.db", "devflow.db", "archive.db"))
    flip(home / name, chance, chance.choice((1, 3, 30)))
    found = salvaging.salvage(Home(home), NOW_MS)
    back = recorded(Store(home / "devflow.db"))
    assert back.items() <= events.items(), seed
    assert len(back) == found.events
    assert State.DAMAGED not in states(Home(home)).values()
    assert_counters_are_true(Store(home / "devflow.db"))
    assert (found.aside / name).exists()
    return found.events


def test_damage_at_random_places_never_changes_an_event_and_costs_few(tmp_path: Path) -> None:
    home = tmp_path / "home"
    events = made(home)
    back = []
    for seed in range(20):
        again = tmp_path / str(seed)
        shutil.copytree(home, again)
        back.append(salvaged_from_flips(again, events, seed))
    assert sum(back) > 20 * 400 * 0.8


def test_no_command_shows_a_traceback_of_a_damaged_store(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made(home)
    for seed in range(4):
        again = tmp_path / str(seed)
        shutil.copytree(home, again)
        speaks_of_damage(again, tmp_path, seed)


def speaks_of_damage(home: Path, folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    flip(home / chance.choice(("devflow.db", "archive.db")), chance, 300)
    for command in COMMANDS:
        done = Cli(home, folder).run(*command)
        assert "Traceback" not in done.stdout + done.stderr, (seed, command)
        assert done.returncode in (0, 1, 2), (seed, command, done.stderr)
        if done.returncode and command != ("doctor",):
            assert done.stderr.count("\n") == 1
            assert "devflow doctor" in done.stderr, (seed, command, done.stderr)


def test_a_page_that_is_gone_costs_its_events_and_no_others(tmp_path: Path) -> None:
    home = tmp_path / "home"
    events = made(home, events=2_000)
    with closing(sqlite3.connect(home / "devflow.db")) as connection:
        page = (
            connection.execute(
                "SELECT pageno FROM dbstat WHERE name = 'events' AND pagetype = 'leaf' LIMIT 1"
            ).fetchone()
            if _has_dbstat(connection)
            else (20,)
        )
    content = bytearray((home / "devflow.db").read_bytes())
    start = (page[0] - 1) * 4_096
    content[start : start + 4_096] = b"\xff" * 4_096
    (home / "devflow.db").write_bytes(content)
    assert State.DAMAGED in states(Home(home)).values()
    found = salvaging.salvage(Home(home), NOW_MS)
    assert 0.95 * len(events) < found.events <= len(events)
    assert recorded(Store(home / "devflow.db")).items() <= events.items()


def _has_dbstat(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT 1 FROM dbstat LIMIT 1").fetchone()
    except sqlite3.OperationalError:
        return False
    return True


def test_a_changed_event_is_found_and_left_out(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    events = made(home.path)
    with closing(sqlite3.connect(home.database)) as connection:
        (event_id,) = connection.execute("SELECT id FROM events WHERE event_type = 'file.saved'").fetchone()
        connection.execute(
            "UPDATE events SET event_data = replace(event_data, 'src', 'srd') WHERE id = ?", (event_id,)
        )
        connection.commit()
    assert states(home)["events"] is State.DAMAGED
    found = salvaging.salvage(home, NOW_MS)
    assert (found.events, found.changed, found.recorded) == (len(events) - 1, 1, len(events))
    assert recorded(home.store()) == {key: row for key, row in events.items() if key != event_id}


def test_a_whole_store_is_salvaged_without_any_change(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    made(home.path)
    before = answers(home.store())
    before.pop("sync")
    status = before.pop("status")
    salvaging.salvage(home, NOW_MS)
    after = answers(home.store())
    after.pop("sync")
    assert (after.pop("status")[:200], after) == (status[:200], before)


def test_killed_at_any_moment_salvage_can_be_run_again(tmp_path: Path) -> None:
    events = made(tmp_path / "home", events=100)
    counted = tmp_path / "counted"
    shutil.copytree(tmp_path / "home", counted)
    moments = killing.run("tests.agent.archived:salvage", str(counted))
    assert moments is not None
    # The last ones are those that put the new store in its place.
    for moment in {*range(1, moments, moments // 8), *range(moments - 24, moments + 1)}:
        home = tmp_path / str(moment)
        shutil.copytree(tmp_path / "home", home)
        assert killing.run("tests.agent.archived:salvage", str(home), kill_at=moment) is None
        salvaging.salvage(Home(home), NOW_MS + 1)
        assert recorded(Store(home / "devflow.db")) == events, moment
        assert not (home / "salvage").exists()


def test_salvage_waits_for_no_daemon(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    made(home.path, events=50)
    with filelock.FileLock(home.daemon_lock), pytest.raises(Busy, match="stop `devflow watch` first"):
        salvaging.salvage(home, NOW_MS)


def test_salvage_is_refused_while_an_ai_client_has_the_store_open(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home", tmp_path)
    events = made(cli.home.path, events=100)
    with closing(sqlite3.connect(cli.home.database)) as connection:
        connection.execute("UPDATE event_counts SET count = count + 1")
        connection.commit()
    with subprocess.Popen(
        [sys.executable, "-m", "devflow_agent", "mcp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=cli.env,
    ) as client:
        assert client.stdin is not None and client.stdout is not None
        for message in (
            {"id": 1, "method": "initialize", "params": HELLO},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/call", "params": {"name": "sync_status", "arguments": {}}},
        ):
            client.stdin.write(json.dumps({"jsonrpc": "2.0"} | message) + "\n")
            client.stdin.flush()
        while json.loads(client.stdout.readline()).get("id") != 2:
            pass
        said = cli.fails(6, "doctor", "--salvage")
        assert said.startswith(f"expected nobody else to have the store open, got pid {client.pid}")
        assert not list(cli.home.path.glob("damaged-*"))
        assert not (cli.home.path / "salvage").exists()
        assert recorded(Store(cli.home.database)) == events
        client.stdin.close()
        client.wait(20)
    assert cli.json("doctor", "--salvage")["salvaged"]["events"] == len(events)
    assert recorded(Store(cli.home.database)) == events


def test_nobody_opens_a_store_that_is_being_salvaged_and_one_that_was_interrupted_is_ended(
    tmp_path: Path,
) -> None:
    cli = Cli(tmp_path / "home", tmp_path)
    events = made(cli.home.path, events=100)
    moments = killing.run("tests.agent.archived:salvage", str(shutil.copytree(cli.home.path, tmp_path / "x")))
    assert moments is not None
    assert killing.run("tests.agent.archived:salvage", str(cli.home.path), kill_at=moments - 6) is None
    assert "`devflow doctor --salvage`" in cli.fails(6, "status")
    assert states(cli.home)["salvage"] is State.DAMAGED
    cli.ok("doctor", "--salvage")
    assert recorded(Store(cli.home.database)) == events


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert states(home)["store"] is State.OK
    made(home.path, events=50)
    assert {*states(home).values()} == {State.OK, State.WARNING}
    home.path.chmod(0o755)
    assert states(home)["permissions"] is State.WARNING
    home.path.chmod(0o700)
    assert states(home)["permissions"] is State.OK
    assert states(home, 1_000)["clock"] is State.WARNING
    assert states(home, 2_147_483_648_000)["clock"] is State.WARNING
    home.credentials.write_text("{")
    assert states(home)["credentials"] is State.WARNING
    with home.store().write() as connection:
        connection.execute("DELETE FROM recorded_hours WHERE hour % 7 = 0")
    assert states(home)["counters"] is State.DAMAGED
    salvaging.salvage(home, NOW_MS)
    assert states(home)["counters"] is State.OK
    with home.store().write() as connection:
        connection.execute("UPDATE event_counts SET count = count + 1")
    assert states(home)["counters"] is State.DAMAGED


def test_the_command_salvages_and_says_so_in_numbers(tmp_path: Path) -> None:
    home = tmp_path / "home"
    cli = Cli(home, tmp_path)
    events = made(home)
    assert cli.ok("doctor", "--salvage").startswith("nothing to salvage")
    assert cli.json("doctor")["salvaged"] is None
    with closing(sqlite3.connect(home / "devflow.db")) as connection:
        connection.execute("UPDATE events SET timestamp = timestamp + 1 WHERE local_id = 400")
        changed = connection.total_changes
        connection.commit()
    assert cli.run("doctor").returncode == (2 if changed else 0)
    if changed:
        found = cli.json("doctor", "--salvage")
        assert found["salvaged"]["events"] == len(events) - 1
    assert cli.run("doctor").returncode == 0
