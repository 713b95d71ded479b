"""Days, weeks and months, derived from hour cells where a mark was left."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from devflow import windows
from devflow.db import Lock, lock, ranges
from devflow.models import Cell, Mark, NextCalendar
from devflow.rollups import slicing
from devflow.rollups.calendars import in_force
from devflow.rollups.cells import Cells, insert_cells, move_generations, note_days
from devflow.rollups.tallies import Tally
from devflow.windows import Grain, Window


def refresh(session: Session, limit: int = 500) -> int:
    """Derive days, weeks and months of up to ``limit`` marked days of one project; return how many.

    The project with the oldest mark comes first. The caller commits, and calls again until 0.
    """
    project_id = session.scalar(select(Mark.project_id).order_by(Mark.day).limit(1))
    if project_id is None:
        return 0
    lock(session, Lock.RETENTION, shared=True)  # no other calendar comes into force
    lock(session, Lock.LARGER_WINDOWS, [project_id])
    zone = in_force(session).zone
    marked = select(Mark.day).where(Mark.project_id == project_id).order_by(Mark.day)
    days = session.scalars(marked.limit(limit).with_for_update()).all()
    if not days:  # another refresher held the lock, and has derived them
        return 0
    # An upload that touches one of these days from here on waits for us, and marks it anew; one
    # that touched it before had to commit first, and what it counted is read below.
    session.execute(delete(Mark).where(Mark.project_id == project_id, Mark.day.in_(days)))
    for grain in (Grain.DAY, Grain.WEEK, Grain.MONTH):
        derive(session, project_id, grain, sorted({windows.window(grain, day, zone) for day in days}))
    slicing.mark(session, project_id, days)
    if session.scalar(select(NextCalendar.id)) is not None:
        note_days(session, project_id, days)
    move_generations(session, [project_id])
    return len(days)


def derive(
    session: Session, project_id: int, grain: Grain, spans: Sequence[Window], cells: Cells = Cell
) -> None:
    """Replace the project's cells of the windows by the union of smaller ones: of hours, or days."""
    smaller = Grain.HOUR if grain == Grain.DAY else Grain.DAY
    inside = ranges([(span.start_ms, span.end_ms) for span in spans])
    rows = session.execute(
        select(cells.__table__, inside.c.low.label("window_start"))
        .join(inside, (cells.start >= inside.c.low) & (cells.start < inside.c.high))
        .where(cells.project_id == project_id, cells.grain == smaller)
    )
    tallies: dict[tuple[int, int, int], Tally] = {}
    for row in rows:
        tallies.setdefault((project_id, row.window_start, row.person_id), Tally()).add(Tally.of(row))
    session.execute(
        delete(cells).where(
            cells.project_id == project_id,
            cells.grain == grain,
            cells.start.in_([span.start_ms for span in spans]),
        )
    )
    insert_cells(session, grain, tallies, cells)
