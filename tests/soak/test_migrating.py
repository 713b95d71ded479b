"""A store of 100,000 events, killed at random moments of its migrations, a hundred times."""

from __future__ import annotations

import random
import shutil
import time
from contextlib import closing
from pathlib import Path

from devflow_agent import archiving, schema
from devflow_agent.schema import archive
from devflow_agent.store import connect
from tests.agent.archived import NOW_MS, filled
from tests.agent.test_migrating import copied, killed_in, local, version

EVENTS = 100_000


def test_a_large_store_survives_a_hundred_kills_and_loses_only_what_concerns_sync(tmp_path: Path) -> None:
    home = tmp_path / "home"
    store = filled(home / "devflow.db", random.Random(9), events=EVENTS)
    archiving.run(store, NOW_MS)
    del store
    below = copied(home, tmp_path / "below")
    took_s = {1: timed(below, 1)}
    v1 = local(below)
    assert len(v1[0]) == EVENTS
    took_s[2] = timed(copied(below, tmp_path / "above"), 2)
    print("seconds to each version:", took_s)
    chance, killed = random.Random(2), 0
    for trial in range(50):
        for first, target in ((home, 1), (below, 2)):
            again = copied(first, tmp_path / "again")
            killed += killed_in(again, target, chance.uniform(0, 1.1 * took_s[target]))
            with closing(connect(again / "devflow.db")) as connection:
                assert connection.execute("PRAGMA quick_check").fetchone()[0] == "ok"
                assert version(again) in (1, 2)
                schema.migrate(connection, 1)
                archive.clear(connection)
            assert local(again) == v1, trial
            shutil.rmtree(again)
    assert killed > 30


def timed(home: Path, target: int) -> float:
    with closing(connect(home / "devflow.db")) as connection:
        began = time.monotonic()
        schema.migrate(connection, target)
        return time.monotonic() - began
