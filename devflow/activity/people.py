"""One person over a range of days, as far as the one who looks may see it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, func, or_, select, true
from sqlalchemy.orm import Session

from devflow import windows
from devflow.access import Action, visible
from devflow.activity import periods, sums
from devflow.activity.periods import Step
from devflow.activity.sums import Numbers, Part
from devflow.errors import Invalid
from devflow.models import Cell, Mark, Person, Project, Slice, SliceMark
from devflow.rollups import TYPE_NUMBER, Tally
from devflow.rollups.slices import NOT_KEPT, Dimension
from devflow.windows import Grain, Window
from devflow.wire import EventType

_LONGEST_DAY_MS = 2 * 24 * windows.HOUR_MS
"""Where a zone moved across the date line, a date came twice."""


@dataclass(frozen=True, slots=True)
class PersonPeriod:
    """One bar: its days, both included, and what the person did in them."""

    first: date
    last: date
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class ProjectPart:
    """The person's part of a project; ``may_open`` tells whether the viewer may see its page."""

    project: Project
    may_open: bool
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class PersonActivity:
    """One person over a range, in ``periods`` of one ``step``: what lies in projects open to the viewer.

    All periods are whole: ``first`` to ``last`` can be wider than what was asked for. ``first_day``
    and ``last_day`` are of the whole history in these projects, None while there is none.
    ``projects`` are those with something in the range; ``choices`` are all that can be asked for.
    Of one type of events, ``not_kept`` are events of the range that were deleted untold of which type.
    """

    step: Step
    first: date
    last: date
    total: Numbers
    periods: list[PersonPeriod]
    projects: list[ProjectPart]
    choices: list[Project]
    first_day: date | None
    last_day: date | None
    not_kept: int
    is_fresh: bool


def person(
    session: Session,
    subject: Person,
    viewer: Person,
    first: date | None,
    last: date,
    zone: ZoneInfo,
    *,
    project_id: UUID | None = None,
    kind: EventType | None = None,
) -> PersonActivity:
    """Three statements, however long the range and however many the projects; of one ``kind`` four.

    Others get what lies in the projects that they may see; the person gets all of it. Whether the
    viewer may see the person at all is asked before. Without ``first`` it begins with the first day.
    Raise Invalid for a project that is none of these.
    """
    choices = session.execute(_shared(subject, viewer)).all()
    shared = [row for row in choices if project_id in (None, row.Project.public_id)]
    if project_id is not None and not shared:
        raise Invalid(f"expected project as one with work that you see here, got {project_id}")
    first_day = min((windows.day_of(row.low, zone) for row in shared), default=None)
    last_day = max((windows.day_of(row.high, zone) for row in shared), default=None)
    if first is None:
        first = last if first_day is None else min(first_day, last)
    step = periods.step_for(first, last)
    spans = periods.spans_of(step, first, last)
    window = periods.window_of([spans[0][0], spans[-1][1]], zone)
    projects = [row.Project for row in shared]
    cells = parts_of(session, subject, projects, periods.GRAIN[step], window, kind)
    return PersonActivity(
        step=step,
        first=spans[0][0],
        last=spans[-1][1],
        total=sums.united(cells),
        periods=[
            PersonPeriod(*span, numbers)
            for span, numbers in zip(spans, periods.by_span(cells, spans, zone, sums.united), strict=True)
        ],
        projects=list(_parts(shared, cells)),
        choices=[row.Project for row in choices],
        first_day=first_day,
        last_day=last_day,
        not_kept=0 if kind is None else _not_kept(session, subject, projects, window),
        is_fresh=_is_fresh(session, subject, viewer, kind),
    )


def parts_of(
    session: Session,
    subject: Person,
    projects: Sequence[Project],
    grain: Grain,
    window: Window,
    kind: EventType | None,
) -> list[Part]:
    """The person's work in the window: cells of the grain, or days of one type of events."""
    if kind is None:
        return sums.cells(session, projects, grain, window, person_id=subject.id)
    rows = session.execute(
        select(Slice.__table__).where(*_sliced(subject, projects, window), Slice.value == TYPE_NUMBER[kind])
    )
    return [Part(row.project_id, row.day, row.person_id, Tally.of(row), Grain.DAY) for row in rows]


def _not_kept(session: Session, subject: Person, projects: Sequence[Project], window: Window) -> int:
    gone = select(func.sum(Slice.events)).where(*_sliced(subject, projects, window), Slice.value == NOT_KEPT)
    return int(session.scalar(gone) or 0)


def _sliced(subject: Person, projects: Sequence[Project], window: Window) -> list[ColumnElement[bool]]:
    return [
        Slice.project_id.in_([project.id for project in projects]),
        Slice.dimension == Dimension.TYPE,
        Slice.day >= window.start_ms,
        Slice.day < window.end_ms,
        Slice.person_id == subject.id,
    ]


def _shared(subject: Person, viewer: Person) -> Select[Project, bool, int, int]:
    """The projects with work of the subject that the viewer is shown, by name, and from when to when."""
    return (
        select(
            Project,
            _may_open(Project.id, viewer).label("may_open"),
            func.min(Cell.start).label("low"),
            func.max(Cell.start).label("high"),
        )
        .join(Cell, Cell.project_id == Project.id)
        .where(Cell.person_id == subject.id, Cell.grain == Grain.DAY, _is_shown(Project.id, subject, viewer))
        .group_by(Project.id)
        .order_by(Project.name)
    )


def _is_shown(project_id: Any, subject: Person, viewer: Person) -> ColumnElement[bool]:
    """Whether the subject's part of the project is for the viewer; the own part is, wherever it lies."""
    return true() if subject.id == viewer.id else _may_open(project_id, viewer)


def _may_open(project_id: Any, viewer: Person) -> ColumnElement[bool]:
    found: ColumnElement[bool] = project_id.in_(
        visible(viewer, Action.VIEW_PROJECT, Project).with_only_columns(Project.id)
    )
    return found


def _parts(shared: Sequence[Any], cells: Sequence[Part]) -> Iterator[ProjectPart]:
    by_project: dict[int, list[Part]] = {}
    for cell in cells:
        by_project.setdefault(cell.project_id, []).append(cell)
    for row in shared:
        if row.Project.id in by_project:
            yield ProjectPart(row.Project, bool(row.may_open), sums.united(by_project[row.Project.id]))


def _is_fresh(session: Session, subject: Person, viewer: Person, kind: EventType | None) -> bool:
    """Whether the numbers hold all that is known: no day of the subject's work is to be counted anew."""
    marks: tuple[Any, ...] = (Mark,) if kind is None else (Mark, SliceMark)
    touched = [
        select(mark)
        .where(_has_worked_at(mark, subject), _is_shown(mark.project_id, subject, viewer))
        .exists()
        for mark in marks
    ]
    return not session.scalar(select(or_(*touched)))


def _has_worked_at(mark: Any, subject: Person) -> ColumnElement[bool]:
    """Looked up for each mark, of which there are few: of an EXISTS PostgreSQL may make a join, and begin it
    with all that the person ever did."""
    work = select(Cell.start).where(
        Cell.project_id == mark.project_id,
        Cell.person_id == subject.id,
        Cell.grain.in_([Grain.HOUR, Grain.DAY]),
        Cell.start >= mark.day,
        Cell.start < mark.day + _LONGEST_DAY_MS,
    )
    return work.correlate(mark).limit(1).scalar_subquery().is_not(None)
