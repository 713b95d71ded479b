"""The database as the server opens it: what is acknowledged is on the disk, and readers cannot write."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError

from devflow.db import Database


def test_sqlite_waits_for_the_disk_and_its_readers_cannot_write(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'devflow.db'}")
    with database.writing() as session:
        session.execute(text("CREATE TABLE seen (id INTEGER)"))
        assert session.scalar(text("PRAGMA synchronous")) == 2  # FULL
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
    with database.reading() as session, pytest.raises(OperationalError, match="readonly"):
        session.execute(text("INSERT INTO seen VALUES (1)"))
    database.close()


def test_who_writes_without_a_pause_lets_others_write_in_between(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'devflow.db'}")
    with database.writing() as session:
        session.execute(text("CREATE TABLE seen (who TEXT)"))

    def write(who: str, times: int) -> None:
        for _ in range(times):
            with database.writing() as session:
                session.execute(text("INSERT INTO seen VALUES (:who)"), {"who": who})

    with ThreadPoolExecutor(2) as pool:
        for done in (pool.submit(write, "without a pause", 400), pool.submit(write, "now and then", 20)):
            done.result()
    with database.reading() as session:
        order = list(session.scalars(text("SELECT who FROM seen ORDER BY rowid")))
    last = max(number for number, who in enumerate(order) if who == "now and then")
    assert last < 200, "expected turns to be taken"
    database.close()


def test_an_error_of_the_database_tells_no_value(database: Database) -> None:
    for opened in (database.reading, database.writing):
        with pytest.raises(DBAPIError, match="nowhere") as failed, opened() as session:
            session.execute(text("SELECT * FROM nowhere WHERE name = :name"), {"name": "Ada Lovelace"})
        assert "Lovelace" not in str(failed.value)
