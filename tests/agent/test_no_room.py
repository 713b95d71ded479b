"""A disk without room: what was recorded is there, the word is clear, and it goes on with room again.

As root on a file system of its own that is really full (ENOSPC); else by the limit on the size of files,
which SQLite meets as an error of the disk. That limit is tried in any case.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from devflow_agent import archiving
from devflow_agent.store import Store, connect
from tests.agent.recorded import add_project, assert_counters_are_true, saves
from tests.cli import Cli

YEAR_2038_MS: Final = 2**31 * 1_000
# Records until it cannot, and goes on recording once there is room again.
WRITER: Final = """
import os, resource, sqlite3, sys
from pathlib import Path
from devflow_agent.store import Store
from tests.agent.recorded import add_project, saves

store = Store(Path(sys.argv[1]) / "devflow.db")
project = add_project(store, "shop")
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

def record(number):
    batch = saves(50, first_ms=100 * number)
    store.add(project.id, batch)
    os.write(1, "".join(f"{one.id}\\n" for one in batch).encode())

failed = 0
for number in range(100_000):
    try:
        record(number)
    except sqlite3.OperationalError as error:
        print(error.sqlite_errorname, file=sys.stderr)
        failed += 1
        if failed == 5:
            break
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    (Path(sys.argv[1]) / "ballast").unlink()
record(200_000)
"""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 4 MB of which 1 MB is taken, or just a folder for who may mount none."""
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", str(folder)]
    is_mounted = (
        os.geteuid() == 0 and subprocess.run(options, capture_output=True, check=False).returncode == 0
    )
    try:
        yield folder
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def recorded_until_full(home: Path, limit: int) -> tuple[set[str], str]:
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(home), str(limit)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return {*done.stdout.split()}, done.stderr


def all_is_there(home: Path, events: set[str]) -> None:
    store = Store(home / "devflow.db")
    assert {str(event.id) for event in store.events(limit=1_000_000)} == events
    assert_counters_are_true(store.path)
    with closing(connect(store.path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_what_was_recorded_before_and_after_the_disk_was_full_is_there(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        (disk / "ballast").write_bytes(bytes(1 << 20))
        is_own = disk.is_mount()
        events, errors = recorded_until_full(disk, 0 if is_own else 1 << 20)
        assert len(events) > 500
        assert errors.split()[0] == ("SQLITE_FULL" if is_own else "SQLITE_IOERR_WRITE")
        all_is_there(disk, events)


def test_what_was_recorded_before_and_after_the_disk_failed_is_there(tmp_path: Path) -> None:
    events, errors = recorded_until_full(tmp_path / "home", 1 << 20)
    assert {*errors.split()} == {"SQLITE_IOERR_WRITE"}
    assert len(events) > 500
    all_is_there(tmp_path / "home", events)


def test_every_command_says_in_a_line_that_there_is_no_room(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home", tmp_path)
    store = Store(cli.home.database)
    project = add_project(store, "shop")
    store.add(project.id, saves(50))
    del store
    before = shutil.disk_usage(tmp_path)
    assert before.free > 0
    for command in (("status",), ("archive",), ("activity",), ("doctor",)):
        done = subprocess.run(
            [sys.executable, "-m", "devflow_agent", *command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=cli.env,
            cwd=tmp_path,
            # Not one byte can be added to any file.
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY)),
        )
        assert "Traceback" not in done.stderr, command
        assert done.stderr.count("\n") <= 1, command
        assert "damaged" not in done.stdout + done.stderr, command
    assert cli.json("status")["projects"][0]["events"] == 50


def test_a_clock_beyond_2038_is_no_trouble(store: Store) -> None:
    project = add_project(store, "shop")
    store.add(project.id, saves(5, first_ms=YEAR_2038_MS - 2))
    assert [event.timestamp_ms for event in store.events()] == [YEAR_2038_MS + n for n in (2, 1, 0, -1, -2)]
    assert archiving.run(store, YEAR_2038_MS * 2) == 0
    assert len(store.events(since_ms=YEAR_2038_MS)) == 3
