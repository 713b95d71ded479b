"""Measure ingestion over HTTP against the bare insertion of rows as wide.

    python -m bench.ingest [--rows N] [--rounds N] [--postgres]

One gunicorn worker on a database on the disk of this folder, and one PC that sends gzipped batches
of 1,000 saves and commits, each answered after COMMIT with FULL durability. Beside it, in turn
and into files of their own, ``executemany`` of as many rows into the same table, and into one
whose unique key is the random id alone. What counts is the last fifth of each, when the tables are
large. Exit code 1 if the medians of the ratios miss what is asked for.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID, uuid4

import requests
from msgspec import Raw

from devflow import wire, workspace
from devflow.accounts import tokens
from devflow.audit import Actor
from devflow.config import Settings
from devflow.context import Context
from devflow.db import Database
from devflow.ingest.rows import Row
from devflow.models import Device, Person
from tests import postgres
from tests.build import DAY_MS, World, commit, saved
from tests.server_process import ServerProcess

BATCH: Final = 1_000
FILES: Final = 300
GAP_MS: Final = 5_000
SMALL: Final = 50
PLAIN_FLOOR: Final = 0.6
UNIQUE_FLOOR: Final = 1.2
T = TypeVar("T")


@dataclass(frozen=True)
class Speed:
    """Events a second over the first and the last fifth, and the worker's processor time an event."""

    first: float
    last: float
    cpu_us: float = 0.0
    again: float = 0.0

    def __str__(self) -> str:
        cpu = (
            f", {self.cpu_us:.1f} us of processor an event, again {self.again:,.0f}/s" if self.cpu_us else ""
        )
        return f"{self.first:>8,.0f}/s at first, {self.last:>8,.0f}/s at last{cpu}"


@dataclass(frozen=True)
class Sender:
    """A person's PC, and what it sends."""

    url: str
    token: str
    person: UUID
    device: UUID
    project: UUID
    author: str
    start_ms: int

    def bodies(self, count: int, size: int = BATCH) -> list[bytes]:
        """The next ``count`` batches, ready to send."""
        drawn = random.Random(self.start_ms)
        return [gzip.compress(self._batch(number, size, drawn), 6) for number in range(count)]

    def _batch(self, number: int, size: int, drawn: random.Random) -> bytes:
        events = []
        for place in range(number * size, (number + 1) * size):
            # Few files are changed often, and one event of ten is a commit.
            path = f"src/part{int(drawn.paretovariate(1)) % 20}/m{int(drawn.paretovariate(0.7)) % FILES}.py"
            data: wire.EventData = saved(path, drawn.randrange(50_000))
            if place % 10 == 0:
                data = commit(self.author, path, f"docs/{path}.md", insertions=drawn.randrange(90))
            events.append(
                wire.SyncEvent(
                    id=str(uuid4()),
                    timestamp=self.start_ms + place * GAP_MS,
                    device_id=self.device,
                    user_id=self.person,
                    project_id=self.project,
                    local_id=place + 1,
                    event_type=wire.TYPE_OF[type(data)],
                    event_data=Raw(wire.encode(data)),
                )
            )
        return wire.encode(
            wire.Batch(events=[Raw(wire.encode(each)) for each in events], device_id=self.device)
        )

    def send(self, session: requests.Session, body: bytes) -> None:
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
        }
        answer = session.post(f"{self.url}/sync/events", data=body, headers=headers, timeout=60)
        if answer.status_code != 200 or not answer.json()["success"]:
            raise SystemExit(
                f"expected every event to be taken, got {answer.status_code} {answer.text[:300]}"
            )


@contextmanager
def serving(folder: Path, *, on_postgres: bool) -> Iterator[tuple[ServerProcess, Sender]]:
    with ExitStack() as stack:
        url = f"sqlite:///{folder / 'devflow.db'}"
        if on_postgres:
            url = stack.enter_context(postgres.running(durable=True)).create("bench")
        server = ServerProcess(url, folder / "data", {"DEVFLOW_TIMEZONE": "Europe/Berlin"})
        server.start()
        stack.callback(server.stop)
        yield server, settle(server.url, Settings(data_dir=str(folder / "data"), database_url=url))


def settle(url: str, settings: Settings) -> Sender:
    """Somebody who may send to a project, made behind the server's back."""
    context = Context.open(settings)
    world = World.of(context)
    member = world.person("Ada")
    project = world.project("bench", member)
    with context.database.writing() as session:
        person, device = session.get_one(Person, member.id), session.get_one(Device, member.device)
        by = Actor(person, context.now(), context.vault)
        token = tokens.issue(session, by, person, device, context.server_id).token
    context.database.close()
    start_ms = context.now() - 300 * DAY_MS
    return Sender(url, token, member.public_id, member.device_id, project.public_id, member.author, start_ms)


