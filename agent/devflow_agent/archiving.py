"""Moves old events that the server has into the archive, so that the store stays small.

An event is copied, the copy is on the disk before anything else happens, and only a row of the store
that equals its copy in every column is deleted. Killed at any moment, nothing is lost: what was
copied and not deleted is in both files, counts once, and moves with the next run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from devflow import wire
from devflow_agent.schema import archive
from devflow_agent.store import Store

OLDER_THAN_MS: Final = 30 * wire.DAY_MS
EVERY_MS: Final = 7 * wire.DAY_MS
STEP: Final = 1_000
"""Events a transaction: others write between two."""
_DONE: Final = "archived"


@dataclass(frozen=True, slots=True)
class Run:
    """When everything that was old enough had last moved, and how many events that run moved."""

    at_ms: int
    moved: int


def last(store: Store) -> Run | None:
    found = store.setting(_DONE)
    return None if found is None else Run(found["at_ms"], found["moved"])


def is_due(store: Store, now_ms: int) -> bool:
    """Whether a week has passed; a clock that was set back makes it due, too."""
    before = last(store)
    return before is None or not 0 <= now_ms - before.at_ms < EVERY_MS


def run(
    store: Store,
    now_ms: int,
    *,
    older_than_ms: int = OLDER_THAN_MS,
    is_stopped: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda moved: None,
) -> int:
    """Move events of linked projects that the server has and that happened so long ago; return how many."""
    moved, after = 0, 0
    while step := _next(store, after, now_ms - older_than_ms):
        if is_stopped():
            return moved
        _copy(store, step)
        moved += _delete(store, step)
        after = step[-1]
        progress(moved)
    store.set_settings(**{_DONE: {"at_ms": now_ms, "moved": moved}})
    return moved


def waiting(store: Store, now_ms: int, *, older_than_ms: int = OLDER_THAN_MS) -> int:
    """How many events ``run`` would move. Counts rows."""
    with store.read() as connection:
        found = connection.execute(f"SELECT count(*) {_OLD}", (0, now_ms - older_than_ms))
        return int(found.fetchone()[0])


def archived(store: Store) -> int:
    """How many events only the archive has. Counts rows."""
    with store.read() as connection:
        found = connection.execute(
            "SELECT (SELECT count(*) FROM all_events) - (SELECT count(*) FROM main.events)"
        )
        return int(found.fetchone()[0])


_OLD: Final = (
    "FROM main.events WHERE local_id > ? AND sync_status = 'synced' AND timestamp < ?"
    " AND project_id IN (SELECT project_id FROM sync_projects)"
)


def _next(store: Store, after: int, until_ms: int) -> list[int]:
    """The next local ids to move, in order of recording."""
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT local_id {_OLD} ORDER BY local_id LIMIT ?",
            (after, until_ms, STEP),
        )
        return [row["local_id"] for row in rows]


def _copy(store: Store, step: Sequence[int]) -> None:
    with store.write() as connection:
        connection.execute(
            f"INSERT OR REPLACE INTO archive.archived_events ({archive.COLUMNS}) SELECT {archive.COLUMNS}"  # noqa: S608
            " FROM main.events WHERE local_id IN (SELECT value FROM json_each(?)) AND sync_status = 'synced'",
            (json.dumps(step),),
        )


def _delete(store: Store, step: Sequence[int]) -> int:
    """Delete from the store what is in the archive, column by column the same."""
    # Not by the connection that has copied: what that remembers may not be what is on the disk.
    with store.write_by_another() as connection:
        return connection.execute(_DELETE_EQUAL, (json.dumps(step),)).rowcount


def _of(table: str) -> str:
    return ", ".join(f"{table}.{column.strip()}" for column in archive.COLUMNS.split(","))


_DELETE_EQUAL: Final = (
    "DELETE FROM main.events WHERE local_id IN (SELECT value FROM json_each(?)) AND sync_status = 'synced'"  # noqa: S608
    " AND EXISTS (SELECT 1 FROM archive.archived_events AS copy WHERE copy.id = main.events.id"
    f" AND ({_of('copy')}) IS ({_of('main.events')}))"
)
