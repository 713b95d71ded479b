"""After a power cut at any moment every event that was said to be recorded is there, once."""

from __future__ import annotations

import random
import shutil
from contextlib import closing
from pathlib import Path
from typing import Final

from devflow_agent.store import Store, connect
from tests.agent import power
from tests.agent.archived import assert_counters_are_true

# Records, has some confirmed, archives them, lets one come back, and closes the store in between.
SCRIPT: Final = """
import os, sys
from pathlib import Path
from devflow import wire
from devflow_agent import archiving, outbox, store as stores
from tests.agent.archived import NOW_MS, REMOTE
from tests.agent.recorded import add_project, saves
from tests.agent.test_archive import settle_all

{prepare}
for part in range(4):
    store = stores.Store(Path(sys.argv[1]) / "devflow.db")
    project = add_project(store, "shop")
    outbox.link(store, project.id, wire.Project(project_id=REMOTE, name="Shop"))
    for number in range(4):
        batch = saves(5, first_ms=100 * number)
        store.add(project.id, batch)
        os.write(1, "".join(f"{{one.id}}\\n" for one in batch).encode())
    settle_all(store)
    archiving.run(store, NOW_MS)
    outbox.send_again(store, list(outbox.synced(store, REMOTE, 0, 3)))
    del store
"""
LAZY: Final = """
def connect(path, durable=stores.connect):
    connection = durable(path)
    connection.execute("PRAGMA main.synchronous = OFF")
    connection.execute("PRAGMA archive.synchronous = OFF")
    return connection
stores.connect = connect
"""


def losses(folder: Path, images: int, seed: int, prepare: str = "") -> int:
    """How many of so many images lack an event, or are no whole store."""
    steps = power.record(SCRIPT.format(prepare=prepare), folder / "home")
    assert len(power.said(steps, len(steps))) == 80
    chance, lost = random.Random(seed), 0
    for _ in range(images):
        until = chance.randrange(len(steps) + 1)
        power.image(steps, until, folder / "image", chance)
        lost += not holds(folder / "image" / "devflow.db", power.said(steps, until))
        shutil.rmtree(folder / "image")
    return lost


def holds(path: Path, events: set[str]) -> bool:
    try:
        store = Store(path)
        with store.read() as connection:
            found = [row["id"] for row in connection.execute("SELECT id FROM all_events")]
        assert_counters_are_true(store)
        with closing(connect(path)) as connection:
            whole = [connection.execute(f"PRAGMA {name}.integrity_check").fetchone()[0] for name in NAMES]
    except Exception:
        return False
    return {*found} >= events and len(found) == len({*found}) and whole == ["ok", "ok"]


NAMES: Final = ("main", "archive")


def test_no_power_cut_loses_what_was_recorded(tmp_path: Path) -> None:
    assert losses(tmp_path, 300, seed=1) == 0


def test_the_images_tell_a_store_that_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    assert losses(tmp_path, 60, seed=1, prepare=LAZY) > 5
