"""What waits to be sent to the team's server, where it goes, and what became of each attempt.

The outbox is a view of the store: an event is in it while its ``sync_status`` is pending and
its project is linked and shares anything (``levels``). Every function is one transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from uuid import UUID

from devflow import wire
from devflow.errors import Invalid
from devflow_agent.schema import archive
from devflow_agent.store import Event, Level, Store, SyncStatus, count

KEPT_ATTEMPTS: Final = 10_000
"""A month of a server that never answers; older rows of ``sync_logs`` go."""
LONGEST_PAUSE_MS: Final = 3_600_000
"""No server is waited for longer than an hour, see ``remote.MAX_RETRY_AFTER_S``."""
_COMPARED: Final = "sync_compared"
Via = Literal["http", "live"]
_PAUSE: Final = "sync_pause"
_OLD_ONES: Final = "sync_old_ones"
_NAMED_AT: Final = "sync_named_at"
_ATTEMPT: Final = (
    "timestamp AS timestamp_ms, sent, synced, failed, bytes, latency_ms, outcome, detail,"
    " first_local_id, last_local_id, via"
)


class Waiting(NamedTuple):
    """An event that waits to be sent, as it stands in the store."""

    local_id: int
    id: str
    timestamp_ms: int
    project_id: str
    event_type: str
    data_json: str


class Target(NamedTuple):
    """Where a project's events go; ``pseudonym_key`` is None if they go with their names."""

    remote_id: UUID
    pseudonym_key: bytes | None


class Synced(NamedTuple):
    """What is needed of a confirmed event to ask the server for it."""

    local_id: int
    id: str
    timestamp_ms: int
    event_type: str


class Attempt(NamedTuple):
    """One try to send a batch, by an upload or over the stream; ``latency_ms`` is None if no answer came.

    The batch held what waited between the two local ids.
    """

    timestamp_ms: int
    sent: int
    synced: int
    failed: int
    bytes: int
    latency_ms: int | None
    outcome: str
    detail: str
    first_local_id: int | None = None
    last_local_id: int | None = None
    via: Via = "http"


@dataclass(frozen=True, slots=True)
class Record:
    """An event with what sync knows of it. ``attempts`` counts the server's words on it, not silences."""

    event: Event
    attempts: int
    last_attempt_ms: int | None
    synced_ms: int | None

    @classmethod
    def of(cls, row: sqlite3.Row) -> Record:
        return cls(Event.of(row), row["sync_attempts"], row["last_attempt_at"], row["synced_at"])


class Pause(NamedTuple):
    """The daemon leaves the server alone until then, by this PC's clock."""

    until_ms: int
    why: str


def link(store: Store, project_id: UUID, remote: wire.Project) -> None:
    """From now on this project's events, old ones too, go to the server's ``remote`` project."""
    with store.write() as connection:
        connection.execute(
            "INSERT INTO sync_projects (project_id, remote_id, remote_name) VALUES (?, ?, ?)"
            " ON CONFLICT (project_id) DO UPDATE SET"
            " remote_id = excluded.remote_id, remote_name = excluded.remote_name",
            (str(project_id), str(remote.project_id), remote.name),
        )
        note_old_ones(connection)


def rename(store: Store, projects: Sequence[wire.Project], now_ms: int) -> None:
    """Call the linked ones of these by their names of now."""
    with store.write() as connection:
        connection.executemany(
            "UPDATE sync_projects SET remote_name = ?1 WHERE remote_id = ?2 AND remote_name <> ?1",
            [(project.name, str(project.project_id)) for project in projects],
        )
        connection.execute(
            "INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)", (_NAMED_AT, json.dumps(now_ms))
        )


def are_names_old(store: Store) -> bool:
    """Whether anything was sent since the names of projects were asked for: who does nothing asks nothing."""
    latest = attempts(store, 1)
    return bool(latest) and latest[0].timestamp_ms > (store.setting(_NAMED_AT) or 0)


