"""Everything the agent knows, in one SQLite file: events, projects, settings and the sync outbox.

Every operation is one transaction on a connection of its own, so any number of processes and
threads may use the store at once. What ``add`` returned is on the disk, also after a power
cut (WAL with ``synchronous=FULL``).
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID, uuid4

from devflow import wire
from devflow.errors import Invalid
from devflow_agent import schema

BUSY_TIMEOUT_S: Final = 30.0
KEPT_ATTEMPTS: Final = 10_000
"""A month of a server that never answers; older rows of ``sync_logs`` go."""
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


@dataclass(frozen=True, slots=True)
class Project:
    """A repository on this PC; ``git_dir`` is the common one of all its work trees."""

    id: UUID
    name: str
    path: Path
    git_dir: Path
    remote_id: UUID | None
    remote_name: str | None


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


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to send a batch. ``latency_ms`` is None where no answer came."""

    timestamp_ms: int
    sent: int
    synced: int
    failed: int
    bytes: int
    latency_ms: int | None
    outcome: str
    detail: str


class Store:
    """The store in ``path``; it is made, or brought to the newest schema, when first opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made here and not by SQLite, so that it is private from its first byte on. Never opened
        # here when it is there: closing a file drops every POSIX lock the process holds on it, and
        # with them the word to other processes that this one still writes to its log.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        # Closing the last connection checkpoints the file, ten times the cost of an insert: keep them.
        self._idle: list[sqlite3.Connection] = []
        weakref.finalize(self, _close, self._idle)
        try:
            with self._connection() as connection:
                _use_wal(connection)
                schema.migrate(connection)
        except sqlite3.DatabaseError as error:
            raise Invalid(f"cannot use the store {path}: {error}") from error

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One consistent view of the store."""
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
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection nobody else uses meanwhile; one that failed is thrown away, with what it began."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = connect(self.path)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    # Events

    def add(
        self,
        project_id: UUID,
        observations: Iterable[Observation],
        *,
        refs: Mapping[str, str] | None = None,
    ) -> int:
        """Record the observations whose id is new; return how many were.

        ``refs``, if given, replaces what the git collector last saw of the project's
        refs, in the same transaction: a crash repeats an import, it never skips one.
        """
        with self.write() as connection:
            added = _insert(connection, str(project_id), observations)
            if refs is not None:
                connection.execute("DELETE FROM git_refs WHERE project_id = ?", (str(project_id),))
                connection.executemany(
                    "INSERT INTO git_refs (project_id, ref, sha) VALUES (?, ?, ?)",
                    [(str(project_id), ref, sha) for ref, sha in refs.items()],
                )
        return added

    def refs(self, project_id: UUID) -> dict[str, str]:
        """What the git collector last saw: empty before the first import has finished."""
        with self.read() as connection:
            rows = connection.execute(
                "SELECT ref, sha FROM git_refs WHERE project_id = ?", (str(project_id),)
            ).fetchall()
        return {row["ref"]: row["sha"] for row in rows}

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
                    "SELECT * FROM events WHERE project_id = ? AND timestamp >= ? AND timestamp < ?"
                    " ORDER BY timestamp DESC, local_id DESC LIMIT ?",
                    (project, since_ms, until_ms, limit),
                )
                found.extend(_event(row) for row in rows)
        found.sort(key=lambda event: (event.timestamp_ms, event.local_id), reverse=True)
        return found[:limit]

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
                "SELECT * FROM projects LEFT JOIN sync_projects ON project_id = id ORDER BY projects.rowid"
            ).fetchall()
        return [
            Project(
                id=UUID(row["id"]),
                name=row["name"],
                path=Path(row["path"]),
                git_dir=Path(row["git_dir"]),
                remote_id=None if row["remote_id"] is None else UUID(row["remote_id"]),
                remote_name=row["remote_name"],
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

    # The outbox

    def link(self, project_id: UUID, remote: wire.Project) -> None:
        """From now on this project's events, old ones too, go to the server's ``remote`` project."""
        with self.write() as connection:
            connection.execute(
                "INSERT INTO sync_projects (project_id, remote_id, remote_name) VALUES (?, ?, ?)"
                " ON CONFLICT (project_id) DO UPDATE SET"
                " remote_id = excluded.remote_id, remote_name = excluded.remote_name",
                (str(project_id), str(remote.project_id), remote.name),
            )

    def pending(self, limit: int, *, after: int = 0) -> list[Event]:
        """The oldest events that wait to be sent, of linked projects, recorded after local id ``after``."""
        found: list[Event] = []
        with self.read() as connection:
            # One ordered look-up a project: an index over all of them would first have to
            # step over everything that waits in projects that are not linked.
            for (project_id,) in connection.execute("SELECT project_id FROM sync_projects").fetchall():
                rows = connection.execute(
                    "SELECT * FROM events WHERE sync_status = 'pending' AND project_id = ? AND local_id > ?"
                    " ORDER BY local_id LIMIT ?",
                    (project_id, after, limit),
                )
                found.extend(_event(row) for row in rows)
        return sorted(found, key=lambda event: event.local_id)[:limit]

    def settle(
        self,
        sent: Sequence[Event],
        *,
        synced: Iterable[UUID] = (),
        failed: Mapping[UUID, str] | None = None,
        kept: Mapping[UUID, str] | None = None,
        attempt: Attempt,
    ) -> None:
        """Write down what became of a batch, and the attempt, in one transaction.

        ``failed`` were refused for good and ``kept`` for now, each with the reason; an event
        named in none of the three stays as it was. Only pending events move, so settling
        the same answer twice changes nothing.
        """
        failed, kept = failed or {}, kept or {}
        by_id = {event.id: event for event in sent}
        with self.write() as connection:
            for event_id in synced:
                _move(connection, by_id[event_id], "synced", None, attempt.timestamp_ms)
            for event_id, reason in failed.items():
                _move(connection, by_id[event_id], "failed", reason, None)
            connection.executemany(
                "UPDATE events SET sync_attempts = sync_attempts + 1, last_sync_error = ?"
                " WHERE local_id = ? AND sync_status = 'pending'",
                [(reason, by_id[event_id].local_id) for event_id, reason in kept.items()],
            )
            logged = connection.execute(
                "INSERT INTO sync_logs (timestamp, sent, synced, failed, bytes, latency_ms, outcome, detail)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    attempt.timestamp_ms,
                    attempt.sent,
                    attempt.synced,
                    attempt.failed,
                    attempt.bytes,
                    attempt.latency_ms,
                    attempt.outcome,
                    attempt.detail,
                ),
            ).lastrowid
            connection.execute("DELETE FROM sync_logs WHERE id <= ?", ((logged or 0) - KEPT_ATTEMPTS,))

    def retry_failed(self) -> int:
        """Let what the server refused for good wait to be sent again; return how many that were."""
        with self.write() as connection:
            return _reopen(connection, "'failed'")

    def report_to(self, server_id: UUID) -> None:
        """Make this the outbox of that server.

        If it was another's, no project is linked any more and every event waits to be sent: the
        new server has none of what the old one confirmed.
        """
        with self.write() as connection:
            known = connection.execute("SELECT value FROM settings WHERE key = 'sync_server_id'").fetchone()
            if known is not None and json.loads(known["value"]) == str(server_id):
                return
            connection.execute("DELETE FROM sync_projects")
            _reopen(connection, "'failed', 'synced'")
            connection.execute(
                "INSERT OR REPLACE INTO settings (key, value) VALUES ('sync_server_id', ?)",
                (json.dumps(str(server_id)),),
            )

    def sync_counts(self) -> dict[SyncStatus, int]:
        """How many events of linked projects stand where. O(projects)."""
        with self.read() as connection:
            rows = connection.execute(
                "SELECT sync_status, sum(count) AS count FROM sync_counts"
                " JOIN sync_projects USING (project_id) GROUP BY sync_status"
            ).fetchall()
        counts: dict[SyncStatus, int] = {"pending": 0, "synced": 0, "failed": 0}
        counts.update({row["sync_status"]: row["count"] for row in rows})
        return counts

    def attempts(self, limit: int, *, since_ms: int = 0) -> list[Attempt]:
        """Attempts to send, newest first."""
        with self.read() as connection:
            rows = connection.execute(
                "SELECT * FROM sync_logs WHERE timestamp >= ? ORDER BY id DESC LIMIT ?", (since_ms, limit)
            ).fetchall()
        return [
            Attempt(
                timestamp_ms=row["timestamp"],
                sent=row["sent"],
                synced=row["synced"],
                failed=row["failed"],
                bytes=row["bytes"],
                latency_ms=row["latency_ms"],
                outcome=row["outcome"],
                detail=row["detail"],
            )
            for row in rows
        ]


def connect(path: Path) -> sqlite3.Connection:
    """A durable connection in autocommit mode; any thread may use it, one at a time."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    # Of several processes that open a new store at once all but one are told "locked" at once:
    # for this step SQLite does not wait as it does for every other.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _close(connections: list[sqlite3.Connection]) -> None:
    for connection in connections:
        connection.close()


def _insert(connection: sqlite3.Connection, project_id: str, observations: Iterable[Observation]) -> int:
    added: Counter[wire.EventType] = Counter()
    for observation in observations:
        kind = wire.TYPE_OF[type(observation.data)]
        cursor = connection.execute(
            "INSERT INTO events (id, timestamp, project_id, event_type, event_data) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO NOTHING",
            (
                str(observation.id),
                observation.timestamp_ms,
                project_id,
                kind,
                wire.encode(observation.data).decode(),
            ),
        )
        added[kind] += cursor.rowcount
    connection.executemany(
        "INSERT INTO event_counts (project_id, event_type, count) VALUES (?, ?, ?)"
        " ON CONFLICT (project_id, event_type) DO UPDATE SET count = count + excluded.count",
        [(project_id, kind, count) for kind, count in added.items()],
    )
    total = added.total()
    _count(connection, project_id, "pending", total)
    return total


def _move(
    connection: sqlite3.Connection, event: Event, status: SyncStatus, error: str | None, synced_at: int | None
) -> None:
    moved = connection.execute(
        "UPDATE events SET sync_status = ?, sync_attempts = sync_attempts + 1, last_sync_error = ?,"
        " synced_at = ? WHERE local_id = ? AND sync_status = 'pending'",
        (status, error, synced_at, event.local_id),
    ).rowcount
    if moved:
        _count(connection, str(event.project_id), "pending", -1)
        _count(connection, str(event.project_id), status, 1)


def _reopen(connection: sqlite3.Connection, statuses: Literal["'failed'", "'failed', 'synced'"]) -> int:
    """Events of these statuses become pending again; their attempts and last error stay to be read."""
    rows = connection.execute(
        "SELECT project_id, sync_status, count(*) AS count FROM events"  # noqa: S608 - one of two constants
        f" WHERE sync_status IN ({statuses}) GROUP BY project_id, sync_status"
    ).fetchall()
    for row in rows:
        _count(connection, row["project_id"], row["sync_status"], -row["count"])
        _count(connection, row["project_id"], "pending", row["count"])
    return connection.execute(
        f"UPDATE events SET sync_status = 'pending', synced_at = NULL WHERE sync_status IN ({statuses})"  # noqa: S608
    ).rowcount


def _count(connection: sqlite3.Connection, project_id: str, status: SyncStatus, change: int) -> None:
    connection.execute(
        "INSERT INTO sync_counts (project_id, sync_status, count) VALUES (?, ?, ?)"
        " ON CONFLICT (project_id, sync_status) DO UPDATE SET count = count + excluded.count",
        (project_id, status, change),
    )


def _event(row: sqlite3.Row) -> Event:
    return Event(
        local_id=row["local_id"],
        id=UUID(row["id"]),
        timestamp_ms=row["timestamp"],
        project_id=_project_id(row["project_id"]),
        event_type=wire.EventType(row["event_type"]),
        data_json=row["event_data"],
        sync_status=row["sync_status"],
        last_sync_error=row["last_sync_error"],
    )


@lru_cache(maxsize=1_000)
def _project_id(text: str) -> UUID:
    # There are few projects, and making a UUID costs as much as reading the rest of the row.
    return UUID(text)
