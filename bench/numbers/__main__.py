"""Run the parts that are named, or all."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Final

from bench.ingestion.asked import Asked, Round
from bench.numbers import busy, keeping, reading

Measure = Callable[[bool], Round]
PARTS: Final[dict[str, tuple[tuple[Asked, ...], Measure]]] = {
    "keeping": (keeping.ASKED, keeping.measure),
    "reading": (reading.ASKED, reading.measure),
    "busy": (busy.ASKED, busy.measure),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL instead of SQLite")
    given = parser.parse_args()
    is_met = True
    for name in given.parts or PARTS:
        asked, measure = PARTS[name]
        rounds = []
        for number in range(1, given.rounds + 1):
            seen, figures = measure(given.postgres)
            print(f"{name} {number}: {seen}", flush=True)
            rounds.append(figures)
        for each, figures in zip(asked, zip(*rounds, strict=True), strict=True):
            median = statistics.median(figures)
            is_met &= each.is_met(median)
            print(f"  {each.verdict(median)}")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
