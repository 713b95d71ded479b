"""Events in a store, and whether its counters are true: shared by the tests of store and outbox."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from devflow import wire
from devflow_agent.store import Observation, Project, Store


def add_project(store: Store, name: str) -> Project:
    return store.add_project(name, Path("/src") / name, Path("/src") / name / ".git", 0)


def saves(count: int, first_ms: int = 0) -> list[Observation]:
    return [
        Observation.own(first_ms + number, wire.FileSaved(path=f"{number}.py", size_bytes=number))
        for number in range(count)
    ]


def assert_counters_are_true(path: Path) -> None:
    """The store's counters are what counting the rows gives."""
    with closing(sqlite3.connect(path)) as connection:
        assert counters(connection) == counted(connection)


def counters(connection: sqlite3.Connection) -> list[list[tuple[str, str, int]]]:
    """What the store believes."""
    return [
        [tuple(row) for row in connection.execute(f"SELECT * FROM {table} WHERE count <> 0 ORDER BY 1, 2")]  # noqa: S608
        for table in ("event_counts", "sync_counts")
    ]


def counted(connection: sqlite3.Connection, events: str = "events") -> list[list[tuple[str, str, int]]]:
    """What counting the rows gives."""
    question = "SELECT project_id, {}, count(*) FROM {} GROUP BY 1, 2 ORDER BY 1, 2"
    return [
        [tuple(row) for row in connection.execute(question.format(column, events))]
        for column in ("event_type", "sync_status")
    ]
