"""Thousands of malformed uploads: none is taken, none breaks anything, and memory stays flat."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select

from devflow.db import Database
from devflow.models import Event
from tests import malformed
from tests.offered import offering

SEED = 17
ROUNDS = 5
BODIES, PACKETS = 1_000, 200
MAY_GROW_MIB = 12
"""From the first round to the last. A leak of 2.5 kB a request would be more."""


def test_a_corpus_of_six_thousand_is_refused_in_flat_memory(database_url: str, tmp_path: Path) -> None:
    with offering(database_url, tmp_path / "data") as offer:
        held = []
        for number in range(ROUNDS):
            assert offer.bodies(malformed.bodies(offer.sender, SEED + number, BODIES)) == []
            assert offer.packets(malformed.packets(offer.sender, SEED + number, PACKETS)) == []
            held.append(offer.server.memory_mib())
        assert offer.takes_a_good_one()
        most = offer.server.memory_mib("VmHWM")
        print(f"MiB after each round {held}, at most {most}")
        assert held[-1] - held[0] <= MAY_GROW_MIB
        assert most < 200
    database = Database(database_url)
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Event)) == 1
    database.close()
