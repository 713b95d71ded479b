"""Everything the agent knows, in SQLite: events, projects and settings.

Old events that the server has are in a second file, the archive; ``all_events`` is both.

Every operation is one transaction on a connection of its own, so any number of processes and
threads may use the store at once. What ``add`` returned is on the disk, also after a power
cut (WAL with ``synchronous=FULL``).
"""

from __future__ import annotations

import json
import os
import sqlite3
import weakref
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID, uuid4

from devflow import wire
from devflow.errors import Busy, Invalid
from devflow.windows import HOUR_MS
from devflow_agent import schema
from devflow_agent.schema import archive

BUSY_TIMEOUT_S: Final = 30.0
WAY_OUT: Final = "`devflow doctor` says what is wrong and what to do"
UNREADABLE: Final = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file ends in: Python decodes SQLite's messages too, which name what is damaged."""
SyncStatus = Literal["pending", "synced", "failed"]


@dataclass(frozen=True, slots=True)
class Observation:
    """What a collector saw. A fact that other PCs may see too carries ``wire.fact_id`` as its id."""

    id: UUID
    timestamp_ms: int
    data: wire.EventData

    @classmethod
    def own(cls, timestamp_ms: int, data: wire.EventData) -> Observation:
        """Something only this PC can have seen: a save, a branch switch."""
        return cls(uuid4(), timestamp_ms, data)


class Level(StrEnum):
    """What a linked project shares with the server."""

    OFF = "off"
    """Nothing: not even an event's id leaves this PC."""
    METRICS = "metrics"
    """The numbers: a pseudonym stands for each path and each name of a branch or tag."""
    METADATA = "metadata"
    """All that events hold."""


@dataclass(frozen=True, slots=True)
class Project:
    """A repository on this PC; ``git_dir`` is the common one of all its work trees."""

    id: UUID
    name: str
    path: Path
    git_dir: Path
    remote_id: UUID | None
    remote_name: str | None
    level: Level


@dataclass(frozen=True, slots=True)
class Event:
    """A recorded event; ``data_json`` is the canonical JSON that sync sends unchanged."""

    local_id: int
    id: UUID
    timestamp_ms: int
    project_id: UUID
    event_type: wire.EventType
    data_json: str
    sync_status: SyncStatus
    last_sync_error: str | None

    @classmethod
    def of(cls, row: sqlite3.Row) -> Event:
        return cls(
            local_id=row["local_id"],
            id=UUID(row["id"]),
            timestamp_ms=row["timestamp"],
            project_id=_project_id(row["project_id"]),
            event_type=wire.EventType(row["event_type"]),
            data_json=row["event_data"],
            sync_status=row["sync_status"],
            last_sync_error=row["last_sync_error"],
        )


