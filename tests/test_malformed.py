"""A short form of the corpus of malformed uploads against the real server; ``make soak`` has all of it."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from sqlalchemy import func, select

from devflow.db import Database
from devflow.models import Event
from tests import malformed
from tests.offered import offering

SEED = 20_261


def test_nothing_malformed_is_taken_or_breaks_anything(database_url: str, tmp_path: Path) -> None:
    with offering(database_url, tmp_path / "data") as offer:
        assert offer.bodies(malformed.bodies(offer.sender, SEED, 216)) == []
        assert offer.packets(malformed.packets(offer.sender, SEED, 90)) == []
        assert offer.takes_a_good_one()
        assert offer.server.memory_mib("VmHWM") < 200
    database = Database(database_url)
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Event)) == 1
    database.close()


def test_the_corpus_is_the_same_for_the_same_seed_but_for_its_ids() -> None:
    sender = malformed.Sender("t", *[UUID(int=0)] * 3)
    names = [[each.name for each in malformed.bodies(sender, SEED, 300)] for _ in range(2)]
    assert names[0] == names[1]
    assert len(set(names[0])) > 100
