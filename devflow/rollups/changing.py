"""Another time zone or idle limit: all is counted anew beside what is shown, and then takes its place.

Until then the calendar before is in force everywhere - pages, uploads, jobs - and the cells cut
by it are kept as ever. ``want`` notes the new one; ``advance`` counts its cells (``next_cells``)
a few days a transaction, among them again each day that ``refresh`` had to derive meanwhile;
``switch`` counts the last ones and puts all of them in force in one transaction. Each of them
may be killed at any point, and is simply called again.

Closed hours stay as they were counted: of an hour of another zone, days, weeks and months take
the whole where it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, delete, exists, func, insert, select, tuple_, update
from sqlalchemy.orm import Session

from devflow import audit, db, windows
from devflow.audit import Act, Actor
from devflow.db import UNSEEN, Lock
from devflow.models import Cell, Event, Mark, NextCalendar, NextCell, NextDay, Person, Project, Workspace
from devflow.rollups import slices, slicing
from devflow.rollups.calendars import in_force
from devflow.rollups.cells import Cells, note_days
from devflow.rollups.larger import derive
from devflow.rollups.recounting import ALL_OPEN, open_from_of, recount_hours, recount_nobodys_hours
from devflow.rollups.tallies import NOBODY, Calendar
from devflow.windows import Grain, Window

DAYS: Final = 50
"""Days of projects that one transaction counts."""
_CLEARED: Final = 2_000
_COLUMNS: Final = [column.name for column in Cell.__table__.columns]
_LARGER: Final = (Grain.DAY, Grain.WEEK, Grain.MONTH)


class _Day(NamedTuple):
    """Of the calendar in force, and of one project."""

    start: int
    project_id: int


def want(session: Session, by: Actor, calendar: Calendar) -> bool:
    """Let all be counted by this calendar; return whether it is in force already. The caller commits.

    Where nothing was counted yet it is so at once. Wanting the one in force ends a change under way.
    """
    db.lock(session, Lock.RETENTION)
    change = session.get(NextCalendar, 1, populate_existing=True)
    if change is not None:
        if (change.timezone, change.idle_limit_ms) == (calendar.zone.key, calendar.idle_limit_ms):
            return False
        session.delete(change)
        session.flush()
    if in_force(session) == calendar:
        return True
    change = NextCalendar(
        id=1,
        timezone=calendar.zone.key,
        idle_limit_ms=calendar.idle_limit_ms,
        open_from=_open_from(session, calendar),
    )
    session.add(change)
    session.flush()
    if session.scalar(select(exists(select(Cell.start)))):
        return False
    session.execute(delete(NextCell))
    _come_into_force(session, by, change)
    return True


def wanted(session: Session) -> Calendar | None:
    """The calendar that all is being counted by, None if that is the one in force."""
    change = session.get(NextCalendar, 1, populate_existing=True)
    return None if change is None else _calendar(change)


def is_waiting(session: Session) -> bool:
    """Whether ``advance`` has anything to do, or ``switch``."""
    return bool(session.scalar(select(exists(select(NextCalendar.id)) | exists(select(NextCell.start)))))


def advance(session: Session) -> bool:
    """Go a step on; return False when only ``switch`` is left to do, or nothing. The caller commits."""
    db.lock(session, Lock.RETENTION, shared=True)
    db.lock(session, Lock.CALENDAR)
    change = session.get(NextCalendar, 1, populate_existing=True)
    if change is None:
        return _clear(session)
    if change.listed_to is None:
        if not _clear(session):
            change.listed_to = 0
        return True
    if _list(session, change):
        return True
    days = _some(session, DAYS)
    if days:
        _count(session, change, days)
    return bool(days)


def switch(session: Session, by: Actor) -> bool:
    """Put the new calendar in force; return False if more is to be counted before. The caller commits.

    Uploads wait meanwhile: for the days that came in since, and for the copy.
    """
    db.lock(session, Lock.RETENTION)
    change = session.get(NextCalendar, 1, populate_existing=True)
    if change is None or change.listed_to is None:
        return False
    if session.scalar(select(exists().where(_unlisted(change)))):
        return False
    late = session.execute(select(Mark.day, Mark.project_id).limit(DAYS + 1))
    days = {_Day(*row) for row in late} | set(_some(session, DAYS + 1))
    if len(days) > DAYS:
        return False
    if days:
        _count(session, change, sorted(days))
    _come_into_force(session, by, change)
    return True


def _calendar(change: NextCalendar) -> Calendar:
    return Calendar(ZoneInfo(change.timezone), change.idle_limit_ms)


def _open_from(session: Session, calendar: Calendar) -> int:
    """Where the last closed hour ends, as the calendar in force cuts it; from there on all is counted."""
    open_from = open_from_of(session, calendar.idle_limit_ms)
    if open_from == ALL_OPEN:
        return open_from
    return windows.window(Grain.HOUR, open_from - 1, in_force(session).zone).end_ms


# Steps


def _clear(session: Session) -> bool:
    """Delete some of what is left of a change that is over; return False if there was nothing."""
    session.execute(delete(NextDay))
    key = tuple_(*NextCell.__table__.primary_key)
    some = select(*NextCell.__table__.primary_key).limit(_CLEARED)
    deleted = session.execute(delete(NextCell).where(key.in_(some)), execution_options=UNSEEN)
    return bool(deleted.rowcount)  # type: ignore[attr-defined]  # a CursorResult


def _unlisted(change: NextCalendar) -> ColumnElement[bool]:
    return Project.id > (change.listed_to or 0)


def _list(session: Session, change: NextCalendar) -> bool:
    """Note all days of the next project; return False after the last one."""
    project_id = session.scalar(select(func.min(Project.id)).where(_unlisted(change)))
    if project_id is None:
        return False
    zone = in_force(session).zone
    hours = select(Cell.start).where(Cell.project_id == project_id, Cell.grain == Grain.HOUR).distinct()
    days: list[Window] = []
    for start in session.scalars(hours.order_by(Cell.start)):
        if not days or start >= days[-1].end_ms:
            days.append(windows.window(Grain.DAY, start, zone))
    note_days(session, project_id, [day.start_ms for day in days])
    change.listed_to = project_id
    return True


def _some(session: Session, limit: int) -> list[_Day]:
    ordered = select(NextDay.day, NextDay.project_id).order_by(NextDay.day, NextDay.project_id)
    return [_Day(*row) for row in session.execute(ordered.limit(limit))]


def _count(session: Session, change: NextCalendar, days: Sequence[_Day]) -> None:
    """Count the days, or leave them for the next time if somebody has just begun to work on one."""
    zone, calendar = in_force(session).zone, _calendar(change)
    spans = {day: windows.window(Grain.DAY, day.start, zone) for day in days}
    # Before the rows of the days, which ``refresh`` may hold while an upload waits for it.
    people = _people(session, spans)
    held = {person_id for _, person_id in people}
    session.execute(
        select(Person.id).where(Person.id.in_(held)).order_by(Person.id).with_for_update(key_share=True)
    )
    db.lock(session, Lock.NOBODYS_CELLS, {day.project_id for day in days})
    which = tuple_(NextDay.day, NextDay.project_id).in_([tuple(day) for day in days])
    session.execute(delete(NextDay).where(which), execution_options=UNSEEN)
    people = _people(session, spans)
    strangers = {day for day, person_id in people if person_id not in held}
    for day in sorted(strangers):
        note_days(session, day.project_id, [day.start])
    spans = {day: span for day, span in spans.items() if day not in strangers}

    changed = _take_over(session, spans, change.open_from)
    for person_id in sorted({person_id for day, person_id in people if day in spans}):
        own = [spans[day] for day, whose in people if whose == person_id and day in spans]
        hours = _hours(own, calendar.idle_limit_ms, change)
        changed |= recount_hours(session, person_id, hours, calendar.idle_limit_ms, NextCell)
    for project_id in sorted({day.project_id for day in spans}):
        own = [span for day, span in spans.items() if day.project_id == project_id]
        changed |= recount_nobodys_hours(session, project_id, _hours(own, 0, change), NextCell)
    _derive(session, changed, calendar.zone)


def _people(session: Session, spans: dict[_Day, Window]) -> set[tuple[_Day, int]]:
    """Who has events on the days, or had some when they were counted before."""
    if not spans:
        return set()
    found: set[tuple[_Day, int]] = set()
    inside = db.ranges([(span.start_ms, span.end_ms) for span in sorted(set(spans.values()))])
    projects = {day.project_id for day in spans}
    # Says nothing new, but leaves partitions out before they are opened.
    low, high = min(span.start_ms for span in spans.values()), max(span.end_ms for span in spans.values())
    for person_id, project_id, at, when in (
        (Event.person_id, Event.project_id, Event.timestamp, Event.person_id.is_not(None)),
        (NextCell.person_id, NextCell.project_id, NextCell.start, NextCell.grain == Grain.HOUR),
    ):
        rows = session.execute(
            select(person_id, project_id, inside.c.low)
            .distinct()
            .join_from(inside, person_id.class_, (at >= inside.c.low) & (at < inside.c.high))
            .where(project_id.in_(projects), at >= low, at < high, when)
        )
        for who, project, start in rows:
            day = _Day(start, project)
            if day in spans and who != NOBODY:
                found.add((day, who))
    return found


def _hours(days: Iterable[Window], limit: int, change: NextCalendar) -> list[Window]:
    """The open hours, as the calendar to come cuts them, that events of these days can change."""
    zone = ZoneInfo(change.timezone)
    found: set[Window] = set()
    for day in days:
        for hour in windows.spans_of(Grain.HOUR, day.start_ms - limit, day.end_ms - 1 + limit, zone):
            if hour.end_ms > change.open_from:
                found.add(Window(max(hour.start_ms, change.open_from), hour.end_ms))
    return sorted(found)


def _take_over(session: Session, spans: dict[_Day, Window], open_from: int) -> set[tuple[int, int]]:
    """Copy the closed hours of the days; return the (project, hour) of them."""
    changed: set[tuple[int, int]] = set()
    for day, span in spans.items():
        if span.start_ms >= open_from:
            continue

        closed = Window(span.start_ms, min(span.end_ms, open_from))
        before, now = (_hour_cells(cells, day.project_id, closed) for cells in (NextCell, Cell))
        for cells, which in ((NextCell, before), (Cell, now)):
            starts = session.scalars(select(cells.start).distinct().where(which))
            changed |= {(day.project_id, start) for start in starts}
        session.execute(delete(NextCell).where(before), execution_options=UNSEEN)
        session.execute(insert(NextCell).from_select(_COLUMNS, select(Cell.__table__).where(now)))
    return changed


def _hour_cells(cells: Cells, project_id: int, span: Window) -> ColumnElement[bool]:
    own = (cells.project_id == project_id) & (cells.grain == Grain.HOUR)
    return own & (cells.start >= span.start_ms) & (cells.start < span.end_ms)


def _derive(session: Session, changed: Iterable[tuple[int, int]], zone: ZoneInfo) -> None:
    by_project: dict[int, list[int]] = {}
    for project_id, start in changed:
        by_project.setdefault(project_id, []).append(start)
    for project_id, starts in sorted(by_project.items()):
        for grain in _LARGER:
            spans = sorted({windows.window(grain, start, zone) for start in starts})
            derive(session, project_id, grain, spans, NextCell)


def _come_into_force(session: Session, by: Actor, change: NextCalendar) -> None:
    workspace = session.get_one(Workspace, 1, with_for_update=True, populate_existing=True)
    before, now = in_force(session), _calendar(change)
    session.execute(delete(Mark))
    session.execute(delete(Cell))
    session.execute(insert(Cell).from_select(_COLUMNS, select(NextCell.__table__)))
    slices.forget_other_days(session, now.zone)
    slicing.mark_all(session)
    workspace.timezone, workspace.idle_limit_ms = change.timezone, change.idle_limit_ms
    if change.open_from != ALL_OPEN:
        # So that a later upload does not open an hour again: the new zone's may be cut elsewhere.
        workspace.events_since = change.open_from - change.idle_limit_ms
    session.delete(change)
    session.execute(update(Project).values(generation=Project.generation + 1), execution_options=UNSEEN)
    audit.record(
        session,
        by,
        Act.CALENDAR_CHANGED,
        zone_before=before.zone.key,
        zone_now=now.zone.key,
        idle_s_before=before.idle_limit_ms // 1_000,
        idle_s_now=now.idle_limit_ms // 1_000,
    )
