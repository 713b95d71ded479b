"""One number of one project over a range, as counted: of everybody, for nobody in particular.

Nothing here depends on who asks, so that it can be kept and shared. Only the columns needed are
read; file sets, which do not add up, are united here, all else by the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Struct
from pyroaring import BitMap
from sqlalchemy import func, literal, null, select, union_all
from sqlalchemy.orm import Session

from devflow.activity import sums
from devflow.metrics import numbers, ranges
from devflow.metrics.answers import GroupBy, MetricType
from devflow.models import Cell, Mark, Slice, SliceMark
from devflow.rollups import NOBODY
from devflow.rollups.slices import Dimension
from devflow.windows import Grain, Window

ACTIVE_TIME: Final = "active_time"
_FILES_CHANGED: Final = "files_changed"
SLICED: Final = frozenset(Dimension)
"""Groups that are slices of days."""
# Columns of cells and of slices.
_ADDED: Final[dict[str, str]] = {
    "events_count": "events",
    ACTIVE_TIME: "active_ms",
    "commits": "commits",
    "insertions": "insertions",
    "deletions": "deletions",
}


class Part(Struct, frozen=True, array_like=True):
    """A group and its amount, of ``active_time`` in milliseconds; None for time that nobody knows.

    ``key`` is the window's start, the person's id, or the value of a slice. ``people`` is for hours and
    slices alone, ``files`` (a roaring bitmap) for the files of people and of slices.
    """

    key: int
    amount: int | None
    people: list[int] = []
    files: bytes = b""


class Series(Struct, frozen=True, array_like=True):
    """Groups with anything in them, in order of ``key``; ``total`` is None if not known, or of no part.

    ``pending`` are the starts of days whose larger windows, or slices, are yet to be derived.
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

    def counts_from(self, start_ms: int) -> bool:
        """Whether the window that starts then is in the total."""
        return self.group_by not in ranges.BY_TIME or self.counted.start_ms <= start_ms < self.counted.end_ms


def count(session: Session, asked: Question) -> Series:
    """Two statements, however much there is, by slices four; by hours one, which are never behind."""
    # Before the cells: a day that is derived in between is told as pending once too often, not too seldom.
    pending = [] if asked.group_by == "hour" else _pending(session, asked)
    cells = _groups(session, asked, _cells(asked))
    groups = _groups(session, asked, _slices(asked)) if asked.group_by in SLICED else cells
    # Of the cells: by language an event can be in several slices.
    counted = (group for key, group in cells.items() if asked.counts_from(key))
    return Series(
        parts=[group.part(key) for key, group in sorted(groups.items())],
        total=_Amount(asked).joined(counted).known() if cells else None,
        pending=pending,
    )


def _groups(session: Session, asked: Question, rows: Any) -> dict[int, _Amount]:
    groups: dict[int, _Amount] = {}
    for key, person_id, amount, files in session.execute(rows):
        # PostgreSQL's sums are decimals.
        groups.setdefault(key, _Amount(asked)).add(person_id, int(amount), files)
    return groups


def _pending(session: Session, asked: Question) -> list[int]:
    """The starts of days whose larger windows, or slices, are yet to be derived."""
    days = numbers.pending(session, Mark.project_id == asked.project_id, asked.span)
    if asked.group_by not in SLICED:
        return days
    which = (
        SliceMark.project_id == asked.project_id,
        SliceMark.day >= asked.span.start_ms,
        SliceMark.day < asked.span.end_ms,
    )
    return sorted({*days, *session.scalars(select(SliceMark.day).where(*which))})


def _slices(asked: Question) -> Any:
    """Rows as of ``_cells``, by value, each person's apart."""
    key, person_id = Slice.value.label("key"), Slice.person_id.label("person_id")
    which = (
        Slice.project_id == asked.project_id,
        Slice.dimension == asked.group_by,
        Slice.day >= asked.span.start_ms,
        Slice.day < asked.span.end_ms,
    )
    if asked.metric_type == _FILES_CHANGED:
        return select(key, person_id, literal(0), Slice.files).where(*which)
    amount = func.sum(getattr(Slice, _ADDED[asked.metric_type]))
    return select(key, person_id, amount, null()).where(*which).group_by(key, person_id)


def _cells(asked: Question) -> Any:
    """Rows (key, person_id, amount, files); what need not be told apart is added up by the database.

    Where several people's are one, ``person_id`` is the largest: NOBODY only if none is a person's.
    """
    # A SELECT for each grain, as in ``sums.read``.
    selects = [_of_grain(asked, grain, span) for grain, span in asked.covered]
    return selects[0] if len(selects) == 1 else union_all(*selects)


def _of_grain(asked: Question, grain: Grain, span: Window) -> Any:
    key = Cell.start if asked.group_by in ranges.BY_TIME else Cell.person_id
    which = (Cell.project_id == asked.project_id, sums.within(grain, span))
    if asked.metric_type == _FILES_CHANGED:
        return select(key.label("key"), Cell.person_id.label("person_id"), literal(0), Cell.files).where(
            *which
        )
    people = (Cell.person_id,) if asked.group_by == "hour" else ()
    amount = func.sum(getattr(Cell, _ADDED[asked.metric_type]))
    found = select(key.label("key"), func.max(Cell.person_id).label("person_id"), amount, null())
    return found.where(*which).group_by(key, *people)


@dataclass(slots=True)
class _Amount:
    """Cells together: either what adds up, or files."""

    asked: Question
    added: int = 0
    files: list[BitMap] = field(default_factory=list)
    people: set[int] = field(default_factory=set)

    def add(self, person_id: int, amount: int, files: bytes | None) -> None:
        self.people.add(person_id)
        self.added += amount
        if files:
            self.files.append(BitMap.deserialize(files))

    def joined(self, others: Iterable[_Amount]) -> _Amount:
        for other in others:
            self.people |= other.people
            self.added += other.added
            self.files.append(other.united())
        return self

    def united(self) -> BitMap:
        """The files, each once."""
        if len(self.files) != 1:
            self.files = [BitMap.union(*self.files) if self.files else BitMap()]
        return self.files[0]

    def known(self) -> int | None:
        if self.asked.metric_type == _FILES_CHANGED:
            return len(self.united())
        is_unknown = self.asked.metric_type == ACTIVE_TIME and self.people == {NOBODY}
        return None if is_unknown else self.added

    def part(self, key: int) -> Part:
        group_by = self.asked.group_by
        keeps_files = group_by not in ranges.BY_TIME and self.asked.metric_type == _FILES_CHANGED
        return Part(
            key,
            self.known(),
            sorted(self.people - {NOBODY}) if group_by == "hour" or group_by in SLICED else [],
            self.united().serialize() if keeps_files else b"",
        )
