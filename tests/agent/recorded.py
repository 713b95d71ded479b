"""Events in a store, and whether its counters are true: shared by the tests of store and outbox."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

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


def counters(connection: sqlite3.Connection) -> list[Any]:
    """What the store believes."""
    return [
        connection.execute("SELECT * FROM event_counts WHERE count <> 0 ORDER BY 1, 2").fetchall(),
        connection.execute("SELECT * FROM sync_counts WHERE count <> 0 ORDER BY 1, 2").fetchall(),
    ]


def counted(connection: sqlite3.Connection) -> list[Any]:
    """What counting the rows gives."""
    return [
        connection.execute(
            "SELECT project_id, event_type, count(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2"
        ).fetchall(),
        connection.execute(
            "SELECT project_id, sync_status, count(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2"
        ).fetchall(),
    ]