def old_ones(store: Store) -> int:
    """Another number each time that events recorded long ago begin to wait, because somebody wanted it.

    A stream passes over the events that are older than itself; by this it knows of these.
    """
    return store.setting(_OLD_ONES) or 0


def report_to(store: Store, server_id: UUID) -> None:
    """Make this the outbox of that server.

    If it was another's, no project is linked any more and every event waits to be sent: the
    new server has none of what the old one confirmed.
    """
    with store.write() as connection:
        known = connection.execute("SELECT value FROM settings WHERE key = 'sync_server_id'").fetchone()
        if known is not None and json.loads(known["value"]) == str(server_id):
            return
        connection.execute("DELETE FROM sync_projects")
        connection.execute("DELETE FROM downloaded")
        connection.execute("DELETE FROM settings WHERE key IN (?, 'sync_download_cursor')", (_COMPARED,))
        _reopen(connection, "'failed', 'synced'")
        connection.execute(
            "INSERT OR REPLACE INTO settings (key, value) VALUES ('sync_server_id', ?)",
            (json.dumps(str(server_id)),),
        )


def linked(store: Store) -> list[UUID]:
    """The server's projects that anything goes to."""
    with store.read() as connection:
        rows = connection.execute("SELECT DISTINCT remote_id FROM sync_sharing ORDER BY remote_id")
        return [UUID(row["remote_id"]) for row in rows]


def targets(store: Store) -> dict[str, Target]:
    """By project, those that share anything."""
    with store.read() as connection:
        rows = connection.execute("SELECT * FROM sync_sharing").fetchall()
    return {
        row["project_id"]: Target(
            UUID(row["remote_id"]),
            bytes.fromhex(row["pseudonym_key"]) if row["level"] == Level.METRICS else None,
        )
        for row in rows
    }


def pending(store: Store, limit: int, *, after: int = 0) -> list[Waiting]:
    """The oldest events that wait to be sent, recorded after local id ``after``."""
    found: list[Waiting] = []
    with store.read() as connection:
        reading = _tuples(connection)
        # One ordered look-up a project: an index over all of them would first have to
        # step over everything that waits in projects that share nothing.
        for (project_id,) in reading.execute("SELECT project_id FROM sync_sharing").fetchall():
            rows = reading.execute(
                "SELECT local_id, id, timestamp, project_id, event_type, event_data FROM events"
                " WHERE sync_status = 'pending' AND project_id = ? AND local_id > ?"
                " ORDER BY local_id LIMIT ?",
                (project_id, after, limit),
            )
            found.extend(map(Waiting._make, rows))
    return sorted(found)[:limit]


def settle(
    store: Store,
    sent: Sequence[Waiting],
    *,
    synced: Iterable[str] = (),
    failed: Mapping[str, str] | None = None,
    kept: Mapping[str, str] | None = None,
    attempt: Attempt,
) -> None:
    """Write down what became of a batch, by ids, and the attempt, in one transaction.

    ``failed`` were refused for good and ``kept`` for now, each with the reason; an event
    named in none of the three stays as it was. Only pending events move, so settling
    the same answer twice changes nothing.
    """
    failed, kept = failed or {}, kept or {}
    events = {event.id: event for event in sent}
    with store.write() as connection:
        _move(connection, [events[event_id] for event_id in synced], "synced", None, attempt.timestamp_ms)
        for event_id, reason in failed.items():
            _move(connection, [events[event_id]], "failed", reason, attempt.timestamp_ms)
        connection.executemany(
            "UPDATE events SET sync_attempts = sync_attempts + 1, last_sync_error = ?, last_attempt_at = ?"
            " WHERE local_id = ? AND sync_status = 'pending'",
            [(reason, attempt.timestamp_ms, events[event_id].local_id) for event_id, reason in kept.items()],
        )
        _log(connection, attempt)


