"""When slices are derived: apart from uploads, some days at a time, from one view of the database.

They are read from events, which takes longer than anything an upload may wait for. So nothing is
held meanwhile: what was counted is stored if its marks still stand, and a day that changed has a
new mark, by which it is counted again.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from devflow import db, windows
from devflow.db import Database, Lock
from devflow.models import Cell, Mark, SliceMark
from devflow.rollups import slices
from devflow.rollups.calendars import in_force
from devflow.rollups.cells import move_generations
from devflow.rollups.slices import Slices
from devflow.rollups.tallies import Calendar
from devflow.windows import Grain, Window

EVENTS_AT_ONCE: Final = 10_000
"""About as many are read for one transaction; a single day of more is read as a whole."""
_DAYS_AT_ONCE: Final = 31


class Piece(NamedTuple):
    """Days of one project that are derived together, by their starts."""

    project_id: int
    days: list[int]


@dataclass(frozen=True, slots=True)
class _Counted:
    project_id: int
    calendar: Calendar
    marks: dict[int, int]  # by day
    days: list[Window]
    slices: Slices


class Slicer:
    """Derives the slices of marked days in rounds: in each those that were marked as it began.

    So a day that is marked again and again keeps no other one waiting.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._left: deque[Piece] = deque()

    def go_on(self, for_s: float = math.inf) -> int:
        """Go on with the round, or begin one, until it ends or time is up; return of how many days."""
        deadline = time.monotonic() + for_s
        if not self._left:
            with self._database.reading() as session:
                self._left.extend(_marked(session))
        done = 0
        while self._left and time.monotonic() < deadline:
            done += self._derive(self._left.popleft())
        return done

    def _derive(self, piece: Piece) -> int:
        with self._database.reading() as session:
            counted = _count(session, piece)
        return self._database.transact(lambda writing: _store(writing, counted)) if counted else 0


def mark(session: Session, project_id: int, days: Iterable[int]) -> None:
    """Have these days derived again. The caller holds ``Lock.LARGER_WINDOWS``, and commits."""
    listed = list(days)
    session.execute(delete(SliceMark).where(SliceMark.project_id == project_id, SliceMark.day.in_(listed)))
    session.execute(insert(SliceMark), [{"project_id": project_id, "day": day} for day in listed])


def mark_all(session: Session) -> None:
    """Have all days derived again, those of the calendar in force. Nobody else derives meanwhile."""
    session.execute(delete(SliceMark))
    days = select(Cell.project_id, Cell.start).distinct().where(Cell.grain == Grain.DAY)
    session.execute(insert(SliceMark).from_select(["project_id", "day"], days))


def pieces(days: Iterable[tuple[int, int, int]]) -> Iterator[Piece]:
    """Days, as (project, start, events) in order, in parts that are soon derived."""
    piece, total = Piece(0, []), 0
    for project_id, day, events in days:
        total += events
        if project_id != piece.project_id or total > EVENTS_AT_ONCE or len(piece.days) == _DAYS_AT_ONCE:
            if piece.days:
                yield piece
            piece, total = Piece(project_id, []), events
        piece.days.append(day)
    if piece.days:
        yield piece


def _marked(session: Session) -> list[Piece]:
    cells = (
        (Cell.project_id == SliceMark.project_id) & (Cell.grain == Grain.DAY) & (Cell.start == SliceMark.day)
    )
    days = (
        select(SliceMark.project_id, SliceMark.day, func.coalesce(func.sum(Cell.events), 0))
        .outerjoin(Cell, cells)
        .group_by(SliceMark.project_id, SliceMark.day)
        .order_by(SliceMark.project_id, SliceMark.day)
    )
    return list(pieces((project_id, day, int(events)) for project_id, day, events in session.execute(days)))


def _count(session: Session, piece: Piece) -> _Counted | None:
    """None if there is nothing to be derived from this view."""
    its = SliceMark.project_id == piece.project_id
    rows = session.execute(select(SliceMark.day, SliceMark.id).where(its, SliceMark.day.in_(piece.days)))
    marks: dict[int, int] = {row.day: row.id for row in rows}
    calendar = in_force(session)
    days = slices.reached([windows.window(Grain.DAY, day, calendar.zone) for day in marks], calendar)
    behind = set(
        session.scalars(
            select(Mark.day).where(
                Mark.project_id == piece.project_id, Mark.day.in_([day.start_ms for day in days])
            )
        )
    )
    # What is not told apart any more is what cells have more: of cells that are behind nothing follows.
    kept = slices.incomplete(session, days, calendar) & behind
    days = [day for day in days if day.start_ms not in kept]
    marks = {day: number for day, number in marks.items() if day not in kept}
    if not marks:
        return None
    counted = slices.count(session, piece.project_id, days, calendar)
    return _Counted(piece.project_id, calendar, marks, days, counted)


def _store(session: Session, counted: _Counted) -> int:
    db.lock(session, Lock.RETENTION, shared=True)
    db.lock(session, Lock.LARGER_WINDOWS, [counted.project_id])
    its = SliceMark.project_id == counted.project_id
    marked = session.scalars(select(SliceMark.day).where(its, SliceMark.day.in_(counted.marks)))
    if set(marked) != set(counted.marks) or in_force(session) != counted.calendar:
        return 0  # another process has derived some of them, perhaps from a later view
    slices.replace(session, counted.project_id, counted.slices, counted.days)
    # Those that came meanwhile stay.
    session.execute(delete(SliceMark).where(SliceMark.id.in_(counted.marks.values())))
    move_generations(session, [counted.project_id])
    return len(counted.marks)
