"""Makes a new store out of what can be read of a damaged one, which is kept aside.

An event is taken only if its checksum says that it is as it was recorded. Git history is not marked as
read in the new store, so that commits which could not be read come in again by themselves.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from devflow.errors import Busy
from devflow.windows import HOUR_MS
from devflow_agent import daemon_lock
from devflow_agent.config import Home
from devflow_agent.holding import holders
from devflow_agent.schema import archive
from devflow_agent.store import UNREADABLE, Level, Store, checksum, salvage_of

MOST_FAILURES: Final = 20_000
"""Of reads in one table: where nothing can be read at all, halving would go on for ever."""
_HIGHEST: Final = 1 << 40
_ENDS: Final = ("", "-wal", "-shm")
_STATUSES: Final = ("pending", "synced", "failed")
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Salvaged:
    """``changed`` were read and are not as they were recorded; ``recorded`` were there in all, None if
    that cannot be read. ``aside`` is where the damaged files are."""

    events: int
    changed: int
    recorded: int | None
    projects: int
    aside: Path


def salvage(home: Home, now_ms: int) -> Salvaged:
    """Put a new store in the place of a damaged one. May be killed at any moment and run again.

    Raise Busy, with nothing changed, while a daemon watches or another process has the store open: it would
    go on writing to the files that were put aside.
    """
    if daemon_lock.is_held(home):
        raise Busy("expected no running daemon: stop `devflow watch` first")
    with daemon_lock.only_daemon(home):
        work = salvage_of(home.database)
        work.mkdir(mode=0o700, exist_ok=True)  # from now on no process opens the store any more
        # Its last step takes this file away: what was finished is not done again.
        is_ready = (work / "ready.json").exists() and (work / "new" / "devflow.db").exists()
        try:
            _check_nobody_has_it_open(home)
        except Busy:
            if not (work / "ready.json").exists():
                shutil.rmtree(work)
            raise
        if not is_ready:
            _prepare(home, work)
        _check_nobody_has_it_open(home)  # who was opening it just then
        aside = home.path / f"damaged-{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%d-%H%M%S-%f}"
        _swap(home.path, work, aside)
        events, changed, recorded, projects = json.loads((work / "ready.json").read_text("utf-8"))
        shutil.rmtree(work)
    return Salvaged(events, changed, recorded, projects, aside)


def _check_nobody_has_it_open(home: Home) -> None:
    others = holders([home.path / name for name in ("devflow.db", "archive.db")])
    if others:
        named = ", ".join(f"pid {pid}" if pid else "one that is not of this system" for pid in others)
        raise Busy(f"expected nobody else to have the store open, got {named}: close AI clients that use it")


def _prepare(home: Home, work: Path) -> None:
    """Make the new store out of a copy: reading a damaged one may change it."""
    for left in work.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    (work / "from").mkdir(mode=0o700)
    for file in filter(Path.exists, _files(home.path)):
        shutil.copyfile(file, work / "from" / file.name)
    numbers = _rebuild(work)
    with (work / "numbers.json").open("w", encoding="utf-8") as written:
        json.dump(numbers, written)
        written.flush()
        os.fsync(written.fileno())
    (work / "numbers.json").replace(work / "ready.json")


def _files(folder: Path) -> list[Path]:
    return [folder / (name + end) for name in ("archive.db", "devflow.db") for end in _ENDS]


def _rebuild(work: Path) -> tuple[int, int, int | None, int]:
    damaged = [_read(work / "from" / name, table) for name, table in _EVENTS]
    changed: set[str] = set()
    good: list[dict[str, Row]] = []
    for rows in damaged:
        good.append({})
        for row in rows:
            if _is_as_recorded(row):
                good[-1][row[1]] = row
            else:
                changed.add(str(row[1]))
    stored, archived = good
    store = Store(work / "new" / "devflow.db")
    projects = _projects(work / "from" / "devflow.db", {row[3] for part in good for row in part.values()})
    with store.write() as connection:
        connection.executemany("INSERT INTO projects VALUES (?, ?, ?, ?, ?)", projects)
        _insert(connection, "main.events", [_with_state(row) for row in stored.values()])
        _insert(
            connection,
            "archive.archived_events",
            [
                (*row[:7], "synced", *_with_state(row)[8:])
                for key, row in archived.items()
                if key not in stored
            ],
        )
        _go_on_from(connection, work / "from" / "devflow.db")
        _settings(connection, work / "from" / "devflow.db")
        _count(connection)
    recorded = _recorded(work / "from" / "devflow.db")
    del store
    for name in ("archive.db", "devflow.db"):
        _settle(work / "new" / name)
    return len(stored.keys() | archived.keys()), len(changed), recorded, len(projects)


_EVENTS: Final = (("devflow.db", "events"), ("archive.db", "archived_events"))


def _read(path: Path, table: str) -> Iterator[Row]:
    """Every row SQLite can still give, by halving the range of numbers around what it cannot."""
    failures = 0
    try:
        with closing(_open(path)) as connection:
            columns = archive.COLUMNS if table in ("events", "archived_events") else "*"
            last = _one(connection, f"SELECT max(rowid) FROM {table}")  # noqa: S608 - constants
            ranges = [(1, last if isinstance(last, int) else _HIGHEST)]
            while ranges and failures < MOST_FAILURES:
                first, until = ranges.pop()
                try:
                    rows = connection.execute(
                        f"SELECT {columns} FROM {table} WHERE rowid BETWEEN ? AND ?",  # noqa: S608
                        (first, until),
                    ).fetchall()
                except UNREADABLE:
                    failures += 1
                    if first < until:
                        middle = (first + until) // 2
                        ranges += [(middle + 1, until), (first, middle)]
                    continue
                yield from (tuple(map(_text, row)) for row in rows)
    except UNREADABLE:
        return


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.text_factory = bytes
    return connection


def _text(value: Any) -> Any:
    """What is no text any more is None: no checksum and no check of ours takes it."""
    with suppress(UnicodeDecodeError):
        return value.decode() if isinstance(value, bytes) else value
    return None


def _one(connection: sqlite3.Connection, question: str) -> Any:
    try:
        row = connection.execute(question).fetchone()
    except UNREADABLE:
        return None
    return None if row is None else row[0]


def _is_as_recorded(row: Row) -> bool:
    return all(part is not None for part in row[:7]) and checksum(*row[:6]) == row[6]


def _with_state(row: Row) -> Row:
    """The row with what sync knows of it; where that makes no sense it waits again, which doubles nothing."""
    status, attempts, error, synced_at, last_attempt_at = row[7:]
    if (
        status not in _STATUSES
        or not isinstance(attempts, int)
        or not isinstance(error, str | None)
        or not isinstance(synced_at, int | None)
        or not isinstance(last_attempt_at, int | None)
    ):
        status, attempts, error, synced_at, last_attempt_at = "pending", 0, None, None, None
    return (*row[:7], status, attempts, error, synced_at, last_attempt_at)


def _insert(connection: sqlite3.Connection, table: str, rows: list[Row]) -> None:
    connection.executemany(
        f"INSERT INTO {table} ({archive.COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        rows,
    )


def _projects(path: Path, wanted: set[str]) -> list[Row]:
    """Those that can be read, and one by its id alone for events whose project cannot be."""
    found: dict[str, Row] = {}
    taken: set[str] = set()
    for row in _read(path, "projects"):
        kinds = (str, str, str, str, int)
        makes_sense = all(map(isinstance, row, kinds)) and _is_id(row[0]) and not taken & {*row[2:4]}
        if makes_sense:
            found[row[0]] = row
            taken |= {*row[2:4]}
    for project_id in wanted - found.keys():
        found[project_id] = (
            project_id,
            "recovered",
            f"unknown/{project_id}",
            f"unknown/{project_id}/.git",
            0,
        )
    return list(found.values())


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _go_on_from(connection: sqlite3.Connection, path: Path) -> None:
    """No local id is given again, not even that of an event which could not be read."""
    known = [row[0] for row in _all(path, "SELECT seq FROM sqlite_sequence WHERE name = 'events'")]
    known += [connection.execute("SELECT coalesce(max(local_id), 0) FROM all_events").fetchone()[0]]
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'events'")
    last = max(one for one in known if isinstance(one, int))
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", (last,))


def _settings(connection: sqlite3.Connection, path: Path) -> None:
    """Settings and links as far as they make sense; these tables have no row numbers to go by."""
    for key, value in _all(path, "SELECT key, value FROM settings"):
        with suppress(ValueError, TypeError):
            json.loads(value)
            connection.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (key, value))
    _links(connection, path)


def _links(connection: sqlite3.Connection, path: Path) -> None:
    """Where the levels cannot be read no project is linked: it must not share more than was chosen."""
    levels = _levels(path)
    if levels is None:
        return
    for row in levels:
        connection.execute(
            "INSERT OR IGNORE INTO sync_levels SELECT ?1, ?2, ?3, ?4"
            " WHERE EXISTS (SELECT 1 FROM projects WHERE id = ?1)",
            row,
        )
    for row in _all(path, "SELECT project_id, remote_id, remote_name FROM sync_projects"):
        if all(isinstance(part, str) for part in row) and _is_id(row[1]):
            connection.execute(
                "INSERT OR IGNORE INTO sync_projects SELECT ?1, ?2, ?3"
                " WHERE EXISTS (SELECT 1 FROM projects WHERE id = ?1)",
                row,
            )


_KEY: Final = re.compile("[0-9a-f]{64}")


def _levels(path: Path) -> list[Row] | None:
    """All rows, or None if one of them may be missing or makes no sense."""
    found: list[Row] = []
    try:
        with closing(_open(path)) as connection:
            for row in connection.execute(
                "SELECT project_id, level, pseudonym_key, is_key_common FROM sync_levels"
            ):
                found.append(tuple(map(_text, row)))  # noqa: PERF401 - nothing of it counts after an error
    except UNREADABLE:
        return None
    return found if all(map(_is_level, found)) else None


def _is_level(row: Row) -> bool:
    _, level, key, is_common = row
    if key is None and is_common is None:
        return level in (Level.OFF, Level.METADATA)
    return level in {*Level} and _KEY.fullmatch(str(key)) is not None and is_common in (0, 1)


def _all(path: Path, question: str) -> list[Row]:
    found: list[Row] = []
    with suppress(*UNREADABLE), closing(_open(path)) as connection:
        for row in connection.execute(question):
            found.append(tuple(map(_text, row)))  # noqa: PERF401 - what came before an error counts
    return [row for row in found if None not in row]


def _count(connection: sqlite3.Connection) -> None:
    for table, column in (("event_counts", "event_type"), ("sync_counts", "sync_status")):
        connection.execute(
            f"INSERT INTO {table} SELECT project_id, {column}, count(*) FROM all_events GROUP BY 1, 2"  # noqa: S608
        )
    connection.execute(
        f"INSERT INTO recorded_hours SELECT timestamp / {HOUR_MS}, count(*) FROM all_events GROUP BY 1"  # noqa: S608
    )


def _recorded(path: Path) -> int | None:
    rows = _all(path, "SELECT count FROM event_counts")
    known = [row[0] for row in rows if isinstance(row[0], int)]
    return sum(known) if known and len(known) == len(rows) else None


def _settle(path: Path) -> None:
    """Bring what is in the log into the file itself: it goes alone to its place."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _swap(home: Path, work: Path, aside: Path) -> None:
    """First a second name for all that is damaged; then the logs go, which belong to no new file."""
    aside.mkdir(mode=0o700)
    for file in _files(home):
        if file.exists():
            os.link(file, aside / file.name)
    for file in _files(home):
        if file.name.endswith(_ENDS[1:]):
            file.unlink(missing_ok=True)
    for name in ("archive.db", "devflow.db"):
        with suppress(FileNotFoundError):  # it is in its place: this is the second try
            (work / "new" / name).replace(home / name)
