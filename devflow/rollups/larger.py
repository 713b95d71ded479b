"""Days, weeks and months, derived from hour cells where a mark was left; and slices of the days."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from devflow import windows
from devflow.db import Lock, lock, ranges
from devflow.models import Cell, Mark
from devflow.rollups import slices
from devflow.rollups.cells import insert_cells, move_generations
from devflow.rollups.tallies import Calendar, Tally
from devflow.windows import Grain, Window


def refresh(session: Session, calendar: Calendar, limit: int = 100) -> int:
    """Derive up to ``limit`` marked days of one project, their weeks and months; return how many days.

    The project with the oldest mark comes first. The caller commits, and calls again until 0.
    """
    project_id = session.scalar(select(Mark.project_id).order_by(Mark.day).limit(1))
    if project_id is None:
        return 0
    # Slices are counted from events: none of those that ``events_since`` promises goes meanwhile.
    lock(session, Lock.RETENTION, shared=True)
    lock(session, Lock.LARGER_WINDOWS, [project_id])
    marked = select(Mark.day).where(Mark.project_id == project_id).order_by(Mark.day)
    days = session.scalars(marked.limit(limit).with_for_update()).all()
    if not days:  # another refresher held the lock, and has derived them
        return 0
    # An upload that touches one of these days from here on waits for us, and marks it anew; one
    # that touched it before had to commit first, and what it counted is read below.
    session.execute(delete(Mark).where(Mark.project_id == project_id, Mark.day.in_(days)))
    spans = [windows.window(Grain.DAY, day, calendar.zone) for day in days]
    _derive(session, project_id, Grain.DAY, spans, Grain.HOUR)
    slices.derive(session, project_id, spans, calendar)
    for grain in (Grain.WEEK, Grain.MONTH):
        larger = sorted({windows.window(grain, day, calendar.zone) for day in days})
        _derive(session, project_id, grain, larger, Grain.DAY)
    move_generations(session, [project_id])
    return len(days)


def _derive(session: Session, project_id: int, grain: Grain, spans: Sequence[Window], smaller: Grain) -> None:
    """Replace the project's cells of the windows by the union of the smaller cells in them."""
    inside = ranges([(span.start_ms, span.end_ms) for span in spans])
    rows = session.execute(
        select(Cell.__table__, inside.c.low.label("window_start"))
        .join(inside, (Cell.start >= inside.c.low) & (Cell.start < inside.c.high))
        .where(Cell.project_id == project_id, Cell.grain == smaller)
    )
    tallies: dict[tuple[int, int, int], Tally] = {}
    for row in rows:
        tallies.setdefault((project_id, row.window_start, row.person_id), Tally()).add(Tally.of(row))
    session.execute(
        delete(Cell).where(
            Cell.project_id == project_id,
            Cell.grain == grain,
            Cell.start.in_([span.start_ms for span in spans]),
        )
    )
    insert_cells(session, grain, tallies)
