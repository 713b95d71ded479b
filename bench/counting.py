"""A week of a million events: what `devflow status` takes, and how much of it is counting.

    python -m bench.counting [--rows N]

The agent is the installed program, its files are on the disk of this folder. Exit code 1 if a figure
misses what is asked for.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.draining import devflow
from bench.ingestion.asked import Asked
from devflow import wire
from devflow.windows import Grain
from devflow_agent.analyse import activity, asking
from devflow_agent.config import Home
from devflow_agent.local_calendar import Calendar
from devflow_agent.store import Observation, Store

ROWS: Final = 1_000_000
WEEK_MS: Final = 7 * wire.DAY_MS
BATCH: Final = 1_000
TRIES: Final = 5
ASKED: Final = (
    Asked("s until `devflow status` has answered, the first time", most=10),
    Asked("s until `devflow status` has answered", most=0.5),
    Asked("ms to count after another event", most=100),
    Asked("ms to count after a late event, three days old", most=100),
    Asked("ms to count again by month, a year", most=100),
)


def fill(store: Store, rows: int) -> None:
    project = store.add_project("bench", store.path.parent / "b", store.path.parent / "b/.git", 0)
    first_ms = time.time_ns() // 1_000_000 - WEEK_MS
    for first in range(0, rows, BATCH):
        numbers = range(first, min(first + BATCH, rows))
        store.add(project.id, [_saved(first_ms + number * WEEK_MS // rows, number) for number in numbers])


def _saved(timestamp_ms: int, number: int) -> Observation:
    path = f"src/part{number % 20}/m{number % 300}.py"
    return Observation.own(timestamp_ms, wire.FileSaved(path=path, size_bytes=number))


def counting_ms(store: Store, by: Grain) -> float:
    asked = asking.question(store, Calendar.of_this_pc(), time.time_ns() // 1_000_000, by=by)
    began = time.perf_counter()
    activity.count(store, asked)
    return (time.perf_counter() - began) * 1_000


def after_one_ms(store: Store, age_ms: int) -> float:
    found = []
    for number in range(TRIES):
        store.add(store.projects()[0].id, [_saved(time.time_ns() // 1_000_000 - age_ms, number)])
        found.append(counting_ms(store, Grain.DAY))
    return statistics.median(found)


def measure(rows: int) -> tuple[float, ...]:
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as name:
        home = Home(Path(name) / "home")
        store = home.store()
        fill(store, rows)
        first_s = devflow(home, "status").took_s
        again_s = statistics.median(devflow(home, "status").took_s for _ in range(TRIES))
        after_ms, late_ms = after_one_ms(store, 0), after_one_ms(store, 3 * wire.DAY_MS)
        counting_ms(store, Grain.MONTH)
        return first_s, again_s, after_ms, late_ms, counting_ms(store, Grain.MONTH)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=ROWS, help="events of the week")
    figures = measure(parser.parse_args().rows)
    for asked, figure in zip(ASKED, figures, strict=True):
        print(asked.verdict(figure))
    return 0 if all(asked.is_met(figure) for asked, figure in zip(ASKED, figures, strict=True)) else 1


if __name__ == "__main__":
    sys.exit(main())