def first_synced(store: Store, remote_id: UUID, since_ms: int) -> int | None:
    """When the oldest event from ``since_ms`` on happened that the server's project was confirmed to have."""
    with store.read() as connection:
        rows = [
            connection.execute(
                "SELECT timestamp FROM all_events WHERE project_id = ? AND timestamp >= ?"
                " AND sync_status = 'synced' ORDER BY timestamp LIMIT 1",
                (project_id, since_ms),
            ).fetchone()
            for project_id in _linked_to(connection, remote_id)
        ]
    return min((row["timestamp"] for row in rows if row is not None), default=None)


def synced(store: Store, remote_id: UUID, since_ms: int, until_ms: int) -> Iterator[Synced]:
    """What the server's project was confirmed to have of ``since_ms <= timestamp < until_ms``."""
    with store.read() as connection:
        for project_id in _linked_to(connection, remote_id):
            rows = _tuples(connection).execute(
                "SELECT local_id, id, timestamp, event_type FROM all_events"
                " WHERE project_id = ? AND timestamp >= ? AND timestamp < ? AND sync_status = 'synced'",
                (project_id, since_ms, until_ms),
            )
            yield from map(Synced._make, rows)


def send_again(store: Store, lost: Sequence[Synced]) -> int:
    """Let confirmed events wait to be sent once more; return how many that were. No others move."""
    with store.write() as connection:
        moved = [_reopen_one(connection, event) for event in lost]
    return sum(moved)


def compared(store: Store) -> tuple[UUID | None, int] | None:
    """In which epoch of the server, and when, everything was last compared with it; None for never."""
    found = store.setting(_COMPARED)
    if found is None:
        return None
    return None if found["epoch"] is None else UUID(found["epoch"]), found["at_ms"]


def note_compared(store: Store, epoch: UUID | None, at_ms: int) -> None:
    store.set_settings(**{_COMPARED: {"epoch": None if epoch is None else str(epoch), "at_ms": at_ms}})


def forget_compared(connection: sqlite3.Connection) -> None:
    """Let it be time to compare."""
    connection.execute("DELETE FROM settings WHERE key = ?", (_COMPARED,))


def knows_anything(store: Store) -> bool:
    """Whether sync has left anything in the store that ``forget`` deletes."""
    with store.read() as connection:
        found = connection.execute(
            "SELECT 1 FROM sync_projects UNION ALL SELECT 1 FROM sync_levels"
            " UNION ALL SELECT 1 FROM sync_logs"
            " UNION ALL SELECT 1 FROM archive.archived_events"
            " UNION ALL SELECT 1 FROM settings WHERE substr(key, 1, 5) = 'sync_' AND key <> 'sync_enabled'"
            " LIMIT 1"
        )
        return found.fetchone() is not None


def forget(store: Store) -> None:
    """As if there had never been any sync: events stay, and none says any more what became of it."""
    with store.write() as connection:
        _reopen(connection, "'failed', 'synced'")
        connection.execute(
            "UPDATE events SET sync_attempts = 0, last_sync_error = NULL, last_attempt_at = NULL"
        )
        connection.execute("DELETE FROM downloaded")
        connection.execute("DELETE FROM sync_projects")
        connection.execute("DELETE FROM sync_levels")
        connection.execute("DELETE FROM sync_logs")
        connection.execute("DELETE FROM settings WHERE substr(key, 1, 5) = 'sync_' OR key = 'removal_due_at'")
    with store.write() as connection:  # only now that the store has them durably
        archive.clear(connection)


def retry_failed(store: Store) -> int:
    """Let what the server refused for good wait to be sent again; return how many that were."""
    with store.write() as connection:
        moved = _reopen(connection, "'failed'")
        if moved:
            note_old_ones(connection)
    return moved


def retry(store: Store, event_ids: Sequence[UUID]) -> None:
    """Let these, all refused for good, wait again; raise Invalid, with nothing changed, if one was not."""
    with store.write() as connection:
        for event_id in dict.fromkeys(event_ids):
            row = connection.execute("SELECT * FROM events WHERE id = ?", (str(event_id),)).fetchone()
            if row is None or row["sync_status"] != "failed":
                here = "not on this PC" if row is None else row["sync_status"]
                raise Invalid(f"expected events that were refused for good, got {event_id}, which is {here}")
            connection.execute(
                "UPDATE events SET sync_status = 'pending' WHERE local_id = ?", (row["local_id"],)
            )
            count(connection, row["project_id"], "failed", -1)
            count(connection, row["project_id"], "pending", 1)
        note_old_ones(connection)