class Store:
    """The store in ``path``; it is made, or brought to the newest schema, when first opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        archive.make_private(path)
        # Closing the last connection checkpoints the file, ten times the cost of an insert: keep them.
        self._idle: list[sqlite3.Connection] = []
        weakref.finalize(self, _close, self._idle)
        try:
            with noting_failures(path):
                self._idle.append(connection := connect(path))
                schema.migrate(connection)
            archive.read_as_one(connection)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if disk_trouble(error) is not None:
                raise
            raise Invalid(f"cannot use the store {path}: {error} ({WAY_OUT})") from error

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One consistent view of the store; ``all_events`` has those that were archived, too."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One durable transaction: all of it on the disk after the block, or none if it raised."""
        with self._connection() as connection:
            # IMMEDIATE: a read that later wants to write would fail as busy instead of waiting.
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def write_if_free(self) -> Iterator[sqlite3.Connection]:
        """``write`` that waits for no other: sqlite3.OperationalError if one is writing."""
        with self._connection() as connection:
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1_000:.0f}")

    @contextmanager
    def write_by_another(self) -> Iterator[sqlite3.Connection]:
        """``write`` on a connection of its own, which reads what was written and remembers none of it."""
        with self._in_words(), closing(connect(self.path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection nobody else uses meanwhile; one that failed is thrown away, with what it began."""
        with self._in_words():
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = connect(self.path)
                archive.read_as_one(connection)
            try:
                yield connection
            except BaseException as error:
                if disk_trouble(error) is not None and _is_rolled_back(connection):
                    # Its log ends before what failed. A new connection, if it was the last one, would read
                    # the log from the file and take for committed what we have just called not recorded.
                    self._idle.append(connection)
                else:
                    connection.close()
                raise
            self._idle.append(connection)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            with noting_failures(self.path):
                yield
        except Exception as error:
            if is_damage(error):
                raise Invalid(f"the store {self.path} is damaged: {error} ({WAY_OUT})") from error
            raise

    # Events

    def add(self, project_id: UUID, observations: Iterable[Observation]) -> int:
        """Record the observations whose id is new; return how many were."""
        with self.write() as connection:
            return _insert(connection, str(project_id), observations)

    def add_and_advance(
        self,
        project_id: UUID,
        observations: Iterable[Observation],
        *,
        seen: Mapping[str, str],
        refs: Mapping[str, str],
    ) -> int:
        """``add`` what led from the refs last ``seen`` to ``refs``, which take their place.

        One transaction: a crash repeats an import, it never skips one. Raise Busy, with nothing
        recorded, if another collector has advanced since ``seen`` was read.
        """
        with self.write() as connection:
            if _refs(connection, project_id) != seen:
                raise Busy("another process has recorded this repository's history meanwhile")
            added = _insert(connection, str(project_id), observations)
            connection.execute("DELETE FROM git_refs WHERE project_id = ?", (str(project_id),))
            connection.executemany(
                "INSERT INTO git_refs (project_id, ref, sha) VALUES (?, ?, ?)",
                [(str(project_id), ref, sha) for ref, sha in refs.items()],
            )
        return added

    def refs(self, project_id: UUID) -> dict[str, str]:
        """What the git collector last saw: empty before the first import has finished."""
        with self.read() as connection:
            return _refs(connection, project_id)

    def events(
        self,
        *,
        project_id: UUID | None = None,
        since_ms: int = 0,
        until_ms: int = wire.MAX_TIMESTAMP_MS + 1,
        limit: int = 1_000,
    ) -> list[Event]:
        """Events with ``since_ms <= timestamp < until_ms``, newest first."""
        found: list[Event] = []
        with self.read() as connection:
            # One ordered look-up a project: only with its project does the index give an order in time.
            for (project,) in connection.execute("SELECT id FROM projects").fetchall():
                if project_id is not None and project != str(project_id):
                    continue
                rows = connection.execute(
                    "SELECT * FROM all_events WHERE project_id = ? AND timestamp >= ? AND timestamp < ?"
                    " ORDER BY timestamp DESC, local_id DESC LIMIT ?",
                    (project, since_ms, until_ms, limit),
                )
                found.extend(Event.of(row) for row in rows)
        found.sort(key=lambda event: (event.timestamp_ms, event.local_id), reverse=True)
        return found[:limit]

    def sequence(self) -> int:
        """The newest event's ``local_id``, 0 before the first: while it stays, no event has come."""
        with self.read() as connection:
            return last_local_id(connection)

    def event_counts(self) -> dict[UUID, Counter[wire.EventType]]:
        """How many events of each type every project has. O(projects), however many events."""
        counts: dict[UUID, Counter[wire.EventType]] = {project.id: Counter() for project in self.projects()}
        with self.read() as connection:
            for row in connection.execute("SELECT * FROM event_counts"):
                counts[UUID(row["project_id"])][wire.EventType(row["event_type"])] = row["count"]
        return counts

    # Projects

    def add_project(self, name: str, path: Path, git_dir: Path, now_ms: int) -> Project:
        """The project of this repository, made if it is new; the name of a known one is kept.

        It is known by its git directory or, where that has moved, by its path.
        """
        with self.write() as connection:
            connection.execute(
                "INSERT INTO projects (id, name, path, git_dir, created_at) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (git_dir) DO UPDATE SET path = excluded.path"
                " ON CONFLICT (path) DO UPDATE SET git_dir = excluded.git_dir",
                (str(uuid4()), name, os.fspath(path), os.fspath(git_dir), now_ms),
            )
        return next(project for project in self.projects() if project.git_dir == git_dir)

    def projects(self) -> list[Project]:
        """All projects, oldest first."""
        with self.read() as connection:
            rows = connection.execute(
                "SELECT projects.*, remote_id, remote_name, level FROM projects"
                " LEFT JOIN sync_projects ON sync_projects.project_id = id"
                " LEFT JOIN sync_levels ON sync_levels.project_id = id"
                " ORDER BY created_at, projects.rowid"
            ).fetchall()
        return [
            Project(
                id=UUID(row["id"]),
                name=row["name"],
                path=Path(row["path"]),
                git_dir=Path(row["git_dir"]),
                remote_id=None if row["remote_id"] is None else UUID(row["remote_id"]),
                remote_name=row["remote_name"],
                level=Level(row["level"] or Level.METADATA),
            )
            for row in rows
        ]

    # Settings

    def setting(self, key: str) -> Any:
        """The value stored under ``key``, None if there is none."""
        with self.read() as connection:
            row = connection.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row["value"])

    def settings(self) -> dict[str, Any]:
        """Every stored setting; those never set have no entry."""
        with self.read() as connection:
            rows = connection.execute("SELECT key, value FROM settings").fetchall()
        return {row["key"]: json.loads(row["value"]) for row in rows}

    def set_settings(self, **values: Any) -> None:
        """Store all of ``values`` (anything JSON can hold) or none."""
        with self.write() as connection:
            connection.executemany(
                "INSERT INTO settings (key, value) VALUES (?, ?)"
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [(key, json.dumps(value)) for key, value in values.items()],
            )

    def device_id(self) -> UUID:
        """This PC's id, drawn once."""
        with self.write() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO settings (key, value) VALUES ('device_id', ?)",
                (json.dumps(str(uuid4())),),
            )
        return UUID(self.setting("device_id"))


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that a file of the store is not what it wrote."""
    if isinstance(error, UnicodeDecodeError):
        return True
    if isinstance(error, sqlite3.OperationalError) and str(error).startswith("Could not decode to UTF-8"):
        return True
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, sqlite3.DatabaseError) and code in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )


def disk_trouble(error: BaseException) -> str | None:
    """What to say where SQLite could not read or write a file; None if it is another error."""
    name = getattr(error, "sqlite_errorname", "")
    if not isinstance(error, sqlite3.OperationalError) or not name.startswith(
        ("SQLITE_FULL", "SQLITE_IOERR")
    ):
        return None
    return (
        f"the disk has no room or fails ({error}, {name}); what was recorded before is kept,"
        f" nothing of this was recorded ({WAY_OUT})"
    )


def salvage_of(store: Path) -> Path:
    """The folder in which a salvage is made, there as long as it goes on."""
    return store.with_name("salvage")


def failure_of(store: Path) -> Path:
    """The file that tells later connections of a write that failed."""
    return store.with_name("write-failed")


@contextmanager
def noting_failures(store: Path) -> Iterator[None]:
    """For everything that writes to the store or its archive; see ``_write_log_again``."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if disk_trouble(error) is not None:
            with suppress(OSError):
                failure_of(store).touch(mode=0o600)
        raise


