"""Partitions: on PostgreSQL the events of a month (UTC) are a table of their own, and can go all at once.

They are made before the first event of their month comes. Months lie around today; years further
off, which come from old histories and from clocks that are wrong, have one table each, and all
that is further still has two. So nobody can make more of them than a query may lock.
SQLite has one table and needs nothing of this.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Set
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from devflow import db, wire
from devflow.db import Database, Lock

MONTHS_AHEAD: Final = 3
DROP_TRIES: Final = 20
WAIT_MS: Final = 100
"""How long a drop waits for those who use the table: whoever comes meanwhile waits behind it."""
_PAUSE_S: Final = 0.25
_FIRST_YEAR: Final = 2000
_END_YEAR: Final = 2100
_LOCK_NOT_AVAILABLE: Final = "55P03"
log = logging.getLogger(__name__)


class Part(NamedTuple):
    """A table of the events from ``start`` until before ``end``; None is without a bound."""

    name: str
    start: int | None
    end: int | None

    @classmethod
    def named(cls, name: str) -> Part:
        """The one of this name, which says it all."""
        if name == _BEFORE.name:
            return _BEFORE
        if name == _AFTER.name:
            return _AFTER
        year, *month = map(int, name.split("_")[1:])
        return _of_month(year, *month) if month else _of_year(year)

    @property
    def year(self) -> str:
        """The name that a table of the whole year has."""
        return self.name[: len("events_2000")]


def _of_month(year: int, month: int) -> Part:
    return Part(f"events_{year}_{month:02}", _start(year, month), _start(year + month // 12, month % 12 + 1))


def _of_year(year: int) -> Part:
    return Part(f"events_{year}", _start(year), _start(year + 1))


def _start(year: int, month: int = 1) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1_000


_BEFORE: Final = Part(f"events_before_{_FIRST_YEAR}", None, _start(_FIRST_YEAR))
_AFTER: Final = Part(f"events_from_{_END_YEAR}", _start(_END_YEAR), None)


def month_of(timestamp: int) -> Part:
    """The month in which the instant lies, or whichever of the two outside."""
    return _month_of_day(timestamp // wire.DAY_MS)


@lru_cache(maxsize=4_096)  # asked for each event of an upload
def _month_of_day(day: int) -> Part:
    at = datetime.fromtimestamp(day * (wire.DAY_MS // 1_000), UTC)
    if at.year < _FIRST_YEAR:
        return _BEFORE
    return _AFTER if at.year >= _END_YEAR else _of_month(at.year, at.month)


def ahead(now_ms: int) -> list[Part]:
    """This month and those that are made before they come."""
    at = datetime.fromtimestamp(now_ms // 1_000, UTC)
    months = (at.year * 12 + at.month - 1 + number for number in range(MONTHS_AHEAD + 1))
    return [month_of(_start(number // 12, number % 12 + 1)) for number in months]


class Partitions:
    """Which months this process knows to have a table; others may make and drop them beside it.

    A month is dropped only when all uploads to it are refused for good, so none is missed. Only if
    somebody else took it away it has to be forgotten.
    """

    def __init__(self) -> None:
        self._known: frozenset[Part] = frozenset()

    def ensure(
        self,
        database: Database,
        months: Set[Part],
        now_ms: int,
        kept_from: Callable[[Session], int] = lambda _: 0,
    ) -> None:
        """Make what is missing, in a transaction of its own; months before ``kept_from`` need none."""
        if not database.is_sqlite and (unknown := months - self._known):
            self._known |= database.transact(lambda session: _make(session, unknown, now_ms, kept_from))

    def forget(self) -> None:
        """Look for all of them anew."""
        self._known = frozenset()


def _make(
    session: Session, months: Iterable[Part], now_ms: int, kept_from: Callable[[Session], int]
) -> Set[Part]:
    """Make the tables that the months need; return the months that have one now."""
    since = kept_from(session)
    wanted = {month for month in months if month.end is None or month.end > since}
    db.lock(session, Lock.PARTITIONS)
    there = {part.name for part in attached(session)}
    for month in sorted(wanted):
        part = _place(month, there, now_ms)
        if part.name not in there:
            _attach(session, part)
            there.add(part.name)
    return wanted


def _place(month: Part, there: Set[str], now_ms: int) -> Part:
    """The table that the month's events go to, beside those that are there."""
    if month in (_BEFORE, _AFTER) or month.name in there:
        return month
    year, this_year = Part.named(month.year), datetime.fromtimestamp(now_ms // 1_000, UTC).year
    has_months = any(name.startswith(f"{year.name}_") for name in there)
    is_near = _start(this_year - 1) <= month[1] < _start(this_year + 2)  # type: ignore[operator]
    return month if year.name not in there and (is_near or has_months) else year


def _attach(session: Session, part: Part) -> None:
    """Uploads go on meanwhile: CREATE ... PARTITION OF would wait for them, and they for it."""
    low = "MINVALUE" if part.start is None else part.start
    high = "MAXVALUE" if part.end is None else part.end
    session.execute(text(f"CREATE TABLE {part.name} (LIKE events INCLUDING ALL)"))
    session.execute(
        text(f"ALTER TABLE events ATTACH PARTITION {part.name} FOR VALUES FROM ({low}) TO ({high})")
    )


def attached(session: Session) -> list[Part]:
    """Those that there are, in the order of time."""
    names = session.scalars(
        text(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
            "WHERE inhparent = CAST('events' AS regclass)"
        )
    )
    return sorted(map(Part.named, names), key=lambda part: part.start or 0)


def drop_before(database: Database, end: int) -> int:
    """Drop each whose events are all before ``end``; return how many events that were.

    Nobody may store any there any more. One that is in use for long is left: its events are still
    to be deleted then.
    """
    if database.is_sqlite:
        return 0
    with database.reading() as session:
        old = [part for part in attached(session) if part.end is not None and part.end <= end]
    return sum(_drop(database, part) for part in old)


def _drop(database: Database, part: Part) -> int:
    for _ in range(DROP_TRIES):
        try:
            return database.transact(partial(_drop_now, part=part))
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            time.sleep(_PAUSE_S)
    log.info("could not drop %s, which is in use: its events are deleted one by one", part.name)
    return 0


def _drop_now(session: Session, part: Part) -> int:
    db.lock(session, Lock.PARTITIONS)
    if part not in attached(session):
        return 0
    count = session.scalar(text(f"SELECT count(*) FROM {part.name}")) or 0  # noqa: S608 - a name of ours
    session.execute(text(f"SET LOCAL lock_timeout = {WAIT_MS}"))
    session.execute(text(f"DROP TABLE {part.name}"))
    return count