def record(store: Store, event_id: UUID) -> Record | None:
    """What this PC knows of an event, None if it never recorded it."""
    with store.read() as connection:
        row = connection.execute("SELECT * FROM all_events WHERE id = ?", (str(event_id),)).fetchone()
    return None if row is None else Record.of(row)


def refused(store: Store, limit: int) -> list[Record]:
    """What the server refused, for good or for now, and did not take since; the last refused first."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT * FROM events WHERE last_sync_error IS NOT NULL AND sync_status <> 'synced'"
            " ORDER BY last_attempt_at DESC, local_id DESC LIMIT ?",
            (limit,),
        )
        return [Record.of(row) for row in rows]


class Kind(NamedTuple):
    """What waits of one type in one project; ``refused`` of them the server did not want before."""

    project_id: UUID
    event_type: wire.EventType
    events: int
    oldest_ms: int
    refused: int


def waiting(store: Store) -> list[Kind]:
    """What waits in all projects, linked or not. Looks at each event that does."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT project_id, event_type, count(*), min(timestamp), count(last_sync_error) FROM events"
            " WHERE sync_status = 'pending' GROUP BY project_id, event_type"
        )
        return [Kind(UUID(project), wire.EventType(kind), *numbers) for project, kind, *numbers in rows]


def note_pause(store: Store, pause: Pause) -> None:
    store.set_settings(**{_PAUSE: pause._asdict()})


def pause(store: Store, now_ms: int) -> Pause | None:
    """Until when the daemon waits, None if it does not; what a clock set back would prolong is none."""
    found = store.setting(_PAUSE)
    if found is None or not now_ms < found["until_ms"] <= now_ms + LONGEST_PAUSE_MS:
        return None
    return Pause(found["until_ms"], found["why"])


def counts(store: Store) -> dict[SyncStatus, int]:
    """How many events of linked projects stand where, without what is ``held``. O(projects)."""
    found: dict[SyncStatus, int] = {"pending": 0, "synced": 0, "failed": 0}
    with store.read() as connection:
        rows = connection.execute(
            "SELECT sync_status, sum(count) AS count FROM sync_counts"
            " JOIN sync_projects USING (project_id)"
            " WHERE sync_status <> 'pending' OR project_id IN (SELECT project_id FROM sync_sharing)"
            " GROUP BY sync_status"
        )
        found.update({row["sync_status"]: row["count"] for row in rows})
    return found


def held(store: Store) -> int:
    """How many events wait in linked projects that share nothing, which somebody wanted so. O(projects)."""
    with store.read() as connection:
        row = connection.execute(
            "SELECT coalesce(sum(count), 0) FROM sync_counts JOIN sync_projects USING (project_id)"
            " WHERE sync_status = 'pending' AND project_id NOT IN (SELECT project_id FROM sync_sharing)"
        ).fetchone()
    return int(row[0])


def attempts(store: Store, limit: int, *, since_ms: int = 0) -> list[Attempt]:
    """Attempts to send, newest first."""
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT {_ATTEMPT} FROM sync_logs WHERE timestamp >= ? ORDER BY id DESC LIMIT ?",  # noqa: S608
            (since_ms, limit),
        )
        return [*map(Attempt._make, rows)]


def attempts_with(store: Store, local_id: int, limit: int) -> list[Attempt]:
    """Attempts to send a batch in whose range this event was, newest first."""
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT {_ATTEMPT} FROM sync_logs"  # noqa: S608 - a constant
            " WHERE first_local_id <= ? AND last_local_id >= ? ORDER BY id DESC LIMIT ?",
            (local_id, local_id, limit),
        )
        return [*map(Attempt._make, rows)]


