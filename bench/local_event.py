"""Measure how long a local event takes until it is durable, beside a bare SQLite insert.

    python -m bench.local_event

Three rounds in turn, each of single events into a fresh store on the disk of this folder. Exit
code 1 if the median of the agent's own `store.add` is a millisecond or more.
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from devflow import wire
from devflow_agent.store import Observation, Store

ROUNDS = 3
EVENTS = 2_000
CEILING_MS = 1.0


def durations_ms(write: Callable[[int], object]) -> list[float]:
    found = []
    for number in range(EVENTS):
        started = time.perf_counter()
        write(number)
        found.append((time.perf_counter() - started) * 1_000)
    return found


def agent(folder: Path) -> list[float]:
    store = Store(folder / "agent.db")
    project = store.add_project("bench", folder, folder / ".git", 0)
    return durations_ms(
        lambda number: store.add(
            project.id, [Observation.own(number, wire.FileSaved(path="src/app.py", size_bytes=number))]
        )
    )


def bare(folder: Path) -> list[float]:
    """One row a transaction with the same durability, and nothing else."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, data TEXT)")
    found = durations_ms(
        lambda number: connection.execute("INSERT INTO events (data) VALUES (?)", (f'{{"size":{number}}}',))
    )
    connection.close()
    return found


def main() -> int:
    medians: list[float] = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(dir=".") as folder:
            plain, ours = statistics.median(bare(Path(folder))), statistics.median(agent(Path(folder)))
        medians.append(ours)
        print(f"bare insert {plain:.3f} ms, recorded event {ours:.3f} ms, ratio {ours / plain:.2f}")
    median = statistics.median(medians)
    print(f"a local event is durable after {median:.3f} ms (median of {ROUNDS} medians)")
    return 0 if median < CEILING_MS else 1


if __name__ == "__main__":
    sys.exit(main())
