"""The last days of all projects the viewer may see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from devflow import windows
from devflow.access import Action, visible
from devflow.activity import periods, sums
from devflow.activity.sums import Numbers, Part
from devflow.models import Cell, Person, Project
from devflow.windows import Grain, Window

TREND_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Day:
    date: date
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A project on the overview: its last ``TREND_DAYS`` days together, and one by one.

    ``last_active`` may lie before them; None is a project without events.
    """

    project: Project
    numbers: Numbers
    days: list[Day]
    last_active: date | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The projects the viewer may see, and all of them together; ``trend`` is of the last ``TREND_DAYS``."""

    today: Numbers
    week: Numbers
    week_before: Numbers
    trend: Numbers
    days: list[Day]
    projects: list[ProjectRow]
    is_fresh: bool


def overview(session: Session, person: Person, now_ms: int, zone: ZoneInfo) -> Overview:
    """Five statements, however many projects there are."""
    projects = session.scalars(visible(person, Action.VIEW_PROJECT, Project).order_by(Project.name)).all()
    today = windows.day_of(now_ms, zone)
    days = _days_until(today, TREND_DAYS)
    week = windows.window(Grain.WEEK, now_ms, zone)
    week_before = windows.window(Grain.WEEK, week.start_ms - 1, zone)
    cells = sums.cells(session, projects, Grain.DAY, periods.window_of(days, zone))
    weeks = sums.cells(session, projects, Grain.WEEK, Window(week_before.start_ms, week.end_ms))
    by_project: dict[int, list[Part]] = {project.id: [] for project in projects}
    for cell in cells:
        by_project[cell.project_id].append(cell)
    today_ms = windows.day_window(today, zone).start_ms
    last_active = _last_active(session, projects)
    return Overview(
        today=sums.united(cell for cell in cells if cell.start == today_ms),
        week=sums.united(cell for cell in weeks if cell.start == week.start_ms),
        week_before=sums.united(cell for cell in weeks if cell.start == week_before.start_ms),
        trend=sums.united(cells),
        days=_by_day(cells, days, zone),
        projects=[
            _row(project, by_project[project.id], days, last_active.get(project.id), zone)
            for project in projects
        ],
        is_fresh=sums.is_fresh(session, projects),
    )


def _last_active(session: Session, projects: Sequence[Project]) -> dict[int, int | None]:
    """The start of each project's last day with an event: a look at the end of an index for each."""
    last = (
        select(func.max(Cell.start))
        .where(Cell.project_id == Project.id, Cell.grain == Grain.DAY)
        .correlate(Project)
        .scalar_subquery()
    )
    shown = Project.id.in_([project.id for project in projects])
    rows = session.execute(select(Project.id.label("project_id"), last.label("day")).where(shown))
    return {row.project_id: row.day for row in rows}


def _row(
    project: Project, cells: Sequence[Part], days: Sequence[date], last_active: int | None, zone: ZoneInfo
) -> ProjectRow:
    return ProjectRow(
        project=project,
        numbers=sums.united(cells),
        days=_by_day(cells, days, zone),
        last_active=None if last_active is None else windows.day_of(last_active, zone),
    )


def _by_day(cells: Iterable[Part], days: Sequence[date], zone: ZoneInfo) -> list[Day]:
    """One entry for every one of the days, also where nothing happened."""
    numbers = periods.by_span(cells, [(day, day) for day in days], zone)
    return [Day(*pair) for pair in zip(days, numbers, strict=True)]


def _days_until(last: date, count: int) -> list[date]:
    return [last - timedelta(days=back) for back in reversed(range(count))]
