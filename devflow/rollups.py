"""Cells: what each person did in each project by hour, day, week and month.

Hour cells are exact at once, in the transaction that changed the events: an upload adds to them
(``count``), everything else counts them anew (``recount``). Larger windows follow from hour cells;
``refresh`` derives them where either left a mark.

Cells outlive the events they were counted from. An hour that would need events from before
``Workspace.events_since`` is closed: nothing counts it anew, whoever asks.
"""

from __future__ import annotations

import itertools
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, cast
from zoneinfo import ZoneInfo

from pyroaring import BitMap
from sqlalchemy import ColumnElement, Table, delete, insert, select
from sqlalchemy.orm import Session

from devflow import audit, db, windows
from devflow.audit import Act, Actor
from devflow.db import Lock, lock, ranges, upsert
from devflow.models import Cell, Event, Mark, Person, Project, Workspace
from devflow.windows import Grain, Window
from devflow.wire import EventType

NOBODY: Final = 0
"""The ``person_id`` of cells for what nobody known to this server did."""

# Stored numbers; never reuse or reorder.
TYPE_NUMBER: Final = {
    EventType.FILE_SAVED: 1,
    EventType.FILE_CREATED: 2,
    EventType.FILE_DELETED: 3,
    EventType.FILE_RENAMED: 4,
    EventType.COMMIT: 5,
    EventType.MERGE: 6,
    EventType.COMMIT_FILES: 7,
    EventType.BRANCH_SWITCHED: 8,
    EventType.BRANCH_CREATED: 9,
    EventType.BRANCH_DELETED: 10,
    EventType.TAG_CREATED: 11,
}
# Steps in which much is counted: an upload takes one, and PostgreSQL takes 65,535 parameters a statement.
_MAX_TIMES: Final = 2_000
_MAX_HOURS: Final = 5_000
_CELLS: Final = Cell.__table__.c
_PROJECTS: Final = cast(Table, Project.__table__)
_ALL_OPEN: Final = -(1 << 62)
_COMMITS: Final = {TYPE_NUMBER[EventType.COMMIT], TYPE_NUMBER[EventType.MERGE]}


class Touched(NamedTuple):
    """An event that was added, or given to a person, and so changes cells."""

    person_id: int  # NOBODY for none
    project_id: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """What the windows are cut by."""

    zone: ZoneInfo
    idle_limit_ms: int


@dataclass(slots=True)
class Tally:
    """The numbers of one cell while they are counted."""

    events: int = 0
    commits: int = 0
    insertions: int = 0
    deletions: int = 0
    active_ms: int = 0
    files: BitMap = field(default_factory=BitMap)

    def add(self, other: Tally) -> None:
        self.events += other.events
        self.commits += other.commits
        self.insertions += other.insertions
        self.deletions += other.deletions
        self.active_ms += other.active_ms
        self.files |= other.files

    @classmethod
    def of(cls, cell: Any) -> Tally:
        """Of a row of ``cells``."""
        return cls(
            cell.events,
            cell.commits,
            cell.insertions,
            cell.deletions,
            cell.active_ms,
            BitMap.deserialize(cell.files),
        )


class Counted(Protocol):
    """What is counted of an event; ``person_id`` is None where nobody known did it."""

    @property
    def event_id(self) -> bytes: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def project_id(self) -> int: ...
    @property
    def person_id(self) -> int | None: ...
    @property
    def event_type(self) -> int: ...
    @property
    def insertions(self) -> int: ...
    @property
    def deletions(self) -> int: ...
    @property
    def files(self) -> bytes: ...


def count(session: Session, new: Sequence[Counted], calendar: Calendar) -> None:
    """Add events that are about to be stored to the hour cells, and mark their days for ``refresh``.

    All of them are in open hours (``retention.horizon``). The caller holds what ``ingest`` locks,
    stores them, and commits.
    """
    changed: set[tuple[int, int]] = set()
    for person_id in sorted({event.person_id or NOBODY for event in new}):
        own = sorted((e for e in new if (e.person_id or NOBODY) == person_id), key=_order)
        changed |= _add_hours(session, person_id, own, calendar)
    _mark(session, changed, calendar.zone)


