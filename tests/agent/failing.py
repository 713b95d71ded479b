"""A disk that fails for a while: strace lets calls of a real process on the store's files end in EIO."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.agent import power
from tests.agent.test_power import holds

CALLS: Final = ("fdatasync", "pwrite64", "pread64", "ftruncate")
# Records, has some confirmed, archives, and goes on after each failure; how, is filled in.
SCRIPT: Final = """
import os, sqlite3, sys
from pathlib import Path
from devflow import wire
from devflow.errors import DevflowError
from devflow_agent import archiving, outbox, store as stores
from tests.agent.archived import NOW_MS, REMOTE
from tests.agent.recorded import add_project, saves
from tests.agent.test_archive import settle_all

store = project = None
for number in range(int(sys.argv[2]) if len(sys.argv) > 2 else 0, 24):
    try:
        if project is None or number % 8 == 7:
            store = project = None
            store = stores.Store(Path(sys.argv[1]) / "devflow.db")
            project = add_project(store, "shop")
            outbox.link(store, project.id, wire.Project(project_id=REMOTE, name="Shop"))
        batch = saves(5, first_ms=100 * number)
        store.add(project.id, batch)
        os.write(1, "".join(f"{{one.id}}\\n" for one in batch).encode())
        if number % 6 == 5:
            settle_all(store)
            archiving.run(store, NOW_MS)
    except (sqlite3.OperationalError, DevflowError) as error:
        print(stores.disk_trouble(error) or repr(error), file=sys.stderr)
        {then}
"""
THEN: Final = {
    "goes on": "pass",
    "opens the store anew": "store = project = None",
    # Nothing is closed, as if it had been killed and started again.
    "dies": "os.execv(sys.executable,"
    " [sys.executable, '-c', sys.orig_argv[2], sys.argv[1], str(number + 1)])",
}


def losses(folder: Path, then: str, seed: int, images: int) -> tuple[int, int]:
    """How many fsyncs failed, and how many images of the disk after a power cut lack what was recorded."""
    chance = random.Random(seed)
    first = chance.randrange(12, 70)
    fault = f"fdatasync:error=EIO:when={first}..{first + chance.randrange(4)}"
    steps = power.record(SCRIPT.format(then=THEN[then]), folder / "home", fault)
    assert len(power.said(steps, len(steps))) >= 80, "it went on once the disk was well again"
    lost = 0
    for _ in range(images):
        until = chance.randrange(len(steps) + 1)
        power.image(steps, until, folder / "image", chance)
        lost += not holds(folder / "image" / "devflow.db", power.said(steps, until))
        shutil.rmtree(folder / "image")
    return sum(step.kind == "failed sync" for step in steps), lost


def command(home: Path, call: str, first: int, last: int | None = None) -> list[str]:
    """What goes before a command to let these calls on the store's files fail, without ``last`` for ever."""
    files = [home / (name + end) for name in ("devflow.db", "archive.db") for end in ("", "-wal", "-shm")]
    when = f"{first}+" if last is None else f"{first}..{last}"
    return [
        *("strace", "-f", "-o", str(home.with_suffix(".strace")), "-e", f"trace={call}"),
        *(part for file in files for part in ("-P", str(file))),
        *("-e", f"inject={call}:error=EIO:when={when}"),
    ]


def faults(home: Path) -> int:
    """How many calls failed so far."""
    log = home.with_suffix(".strace")
    return log.read_text("ascii", "replace").count("(INJECTED)") if log.exists() else 0


def survives(home: Path, call: str, then: str, first: int, last: int) -> set[str]:
    """Records while these calls fail, and after; return what went wrong, in the words of the program."""
    done = subprocess.run(
        [
            *command(home, call, first, last),
            *(sys.executable, "-c", SCRIPT.format(then=THEN[then]), str(home)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    said = {*done.stdout.split()}
    assert len(said) >= 60, done.stderr
    assert holds(home / "devflow.db", said), (call, first, last, done.stderr)
    return {*done.stderr.splitlines()}
