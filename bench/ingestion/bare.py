"""Rows as wide as the server's, stored with nothing around it."""

from __future__ import annotations

import random
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import psycopg

from bench.ingestion.ours import BATCH, GAP_MS
from bench.ingestion.sending import Marks
from devflow import workspace
from devflow.db import Database
from devflow.ingest.rows import Row
from devflow.partitions import Partitions, month_of
from tests.build import DAY_MS, NOW_MS

_COLUMNS: Final = ", ".join(Row._fields)


def into_sqlite(batches: int, *, key_is_random: bool = False) -> Marks:
    """``executemany`` and COMMIT of each batch, with FULL durability, into the table of the server.

    With ``key_is_random`` its unique key is the random id alone.
    """
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=".") as name,
        closing(sqlite3.connect(Path(name) / "bare.db")) as db,
    ):
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        for statement in _schema(Path(name), key_is_random=key_is_random):
            db.execute(statement)
        places = ", ".join("?" * len(Row._fields))
        insert = f"INSERT INTO events ({_COLUMNS}) VALUES ({places})"  # noqa: S608

        def store(rows: list[Row]) -> None:
            db.executemany(insert, rows)
            db.commit()

        return _timed(batches, store)


def into_postgres(batches: int, url: str) -> Marks:
    """COPY into a temporary table, from there what is new into the partitioned one, COMMIT of each batch."""
    database = Database(url)
    workspace.migrate(database)
    months = {month_of(_timestamp(number * BATCH, batches)) for number in range(batches + 1)}
    Partitions().ensure(database, months, NOW_MS)
    database.close()
    with psycopg.connect(url) as db:
        like_events = f"SELECT {_COLUMNS} FROM events WHERE false"  # noqa: S608
        db.execute(f"CREATE TEMPORARY TABLE arrived ON COMMIT DELETE ROWS AS {like_events}")
        db.commit()

        insert = f"INSERT INTO events ({_COLUMNS}) SELECT * FROM arrived ON CONFLICT DO NOTHING"  # noqa: S608

        def store(rows: list[Row]) -> None:
            with db.cursor() as cursor, cursor.copy(f"COPY arrived ({_COLUMNS}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            db.execute(insert)
            db.commit()

        return _timed(batches, store)


def _schema(folder: Path, *, key_is_random: bool) -> list[str]:
    """The table of events and its indexes as the server makes them, but for the key."""
    database = Database(f"sqlite:///{folder / 'schema.db'}")
    workspace.migrate(database)
    database.close()
    of_events = "SELECT sql FROM sqlite_master WHERE tbl_name = 'events' AND sql IS NOT NULL"
    with closing(sqlite3.connect(folder / "schema.db")) as made:
        found = [statement for (statement,) in made.execute(of_events)]
    key = "UNIQUE (timestamp, event_id)"
    if not any(key in statement for statement in found):
        raise SystemExit(f"expected {key} in the schema of events, got {found}")
    return [
        statement.replace(key, "UNIQUE (event_id)") if key_is_random else statement for statement in found
    ]


def _timed(batches: int, store: Callable[[list[Row]], None]) -> Marks:
    made = [_rows(number, batches) for number in range(batches + 1)]
    store(made[0])  # as the first batch of the server is not counted either
    marks = Marks([time.perf_counter()])
    for rows in made[1:]:
        store(rows)
        marks.append(time.perf_counter())
    return marks


def _rows(number: int, batches: int) -> list[Row]:
    drawn = random.Random(number)
    return [
        Row(
            event_id=drawn.randbytes(16),
            timestamp=_timestamp(place, batches),
            project_id=1,
            device_id=1,
            local_id=place,
            event_type=1,
            data=drawn.randbytes(32 + 80),  # sealed, of the mean length of what our PCs send
            received_at=NOW_MS,
            person_id=1,
            author_key=None if place % 10 else b"a" * 16,
            insertions=0,
            deletions=0,
            files=b"\1\2\3\4",
        )
        for place in range(number * BATCH, (number + 1) * BATCH)
    ]


def _timestamp(place: int, batches: int) -> int:
    return NOW_MS - DAY_MS - ((batches + 1) * BATCH - place) * GAP_MS
