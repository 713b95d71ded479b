"""One number of one project over a range, as counted: of everybody, for nobody in particular.

Nothing here depends on who asks, so that it can be kept and shared. Only the columns needed are
read; file sets, which do not add up, are united here, all else by the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Struct
from pyroaring import BitMap
from sqlalchemy import Select, func, literal, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from devflow.activity import sums
from devflow.metrics.answers import GroupBy, MetricType
from devflow.models import Cell, Mark
from devflow.rollups import NOBODY
from devflow.windows import Grain, Window

ACTIVE_TIME: Final = "active_time"
_FILES_CHANGED: Final = "files_changed"
_ADDED: Final[dict[str, InstrumentedAttribute[int]]] = {
    "events_count": Cell.events,
    ACTIVE_TIME: Cell.active_ms,
    "commits": Cell.commits,
    "insertions": Cell.insertions,
    "deletions": Cell.deletions,
}


class Part(Struct, frozen=True, array_like=True):
    """A group and its amount, of ``active_time`` in milliseconds; None for time that nobody knows.

    ``key`` is the window's start or the person's id. ``people`` is for hours alone, ``files`` (a
    roaring bitmap) for the files of people.
    """

    key: int
    amount: int | None
    people: list[int] = []
    files: bytes = b""


class Series(Struct, frozen=True, array_like=True):
    """Groups with any cell, in order of ``key``; ``total`` is None if it is not known, or there is no part.

    ``pending`` are the starts of days whose larger windows are yet to be derived.
    """

    parts: list[Part]
    total: int | None
    pending: list[int]


@dataclass(frozen=True, slots=True)
class Question:
    """``covered`` are disjoint; ``counted`` is the span of the total, and ``span`` of all parts."""

    project_id: int
    metric_type: MetricType
    group_by: GroupBy
    covered: Sequence[tuple[Grain, Window]]
    span: Window
    counted: Window


def count(session: Session, asked: Question) -> Series:
    """Two statements, however much there is; by hours one, which are never behind."""
    # Before the cells: a day that is derived in between is told as pending once too often, not too seldom.
    pending = [] if asked.group_by == "hour" else _pending(session, asked)
    rows = session.execute(_cells(asked)).all()
    total, groups = _Amount(asked), dict[int, _Amount]()
    for row in rows:
        groups.setdefault(row.key, _Amount(asked)).add(row)
        if asked.group_by != "hour" or asked.counted.start_ms <= row.key < asked.counted.end_ms:
            total.add(row)
    keeps_files = asked.group_by == "person" and asked.metric_type == _FILES_CHANGED
    return Series(
        parts=[
            Part(
                key,
                group.known(),
                sorted(group.people - {NOBODY}) if asked.group_by == "hour" else [],
                group.files.serialize() if keeps_files else b"",
            )
            for key, group in sorted(groups.items())
        ],
        total=total.known() if rows else None,
        pending=pending,
    )


def _cells(asked: Question) -> Select[int, int, int, bytes]:
    """Rows (key, person_id, amount, files); whatever need not be told apart is added up by the database.

    Where several people's are one, ``person_id`` is the largest: NOBODY only if none is a person's.
    """
    key = (Cell.person_id if asked.group_by == "person" else Cell.start).label("key")
    within = or_(*(sums.within(grain, span) for grain, span in asked.covered))
    which = (Cell.project_id == asked.project_id, within)
    if asked.metric_type == _FILES_CHANGED:
        return select(key, Cell.person_id, literal(0).label("amount"), Cell.files).where(*which)
    amount = func.sum(_ADDED[asked.metric_type]).label("amount")
    people = (Cell.person_id,) if asked.group_by == "hour" else ()
    found = select(key, func.max(Cell.person_id).label("person_id"), amount, literal(b"").label("files"))
    return found.where(*which).group_by(key, *people)


def _pending(session: Session, asked: Question) -> list[int]:
    days = select(Mark.day).where(
        Mark.project_id == asked.project_id, Mark.day >= asked.span.start_ms, Mark.day < asked.span.end_ms
    )
    return list(session.scalars(days.order_by(Mark.day)))


@dataclass(slots=True)
class _Amount:
    """Cells together: either what adds up, or files."""

    asked: Question
    added: int = 0
    files: BitMap = field(default_factory=BitMap)
    people: set[int] = field(default_factory=set)

    def add(self, row: Any) -> None:
        self.added += int(row.amount)  # PostgreSQL's sums are decimals
        if row.files:
            self.files |= BitMap.deserialize(row.files)
        self.people.add(row.person_id)

    def known(self) -> int | None:
        if self.asked.metric_type == _FILES_CHANGED:
            return len(self.files)
        is_unknown = self.asked.metric_type == ACTIVE_TIME and self.people == {NOBODY}
        return None if is_unknown else self.added
