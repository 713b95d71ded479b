"""All cells counted anew, as after a change of the calendar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from devflow import audit, windows
from devflow.audit import Act, Actor
from devflow.models import Cell, Event, Mark, Person, Project, Workspace
from devflow.rollups import slices
from devflow.rollups.cells import mark
from devflow.rollups.larger import refresh
from devflow.rollups.recounting import (
    ALL_OPEN,
    open_from_of,
    recount_hours,
    recount_nobody,
    recount_nobodys_hours,
    recount_person,
)
from devflow.rollups.tallies import Calendar
from devflow.windows import Grain, Window

_MAX_TIMES: Final = 2_000
"""Different timestamps that are counted in one step."""


def rebuild(session: Session, calendar: Calendar) -> None:
    """Count every cell anew from the events, as after a change of zone or idle limit. The caller commits.

    Closed hours stay as they were counted: of an hour of another zone, days, weeks and months take
    the whole where it begins. Works in steps of ``_MAX_TIMES`` different timestamps: memory stays
    flat however many events there are.
    """
    open_from = _close_hours(session, calendar)
    session.execute(delete(Cell).where((Cell.grain != Grain.HOUR) | (Cell.start >= open_from)))
    session.execute(delete(Mark))
    slices.forget_other_days(session, calendar.zone)
    _mark_all(session, calendar.zone)
    rest = _rest_of_hour(open_from, calendar.zone)
    for person_id in session.scalars(select(Person.id).order_by(Person.id)).all():
        changed = recount_hours(session, person_id, rest, calendar.idle_limit_ms) if rest else set()
        mark(session, changed, calendar.zone)
        for times in _times(session, Event.person_id == person_id):
            changed = recount_person(session, person_id, times, calendar, open_from)
            mark(session, changed, calendar.zone)
    for project_id in session.scalars(select(Project.id).order_by(Project.id)).all():
        changed = recount_nobodys_hours(session, project_id, rest) if rest else set()
        mark(session, changed, calendar.zone)
        for times in _times(session, Event.person_id.is_(None) & (Event.project_id == project_id)):
            changed = recount_nobody(session, project_id, times, calendar, open_from)
            mark(session, changed, calendar.zone)
    while refresh(session, calendar):
        pass


def _close_hours(session: Session, calendar: Calendar) -> int:
    """Where the last closed hour ends, by the calendar that it was cut by; from here on all is counted anew.

    Noted, so that a later upload does not open it again: the new zone's hours may be cut elsewhere.
    """
    open_from = open_from_of(session, calendar.idle_limit_ms)
    if open_from == ALL_OPEN:
        return open_from
    workspace = session.get_one(Workspace, 1)
    open_from = windows.window(Grain.HOUR, open_from - 1, ZoneInfo(workspace.timezone)).end_ms
    workspace.events_since = open_from - calendar.idle_limit_ms
    return open_from


def _rest_of_hour(instant: int, zone: ZoneInfo) -> list[Window]:
    """What is left of the hour in which the instant lies, none where it begins one."""
    if instant == ALL_OPEN:
        return []
    hour = windows.window(Grain.HOUR, instant, zone)
    return [] if hour.start_ms == instant else [Window(instant, hour.end_ms)]


def _mark_all(session: Session, zone: ZoneInfo) -> None:
    """Mark the days of all hours there are."""
    for project_id in session.scalars(select(Project.id).order_by(Project.id)).all():
        hours = select(Cell.start).where(Cell.project_id == project_id, Cell.grain == Grain.HOUR).distinct()
        mark(session, [(project_id, start) for start in session.scalars(hours)], zone)


def _times(session: Session, which: ColumnElement[bool]) -> Iterator[Sequence[int]]:
    """The different timestamps of the events, in order, some at a time."""
    last = -1
    ordered = select(Event.timestamp).distinct().where(which).order_by(Event.timestamp).limit(_MAX_TIMES)
    while times := session.scalars(ordered.where(Event.timestamp > last)).all():
        yield times
        last = times[-1]


def adopt(session: Session, by: Actor, calendar: Calendar) -> bool:
    """Make the calendar the workspace's; if it was another, rebuild and return True. The caller commits."""
    workspace = session.scalars(select(Workspace)).one()
    zone, idle_ms = workspace.timezone, workspace.idle_limit_ms
    if (zone, idle_ms) == (calendar.zone.key, calendar.idle_limit_ms):
        return False
    rebuild(session, calendar)
    workspace.timezone, workspace.idle_limit_ms = calendar.zone.key, calendar.idle_limit_ms
    audit.record(
        session,
        by,
        Act.CALENDAR_CHANGED,
        zone_before=zone,
        zone_now=workspace.timezone,
        idle_s_before=idle_ms // 1_000,
        idle_s_now=workspace.idle_limit_ms // 1_000,
    )
    return True
