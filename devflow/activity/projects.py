"""One project over a range of days, one person's part of it, and the parts of all others."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import windows
from devflow.activity import periods, shared, sums
from devflow.activity.periods import Step
from devflow.activity.sums import Numbers, Part
from devflow.models import Cell, Project, Slice
from devflow.rollups import TYPE_NUMBER, Tally
from devflow.rollups.slices import Dimension
from devflow.windows import Grain, Window
from devflow.wire import EventType


@dataclass(frozen=True, slots=True)
class Period:
    """One bar: its days, both included, what all did, and the chosen person's part of it.

    Of what is not told, being one kind of event and too few people's, ``numbers`` are of nothing.
    """

    first: date
    last: date
    numbers: Numbers
    own: Numbers
    is_told: bool


@dataclass(frozen=True, slots=True)
class ProjectActivity:
    """One project over a range, in ``periods`` of one ``step``; ``own`` is one person's part of ``total``.

    All periods are whole: ``first`` to ``last`` can be wider than what was asked for. ``first_day``
    and ``last_day`` are of the project's whole history, None while it has none. ``total`` is told or
    not as a period is; ``people`` has everybody's part by id, also ``NOBODY``'s.
    """

    step: Step
    first: date
    last: date
    total: Numbers
    own: Numbers
    is_told: bool
    periods: list[Period]
    people: dict[int, Numbers]
    parts: list[Part] = field(repr=False)
    first_day: date | None
    last_day: date | None
    is_fresh: bool


def project(
    session: Session,
    found: Project,
    chosen: int | None,
    first: date | None,
    last: date,
    zone: ZoneInfo,
    kind: EventType | None = None,
) -> ProjectActivity:
    """Three statements, however long the range; ``chosen`` is a person's id.

    Without ``first`` it begins with the project's first day. Of one ``kind`` of event alone it is told where
    nobody can learn by it what another person did (``shared.FEWEST``).
    """
    days = reach(session, found, zone)
    if first is None:
        first = last if days is None else min(days[0], last)
    step = periods.step_for(first, last)
    spans = periods.spans_of(step, first, last)
    window = periods.window_of([spans[0][0], spans[-1][1]], zone)
    if kind is None:
        cells = sums.cells(session, [found], periods.GRAIN[step], window)
    else:
        cells = _of_kind(session, found, kind, window)
    own = [cell for cell in cells if cell.person_id == chosen]
    are_told = _are_all_told if kind is None else _are_told
    return ProjectActivity(
        step=step,
        first=spans[0][0],
        last=spans[-1][1],
        total=sums.united(cells if are_told(cells) else []),
        own=sums.united(own),
        is_told=are_told(cells),
        periods=[
            Period(
                *span, sums.united(parts if are_told(parts) else []), sums.united(own_parts), are_told(parts)
            )
            for span, parts, own_parts in zip(
                spans,
                periods.by_span(cells, spans, zone, list),
                periods.by_span(own, spans, zone, list),
                strict=True,
            )
        ],
        people=_by_person(cells),
        parts=cells,
        first_day=None if days is None else days[0],
        last_day=None if days is None else days[1],
        is_fresh=sums.is_fresh(session, [found]),
    )


def _are_all_told(_parts: list[Part]) -> bool:
    return True


def _are_told(parts: list[Part]) -> bool:
    return not shared.are_too_few(part.person_id for part in parts)


def _by_person(cells: list[Part]) -> dict[int, Numbers]:
    found: dict[int, list[Part]] = {}
    for cell in cells:
        found.setdefault(cell.person_id, []).append(cell)
    return {person_id: sums.united(parts) for person_id, parts in found.items()}


def _of_kind(session: Session, found: Project, kind: EventType, window: Window) -> list[Part]:
    """What a day's slice has of each person, in the form of cells."""
    rows = session.execute(
        select(Slice.__table__).where(
            Slice.project_id == found.id,
            Slice.dimension == Dimension.TYPE,
            Slice.day >= window.start_ms,
            Slice.day < window.end_ms,
            Slice.value == TYPE_NUMBER[kind],
        )
    )
    return [Part(row.project_id, row.day, row.person_id, Tally.of(row), Grain.DAY) for row in rows]


def reach(session: Session, found: Project, zone: ZoneInfo) -> tuple[date, date] | None:
    """The first and the last day with an event."""
    day = select(Cell.start).where(Cell.project_id == found.id, Cell.grain == Grain.DAY)
    # Either end by itself is at hand in the index; both at once would have SQLite read all between them.
    ends = (day.order_by(order).limit(1).scalar_subquery() for order in (Cell.start, Cell.start.desc()))
    low, high = session.execute(select(*ends)).one()
    return None if low is None else (windows.day_of(low, zone), windows.day_of(high, zone))