def _add_hours(
    session: Session, person_id: int, new: Sequence[Counted], calendar: Calendar
) -> set[tuple[int, int]]:
    hours = windows.Hours(calendar.zone)
    tallies = _by_hour(new, hours)
    if person_id != NOBODY:
        limit = calendar.idle_limit_ms
        for before, after in _replaced(_around(session, person_id, new, limit), new):
            for sign, rows in ((1, after), (-1, before)):
                for start, project_id, active_ms in _active(rows, hours, limit):
                    tallies.setdefault((project_id, start), Tally()).active_ms += sign * active_ms
    _add_to_cells(session, person_id, {key: tally for key, tally in tallies.items() if tally != Tally()})
    return set(tallies)


def _replaced(old: Sequence[Any], new: Sequence[Any]) -> Iterator[tuple[list[Any], list[Any]]]:
    """Where new events come between old ones: the old neighbours, and the same with the new in between."""
    is_new = dict.fromkeys(map(id, new), True)
    before: list[Any] = []
    after: list[Any] = []
    for row in sorted(itertools.chain(old, new), key=_order):
        after.append(row)
        if id(row) in is_new:
            continue
        if len(after) > len(before) + 1:
            yield [*before, row], after
        before, after = [row], [row]
    if len(after) > len(before):
        yield before, after


def _order(event: Any) -> tuple[int, bytes]:
    return event.timestamp, event.event_id


def _around(session: Session, person_id: int, new: Sequence[Counted], limit: int) -> Sequence[Any]:
    """The person's stored events that one of the new ones, in order, can follow or be followed by."""
    merged = _merged([(event.timestamp - limit, event.timestamp + limit + 1) for event in new])
    statement = (
        f"{db.in_ranges(merged)} SELECT events.timestamp, events.event_id, events.project_id FROM ranges "  # noqa: S608 - integers
        f"JOIN events ON events.person_id = {person_id} AND events.timestamp >= ranges.low "
        "AND events.timestamp < ranges.high "
        # Says nothing new, but leaves partitions out before they are opened.
        f"WHERE events.timestamp >= {merged[0][0]} AND events.timestamp < {merged[-1][1]} "
        "ORDER BY events.timestamp, events.event_id"
    )
    return session.connection().exec_driver_sql(statement).all()


def _add_to_cells(session: Session, person_id: int, tallies: dict[tuple[int, int], Tally]) -> None:
    """Add to the hour cells of (project, start) what there is; a cell of nothing goes."""
    starts = {start for _, start in tallies}
    projects = {project_id for project_id, _ in tallies}
    own = (_CELLS.person_id == person_id) & (_CELLS.grain == Grain.HOUR) & _CELLS.project_id.in_(projects)
    rows = session.execute(select(Cell.__table__).where(own, _CELLS.start.in_(starts)))
    for row in rows:
        if (tally := tallies.get((row.project_id, row.start))) is not None:
            tally.add(Tally.of(row))
    empty = [key for key, tally in tallies.items() if tally == Tally()]
    for project_id, start in empty:
        this = (_CELLS.project_id == project_id) & (_CELLS.start == start)
        session.execute(cast(Table, Cell.__table__).delete().where(own, this))
        del tallies[project_id, start]
    db.upsert(
        session,
        Cell,
        [_cell(Grain.HOUR, (*key, person_id), tally) for key, tally in sorted(tallies.items(), key=_by_key)],
        update=["events", "commits", "insertions", "deletions", "active_ms", "files"],
    )


def _by_key(item: tuple[tuple[int, int], Tally]) -> tuple[int, int]:
    return item[0]


def recount(session: Session, touched: Sequence[Touched], calendar: Calendar) -> None:
    """Count anew the hour cells that the touched events changed, and mark their days for ``refresh``.

    The caller holds what ``ingest`` locks, and commits.
    """
    open_from = _open_from(session, calendar.idle_limit_ms)
    changed: set[tuple[int, int]] = set()
    for person_id in sorted({event.person_id for event in touched} - {NOBODY}):
        own = [event.timestamp for event in touched if event.person_id == person_id]
        changed |= _recount_person(session, person_id, own, calendar, open_from)
    for project_id in sorted({event.project_id for event in touched if event.person_id == NOBODY}):
        own = [e.timestamp for e in touched if e.person_id == NOBODY and e.project_id == project_id]
        changed |= _recount_nobody(session, project_id, own, calendar, open_from)
    _mark(session, changed, calendar.zone)


