"""What it costs to find what a server has lost, among a million stored events.

    python -m bench.digests

Digests of days, a thousand events by their names, the next ones for another PC, and one by id, on
either database, with the index (device_id, seq) that a download goes by. Medians of five runs.
"""

from __future__ import annotations

import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from sqlalchemy import select

from devflow import digests, own_events, wire, workspace
from devflow.audit import Actor
from devflow.db import Database
from devflow.models import Device, Event, Person
from devflow.wire import EventName
from tests import postgres
from tests.build import DAY_MS, NOW_MS, World

EVENTS: Final = 1_000_000
DEVICES: Final = 10
DAYS: Final = 365
FACTS_OF_TEN: Final = 2
COLUMNS: Final = (
    "event_id, timestamp, project_id, device_id, local_id, event_type, data, received_at, person_id,"
    " author_key, insertions, deletions, files"
)


def rows(devices: list[tuple[int, int]], project_id: int) -> Iterator[tuple[Any, ...]]:
    """A year of ten people's days, in the order they were sent."""
    chance = random.Random(1)
    for number in range(EVENTS):
        device_id, person_id = devices[number % DEVICES]
        at = NOW_MS - (DAYS * DAY_MS * (EVENTS - number)) // EVENTS
        kind = 5 if number // DEVICES % 10 < FACTS_OF_TEN else 1
        event_id = UUID(bytes=chance.randbytes(16), version=4).bytes
        data = chance.randbytes(300) if number >= DEVICES * 1_000 else b""  # none that would have to open
        yield (event_id, at, project_id, device_id, number, kind, data, at, person_id, None, 0, 0, b"")


def filled(database: Database, url: str) -> tuple[World, int, Any]:
    world = World.on(database)
    people = [world.person(f"Person{number}") for number in range(DEVICES)]
    project = world.project("atlas", *people)
    devices = [(member.device, member.id) for member in people]
    world.make_partitions(*(NOW_MS - day * DAY_MS for day in range(DAYS + 1)))
    (_fill_sqlite if database.is_sqlite else _fill_postgres)(url, rows(devices, project.id))
    return world, people[0].device, project


def _fill_sqlite(url: str, events: Iterator[tuple[Any, ...]]) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("CREATE INDEX ix_bench ON events (device_id, seq)")
        places = ", ".join("?" * 13)
        connection.executemany(f"INSERT INTO events ({COLUMNS}) VALUES ({places})", events)  # noqa: S608


def _fill_postgres(url: str, events: Iterator[tuple[Any, ...]]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE INDEX ix_bench ON events (device_id, seq)")
        with connection.cursor() as cursor, cursor.copy(f"COPY events ({COLUMNS}) FROM STDIN") as copy:
            for row in events:
                copy.write_row(row)
        connection.execute("ANALYZE events")


def took(work: Callable[[], Any], times: int = 5) -> str:
    """The median of some runs, of the time on the clock and of the server's own processor time."""
    walls, cpus = list[float](), list[float]()
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append((time.perf_counter() - wall) * 1_000)
        cpus.append((time.process_time() - cpu) * 1_000)
    return f"{sorted(walls)[times // 2]:8.1f} ms, {sorted(cpus)[times // 2]:8.1f} of them at work"


def measure(name: str, database: Database, url: str) -> None:
    world, device_id, project = filled(database, url)
    today = NOW_MS // DAY_MS

    def of_days(count: int) -> wire.Digests:
        with database.reading() as session:
            device = session.get_one(Device, device_id)
            days = range(today - count + 1, today + 1)
            return digests.of_days(session, device, project, days, NOW_MS)

    with database.reading() as session:
        some = session.execute(
            select(Event.event_id, Event.timestamp).where(Event.device_id == device_id).limit(1_000)
        ).all()
    names = [EventName(id=str(UUID(bytes=row[0])), timestamp=row[1]) for row in some]

    def missing() -> None:
        with database.reading() as session:
            assert digests.missing(session, names, NOW_MS) == []

    def check(after: int) -> None:
        with database.reading() as session:
            device = session.get_one(Device, device_id)
            person = session.get_one(Person, device.person_id)
            own_events._seqs(session, person, None, after, 1_001)

    def traced() -> None:
        with database.reading() as session:
            by = Actor(session.get_one(Person, session.get_one(Device, device_id).person_id), 0, world.vault)
            own_events.trace(session, by, UUID(names[500].id), names[500].timestamp)

    print(f"{name}, {EVENTS:,} events of {DEVICES} PCs in one project over {DAYS} days")
    for days in (1, 31, DAYS):
        print(f"  digests of {days:3} days    {took(lambda: of_days(days))}")  # noqa: B023
    print(f"  1,000 events by name   {took(missing)}")
    print(f"  next 1,001 numbers     {took(lambda: check(0))}")
    print(f"  nothing new            {took(lambda: check(EVENTS))}")
    print(f"  one event by id, time  {took(traced)}")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="devflow-bench-") as folder:
        url = f"sqlite:///{Path(folder) / 'bench.db'}"
        run("SQLite", url)
    with postgres.running() as server:
        run("PostgreSQL", server.create("bench"))


def run(name: str, url: str) -> None:
    database = Database(url)
    workspace.migrate(database)
    measure(name, database, url)
    database.close()


if __name__ == "__main__":
    main()
