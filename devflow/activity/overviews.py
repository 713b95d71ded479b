"""The last days of some projects, each and together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from devflow import windows
from devflow.activity import periods, sums
from devflow.activity.sums import Count, Numbers, Part
from devflow.cache import Cache, Place, Server
from devflow.models import Cell, Project
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
    """Projects, and all of them together; ``trend`` is of the last ``TREND_DAYS``."""

    today: Numbers
    week: Numbers
    week_before: Numbers
    trend: Numbers
    days: list[Day]
    projects: list[ProjectRow]
    is_fresh: bool


class _Summary(Struct, frozen=True, array_like=True):
    """What the overview tells of a project, whoever looks; ``days`` are those of the trend, up to today."""

    days: list[Count]
    trend: Count
    week: Count
    week_before: Count
    last_active: int | None


_FORM: Final = 1
"""Of what is kept; a release that counts or writes summaries otherwise has another number."""


def overview(
    session: Session, projects: Sequence[Project], now_ms: int, cache: Cache, server: Server
) -> Overview:
    """Four statements, however many projects there are; one if none has changed since somebody looked."""
    zone = server.calendar.zone
    days = _days_until(windows.day_of(now_ms, zone), TREND_DAYS)
    summaries = cache.get_all(
        session,
        [_place(project, days, server) for project in projects],
        _Summary,
        lambda missing: _count(session, [projects[index] for index in missing], days, zone),
    )
    # A file is of one project, so theirs add up.
    by_day = [sums.added(each.days[index] for each in summaries) for index in range(len(days))]
    return Overview(
        today=by_day[-1],
        week=sums.added(each.week for each in summaries),
        week_before=sums.added(each.week_before for each in summaries),
        trend=sums.added(each.trend for each in summaries),
        days=_dated(days, by_day),
        projects=[
            ProjectRow(
                project=project,
                numbers=summary.trend.numbers(),
                days=_dated(days, [day.numbers() for day in summary.days]),
                last_active=None
                if summary.last_active is None
                else windows.day_of(summary.last_active, zone),
            )
            for project, summary in zip(projects, summaries, strict=True)
        ],
        is_fresh=sums.is_fresh(session, projects),
    )


def _place(project: Project, days: Sequence[date], server: Server) -> Place:
    question = f"project:{project.public_id}:overview:{days[0]}..{days[-1]}:{server}:form:{_FORM}"
    return Place(question, project.id, project.generation, costly=False)


def _count(
    session: Session, projects: Sequence[Project], days: Sequence[date], zone: ZoneInfo
) -> list[_Summary]:
    week = windows.window(Grain.WEEK, windows.day_window(days[-1], zone).start_ms, zone)
    week_before = windows.window(Grain.WEEK, week.start_ms - 1, zone)
    in_days = _by_project(sums.cells(session, projects, Grain.DAY, periods.window_of(days, zone)))
    in_weeks = _by_project(
        sums.cells(session, projects, Grain.WEEK, Window(week_before.start_ms, week.end_ms))
    )
    last_active = _last_active(session, projects)

    def of_week(project: Project, start_ms: int) -> Count:
        return sums.counted(cell for cell in in_weeks.get(project.id, ()) if cell.start == start_ms)

    return [
        _Summary(
            days=periods.by_span(
                in_days.get(project.id, ()), [(day, day) for day in days], zone, sums.counted
            ),
            trend=sums.counted(in_days.get(project.id, ())),
            week=of_week(project, week.start_ms),
            week_before=of_week(project, week_before.start_ms),
            last_active=last_active.get(project.id),
        )
        for project in projects
    ]


def _by_project(cells: Iterable[Part]) -> dict[int, list[Part]]:
    found: dict[int, list[Part]] = {}
    for cell in cells:
        found.setdefault(cell.project_id, []).append(cell)
    return found


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


def _dated(days: Sequence[date], numbers: Sequence[Numbers]) -> list[Day]:
    """One entry for every one of the days, also where nothing happened."""
    return [Day(*pair) for pair in zip(days, numbers, strict=True)]


def _days_until(last: date, count: int) -> list[date]:
    return [last - timedelta(days=back) for back in reversed(range(count))]
