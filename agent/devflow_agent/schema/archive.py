"""The second file of a store: ``archive.db``, where old events go that the server has.

Every connection has it attached as ``archive``, and reads both files as one in ``all_events``.
While the store knows of sync, rows of the archive are written over but never deleted. So whoever looks
first into the store and then into the archive - as SQLite does within one statement - misses no event that
moves meanwhile; one that is in both is the store's.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

from devflow_agent.schema import run, statements

COLUMNS = (
    "local_id, id, timestamp, project_id, event_type, event_data, checksum,"
    " sync_status, sync_attempts, last_sync_error, synced_at, last_attempt_at"
)


def path_of(store: Path) -> Path:
    return store.with_name("archive.db")


def make_private(path: Path) -> None:
    """Make the file if it is not there, readable by its owner only from its first byte on."""
    # Never opened here when it is there: closing a file drops every POSIX lock the process holds on it,
    # and with them the word to other processes that this one still writes to its log.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def attach(connection: sqlite3.Connection, store: Path, timeout_s: float) -> None:
    """Open the archive of ``store`` on its connection; it is made when it is not there yet."""
    path = path_of(store)
    make_private(path)
    connection.execute("ATTACH DATABASE ? AS archive", (os.fspath(path),))
    connection.execute("PRAGMA archive.synchronous = FULL")
    if connection.execute("SELECT 1 FROM archive.sqlite_schema LIMIT 1").fetchone() is None:
        use_wal(connection, "archive", timeout_s)
        connection.execute("BEGIN IMMEDIATE")
        run(connection, statements("archive.sql"))
        connection.execute("COMMIT")


def read_as_one(connection: sqlite3.Connection) -> None:
    """Give the connection its ``all_events``. Only a store of the newest schema can be read so."""
    run(connection, statements("all_events.sql"))


def use_wal(connection: sqlite3.Connection, name: Literal["main", "archive"], timeout_s: float) -> None:
    # Of several processes that open a new file at once all but one are told "locked" at once:
    # for this step SQLite does not wait as it does for every other.
    deadline = time.monotonic() + timeout_s
    while connection.execute(f"PRAGMA {name}.journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute(f"PRAGMA {name}.journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def clear(connection: sqlite3.Connection) -> None:
    """Delete from the archive what the store has, as after going down to a version without one."""
    connection.execute("DELETE FROM archive.archived_events WHERE id IN (SELECT id FROM main.events)")


def bring_back(connection: sqlite3.Connection, event_id: str | None = None) -> None:
    """Let the store have its archived events again, or the one with this id. The caller commits.

    They stay in the archive too, where they count for nothing as long as the store has them.
    """
    connection.execute(
        f"INSERT INTO main.events ({COLUMNS}) SELECT {COLUMNS} FROM archive.archived_events AS old"  # noqa: S608
        " WHERE (?1 IS NULL OR id = ?1) AND project_id IN (SELECT id FROM main.projects)"
        " AND NOT EXISTS (SELECT 1 FROM main.events AS new WHERE new.id = old.id)",
        (event_id,),
    )
