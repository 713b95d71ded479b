"""Hour cells counted anew from their events, wherever a difference is not all that is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from devflow import windows
from devflow.active_time import active_ms
from devflow.db import ranges
from devflow.models import Cell, Event, Workspace
from devflow.rollups.cells import Cells, insert_cells, mark
from devflow.rollups.tallies import NOBODY, Calendar, Tally, by_hour, merged
from devflow.windows import Finder, Grain, Window

# Steps in which much is counted: PostgreSQL takes 65,535 parameters a statement.
_MAX_HOURS: Final = 5_000
ALL_OPEN: Final = -(1 << 62)
COUNTED: Final = (
    Event.timestamp,
    Event.project_id,
    Event.event_type,
    Event.insertions,
    Event.deletions,
    Event.files,
)


class Touched(NamedTuple):
    """An event that was added, or given to a person, and so changes cells."""

    person_id: int  # NOBODY for none
    project_id: int
    timestamp: int


def recount(session: Session, touched: Sequence[Touched], calendar: Calendar) -> None:
    """Count anew the hour cells that the touched events changed, and mark their days for ``refresh``.

    The caller holds what ``ingest`` locks, and commits.
    """
    open_from = open_from_of(session, calendar.idle_limit_ms)
    changed: set[tuple[int, int]] = set()
    for person_id in sorted({event.person_id for event in touched} - {NOBODY}):
        own = [event.timestamp for event in touched if event.person_id == person_id]
        changed |= recount_person(session, person_id, own, calendar, open_from)
    for project_id in sorted({event.project_id for event in touched if event.person_id == NOBODY}):
        own = [e.timestamp for e in touched if e.person_id == NOBODY and e.project_id == project_id]
        changed |= recount_nobody(session, project_id, own, calendar, open_from)
    mark(session, changed, calendar.zone)


def open_from_of(session: Session, idle_limit_ms: int) -> int:
    """Hours that start before this are closed: a gap into them may begin with a deleted event."""
    since = session.scalars(select(Workspace.events_since)).one()
    return since + idle_limit_ms if since else ALL_OPEN


def recount_person(
    session: Session, person_id: int, timestamps: Iterable[int], calendar: Calendar, open_from: int
) -> set[tuple[int, int]]:
    """All cells of the person in the open hours that an event at these times can change.

    That is any project's: a gap belongs to the project of its earlier event, and an event
    in the middle of it hands the rest of it over.
    """
    limit = calendar.idle_limit_ms
    hours = sorted(
        {
            hour
            for t in timestamps
            for hour in windows.spans_of(Grain.HOUR, t - limit, t + limit, calendar.zone)
            if hour.start_ms >= open_from
        }
    )
    changed: set[tuple[int, int]] = set()
    for start in range(0, len(hours), _MAX_HOURS):
        changed |= recount_hours(session, person_id, hours[start : start + _MAX_HOURS], limit)
    return changed


def recount_hours(
    session: Session, person_id: int, hours: Sequence[Window], limit: int, cells: Cells = Cell
) -> set[tuple[int, int]]:
    """All cells of the person in these hours, in order and of any calendar; return (project, hour) of all."""
    if not hours:
        return set()
    spans = ranges(merged([(hour.start_ms - limit, hour.end_ms + limit) for hour in hours]))
    rows = session.execute(
        select(*COUNTED)
        .join(spans, (Event.timestamp >= spans.c.low) & (Event.timestamp < spans.c.high))
        .where(Event.person_id == person_id)
        .order_by(Event.timestamp, Event.event_id)
    ).all()
    finder = Finder(hours)
    tallies = by_hour(rows, finder)
    for key, milliseconds in active_ms(rows, finder, limit).items():
        tallies.setdefault(key, Tally()).active_ms = milliseconds
    return _replace_hours(session, tallies, hours, cells.person_id == person_id, person_id, cells)


def recount_nobody(
    session: Session, project_id: int, timestamps: Iterable[int], calendar: Calendar, open_from: int
) -> set[tuple[int, int]]:
    """The open cells of events without a person; time at work is not theirs to count."""
    hours = {windows.window(Grain.HOUR, t, calendar.zone) for t in timestamps}
    still_open = sorted(hour for hour in hours if hour.start_ms >= open_from)
    return recount_nobodys_hours(session, project_id, still_open)


def recount_nobodys_hours(
    session: Session, project_id: int, hours: Sequence[Window], cells: Cells = Cell
) -> set[tuple[int, int]]:
    if not hours:
        return set()
    spans = ranges(merged([(hour.start_ms, hour.end_ms) for hour in hours]))
    rows = session.execute(
        select(*COUNTED)
        .join(spans, (Event.timestamp >= spans.c.low) & (Event.timestamp < spans.c.high))
        .where(Event.project_id == project_id, Event.person_id.is_(None))
    ).all()
    own = (cells.person_id == NOBODY) & (cells.project_id == project_id)
    return _replace_hours(session, by_hour(rows, Finder(hours)), hours, own, NOBODY, cells)


def _replace_hours(
    session: Session,
    tallies: dict[tuple[int, int], Tally],
    hours: Sequence[Window],
    own: ColumnElement[bool],
    person_id: int,
    cells: Cells,
) -> set[tuple[int, int]]:
    """Put the tallies in the place of all ``own`` cells of the hours; return (project, hour) of both."""
    old = own & (cells.grain == Grain.HOUR) & cells.start.in_([hour.start_ms for hour in hours])
    found = session.execute(select(cells.project_id, cells.start).where(old))
    before = {(row.project_id, row.start) for row in found}
    if before:
        session.execute(delete(cells).where(old))
    insert_cells(
        session,
        Grain.HOUR,
        {(project_id, start, person_id): tally for (project_id, start), tally in tallies.items()},
        cells,
    )
    return before | set(tallies)
