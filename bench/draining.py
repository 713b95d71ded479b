"""A week offline: a million events wait, and one push sends them while others are recorded.

    python -m bench.draining [--rows N]

The agent is the installed program in a process of its own, the server gunicorn with SQLite; both have
their files on the disk of this folder. What the server takes is measured in the same run, by a PC whose
batches are made already. Exit code 1 if a figure misses what is asked for.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import requests
from msgspec import Raw

from bench.ingestion import ours, sending
from bench.ingestion.asked import Asked
from bench.ingestion.ours import BATCH, Pc
from devflow import wire
from devflow_agent import credentials, outbox
from devflow_agent.batches import GZIP_LEVEL
from devflow_agent.config import Home
from devflow_agent.credentials import Account, Credentials
from devflow_agent.outbox import Waiting
from devflow_agent.store import Observation, Project, Store
from tests.server_process import ServerProcess

ROWS: Final = 1_000_000
GAP_MS: Final = 600  # a week of them
SERVERS_BATCHES: Final = 60
TRIES: Final = 5
CAPTURED: Final = 200
PAUSE_S: Final = 0.02
ASKED: Final = (
    Asked("s until `devflow sync status` has answered", most=0.5),
    Asked("MB at most while it sends", most=150),
    Asked("times as fast as the server takes batches that are made already", least=0.5),
    Asked("times the processor time of encoding and compressing", most=3),
    Asked("times as long until an event is durable, in the median, as before"),
)


@dataclass(frozen=True)
class Ended:
    """What a process took: seconds on the clock, of processor time, and megabytes at most."""

    took_s: float
    cpu_s: float
    megabytes: float


def devflow(home: Home, *args: str) -> Ended:
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "devflow_agent", *args],
        env=os.environ | {"DEVFLOW_HOME": str(home.path)},
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(
            f"expected `devflow {' '.join(args)}` to succeed, it ended with {process.returncode}"
        )
    took_s = time.perf_counter() - began
    return Ended(took_s, used.ru_utime + used.ru_stime, used.ru_maxrss * 1_024 / 1e6)


def offline(folder: Path, server: ServerProcess, pc: Pc, rows: int) -> tuple[Home, Project]:
    """The home of an agent that is signed in as the PC and has recorded so much."""
    home = Home(folder)
    store = home.store()
    store.set_settings(device_id=str(pc.device), sync_enabled=True, sync_batch_size=BATCH)
    token = pc.door.headers["Authorization"].removeprefix("Bearer ")
    account = Account(
        user_id=pc.person, email="ada@example.org", token=token, refresh_token="none", expires_at=0
    )
    url = f"http://127.0.0.1:{pc.door.port}"
    server_id = UUID(server_name(url))
    credentials.save(home.credentials, Credentials(server_url=url, server_id=server_id, account=account))
    project = store.add_project("bench", folder / "bench", folder / "bench/.git", 0)
    outbox.report_to(store, server_id)
    outbox.link(store, project.id, wire.Project(project_id=pc.project, name="bench"))
    now_ms = time.time_ns() // 1_000_000
    for first in range(0, rows, BATCH):
        numbers = range(first, min(first + BATCH, rows))
        store.add(project.id, [_saved(now_ms - (rows - number) * GAP_MS, number) for number in numbers])
    return home, project


def server_name(url: str) -> str:
    """The id that the server gives with every answer."""
    return requests.get(f"{url}/healthz", timeout=30).headers[wire.SERVER_HEADER]


def _saved(timestamp_ms: int, number: int) -> Observation:
    return Observation.own(
        timestamp_ms, wire.FileSaved(path=f"src/part{number % 20}/m{number % 300}.py", size_bytes=number)
    )


def encoding_s(store: Store, pc: Pc, count: int) -> float:
    """Processor time of encoding and compressing so many of the events, in batches, and nothing else."""
    spent, after = 0.0, 0
    while after < count:
        events = outbox.pending(store, BATCH, after=after)
        began = time.process_time()
        bodies = [Raw(wire.encode(_envelope(event, pc))) for event in events]
        gzip.compress(wire.encode(wire.Batch(events=bodies, device_id=pc.device)), GZIP_LEVEL, mtime=0)
        spent += time.process_time() - began
        after = events[-1].local_id
    return spent


def _envelope(event: Waiting, pc: Pc) -> wire.SyncEvent:
    return wire.SyncEvent(
        id=event.id,
        timestamp=event.timestamp_ms,
        device_id=pc.device,
        user_id=pc.person,
        project_id=pc.project,
        local_id=event.local_id,
        event_type=wire.EventType(event.event_type),
        event_data=Raw(event.data_json.encode()),
    )


def capture_ms(store: Store, project: Project) -> float:
    """How long it took until a single event was durable, in the median."""
    found = []
    for number in range(CAPTURED):
        one = _saved(time.time_ns() // 1_000_000, number)
        began = time.perf_counter()
        store.add(project.id, [one])
        found.append((time.perf_counter() - began) * 1_000)
        time.sleep(PAUSE_S)
    return statistics.median(found)


@contextmanager
def capturing(store: Store, project: Project) -> Iterator[list[float]]:
    """Events are recorded all the while; the list gets the median of each few seconds."""
    medians: list[float] = []
    over = threading.Event()

    def capture() -> None:
        while not over.is_set():
            medians.append(capture_ms(store, project))

    thread = threading.Thread(target=capture)
    thread.start()
    try:
        yield medians
    finally:
        over.set()
        thread.join()


def measure(rows: int) -> tuple[float, ...]:
    with (
        ours.serving(rows, 2) as (server, (offline_pc, other)),
        tempfile.TemporaryDirectory(prefix="bench-", dir=".") as name,
    ):
        home, project = offline(Path(name) / "home", server, offline_pc, rows)
        store = home.store()
        bodies = other.bodies(2 * SERVERS_BATCHES + 1)
        sending.send(other.door, bodies[:1])
        # On both sides of the push: what a machine does beside it comes and goes.
        before = ours.upload(server, [other], [bodies[1 : SERVERS_BATCHES + 1]], BATCH)
        status_s = statistics.median(devflow(home, "sync", "status").took_s for _ in range(TRIES))
        sample = min(rows, 50_000)
        encoding_us = encoding_s(store, offline_pc, sample) / sample * 1e6
        before_ms = capture_ms(store, project)
        waiting = outbox.counts(store)["pending"]
        with capturing(store, project) as medians:
            pushed = devflow(home, "sync", "push")
        during_ms = statistics.median(medians)
        after = ours.upload(server, [other], [bodies[SERVERS_BATCHES + 1 :]], BATCH)
        left = outbox.counts(store)["pending"]
        if left > CAPTURED * len(medians):
            raise SystemExit(f"expected everything that waited to be sent, {left} events wait")
    rate, cpu_us = waiting / pushed.took_s, pushed.cpu_s / waiting * 1e6
    servers = statistics.mean([before.rate, after.rate])
    print(
        f"{waiting:,} sent at {rate:,.0f}/s, {cpu_us:.1f} us each;"
        f" the server takes {before} before it and {after} after it;"
        f" encoding and compressing {encoding_us:.1f} us;"
        f" an event is durable after {during_ms:.2f} ms, {before_ms:.2f} before"
    )
    return (
        status_s,
        pushed.megabytes,
        rate / servers,
        cpu_us / encoding_us,
        during_ms / before_ms,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=ROWS, help="events that wait")
    figures = measure(parser.parse_args().rows)
    for asked, figure in zip(ASKED, figures, strict=True):
        print(asked.verdict(figure))
    return 0 if all(asked.is_met(figure) for asked, figure in zip(ASKED, figures, strict=True)) else 1


if __name__ == "__main__":
    sys.exit(main())
