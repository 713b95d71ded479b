"""Which events are stored already, found by their ids.

PostgreSQL has an index of ids in each partition. On SQLite a tree of random ids would cost more
than all the rest of an upload: each new id falls on another page, and every page has to be written.
Its unique key begins with the time instead, so new rows fall side by side; that an id came before
with another time is noticed by fingerprints in memory, eight bytes each.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol
from uuid import UUID

from sqlalchemy import Result, event, func, select, text
from sqlalchemy.orm import Session

from devflow.db import Database
from devflow.models import Event
from devflow.wire import Received

_EVENTS: Final = Event.__table__.c
Stored = dict[str, Any]
"""Rows of ``_COLUMNS`` by the id of the event."""
_COLUMNS: Final = (
    Event.seq,
    Event.event_id,
    Event.timestamp,
    Event.project_id,
    Event.event_type,
    Event.data,
    Event.person_id,
    Event.author_key,
)


class HasId(Protocol):
    @property
    def event_id(self) -> bytes: ...


class Known(Protocol):
    def load(self, database: Database) -> None:
        """Get ready, outside of transactions; at once if it is."""

    def find(self, session: Session, events: Sequence[Received]) -> Stored:
        """What is stored under the ids of ``events``, whatever it says; where more is going to be stored."""

    def add(self, session: Session, rows: Iterable[HasId]) -> None:
        """Note the rows that this transaction has stored."""


def on(database: Database) -> Known:
    return ByFingerprint() if database.is_sqlite else ByIndex()


class ByIndex:
    """PostgreSQL: the database knows."""

    def load(self, database: Database) -> None:
        return

    def find(self, session: Session, events: Sequence[Received]) -> Stored:
        ids = ",".join(rf'"\\x{event.id_bytes.hex()}"' for event in events)
        # As the result of a SELECT, or else the planner weighs each id for each partition, and may prefer
        # to read them all.
        among = text("events.event_id = ANY (CAST((SELECT CAST(:ids AS bytea[])) AS bytea[]))")
        return _by_id(session.execute(select(*_COLUMNS).where(among.bindparams(ids=f"{{{ids}}}"))))

    def add(self, session: Session, rows: Iterable[HasId]) -> None:
        return


class ByFingerprint:
    """SQLite: a set of fingerprints that grows with the table, and is read from it at the start.

    Exact also beside another process that writes: whatever rows came since the last look are read
    first. A fingerprint that two ids share, or that a transaction left which was rolled back,
    costs a search that finds nothing.
    """

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._fingerprints = Fingerprints()
        self._seq = 0  # all rows up to this one are in

    def load(self, database: Database) -> None:
        with self._loading:
            if self._seq:
                return
            with database.reading() as session:
                newest = _newest(session)
                for ids in session.scalars(select(Event.event_id)).partitions(10_000):
                    self._fingerprints.add(ids)
            self._seq = newest

    def find(self, session: Session, events: Sequence[Received]) -> Stored:
        self._catch_up(session)
        seen = self._fingerprints.seen([event.id_bytes for event in events])
        likely = [event for event, is_seen in zip(events, seen, strict=True) if is_seen]
        if not likely:
            return {}
        found = _by_id(_at_their_time(session, likely))
        moved = [event for event in likely if event.id not in found]
        return found | _by_id(_at_any_time(session, moved)) if moved else found

    def add(self, session: Session, rows: Iterable[HasId]) -> None:
        # Before the commit: the next transaction may look as soon as this one has ended.
        self._fingerprints.add(row.event_id for row in rows)
        newest = _newest(session)
        event.listen(session, "after_commit", lambda _: self._advance(newest), once=True)

    def _advance(self, seq: int) -> None:
        self._seq = max(self._seq, seq)

    def _catch_up(self, session: Session) -> None:
        newest = _newest(session)
        if newest > self._seq:
            self._fingerprints.add(session.scalars(select(Event.event_id).where(Event.seq > self._seq)))
            self._seq = newest


def _newest(session: Session) -> int:
    return session.scalar(select(func.max(_EVENTS.seq))) or 0


def _at_their_time(session: Session, events: Sequence[Received]) -> Result[Any]:
    """By the unique key; written out, as building so long a statement would take longer than running it."""
    wanted = ",".join(f"({event.timestamp},x'{event.id_bytes.hex()}')" for event in events)
    columns = ",".join(f"events.{column.key}" for column in _COLUMNS)
    return session.connection().exec_driver_sql(
        f"WITH wanted(timestamp, event_id) AS (VALUES {wanted}) "  # noqa: S608 - integers and hex digits
        f"SELECT {columns} FROM wanted JOIN events USING (timestamp, event_id)"
    )


def _at_any_time(session: Session, events: Sequence[Received]) -> Result[Any]:
    """By reading the index of the unique key from its start to its end: somebody changed a time."""
    return session.execute(select(*_COLUMNS).where(Event.event_id.in_([each.id_bytes for each in events])))


def _by_id(rows: Result[Any]) -> Stored:
    return {str(UUID(bytes=row.event_id)): row for row in rows}


_PARTS: Final = 1 << 12
_SHIFT: Final = 64 - 12


class Fingerprints:
    """The first eight bytes of many ids, in sorted arrays small enough to insert into."""

    def __init__(self) -> None:
        self._parts = [array("Q") for _ in range(_PARTS)]

    def seen(self, ids: Iterable[bytes]) -> list[bool]:
        """Whether each of the ids may be among them; who is told no can be sure."""
        found = []
        for event_id in ids:
            number = int.from_bytes(event_id[:8], "big")
            part = self._parts[number >> _SHIFT]
            at = bisect_left(part, number)
            found.append(at < len(part) and part[at] == number)
        return found

    def add(self, ids: Iterable[bytes]) -> None:
        for event_id in ids:
            number = int.from_bytes(event_id[:8], "big")
            part = self._parts[number >> _SHIFT]
            at = bisect_left(part, number)
            if at == len(part) or part[at] != number:
                part.insert(at, number)