def ingest(batches: int, *, on_postgres: bool) -> Speed:
    """Our own way."""
    with (
        tempfile.TemporaryDirectory(dir=".") as name,
        serving(Path(name), on_postgres=on_postgres) as (
            server,
            sender,
        ),
    ):
        bodies = sender.bodies(batches)
        with requests.Session() as session:
            sender.send(session, bodies[0])  # what is made once is made
            before = worker_cpu_s(server)
            speed = _timed(bodies[1:], lambda body: sender.send(session, body))
            cpu_us = (worker_cpu_s(server) - before) / ((batches - 1) * BATCH) * 1e6
            again = _timed(bodies[-max(2, batches // 5) :], lambda body: sender.send(session, body))
        return Speed(speed.first, speed.last, cpu_us, again.first)


def worker_cpu_s(server: ServerProcess) -> float:
    """Processor seconds of the worker, a child of the process that was started."""
    master = server.pid
    worker = Path(f"/proc/{master}/task/{master}/children").read_text().split()[0]
    fields = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bare(batches: int, *, unique_id: bool) -> Speed:
    """``executemany`` and COMMIT of each batch, without anything around it."""
    with tempfile.TemporaryDirectory(dir=".") as name, closing(sqlite3.connect(Path(name) / "bare.db")) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        for statement in schema(Path(name), unique_id=unique_id):
            db.execute(statement)
        places = ", ".join("?" * len(Row._fields))
        insert = f"INSERT INTO events ({', '.join(Row._fields)}) VALUES ({places})"  # noqa: S608

        def store(rows: list[Row]) -> None:
            db.executemany(insert, rows)
            db.commit()

        return _timed([_rows(number) for number in range(batches)], store)


def schema(folder: Path, *, unique_id: bool) -> list[str]:
    """The table of events and its indexes as the server makes them, or with the id alone for a unique key."""
    database = Database(f"sqlite:///{folder / 'schema.db'}")
    workspace.migrate(database)
    database.close()
    with closing(sqlite3.connect(folder / "schema.db")) as made:
        found = [
            row[0]
            for row in made.execute("SELECT sql FROM sqlite_master WHERE tbl_name = 'events'")
            if row[0]
        ]
    key = "UNIQUE (timestamp, event_id)"
    if not any(key in statement for statement in found):
        raise SystemExit(f"expected {key} in the schema of events, got {found}")
    return [statement.replace(key, "UNIQUE (event_id)") if unique_id else statement for statement in found]


def _rows(number: int) -> list[Row]:
    drawn = random.Random(number)
    return [
        Row(
            event_id=drawn.randbytes(16),
            timestamp=1_700_000_000_000 + place * GAP_MS,
            project_id=1,
            device_id=1,
            local_id=place,
            event_type=1,
            data=drawn.randbytes(32 + 70),
            received_at=1_700_000_000_000,
            person_id=1,
            author_key=None,
            insertions=0,
            deletions=0,
            files=b"\1\2\3\4",
        )
        for place in range(number * BATCH, (number + 1) * BATCH)
    ]


def _timed(batches: Sequence[T], work: Callable[[T], None]) -> Speed:
    """Speeds over the first and the last fifth of the batches."""
    taken = []
    for batch in batches:
        started = time.perf_counter()
        work(batch)
        taken.append(time.perf_counter() - started)
    fifth = max(1, len(taken) // 5)
    return Speed(fifth * BATCH / sum(taken[:fifth]), fifth * BATCH / sum(taken[-fifth:]))


def small(batches: int, *, on_postgres: bool) -> float:
    """Microseconds of processor an event, when batches of 50 come over two connections at once."""
    with (
        tempfile.TemporaryDirectory(dir=".") as name,
        serving(Path(name), on_postgres=on_postgres) as (server, sender),
    ):
        bodies = sender.bodies(batches * BATCH // SMALL, SMALL)

        def work(bodies: list[bytes]) -> None:
            with requests.Session() as session:
                for body in bodies:
                    sender.send(session, body)

        before = worker_cpu_s(server)
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(work, bodies[start::2]) for start in range(2)]:
                done.result()
        return (worker_cpu_s(server) - before) / (batches * BATCH) * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgres", action="store_true")
    given = parser.parse_args()
    batches = given.rows // BATCH
    plain_ratios, unique_ratios = [], []
    for number in range(1, given.rounds + 1):
        ours = ingest(batches, on_postgres=given.postgres)
        plain, unique = bare(batches, unique_id=False), bare(batches, unique_id=True)
        plain_ratios.append(ours.last / plain.last)
        unique_ratios.append(ours.last / unique.last)
        print(
            f"round {number}: over HTTP   {ours}\n         plain rows  {plain}\n         random key  {unique}"
        )
    little = small(max(10, batches // 10), on_postgres=given.postgres)
    ratio = little / ours.cpu_us
    print(f"batches of {SMALL}, two at once: {little:.1f} us of processor an event, {ratio:.1f}x")
    against = statistics.median(plain_ratios), statistics.median(unique_ratios)
    print(f"median of the ratios: {against[0]:.2f} of plain rows, {against[1]:.2f} of a random key")
    return int(against[0] < PLAIN_FLOOR or against[1] < UNIQUE_FLOOR)


if __name__ == "__main__":
    sys.exit(main())