def _write_log_again(connection: sqlite3.Connection, store: Path) -> None:
    """Have on the disk what the log seems to hold, before anything is committed on top of it.

    After an fsync that failed, the kernel takes for written what is not on the disk, and the next fsync
    says that all is well (https://wiki.postgresql.org/wiki/Fsync_Errors). If the process ends then,
    the next one finds a transaction in the log which a power cut would take away, with all that
    followed it. What is written once more is waited for once more.
    """
    if not failure_of(store).exists() or os.name != "posix":
        return
    connection.execute("BEGIN IMMEDIATE")  # nobody else appends meanwhile
    for log in (path.with_name(f"{path.name}-wal") for path in (store, archive.path_of(store))):
        if log.exists():
            with log.open("r+b", buffering=0) as file:
                for at in range(0, os.fstat(file.fileno()).st_size, _PIECE):
                    os.pwrite(file.fileno(), os.pread(file.fileno(), _PIECE, at), at)
                os.fsync(file.fileno())
    connection.execute("COMMIT")
    failure_of(store).unlink(missing_ok=True)


_PIECE: Final = 4_096
"""Bytes. The kernel writes so few, within the file, as a whole or not at all."""


def _is_rolled_back(connection: sqlite3.Connection) -> bool:
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True


def connect(path: Path) -> sqlite3.Connection:
    """A durable connection in autocommit mode; any thread may use it, one at a time.

    Raise Busy while ``devflow doctor --salvage`` puts another file in its place, or was killed at that.
    """
    if salvage_of(path).exists():
        raise Busy("the store is being salvaged; if nobody does that now, run `devflow doctor --salvage`")
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    archive.use_wal(connection, "main", BUSY_TIMEOUT_S)
    archive.attach(connection, path, BUSY_TIMEOUT_S)
    _write_log_again(connection, path)
    return connection


