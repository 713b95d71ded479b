"""Outages: what passes is told from faults of ours, on the errors that real databases raise."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from devflow import outage
from devflow.db import Database


def of(database: Database, *statements: str) -> str | None:
    """What the last of the statements runs into; the others must pass."""
    with pytest.raises(SQLAlchemyError) as raised, database.engine.connect() as connection:
        for number, statement in enumerate(statements, 1):
            try:
                connection.execute(text(statement))
            except SQLAlchemyError:
                assert number == len(statements)
                raise
    return outage.of(raised.value)


def test_a_fault_of_ours_is_no_outage(database: Database) -> None:
    assert of(database, "SELECT nothing FROM nowhere") is None
    assert of(database, "INSERT INTO workspace (id) VALUES (1)") is None


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_full_and_a_locked_sqlite_file_are(database: Database, tmp_path: Path) -> None:
    filling = "CREATE TABLE filling AS SELECT zeroblob(1000000) AS filled"
    assert of(database, "PRAGMA max_page_count = 1", filling) == outage.FULL
    with database.writing() as session:
        session.execute(text("SELECT 1"))
        other = create_engine(database.engine.url, connect_args={"timeout": 0})
        with pytest.raises(SQLAlchemyError) as raised, other.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        other.dispose()
    assert outage.of(raised.value) == outage.BUSY
    with pytest.raises(SQLAlchemyError) as raised:
        create_engine(f"sqlite:///{tmp_path}/none/none.db").connect()
    assert outage.of(raised.value) == outage.GONE


@pytest.mark.parametrize("backend", ["postgres"])
def test_a_postgresql_that_is_gone_or_says_so_is(database: Database) -> None:
    assert of(database, "SELECT pg_terminate_backend(pg_backend_pid())") == outage.GONE
    for code, said in (
        ("53100", outage.FULL),
        ("53300", outage.BUSY),
        ("57P03", outage.GONE),
        ("40P01", outage.BUSY),
        ("55P03", outage.BUSY),
        ("58030", outage.FAILING),
        ("23505", None),
        ("22001", None),
    ):
        raised = f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$"
        assert of(database, raised) == said, code
    with pytest.raises(SQLAlchemyError) as refused:
        create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none").connect()
    assert outage.of(refused.value) == outage.GONE
