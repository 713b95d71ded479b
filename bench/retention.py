"""What it costs on PostgreSQL that a month of events goes, and to look for ids in many months.

    python -m bench.retention

Thirteen months of 100,000 events each. The ids of an upload of 1,000 new events are looked for in
the first month alone, and in all. Then months go in turn, in chunks and as partitions. The server
waits for its disk at each commit.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, Final, cast
from uuid import UUID, uuid4

import psycopg
from sqlalchemy import text

from bench.digests import COLUMNS
from devflow import partitions, retention, workspace
from devflow.db import Database
from devflow.ingest.known import ByIndex
from devflow.partitions import Part, month_of
from devflow.wire import Received
from tests import postgres
from tests.build import DAY_MS, NOW_MS, World

MONTHS: Final = 13
EVENTS: Final = 100_000
UPLOAD: Final = 1_000
GONE: Final = 3


class Named:
    """An event as far as it is looked for."""

    def __init__(self) -> None:
        self.id_bytes = uuid4().bytes


def months() -> list[Part]:
    """The last ones, the oldest first."""
    found = {month_of(NOW_MS - days * DAY_MS) for days in range(32 * MONTHS)}
    return sorted(found, key=_end)[-MONTHS:]


def _end(month: Part) -> int:
    assert month.end is not None
    return month.end


def fill(url: str, month: Part, project_id: int) -> None:
    chance = random.Random(month.name)
    with psycopg.connect(url, autocommit=True) as connection:
        with connection.cursor() as cursor, cursor.copy(f"COPY events ({COLUMNS}) FROM STDIN") as copy:
            for row in rows(chance, _end(month), project_id):
                copy.write_row(row)
        connection.execute("ANALYZE events")


def rows(chance: random.Random, end: int, project_id: int) -> Iterator[tuple[Any, ...]]:
    """Four weeks of ten people's work, in the order of time."""
    for number in range(EVENTS):
        at = end - 28 * DAY_MS * (EVENTS - number) // EVENTS
        event_id, who = UUID(bytes=chance.randbytes(16), version=4).bytes, number % 10 + 1
        yield event_id, at, project_id, who, number, 1, chance.randbytes(300), at, who, None, 0, 0, b""


def took(work: Callable[[], object]) -> float:
    """Milliseconds on the clock."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1_000


def look(database: Database) -> None:
    with database.reading() as session:
        assert ByIndex().find(session, [cast(Received, Named()) for _ in range(UPLOAD)]) == {}


def delete(database: Database, project_id: int, end: int) -> None:
    while database.transact(lambda session: retention.delete_some(session, project_id, end)):
        pass


def drop(database: Database, end: int) -> None:
    assert partitions.drop_before(database, end) == EVENTS


def drop_uncounted(database: Database, month: Part) -> None:
    """What of a drop others wait for."""
    with database.writing() as session:
        session.execute(text(f"DROP TABLE {month.name}"))


def measure(database: Database, url: str) -> None:
    world = World.on(database)
    project_id = world.project("atlas", world.person("Ada")).id
    oldest, *others = months()
    world.make_partitions(*(_end(month) - 1 for month in (oldest, *others)))
    fill(url, oldest, project_id)
    print(f"{UPLOAD:,} new ids, 1 month     {median(took(lambda: look(database)) for _ in range(9)):8.1f} ms")
    for month in others:
        fill(url, month, project_id)
    looks = [took(lambda: look(database)) for _ in range(9)]
    print(f"{UPLOAD:,} new ids, {MONTHS} months   {median(looks):8.1f} ms")
    going = iter((oldest, *others))
    chunks, drops, locked = list[float](), list[float](), list[float]()
    for _ in range(GONE):
        end = _end(next(going))
        chunks.append(took(lambda: delete(database, project_id, end)))  # noqa: B023
        partitions.drop_before(database, end)
        end = _end(next(going))
        drops.append(took(lambda: drop(database, end)))  # noqa: B023
        month = next(going)
        locked.append(took(lambda: drop_uncounted(database, month)))  # noqa: B023
    print(f"{EVENTS:,} events, in chunks   {median(chunks):8.1f} ms")
    print(f"{EVENTS:,} events, a partition {median(drops):8.1f} ms")
    print(f"  without counting them  {median(locked):8.1f} ms")


def main() -> None:
    with postgres.running(durable=True) as server:
        url = server.create("bench")
        database = Database(url)
        workspace.migrate(database)
        measure(database, url)
        database.close()


if __name__ == "__main__":
    main()
