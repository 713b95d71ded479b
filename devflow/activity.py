"""What the pages show, read from cells only: the cost follows the windows shown, not the events."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from devflow import windows
from devflow.access import Action, visible
from devflow.models import Cell, Mark, Person, Project
from devflow.rollups import NOBODY, Tally
from devflow.windows import Grain, Window

TREND_DAYS: Final = 30
MAX_PERIODS: Final = 130
"""The most bars a chart can show and still be read."""


class Step(StrEnum):
    """The length of one bar, shortest first. Quarters and years are months put together."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of one window. ``files_changed`` is of distinct files, so it adds up to less.

    ``active_s`` is the time of people known here; None where the window holds work, but only
    of people who do not report to this server: how long they worked is not known.
    """

    events: int
    commits: int
    insertions: int
    deletions: int
    files_changed: int
    active_s: int | None

    @property
    def is_empty(self) -> bool:
        return self.events == 0


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


@dataclass(frozen=True, slots=True)
class _Part:
    """A cell as it was read: its file set is unpacked once, for all the sums the cell is part of."""

    project_id: int
    start: int
    person_id: int
    tally: Tally


@dataclass(slots=True)
class _Sum:
    """Cells united; people's time is known as soon as one of the cells is a person's."""

    tally: Tally = field(default_factory=Tally)
    has_person: bool = False

    def add(self, part: _Part) -> None:
        self.tally.add(part.tally)
        self.has_person |= part.person_id != NOBODY

    def numbers(self) -> Numbers:
        tally = self.tally
        is_known = self.has_person or tally.events == 0
        return Numbers(
            events=tally.events,
            commits=tally.commits,
            insertions=tally.insertions,
            deletions=tally.deletions,
            files_changed=len(tally.files),
            active_s=tally.active_ms // 1_000 if is_known else None,
        )


def overview(session: Session, person: Person, now_ms: int, zone: ZoneInfo) -> Overview:
    """Five statements, however many projects there are."""
    projects = session.scalars(visible(person, Action.VIEW_PROJECT, Project).order_by(Project.name)).all()
    today = windows.day_of(now_ms, zone)
    days = _days_until(today, TREND_DAYS)
    week = windows.window(Grain.WEEK, now_ms, zone)
    week_before = windows.window(Grain.WEEK, week.start_ms - 1, zone)
    cells = _cells(session, projects, Grain.DAY, _span(days, zone))
    weeks = _cells(session, projects, Grain.WEEK, Window(week_before.start_ms, week.end_ms))
    by_project: dict[int, list[_Part]] = {project.id: [] for project in projects}
    for cell in cells:
        by_project[cell.project_id].append(cell)
    today_ms = windows.day_window(today, zone).start_ms
    last_active = _last_active(session, projects)
    return Overview(
        today=_numbers(cell for cell in cells if cell.start == today_ms),
        week=_numbers(cell for cell in weeks if cell.start == week.start_ms),
        week_before=_numbers(cell for cell in weeks if cell.start == week_before.start_ms),
        trend=_numbers(cells),
        days=_by_day(cells, days, zone),
        projects=[
            _row(project, by_project[project.id], days, last_active.get(project.id), zone)
            for project in projects
        ],
        is_fresh=_is_fresh(session, projects),
    )


def project(
    session: Session, found: Project, viewer: Person, first: date | None, last: date, zone: ZoneInfo
) -> ProjectActivity:
    """Three statements, however long the range. Without ``first`` it begins with the project's first day."""
    reach = _reach(session, found, zone)
    if first is None:
        first = last if reach is None else min(reach[0], last)
    step = step_for(first, last)
    spans = _spans(step, first, last)
    cells = _cells(session, [found], _GRAIN[step], _span([spans[0][0], spans[-1][1]], zone))
    own = [cell for cell in cells if cell.person_id == viewer.id]
    return ProjectActivity(
        step=step,
        first=spans[0][0],
        last=spans[-1][1],
        total=_numbers(cells),
        own=_numbers(own),
        periods=[
            Period(*span, numbers, own_numbers)
            for span, numbers, own_numbers in zip(
                spans, _by_span(cells, spans, zone), _by_span(own, spans, zone), strict=True
            )
        ],
        first_day=None if reach is None else reach[0],
        last_day=None if reach is None else reach[1],
        is_fresh=_is_fresh(session, [found]),
    )