def note_old_ones(connection: sqlite3.Connection) -> None:
    """Let ``old_ones`` say so, in the transaction that makes them wait."""
    connection.execute(
        "INSERT INTO settings (key, value) VALUES (?, '1')"
        " ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1",
        (_OLD_ONES,),
    )


def _linked_to(connection: sqlite3.Connection, remote_id: UUID) -> list[str]:
    rows = connection.execute("SELECT project_id FROM sync_sharing WHERE remote_id = ?", (str(remote_id),))
    return [row["project_id"] for row in rows]


def _tuples(connection: sqlite3.Connection) -> sqlite3.Cursor:
    """A cursor whose rows have no names: events are read in four fifths of the time."""
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor


def _reopen_one(connection: sqlite3.Connection, event: Synced) -> int:
    archive.bring_back(connection, event.id)
    row = connection.execute(
        "UPDATE events SET sync_status = 'pending', synced_at = NULL"
        " WHERE local_id = ? AND sync_status = 'synced' RETURNING project_id",
        (event.local_id,),
    ).fetchone()
    if row is None:
        return 0
    count(connection, row["project_id"], "synced", -1)
    count(connection, row["project_id"], "pending", 1)
    return 1


def note_clock_skew(store: Store, skew_ms: int) -> None:
    """This PC's clock was so far ahead of the server's (behind is negative) at the last upload."""
    store.set_settings(sync_clock_skew_ms=skew_ms)


def clock_skew_ms(store: Store) -> int | None:
    """What was noted last; 0 for clocks that agree, None before the first upload."""
    skew_ms: int | None = store.setting("sync_clock_skew_ms")
    return skew_ms


def _log(connection: sqlite3.Connection, attempt: Attempt) -> None:
    last_id = connection.execute(
        "INSERT INTO sync_logs (timestamp, sent, synced, failed, bytes, latency_ms, outcome, detail,"
        " first_local_id, last_local_id, via) VALUES (:timestamp_ms, :sent, :synced, :failed, :bytes,"
        " :latency_ms, :outcome, :detail, :first_local_id, :last_local_id, :via)",
        attempt._asdict(),
    ).lastrowid
    connection.execute("DELETE FROM sync_logs WHERE id <= ? - ?", (last_id, KEPT_ATTEMPTS))


def _move(
    connection: sqlite3.Connection,
    events: Iterable[Waiting],
    status: SyncStatus,
    error: str | None,
    at_ms: int,
) -> None:
    synced_at = at_ms if status == "synced" else None
    local_ids = defaultdict[str, list[int]](list)
    for event in events:
        local_ids[event.project_id].append(event.local_id)
    for project_id, of_project in local_ids.items():
        moved = connection.execute(
            "UPDATE events SET sync_status = ?, sync_attempts = sync_attempts + 1, last_sync_error = ?,"
            " synced_at = ?, last_attempt_at = ?"
            " WHERE local_id IN (SELECT value FROM json_each(?)) AND sync_status = 'pending'",
            (status, error, synced_at, at_ms, json.dumps(of_project)),
        ).rowcount
        count(connection, project_id, "pending", -moved)
        count(connection, project_id, status, moved)


def _reopen(connection: sqlite3.Connection, statuses: Literal["'failed'", "'failed', 'synced'"]) -> int:
    """Events of these statuses become pending again; their attempts and last error stay to be read.

    Synced ones come back from the archive first.
    """
    if statuses != "'failed'":
        archive.bring_back(connection)
    rows = connection.execute(
        "SELECT project_id, sync_status, count(*) AS count FROM events"  # noqa: S608 - one of two constants
        f" WHERE sync_status IN ({statuses}) GROUP BY project_id, sync_status"
    ).fetchall()
    for row in rows:
        count(connection, row["project_id"], row["sync_status"], -row["count"])
        count(connection, row["project_id"], "pending", row["count"])
    return connection.execute(
        f"UPDATE events SET sync_status = 'pending', synced_at = NULL WHERE sync_status IN ({statuses})"  # noqa: S608
    ).rowcount
