"""Which events are stored already, found by their ids.

PostgreSQL has an index of ids in each partition. On SQLite a tree of random ids would cost more
than all the rest of an upload: each new id falls on another page, and every page has to be written.
Its unique key begins with the time instead, so new rows fall side by side; that an id came before
with another time is noticed by fingerprints in memory, eight bytes each.
"""

from __future__ import annotations

import itertools
import struct
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Protocol
from uuid import UUID

from sqlalchemy import Result, Select, event, select, text
from sqlalchemy.orm import Session

from devflow import wire
from devflow.db import Database
from devflow.models import Event
from devflow.wire import Received

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
        ids = ",".join(rf'"\\x{event_id.hex()}"' for event_id in wire.binary_ids(events))
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
                self._read(session, select(Event.event_id))
            self._seq = newest

    def find(self, session: Session, events: Sequence[Received]) -> Stored:
        self._catch_up(session)
        seen = self._fingerprints.seen(wire.binary_ids(events))
        likely = list(itertools.compress(events, seen))
        if not likely:
            return {}
        found = _by_id(_at_their_time(session, likely))
        moved = [event for event in likely if event.id not in found]
        return found | _by_id(_at_any_time(session, moved)) if moved else found

    def add(self, session: Session, rows: Iterable[HasId]) -> None:
        # Before the commit: the next transaction may look as soon as this one has ended.
        self._fingerprints.add([row.event_id for row in rows])
        newest = _newest(session)
        event.listen(session, "after_commit", lambda _: self._advance(newest), once=True)

    def _advance(self, seq: int) -> None:
        self._seq = max(self._seq, seq)

    def _catch_up(self, session: Session) -> None:
        newest = _newest(session)
        if newest > self._seq:
            self._read(session, select(Event.event_id).where(Event.seq > self._seq))
            self._seq = newest

    def _read(self, session: Session, ids: Select[bytes]) -> None:
        for some in session.scalars(ids).partitions(10_000):
            self._fingerprints.add(some)


def _newest(session: Session) -> int:
    return session.connection().exec_driver_sql("SELECT max(seq) FROM events").scalar() or 0


def _at_their_time(session: Session, events: Sequence[Received]) -> Result[Any]:
    """By the unique key; written out, as building so long a statement would take longer than running it."""
    ids = wire.binary_ids(events)
    wanted = ",".join(f"({e.timestamp},x'{i.hex()}')" for e, i in zip(events, ids, strict=True))
    columns = ",".join(f"events.{column.key}" for column in _COLUMNS)
    return session.connection().exec_driver_sql(
        f"WITH wanted(timestamp, event_id) AS (VALUES {wanted}) "  # noqa: S608 - integers and hex digits
        f"SELECT {columns} FROM wanted JOIN events USING (timestamp, event_id)"
    )


def _at_any_time(session: Session, events: Sequence[Received]) -> Result[Any]:
    """By reading the index of the unique key from its start to its end: somebody changed a time."""
    return session.execute(select(*_COLUMNS).where(Event.event_id.in_(wire.binary_ids(events))))


def _by_id(rows: Result[Any]) -> Stored:
    return {str(UUID(bytes=row.event_id)): row for row in rows}


class Fingerprints:
    """The first eight bytes of many ids: by two of them one finds a row of the other six of each."""

    def __init__(self) -> None:
        self._rows: defaultdict[int, bytearray] = defaultdict(bytearray)

    def seen(self, ids: Sequence[bytes]) -> list[bool]:
        """Whether each of the ids may be among them; who is told no can be sure."""
        row_of = self._rows.get
        return [rest in row_of(row, b"") for row, rest in _cut(ids)]

    def add(self, ids: Sequence[bytes]) -> None:
        rows = self._rows
        for row, rest in _cut(ids):
            if rest not in rows[row]:
                rows[row] += rest


def _cut(ids: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    return struct.iter_unpack(">H6s8x", b"".join(ids))