def step_for(first: date, last: date) -> Step:
    """The shortest step that shows the days ``first`` to ``last`` in at most ``MAX_PERIODS``."""
    days = (last - first).days + 1
    if days <= MAX_PERIODS:
        return Step.DAY
    # One more than fit, for a range that begins in the middle of a period.
    fitting = (step for step, shortest in _SHORTEST_DAYS.items() if days // shortest + 2 <= MAX_PERIODS)
    return next(fitting, Step.YEAR)


_SHORTEST_DAYS: Final = {Step.WEEK: 7, Step.MONTH: 28, Step.QUARTER: 90}
_GRAIN: Final = {
    Step.DAY: Grain.DAY,
    Step.WEEK: Grain.WEEK,
    Step.MONTH: Grain.MONTH,
    Step.QUARTER: Grain.MONTH,
    Step.YEAR: Grain.MONTH,
}
_MONTHS: Final = {Step.MONTH: 1, Step.QUARTER: 3, Step.YEAR: 12}


def _reach(session: Session, found: Project, zone: ZoneInfo) -> tuple[date, date] | None:
    """The first and the last day with an event."""
    low, high = session.execute(
        select(func.min(Cell.start), func.max(Cell.start)).where(
            Cell.project_id == found.id, Cell.grain == Grain.DAY
        )
    ).one()
    return None if low is None else (windows.day_of(low, zone), windows.day_of(high, zone))


def _spans(step: Step, first: date, last: date) -> list[tuple[date, date]]:
    """The whole periods that hold the days, each as its first and last day."""
    starts = [_period_start(step, first)]
    while (following := _next_start(step, starts[-1])) <= last:
        starts.append(following)
    return [(start, _next_start(step, start) - timedelta(days=1)) for start in starts]


def _period_start(step: Step, day: date) -> date:
    match step:
        case Step.DAY:
            return day
        case Step.WEEK:
            return day - timedelta(days=day.weekday())
        case Step.MONTH | Step.QUARTER | Step.YEAR:
            return day.replace(month=(day.month - 1) // _MONTHS[step] * _MONTHS[step] + 1, day=1)


def _next_start(step: Step, start: date) -> date:
    match step:
        case Step.DAY:
            return start + timedelta(days=1)
        case Step.WEEK:
            return start + timedelta(days=7)
        case Step.MONTH | Step.QUARTER | Step.YEAR:
            months = start.month - 1 + _MONTHS[step]
            return start.replace(year=start.year + months // 12, month=months % 12 + 1)


def _cells(session: Session, projects: Sequence[Project], grain: Grain, span: Window) -> list[_Part]:
    # Rows, not objects of the ORM, which take longer to make than all that follows.
    rows = session.execute(
        select(Cell.__table__).where(
            Cell.project_id.in_([project.id for project in projects]),
            Cell.grain == grain,
            Cell.start >= span.start_ms,
            Cell.start < span.end_ms,
        )
    )
    return [_Part(row.project_id, row.start, row.person_id, Tally.of(row)) for row in rows]


def _is_fresh(session: Session, projects: Sequence[Project]) -> bool:
    """Whether all that was accepted is in the numbers of days, weeks and months."""
    marked = exists().where(Mark.project_id.in_([project.id for project in projects]))
    return not session.scalar(select(marked))


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
    project: Project, cells: Sequence[_Part], days: Sequence[date], last_active: int | None, zone: ZoneInfo
) -> ProjectRow:
    return ProjectRow(
        project=project,
        numbers=_numbers(cells),
        days=_by_day(cells, days, zone),
        last_active=None if last_active is None else windows.day_of(last_active, zone),
    )


def _by_day(cells: Iterable[_Part], days: Sequence[date], zone: ZoneInfo) -> list[Day]:
    """One entry for every one of the days, also where nothing happened."""
    numbers = _by_span(cells, [(day, day) for day in days], zone)
    return [Day(*pair) for pair in zip(days, numbers, strict=True)]


def _by_span(cells: Iterable[_Part], spans: Sequence[tuple[date, date]], zone: ZoneInfo) -> list[Numbers]:
    """The numbers of every span; the cells lie in them all together, and none in two."""
    starts = [windows.day_window(first, zone).start_ms for first, _ in spans]
    sums = [_Sum() for _ in spans]
    for cell in cells:
        sums[bisect_right(starts, cell.start) - 1].add(cell)
    return [total.numbers() for total in sums]


def _numbers(cells: Iterable[_Part]) -> Numbers:
    total = _Sum()
    for cell in cells:
        total.add(cell)
    return total.numbers()


def _days_until(last: date, count: int) -> list[date]:
    return [last - timedelta(days=back) for back in reversed(range(count))]


def _span(days: Sequence[date], zone: ZoneInfo) -> Window:
    first, last = windows.day_window(days[0], zone), windows.day_window(days[-1], zone)
    return Window(first.start_ms, last.end_ms)
