"""Batches of 1,000 against what others do with them: ActivityWatch's server, and an application of the ORM.

All three get the same events in their own form over one connection, and the two others are spared much:
ActivityWatch's server knows no tokens and stores what comes twice two times, neither of them seals or counts.
"""

from __future__ import annotations

from typing import Final

from bench.ingestion import activitywatch, orm, ours, sending
from bench.ingestion.asked import Asked, Given, Round
from bench.ingestion.ours import BATCH

ROWS: Final = 50_000
ROUNDS: Final = 3
ASKED: Final = (
    Asked("times as fast as ActivityWatch (and 6 is aimed at)", least=3),
    Asked("times ActivityWatch's processor time an event", most=1 / 3),
    Asked("times as fast as the application of the ORM", least=12),
)


def measure(given: Given) -> Round:
    assert given.aw_python is not None
    batches = given.rows // BATCH
    with ours.serving(given.rows) as (server, (pc,)):
        first, *bodies = pc.bodies(batches + 1)
        sending.send(pc.door, [first])  # what is made once is made
        own = ours.upload(server, [pc], [bodies], BATCH)
    watch = activitywatch.run(given.aw_python, pc, batches)
    other = orm.run(pc, batches)
    figures = own.rate / watch.rate, own.cpu_us / watch.cpu_us, own.rate / other.rate
    return Round(f"ours {own}; ActivityWatch {watch}; ORM {other}", figures)
