"""A batch sent again, as after an answer that was lost, against the same batch sent for the first time.

Each is sent twice in a row, so that both are measured in the same moments and on the same table.
"""

from __future__ import annotations

from typing import Final

from bench.ingestion import ours, sending
from bench.ingestion.asked import Asked, Given, Round
from bench.ingestion.ours import BATCH

ROWS: Final = 100_000
ROUNDS: Final = 3
ASKED: Final = (Asked("times as fast as the first time", least=1),)


def measure(given: Given) -> Round:
    with ours.serving(given.rows) as (_, (pc,)):
        first, *bodies = pc.bodies(given.rows // BATCH + 1)
        sending.send(pc.door, [first])
        twice = [body for body in bodies for _ in range(2)]
        steps = sending.send_at_once([pc.door], [twice]).steps
    new, again = sum(steps[0::2]), sum(steps[1::2])
    events = len(bodies) * BATCH
    return Round(f"new {events / new:,.0f}/s, again {events / again:,.0f}/s", (new / again,))
