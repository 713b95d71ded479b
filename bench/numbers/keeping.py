"""What hour cells cost: an upload's rows inserted and committed with them, against the same without.

Both in one process, on files of their own, batches of 1,000 in turn: what each takes for a batch that
the other takes too.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.ingestion.asked import Asked, Round
from devflow import db, rollups, workspace
from devflow.config import Settings
from devflow.context import Context
from devflow.ingest.rows import Row
from devflow.models import Event
from tests import postgres
from tests.build import NOW_MS, World

BATCHES: Final = 60
BATCH: Final = 1_000
GAP_MS: Final = 5_000
ASKED: Final = (Asked("times insert and commit alone", most=1.8),)


def measure(on_postgres: bool) -> Round:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=".")))
        made = stack.enter_context(postgres.running(durable=True)) if on_postgres else None
        worlds = []
        for name in ("bare", "counted"):
            url = made.create(name) if made else ""
            settings = Settings(data_dir=str(folder / name), database_url=url, timezone="Europe/Berlin")
            workspace.prepare(settings, NOW_MS)
            worlds.append(World.of(Context.open(settings)))
            stack.callback(worlds[-1].database.close)
        bare, counted = worlds
        for world in worlds:
            ada = world.person("Ada")
            world.project("bench", ada)
            world.make_partitions(*(NOW_MS + number * BATCH * GAP_MS for number in range(BATCHES + 1)))
        taken = [
            (_ms(bare, rows, is_counting=False), _ms(counted, rows, is_counting=True))
            for rows in map(_rows, range(BATCHES))
        ]
    alone, both = (statistics.median(each) for each in zip(*taken, strict=True))
    return Round(f"{alone:.2f} ms for {BATCH:,} rows, {both:.2f} ms with their cells", (both / alone,))


def _ms(world: World, rows: list[Row], *, is_counting: bool) -> float:
    began = time.perf_counter()
    with world.database.writing() as session:
        if is_counting:
            rollups.count(session, rows, world.calendar)
        db.insert_many(session, Event.__table__, Row._fields, rows)
    return (time.perf_counter() - began) * 1_000


def _rows(number: int) -> list[Row]:
    drawn = random.Random(number)
    return [
        Row(
            event_id=drawn.randbytes(16),
            timestamp=NOW_MS + place * GAP_MS,
            project_id=1,
            device_id=1,
            local_id=place,
            event_type=5 if place % 10 == 0 else 1,
            data=drawn.randbytes(112),
            received_at=NOW_MS,
            person_id=1,
            author_key=None,
            insertions=place % 10,
            deletions=0,
            files=rollups.pack_files([drawn.randrange(300)]),
        )
        for place in range(number * BATCH, (number + 1) * BATCH)
    ]
