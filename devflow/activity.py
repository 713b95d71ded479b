"""What the pages show, read from cells only: the cost follows the windows shown, not the events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
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
    """A project on the overview: its last ``TREND_DAYS`` days together, and one by one."""

    project: Project
    numbers: Numbers
    days: list[Day]
    last_active: date | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The projects the viewer may see, and all of them together."""

    today: Numbers
    week: Numbers
    week_before: Numbers
    projects: list[ProjectRow]
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class ProjectActivity:
    """One project by day over a range, newest range last; ``own`` is the viewer's part of it."""

    total: Numbers
    own: Numbers
    days: list[Day]
    first_day: date | None
    last_day: date | None
    is_fresh: bool


@dataclass(slots=True)
class _Sum:
    """Cells united; people's time is known as soon as one of the cells is a person's."""

    tally: Tally = field(default_factory=Tally)
    has_person: bool = False

    def add(self, cell: Cell) -> None:
        self.tally.add(Tally.of(cell))
        self.has_person |= cell.person_id != NOBODY

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
    """Four statements, however many projects there are."""
    projects = session.scalars(visible(person, Action.VIEW_PROJECT)).all()
    today = windows.day_of(now_ms, zone)
    days = _days_until(today, TREND_DAYS)
    week = windows.window(Grain.WEEK, now_ms, zone)
    week_before = windows.window(Grain.WEEK, week.start_ms - 1, zone)
    cells = _cells(session, projects, Grain.DAY, _span(days, zone))
    weeks = _cells(session, projects, Grain.WEEK, Window(week_before.start_ms, week.end_ms))
    by_project: dict[int, list[Cell]] = {project.id: [] for project in projects}
    for cell in cells:
        by_project[cell.project_id].append(cell)
    today_ms = windows.day_window(today, zone).start_ms
    return Overview(
        today=_numbers(cell for cell in cells if cell.start == today_ms),
        week=_numbers(cell for cell in weeks if cell.start == week.start_ms),
        week_before=_numbers(cell for cell in weeks if cell.start == week_before.start_ms),
        projects=[_row(project, by_project[project.id], days, zone) for project in projects],
        is_fresh=_is_fresh(session, projects),
    )


def project(
    session: Session, found: Project, viewer: Person, first: date, last: date, zone: ZoneInfo
) -> ProjectActivity:
    """Three statements, however long the range. ``first`` and ``last`` are both shown."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    cells = _cells(session, [found], Grain.DAY, _span(days, zone))
    reach = session.execute(
        select(func.min(Cell.start), func.max(Cell.start)).where(
            Cell.project_id == found.id, Cell.grain == Grain.DAY
        )
    ).one()
    return ProjectActivity(
        total=_numbers(cells),
        own=_numbers(cell for cell in cells if cell.person_id == viewer.id),
        days=_by_day(cells, days, zone),
        first_day=None if reach[0] is None else windows.day_of(reach[0], zone),
        last_day=None if reach[1] is None else windows.day_of(reach[1], zone),
        is_fresh=_is_fresh(session, [found]),
    )


def _cells(session: Session, projects: Sequence[Project], grain: Grain, span: Window) -> Sequence[Cell]:
    return session.scalars(
        select(Cell).where(
            Cell.project_id.in_([project.id for project in projects]),
            Cell.grain == grain,
            Cell.start >= span.start_ms,
            Cell.start < span.end_ms,
        )
    ).all()


def _is_fresh(session: Session, projects: Sequence[Project]) -> bool:
    """Whether all that was accepted is in the numbers of days, weeks and months."""
    marked = exists().where(Mark.project_id.in_([project.id for project in projects]))
    return not session.scalar(select(marked))


def _row(project: Project, cells: Sequence[Cell], days: Sequence[date], zone: ZoneInfo) -> ProjectRow:
    by_day = _by_day(cells, days, zone)
    active = [day.date for day in by_day if not day.numbers.is_empty]
    return ProjectRow(
        project=project,
        numbers=_numbers(cells),
        days=by_day,
        last_active=active[-1] if active else None,
    )


def _by_day(cells: Iterable[Cell], days: Sequence[date], zone: ZoneInfo) -> list[Day]:
    """One entry for every one of the days, also where nothing happened."""
    sums = {windows.day_window(day, zone).start_ms: (day, _Sum()) for day in days}
    for cell in cells:
        sums[cell.start][1].add(cell)
    return [Day(day, total.numbers()) for day, total in sums.values()]


def _numbers(cells: Iterable[Cell]) -> Numbers:
    total = _Sum()
    for cell in cells:
        total.add(cell)
    return total.numbers()


def _days_until(last: date, count: int) -> list[date]:
    return [last - timedelta(days=back) for back in reversed(range(count))]


def _span(days: Sequence[date], zone: ZoneInfo) -> Window:
    first, last = windows.day_window(days[0], zone), windows.day_window(days[-1], zone)
    return Window(first.start_ms, last.end_ms)
