"""Old events move to the archive: how many a second, and how long somebody who records waits meanwhile.

    python -m bench.archiving [--rows N]

The agent is the installed program in a process of its own, with its files on the disk of this folder.
Exit code 1 if a figure misses what is asked for.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

from bench.draining import devflow
from bench.ingestion.asked import Asked
from devflow import wire
from devflow_agent import archiving, outbox
from devflow_agent.config import Home
from devflow_agent.outbox import Attempt
from devflow_agent.store import Observation, Project, Store

ROWS: Final = 200_000
BATCH: Final = 1_000
AGE_MS: Final = 60 * wire.DAY_MS
CAPTURED: Final = 300
PAUSE_S: Final = 0.005
ASKED: Final = (
    Asked("events moved a second", least=5_000),
    Asked("MB at most", most=100),
    Asked("ms until an event is durable, in the median, while others move", most=20),
    Asked("ms at most", most=500),
    Asked("ms at most, before"),
)


def fill(home: Home, rows: int) -> Project:
    """Events two months old that the server has."""
    store = home.store()
    outbox.report_to(store, uuid4())
    project = store.add_project("bench", home.path / "b", home.path / "b/.git", 0)
    outbox.link(store, project.id, wire.Project(project_id=uuid4(), name="bench"))
    first_ms = time.time_ns() // 1_000_000 - AGE_MS
    for first in range(0, rows, BATCH):
        store.add(project.id, [_saved(first_ms + number, number) for number in range(first, first + BATCH)])
        sent = outbox.pending(store, BATCH)
        attempt = Attempt(first_ms, len(sent), len(sent), 0, 1, 1, "ok", "")
        outbox.settle(store, sent, synced=[event.id for event in sent], attempt=attempt)
    return project


def _saved(timestamp_ms: int, number: int) -> Observation:
    path = f"src/part{number % 20}/m{number % 300}.py"
    return Observation.own(timestamp_ms, wire.FileSaved(path=path, size_bytes=number))


def capture_ms(store: Store, project: Project, number: int) -> float:
    """How long it took until an event was durable."""
    one = _saved(time.time_ns() // 1_000_000, number)
    began = time.perf_counter()
    store.add(project.id, [one])
    took_ms = (time.perf_counter() - began) * 1_000
    time.sleep(PAUSE_S)
    return took_ms


@contextmanager
def capturing(store: Store, project: Project) -> Iterator[list[float]]:
    """Events are recorded all the while; the list gets how long each took."""
    found: list[float] = []
    over = threading.Event()

    def capture() -> None:
        while not over.is_set():
            found.append(capture_ms(store, project, len(found)))

    thread = threading.Thread(target=capture)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def measure(rows: int) -> tuple[float, ...]:
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as name:
        home = Home(Path(name) / "home")
        project = fill(home, rows)
        store = home.store()
        before = [capture_ms(store, project, number) for number in range(CAPTURED)]
        with capturing(store, project) as during:
            ended = devflow(home, "archive")
        if (moved := archiving.archived(store)) != rows:
            raise SystemExit(f"expected {rows:,} events in the archive, {moved:,} are")
    return (
        rows / ended.took_s,
        ended.megabytes,
        statistics.median(during),
        max(during),
        max(before),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=ROWS, help="old events, a multiple of 1,000")
    figures = measure(parser.parse_args().rows)
    for asked, figure in zip(ASKED, figures, strict=True):
        print(asked.verdict(figure))
    return 0 if all(asked.is_met(figure) for asked, figure in zip(ASKED, figures, strict=True)) else 1


if __name__ == "__main__":
    sys.exit(main())
