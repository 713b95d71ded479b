"""Every sealed column there is, and how its rows are sealed anew after a key was replaced."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, LargeBinary, Select, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from devflow import crypto, keys
from devflow.accounts.people import EMAIL
from devflow.audit import Actor
from devflow.crypto import Damaged, Vault
from devflow.db import Database
from devflow.ingest.files import PATH
from devflow.ingest.rows import DATA
from devflow.keys import Purpose
from devflow.models import Event, File, Person, SecondFactor

SECRET: Final = "second_factors.secret"  # noqa: S105 - a column's name
CHUNK: Final = 500
"""Rows a transaction seals anew; an upload waits for no longer."""
WINDOW: Final = 20_000
"""Rows that one statement looks through for those."""
AGAIN_MS: Final = 3_600_000
"""When to look once more for what did not open."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed column; ``key`` is its table's primary key, ``row`` what its rows are bound by."""

    field: str
    model: type[Any]
    key: InstrumentedAttribute[int]
    row: InstrumentedAttribute[Any]
    column: InstrumentedAttribute[bytes]

    def rows(self) -> Select[Any]:
        """Primary key, what binds the row, and what is sealed."""
        found = select(self.key, self.row, self.column)
        return found if self.row.class_ is self.model else found.join(self.row.class_)

    def is_with(self, key_ids: Iterable[int]) -> ColumnElement[bool]:
        """Whether it is sealed with one of the keys; erased ones, which are empty, are with none."""
        start = func.substr(self.column, 1, crypto.PREFIX_BYTES, type_=LargeBinary)
        return start.in_([crypto.prefix(number) for number in key_ids])


SEALED: Final = (
    Sealed(EMAIL, Person, Person.id, Person.public_id, Person.email),
    Sealed(SECRET, SecondFactor, SecondFactor.person_id, Person.public_id, SecondFactor.secret),
    Sealed(PATH, File, File.id, File.path_key, File.path),
    Sealed(DATA, Event, Event.seq, Event.event_id, Event.data),
)


@dataclass
class Resealing:
    """How far this process has come in sealing anew what retired keys have sealed.

    Nothing of this has to survive: a row tells by how it begins which key it is sealed with, so a
    pass that begins anew goes past what is done. A retired key is deleted after a pass that began
    when nobody sealed with it any more, and found nothing.
    """

    retired: frozenset[int] = frozenset()
    place: int = 0  # in SEALED
    after: int = 0  # the primary key that was looked at last there
    began_at: int = 0
    met: int = 0  # rows of retired keys that this pass came across
    damaged: int = 0  # those of them that do not open, and so stay as they are
    is_second_look: bool = False
    rest_until: int = 0

    def begin(self, retired: frozenset[int], now_ms: int) -> None:
        self.is_second_look = retired == self.retired
        self.retired, self.began_at = retired, now_ms
        self.place = self.after = self.met = self.damaged = self.rest_until = 0

    @property
    def is_through(self) -> bool:
        return self.place == len(SEALED)

    def left(self, session: Session, vault: Vault) -> int:
        """At most how many rows are still to be sealed anew; those that were deleted may be counted too."""
        if retired_in(vault) != self.retired:
            return sum(_last(session, each) for each in SEALED)
        if self.is_second_look or self.is_through:
            return 0
        return sum(_last(session, each) for each in SEALED[self.place :]) - self.after


def retired_in(vault: Vault) -> frozenset[int]:
    """The ids of the keys of fields that seal no more."""
    return frozenset(vault.ring.fields) - {vault.current}


def _last(session: Session, each: Sealed) -> int:
    return session.scalar(select(func.max(each.key))) or 0


def step(database: Database, by: Actor, resealing: Resealing) -> bool:
    """Seal up to ``CHUNK`` rows anew; return whether there is more to do right now.

    Takes its own transactions, so that no upload waits while rows are looked for.
    """
    retired = retired_in(by.vault)
    if retired != resealing.retired:
        resealing.begin(retired, by.now_ms)
    if not retired or by.now_ms < resealing.rest_until:
        return False
    if resealing.is_through:
        resealing.begin(retired, by.now_ms)
    _chunk(database, by.vault, resealing)
    return not resealing.is_through or _finish(database, by, resealing)


def _chunk(database: Database, vault: Vault, resealing: Resealing) -> None:
    each = SEALED[resealing.place]
    with database.reading() as session:
        end = session.scalar(_end_of_window(each, resealing.after))
        if end is None:
            resealing.place, resealing.after = resealing.place + 1, 0
            return
        within = each.key.between(resealing.after + 1, end) & each.is_with(resealing.retired)
        found = session.scalars(select(each.key).where(within).order_by(each.key).limit(CHUNK)).all()
    if found:
        resealing.met += len(found)
        resealing.damaged += database.transact(lambda writing: _seal_anew(writing, vault, each, found))
    resealing.after = found[-1] if len(found) == CHUNK else end


def _end_of_window(each: Sealed, after: int) -> Select[Any]:
    window = select(each.key).where(each.key > after).order_by(each.key).limit(WINDOW).subquery()
    return select(func.max(window.c[0]))


def _seal_anew(session: Session, vault: Vault, each: Sealed, found: Iterable[int]) -> int:
    """Seal the rows with the newest key; return how many of them do not open.

    A row that somebody else has locked is left for the next pass: whoever holds it may wait for
    one of ours.
    """
    query = each.rows().where(each.key.in_(list(found))).order_by(each.key)
    rows = session.execute(query.with_for_update(of=each.model, skip_locked=True)).all()
    changed, damaged = [], []
    for number, row, sealed in rows:
        if not sealed or sealed.startswith(crypto.prefix(vault.current)):
            continue
        bound = row.bytes if isinstance(row, UUID) else row
        try:
            plain = vault.open(each.field, bound, sealed)
        except Damaged:
            damaged.append(bound.hex())
            continue
        changed.append({each.key.key: number, each.column.key: vault.seal(each.field, bound, plain)})
    if changed:
        session.execute(update(each.model), changed)
    if damaged:
        log.error("%d rows of %s are damaged in the database: %s", len(damaged), each.field, damaged[:10])
    return len(damaged)


def _finish(database: Database, by: Actor, resealing: Resealing) -> bool:
    """After a whole pass: go through it all again, wait until keys may be deleted, or delete them."""
    if resealing.met > resealing.damaged:
        return True
    if resealing.damaged:
        resealing.rest_until = by.now_ms + AGAIN_MS
        return False
    with database.reading() as session:
        unused = keys.retired_before(session, Purpose.FIELDS, resealing.began_at - keys.RETIRED_FOR_MS)
    if unused:
        database.transact(lambda writing: keys.drop(writing, by, unused))
        by.vault.reload()
    resealing.rest_until = by.now_ms + keys.RETIRED_FOR_MS
    return False
