"""The last days of some projects, each and together, against those before, and who worked in them."""

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
from devflow.rollups import NOBODY
from devflow.windows import Grain, Window

TREND_DAYS: Final = 30
_WEEK: Final = timedelta(days=7)


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
class PersonWeek:
    """What one person did this week in all of the projects, and in the week before it.

    ``last_active`` is of the last ``2 * TREND_DAYS``, None for nothing in them.
    """

    week: Numbers
    week_before: Numbers
    last_active: date | None


@dataclass(frozen=True, slots=True)
class Overview:
    """Projects, and all of them together; ``trend`` is of the last ``TREND_DAYS``.

    What is compared with each other is as long: ``so_far`` are the whole days of this week, before today,
    and ``so_far_before`` the same days of the week before; on its first day nothing. ``people`` are those
    known here who worked in ``2 * TREND_DAYS``, by id.
    """

    today: Numbers
    week: Numbers
    week_before: Numbers
    so_far: Numbers
    so_far_before: Numbers
    trend: Numbers
    trend_before: Numbers
    first_of_week: date
    days: list[Day]
    projects: list[ProjectRow]
    people: dict[int, PersonWeek]
    is_fresh: bool


class _Person(Struct, frozen=True, array_like=True):
    id: int
    week: Count
    week_before: Count
    last_active: int


class _Summary(Struct, frozen=True, array_like=True):
    """What the overview tells of a project, whoever looks; ``days`` are those of the trend, up to today."""

    days: list[Count]
    trend: Count
    trend_before: Count
    week: Count
    week_before: Count
    so_far: Count
    so_far_before: Count
    people: list[_Person]
    last_active: int | None


_FORM: Final = 2
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
        so_far=sums.added(each.so_far for each in summaries),
        so_far_before=sums.added(each.so_far_before for each in summaries),
        trend=sums.added(each.trend for each in summaries),
        trend_before=sums.added(each.trend_before for each in summaries),
        first_of_week=_monday(days[-1]),
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
        people=_people(summaries, zone),
        is_fresh=sums.is_fresh(session, projects),
    )


def _place(project: Project, days: Sequence[date], server: Server) -> Place:
    question = f"project:{project.public_id}:overview:{days[0]}..{days[-1]}:{server}:form:{_FORM}"
    return Place(question, project.id, project.generation, costly=False)


def _people(summaries: Iterable[_Summary], zone: ZoneInfo) -> dict[int, PersonWeek]:
    parts: dict[int, list[_Person]] = {}
    for summary in summaries:
        for person in summary.people:
            parts.setdefault(person.id, []).append(person)
    return {
        person_id: PersonWeek(
            week=sums.added(each.week for each in found),
            week_before=sums.added(each.week_before for each in found),
            last_active=windows.day_of(max(each.last_active for each in found), zone),
        )
        for person_id, found in parts.items()
    }


@dataclass(frozen=True, slots=True)
class _Spans:
    """The days that are read, and what of them is told together."""

    days: Sequence[date]
    whole: Window
    trend: Window
    trend_before: Window
    week: Window
    week_before: Window
    so_far: Window
    so_far_before: Window

    @classmethod
    def until(cls, days: Sequence[date], zone: ZoneInfo) -> _Spans:
        today, monday = days[-1], _monday(days[-1])
        before = _days_until(days[0] - timedelta(days=1), TREND_DAYS)

        def span(first: date, end: date) -> Window:
            return Window(windows.day_window(first, zone).start_ms, windows.day_window(end, zone).start_ms)

        return cls(
            days=days,
            whole=periods.window_of([before[0], today], zone),
            trend=periods.window_of(days, zone),
            trend_before=periods.window_of(before, zone),
            week=span(monday, monday + _WEEK),
            week_before=span(monday - _WEEK, monday),
            so_far=span(monday, today),
            so_far_before=span(monday - _WEEK, today - _WEEK),
        )


def _count(
    session: Session, projects: Sequence[Project], days: Sequence[date], zone: ZoneInfo
) -> list[_Summary]:
    spans = _Spans.until(days, zone)
    in_days = _by_project(sums.cells(session, projects, Grain.DAY, spans.whole))
    in_weeks = _by_project(
        sums.cells(session, projects, Grain.WEEK, Window(spans.week_before.start_ms, spans.week.end_ms))
    )
    last_active = _last_active(session, projects)
    return [
        _summary(
            in_days.get(project.id, []),
            in_weeks.get(project.id, []),
            last_active.get(project.id),
            spans,
            zone,
        )
        for project in projects
    ]


def _summary(
    in_days: Sequence[Part], in_weeks: Sequence[Part], last_active: int | None, spans: _Spans, zone: ZoneInfo
) -> _Summary:
    trend = _within(in_days, spans.trend)
    return _Summary(
        days=periods.by_span(trend, [(day, day) for day in spans.days], zone, sums.counted),
        trend=sums.counted(trend),
        trend_before=sums.counted(_within(in_days, spans.trend_before)),
        week=sums.counted(_within(in_weeks, spans.week)),
        week_before=sums.counted(_within(in_weeks, spans.week_before)),
        so_far=sums.counted(_within(in_days, spans.so_far)),
        so_far_before=sums.counted(_within(in_days, spans.so_far_before)),
        people=[
            _Person(
                person_id,
                sums.counted(part for part in _within(in_weeks, spans.week) if part.person_id == person_id),
                sums.counted(
                    part for part in _within(in_weeks, spans.week_before) if part.person_id == person_id
                ),
                max(part.start for part in in_days if part.person_id == person_id),
            )
            for person_id in sorted({part.person_id for part in in_days} - {NOBODY})
        ],
        last_active=last_active,
    )


def _within(parts: Iterable[Part], span: Window) -> list[Part]:
    return [part for part in parts if span.start_ms <= part.start < span.end_ms]


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


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _days_until(last: date, count: int) -> list[date]:
    return [last - timedelta(days=back) for back in reversed(range(count))]