def _close(connections: list[sqlite3.Connection]) -> None:
    for connection in connections:
        connection.close()


def _refs(connection: sqlite3.Connection, project_id: UUID) -> dict[str, str]:
    rows = connection.execute("SELECT ref, sha FROM git_refs WHERE project_id = ?", (str(project_id),))
    return {row["ref"]: row["sha"] for row in rows}


def _insert(connection: sqlite3.Connection, project_id: str, observations: Iterable[Observation]) -> int:
    added: Counter[wire.EventType] = Counter()
    hours: Counter[int] = Counter()
    local_id = last_local_id(connection) + 1
    for observation in observations:
        kind = wire.TYPE_OF[type(observation.data)]
        data = wire.encode(observation.data).decode()
        row = (local_id, str(observation.id), observation.timestamp_ms, project_id, kind, data)
        inserted = connection.execute(
            "INSERT INTO events (local_id, id, timestamp, project_id, event_type, event_data, checksum)"
            " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7"
            " WHERE NOT EXISTS (SELECT 1 FROM archive.archived_events WHERE id = ?2"
            "  AND project_id IN (SELECT id FROM projects))"
            " ON CONFLICT (id) DO NOTHING",
            (*row, checksum(*row)),
        ).rowcount
        added[kind] += inserted
        hours[observation.timestamp_ms // HOUR_MS] += inserted
        local_id += inserted
    connection.executemany(
        "INSERT INTO event_counts (project_id, event_type, count) VALUES (?, ?, ?)"
        " ON CONFLICT (project_id, event_type) DO UPDATE SET count = count + excluded.count",
        [(project_id, kind, count) for kind, count in added.items()],
    )
    connection.executemany(
        "INSERT INTO recorded_hours (hour, changes) VALUES (?, ?)"
        " ON CONFLICT (hour) DO UPDATE SET changes = changes + excluded.changes",
        [(hour, changes) for hour, changes in hours.items() if changes],
    )
    total = added.total()
    count(connection, project_id, "pending", total)
    return total


def last_local_id(connection: sqlite3.Connection) -> int:
    """Of the newest event there ever was, 0 before the first; its row may be in the archive."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return 0 if row is None else int(row["seq"])


def checksum(
    local_id: int, event_id: str, timestamp_ms: int, project_id: str, event_type: str, data_json: str
) -> int:
    """Of an event as it was recorded. SQLite notices a damaged page only where its structure suffers."""
    text = f"{local_id}|{event_id}|{timestamp_ms}|{project_id}|{event_type}|{data_json}"
    return zlib.crc32(text.encode())


def count(connection: sqlite3.Connection, project_id: str, status: SyncStatus, change: int) -> None:
    """Keep ``sync_counts`` true, in the transaction that adds or moves the events."""
    connection.execute(
        "INSERT INTO sync_counts (project_id, sync_status, count) VALUES (?, ?, ?)"
        " ON CONFLICT (project_id, sync_status) DO UPDATE SET count = count + excluded.count",
        (project_id, status, change),
    )


@lru_cache(maxsize=1_000)
def _project_id(text: str) -> UUID:
    # There are few projects, and making a UUID costs as much as reading the rest of the row.
    return UUID(text)
