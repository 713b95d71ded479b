"""What it costs to find out what a server has lost: digests and named events, among a million stored ones."""

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
        data = chance.randbytes(300)
        yield (event_id, at, project_id, device_id, number, kind, data, at, person_id, None, 0, 0, b"")


def filled(database: Database, url: str) -> tuple[World, int, Any]:
    world = World.on(database)
    people = [world.person(f"Person{number}") for number in range(DEVICES)]
    project = world.project("atlas", *people)
    devices = [(member.device, member.id) for member in people]
    if database.is_sqlite:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute("CREATE INDEX ix_bench ON events (device_id, seq)")
            places = ", ".join("?" * 13)
            connection.executemany(
                f"INSERT INTO events ({COLUMNS}) VALUES ({places})",  # noqa: S608 - our own words
                rows(devices, project.id),
            )
    else:
        with psycopg.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE INDEX ix_bench ON events (device_id, seq)")
            with cursor.copy(f"COPY events ({COLUMNS}) FROM STDIN") as copy:
                for row in rows(devices, project.id):
                    copy.write_row(row)
            connection.commit()
            connection.autocommit = True
            cursor.execute("ANALYZE events")
    return world, people[0].device, project


def took_ms(work: Callable[[], Any], times: int = 5) -> float:
    """The median of some runs."""
    each = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        each.append((time.perf_counter() - began) * 1_000)
    return sorted(each)[times // 2]


def measure(name: str, database: Database, url: str) -> None:
    world, device_id, project = filled(database, url)
    today = NOW_MS // DAY_MS

    def of_days(count: int) -> wire.Digests:
        with database.reading() as session:
            device = session.get_one(Device, device_id)
            days = range(today - count + 1, today + 1)
            return digests.of_days(session, device, project, days, NOW_MS, world.calendar)

    with database.reading() as session:
        some = session.execute(
            select(Event.event_id, Event.timestamp).where(Event.device_id == device_id).limit(1_000)
        ).all()
    names = [EventName(id=str(UUID(bytes=row[0])), timestamp=row[1]) for row in some]

    def missing() -> None:
        with database.reading() as session:
            assert digests.missing(session, names, NOW_MS, world.calendar) == []

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
        print(f"  digests of {days:3} days    {took_ms(lambda: of_days(days)):8.1f} ms")  # noqa: B023
    print(f"  1,000 events by name   {took_ms(missing):8.1f} ms")
    print(f"  next 1,001 numbers     {took_ms(lambda: check(0)):8.1f} ms")
    print(f"  nothing new            {took_ms(lambda: check(EVENTS)):8.1f} ms")
    print(f"  one event by id, time  {took_ms(traced):8.1f} ms")


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