def _open_from(session: Session, idle_limit_ms: int) -> int:
    """Hours that start before this are closed: a gap into them may begin with a deleted event."""
    since = session.scalars(select(Workspace.events_since)).one()
    return since + idle_limit_ms if since else _ALL_OPEN


def _mark(session: Session, changed: Iterable[tuple[int, int]], zone: ZoneInfo) -> None:
    """Leave a mark for each day of the changed (project, hour start), and move the projects' generations."""
    days = {(project_id, windows.window(Grain.DAY, hour, zone).start_ms) for project_id, hour in changed}
    upsert(
        session,
        Mark,
        [{"project_id": project_id, "day": day} for project_id, day in sorted(days)],
        update=["day"],
    )
    _move_generations(session, {project_id for project_id, _ in days})


def _move_generations(session: Session, project_ids: Iterable[int]) -> None:
    """The last thing a transaction does, in order of id: so no two wait for each other."""
    for project_id in sorted(project_ids):
        moved = _PROJECTS.update().where(_PROJECTS.c.id == project_id)
        session.execute(moved.values(generation=_PROJECTS.c.generation + 1))


def _recount_person(
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
        changed |= _recount_hours(session, person_id, hours[start : start + _MAX_HOURS], limit)
    return changed


def _recount_hours(
    session: Session, person_id: int, hours: Sequence[Window], limit: int
) -> set[tuple[int, int]]:
    spans = ranges(_merged([(hour.start_ms - limit, hour.end_ms + limit) for hour in hours]))
    rows = session.execute(
        select(*_COUNTED)
        .join(spans, (Event.timestamp >= spans.c.low) & (Event.timestamp < spans.c.high))
        .where(Event.person_id == person_id)
        .order_by(Event.timestamp, Event.event_id)
    ).all()
    finder = _Finder(hours)
    tallies = _by_hour(rows, finder)
    for start, project_id, active_ms in _active(rows, finder, limit):
        tallies.setdefault((project_id, start), Tally()).active_ms += active_ms
    return _replace_hours(session, tallies, hours, Cell.person_id == person_id, person_id)


def _recount_nobody(
    session: Session, project_id: int, timestamps: Iterable[int], calendar: Calendar, open_from: int
) -> set[tuple[int, int]]:
    """The open cells of events without a person; time at work is not theirs to count."""
    hours = {windows.window(Grain.HOUR, t, calendar.zone) for t in timestamps}
    still_open = sorted(hour for hour in hours if hour.start_ms >= open_from)
    return _recount_nobodys_hours(session, project_id, still_open) if still_open else set()


def _recount_nobodys_hours(
    session: Session, project_id: int, hours: Sequence[Window]
) -> set[tuple[int, int]]:
    spans = ranges(_merged([(hour.start_ms, hour.end_ms) for hour in hours]))
    rows = session.execute(
        select(*_COUNTED)
        .join(spans, (Event.timestamp >= spans.c.low) & (Event.timestamp < spans.c.high))
        .where(Event.project_id == project_id, Event.person_id.is_(None))
    ).all()
    own = (Cell.person_id == NOBODY) & (Cell.project_id == project_id)
    return _replace_hours(session, _by_hour(rows, _Finder(hours)), hours, own, NOBODY)


_COUNTED: Final = (
    Event.timestamp,
    Event.project_id,
    Event.event_type,
    Event.insertions,
    Event.deletions,
    Event.files,
)


def _by_hour(rows: Sequence[Any], hour_of: HourOf) -> dict[tuple[int, int], Tally]:
    """Tallies by (project, hour start), without time; rows outside the hours are left out."""
    tallies: dict[tuple[int, int], Tally] = {}
    for row in rows:
        if (hour := hour_of(row.timestamp)) is None:
            continue
        tally = tallies.setdefault((row.project_id, hour.start_ms), Tally())
        tally.events += 1
        tally.commits += row.event_type in _COMMITS
        tally.insertions += row.insertions
        tally.deletions += row.deletions
        if row.files:
            tally.files.update(unpack_files(row.files))
    return tallies


def _active(rows: Sequence[Any], hour_of: HourOf, idle_limit_ms: int) -> Iterator[tuple[int, int, int]]:
    """(hour start, project, milliseconds) of every gap of work, cut at the edges of the hours.

    ``rows`` are one person's, in order of time; a gap belongs to the project of its earlier event.
    """
    for earlier, later in itertools.pairwise(rows):
        if later.timestamp - earlier.timestamp > idle_limit_ms:
            continue
        at = earlier.timestamp
        while at < later.timestamp:
            hour = hour_of(at)
            until = later.timestamp if hour is None else min(later.timestamp, hour.end_ms)
            if hour is not None:
                yield hour.start_ms, earlier.project_id, until - at
            elif (follows := hour_of.next(at)) is not None and follows.start_ms < until:
                until = follows.start_ms
            at = until


class HourOf(Protocol):
    """Finds the hour that holds an instant, None for one that is not counted, and the next hour after it."""

    def __call__(self, timestamp: int) -> Window | None: ...
    def next(self, timestamp: int) -> Window | None: ...


class _Finder:
    """Which of the ordered windows holds an instant."""

    def __init__(self, spans: Sequence[Window]) -> None:
        self._spans = spans
        self._starts = [span.start_ms for span in spans]

    def __call__(self, timestamp: int) -> Window | None:
        index = bisect_right(self._starts, timestamp) - 1
        return self._spans[index] if index >= 0 and timestamp < self._spans[index].end_ms else None

    def next(self, timestamp: int) -> Window | None:
        index = bisect_right(self._starts, timestamp)
        return self._spans[index] if index < len(self._spans) else None


def _replace_hours(
    session: Session,
    tallies: dict[tuple[int, int], Tally],
    hours: Sequence[Window],
    own: ColumnElement[bool],
    person_id: int,
) -> set[tuple[int, int]]:
    """Put the tallies in the place of all ``own`` cells of the hours; return (project, hour) of both."""
    old = own & (Cell.grain == Grain.HOUR) & Cell.start.in_([hour.start_ms for hour in hours])
    before = {
        (row.project_id, row.start) for row in session.execute(select(Cell.project_id, Cell.start).where(old))
    }
    if before:
        session.execute(delete(Cell).where(old))
    _insert_cells(
        session,
        Grain.HOUR,
        {(project_id, start, person_id): tally for (project_id, start), tally in tallies.items()},
    )
    return before | set(tallies)


def refresh(session: Session, zone: ZoneInfo, limit: int = 500) -> int:
    """Derive days, weeks and months of up to ``limit`` marked days of one project; return how many.

    The project with the oldest mark comes first. The caller commits, and calls again until 0.
    """
    project_id = session.scalar(select(Mark.project_id).order_by(Mark.day).limit(1))
    if project_id is None:
        return 0
    lock(session, Lock.LARGER_WINDOWS, [project_id])
    marked = select(Mark.day).where(Mark.project_id == project_id).order_by(Mark.day)
    days = session.scalars(marked.limit(limit).with_for_update()).all()
    if not days:  # another refresher held the lock, and has derived them
        return 0
    # An upload that touches one of these days from here on waits for us, and marks it anew; one
    # that touched it before had to commit first, and what it counted is read below.
    session.execute(delete(Mark).where(Mark.project_id == project_id, Mark.day.in_(days)))
    _derive(
        session, project_id, Grain.DAY, [windows.window(Grain.DAY, day, zone) for day in days], Grain.HOUR
    )
    for grain in (Grain.WEEK, Grain.MONTH):
        larger = sorted({windows.window(grain, day, zone) for day in days})
        _derive(session, project_id, grain, larger, Grain.DAY)
    _move_generations(session, [project_id])
    return len(days)


def _derive(session: Session, project_id: int, grain: Grain, spans: Sequence[Window], smaller: Grain) -> None:
    """Replace the project's cells of the windows by the union of the smaller cells in them."""
    inside = ranges([(span.start_ms, span.end_ms) for span in spans])
    rows = session.execute(
        select(Cell.__table__, inside.c.low.label("window_start"))
        .join(inside, (Cell.start >= inside.c.low) & (Cell.start < inside.c.high))
        .where(Cell.project_id == project_id, Cell.grain == smaller)
    )
    tallies: dict[tuple[int, int, int], Tally] = {}
    for row in rows:
        tallies.setdefault((project_id, row.window_start, row.person_id), Tally()).add(Tally.of(row))
    session.execute(
        delete(Cell).where(
            Cell.project_id == project_id,
            Cell.grain == grain,
            Cell.start.in_([span.start_ms for span in spans]),
        )
    )
    _insert_cells(session, grain, tallies)


def rebuild(session: Session, calendar: Calendar) -> None:
    """Count every cell anew from the events, as after a change of zone or idle limit. The caller commits.

    Closed hours stay as they were counted: of an hour of another zone, days, weeks and months take
    the whole where it begins. Works in steps of ``_MAX_TIMES`` different timestamps: memory stays
    flat however many events there are.
    """
    open_from = _close_hours(session, calendar)
    session.execute(delete(Cell).where((Cell.grain != Grain.HOUR) | (Cell.start >= open_from)))
    session.execute(delete(Mark))
    _mark_all(session, calendar.zone)
    rest = _rest_of_hour(open_from, calendar.zone)
    for person_id in session.scalars(select(Person.id).order_by(Person.id)).all():
        changed = _recount_hours(session, person_id, rest, calendar.idle_limit_ms) if rest else set()
        _mark(session, changed, calendar.zone)
        for times in _times(session, Event.person_id == person_id):
            changed = _recount_person(session, person_id, times, calendar, open_from)
            _mark(session, changed, calendar.zone)
    for project_id in session.scalars(select(Project.id).order_by(Project.id)).all():
        changed = _recount_nobodys_hours(session, project_id, rest) if rest else set()
        _mark(session, changed, calendar.zone)
        for times in _times(session, Event.person_id.is_(None) & (Event.project_id == project_id)):
            changed = _recount_nobody(session, project_id, times, calendar, open_from)
            _mark(session, changed, calendar.zone)
    while refresh(session, calendar.zone):
        pass


def _close_hours(session: Session, calendar: Calendar) -> int:
    """Where the last closed hour ends, by the calendar that it was cut by; from here on all is counted anew.

    Noted, so that a later upload does not open it again: the new zone's hours may be cut elsewhere.
    """
    open_from = _open_from(session, calendar.idle_limit_ms)
    if open_from == _ALL_OPEN:
        return open_from
    workspace = session.get_one(Workspace, 1)
    open_from = windows.window(Grain.HOUR, open_from - 1, ZoneInfo(workspace.timezone)).end_ms
    workspace.events_since = open_from - calendar.idle_limit_ms
    return open_from


def _rest_of_hour(instant: int, zone: ZoneInfo) -> list[Window]:
    """What is left of the hour in which the instant lies, none where it begins one."""
    if instant == _ALL_OPEN:
        return []
    hour = windows.window(Grain.HOUR, instant, zone)
    return [] if hour.start_ms == instant else [Window(instant, hour.end_ms)]


def _mark_all(session: Session, zone: ZoneInfo) -> None:
    """Mark the days of all hours there are."""
    for project_id in session.scalars(select(Project.id).order_by(Project.id)).all():
        hours = select(Cell.start).where(Cell.project_id == project_id, Cell.grain == Grain.HOUR).distinct()
        _mark(session, [(project_id, start) for start in session.scalars(hours)], zone)


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


def pack_files(ids: Iterable[int]) -> bytes:
    """File ids as little-endian 32-bit integers, the form of ``Event.files``."""
    packed = array("I", ids)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def unpack_files(packed: bytes) -> array[int]:
    ids = array("I", packed)
    if sys.byteorder == "big":
        ids.byteswap()
    return ids


def _insert_cells(session: Session, grain: Grain, tallies: dict[tuple[int, int, int], Tally]) -> None:
    """One cell for each (project, start, person)."""
    if not tallies:
        return
    session.execute(insert(Cell), [_cell(grain, key, tally) for key, tally in tallies.items()])


def _cell(grain: Grain, key: tuple[int, int, int], tally: Tally) -> dict[str, Any]:
    """A row of ``cells``; the key is project, start, person."""
    project_id, start, person_id = key
    return {
        "project_id": project_id,
        "grain": grain,
        "start": start,
        "person_id": person_id,
        "events": tally.events,
        "commits": tally.commits,
        "insertions": tally.insertions,
        "deletions": tally.deletions,
        "active_ms": tally.active_ms,
        "files": tally.files.serialize(),
    }


def _merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ordered spans with those that touch or overlap made one, so that no row is read twice."""
    merged: list[tuple[int, int]] = []
    for low, high in spans:
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged
