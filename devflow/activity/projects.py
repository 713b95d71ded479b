"""One project over a range of days, and the viewer's part of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from devflow import windows
from devflow.activity import periods, sums
from devflow.activity.periods import Step
from devflow.activity.sums import Numbers
from devflow.models import Cell, Person, Project
from devflow.windows import Grain


@dataclass(frozen=True, slots=True)
class Period:
    """One bar: its days, both included, what all did, and the viewer's part of it."""

    first: date
    last: date
    numbers: Numbers
    own: Numbers


@dataclass(frozen=True, slots=True)
class ProjectActivity:
    """One project over a range, in ``periods`` of one ``step``; ``own`` is the viewer's part of ``total``.

    All periods are whole: ``first`` to ``last`` can be wider than what was asked for. ``first_day``
    and ``last_day`` are of the project's whole history, None while it has none.
    """

    step: Step
    first: date
    last: date
    total: Numbers
    own: Numbers
    periods: list[Period]
    first_day: date | None
    last_day: date | None
    is_fresh: bool


def project(
    session: Session, found: Project, viewer: Person, first: date | None, last: date, zone: ZoneInfo
) -> ProjectActivity:
    """Three statements, however long the range. Without ``first`` it begins with the project's first day."""
    reach = _reach(session, found, zone)
    if first is None:
        first = last if reach is None else min(reach[0], last)
    step = periods.step_for(first, last)
    spans = periods.spans_of(step, first, last)
    cells = sums.cells(
        session, [found], periods.GRAIN[step], periods.window_of([spans[0][0], spans[-1][1]], zone)
    )
    own = [cell for cell in cells if cell.person_id == viewer.id]
    return ProjectActivity(
        step=step,
        first=spans[0][0],
        last=spans[-1][1],
        total=sums.united(cells),
        own=sums.united(own),
        periods=[
            Period(*span, numbers, own_numbers)
            for span, numbers, own_numbers in zip(
                spans,
                periods.by_span(cells, spans, zone, sums.united),
                periods.by_span(own, spans, zone, sums.united),
                strict=True,
            )
        ],
        first_day=None if reach is None else reach[0],
        last_day=None if reach is None else reach[1],
        is_fresh=sums.is_fresh(session, [found]),
    )


def _reach(session: Session, found: Project, zone: ZoneInfo) -> tuple[date, date] | None:
    """The first and the last day with an event."""
    low, high = session.execute(
        select(func.min(Cell.start), func.max(Cell.start)).where(
            Cell.project_id == found.id, Cell.grain == Grain.DAY
        )
    ).one()
    return None if low is None else (windows.day_of(low, zone), windows.day_of(high, zone))
