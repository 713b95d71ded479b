"""Batches of 50 from two PCs at once, as agents send them during the day, against batches of 1,000."""

from __future__ import annotations

from typing import Final

from bench.ingestion import ours
from bench.ingestion.asked import Asked, Given, Round

ROWS: Final = 40_000
ROUNDS: Final = 3
PCS: Final = 2
SMALL: Final = 50
ASKED: Final = (Asked("times the processor time an event", most=3),)


def measure(given: Given) -> Round:
    large = ours.run(given.rows, PCS)
    small = ours.run(given.rows, PCS, SMALL)
    return Round(f"batches of 1,000: {large}; of {SMALL}: {small}", (small.cpu_us / large.cpu_us,))
