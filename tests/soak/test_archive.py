"""Archiving, killed at every moment there is between two of its calls into SQLite."""

from __future__ import annotations

import random
from pathlib import Path

from tests.agent import killing
from tests.agent.archived import filled
from tests.agent.test_archive import killed_at


def test_killed_at_every_moment_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    home = tmp_path / "counted"
    filled(home / "devflow.db", random.Random(0), events=150)
    moments = killing.run("tests.agent.archived:archive", str(home))
    assert moments is not None
    assert moments > 100
    for moment in range(1, moments + 1):
        killed_at(tmp_path / str(moment), moment)
