"""The proof of cells and slices: a recount from the events, what differs from it, and putting that right.

Reading takes one view of the database for each part, in which events and cells belong together,
so that nobody waits. Only a repair takes what an upload would hold, a part a transaction. Closed
hours cannot be counted anew: they are only held against the larger windows that follow from them,
and slices of such days not at all.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, delete, func, literal, or_, select, union_all
from sqlalchemy.orm import Session

from devflow import audit, db, windows
from devflow.active_time import active_ms
from devflow.audit import Act, Actor
from devflow.db import Database, Lock
from devflow.models import Cell, Event, Mark, Person, Project, Slice, SliceMark, Workspace
from devflow.rollups import slices
from devflow.rollups.calendars import in_force
from devflow.rollups.cells import mark
from devflow.rollups.differences import Difference, Key, SliceKey, counts, differences
from devflow.rollups.larger import refresh
from devflow.rollups.recounting import COUNTED, open_from_of, recount_hours, recount_nobodys_hours
from devflow.rollups.slicing import Piece, Slicer, pieces
from devflow.rollups.slicing import mark as mark_slices
from devflow.rollups.tallies import NOBODY, Calendar, Tally, by_hour
from devflow.windows import Grain, Window

PART: Final = 2_000
"""Events, and hour cells, that are looked at in one view: memory stays flat however many there are."""
_FOR_EVER: Final = 1 << 62
_LONGEST_DAY_MS: Final = 25 * windows.HOUR_MS
_LARGER: Final = (Grain.DAY, Grain.WEEK, Grain.MONTH)


@dataclass(frozen=True, slots=True)
class Whose:
    """Hour cells that are counted together: a person's in all projects, or nobody's in one."""

    person_id: int
    project_id: int = 0

    @property
    def events(self) -> ColumnElement[bool]:
        if self.person_id == NOBODY:
            return Event.person_id.is_(None) & (Event.project_id == self.project_id)
        return Event.person_id == self.person_id

    @property
    def hours(self) -> ColumnElement[bool]:
        own = (Cell.person_id == self.person_id) & (Cell.grain == Grain.HOUR)
        return own & (Cell.project_id == self.project_id) if self.person_id == NOBODY else own


def verify(database: Database, repair: Actor | None = None) -> Iterator[Difference]:
    """Each number that differs, hours first; with ``repair`` in its name, each part is put right at once.

    Larger windows are held against the hour cells that are stored, slices against events, except
    where a mark says that they are still to be derived.
    """
    with database.reading() as session:
        everybody = _everybody(session)
    for whose in everybody:
        at = 0
        while (end := (yield from _verify_hours(database, whose, at, repair))) is not None:
            at = end
    if repair is not None:
        _refresh(database)
    with database.reading() as session:
        project_ids = session.scalars(select(Project.id).order_by(Project.id)).all()
    for project_id in project_ids:
        at = -_FOR_EVER
        while (end := (yield from _verify_larger(database, project_id, at, repair))) is not None:
            at = end
    if repair is not None:
        _refresh(database)
    for piece in _days(database):
        yield from _verify_slices(database, piece, repair)
    if repair is not None:
        Slicer(database).go_on()
        database.transact(lambda session: _note_repaired(session, repair))


def sample(
    database: Database, chance: random.Random, now: Callable[[], float] = time.monotonic, for_s: float = 5
) -> list[Difference]:
    """What differs among the numbers of somebody, and of a project, picked by chance for a while."""
    with database.reading() as session:
        everybody = _everybody(session)
        project_ids = session.scalars(select(Project.id)).all()
    found: dict[Key | SliceKey, Difference] = {}
    deadline = now() + for_s
    for _ in range(_PICKS):
        if not everybody or not project_ids or now() > deadline:
            break
        whose, project_id = chance.choice(everybody), chance.choice(project_ids)
        at = _instant(database, Cell.project_id == project_id, chance)
        picked = [
            *_verify_hours(database, whose, _instant(database, whose.hours, chance), None),
            *_verify_larger(database, project_id, at, None),
            *_verify_slices(database, Piece(project_id, [at]), None),
        ]
        found.update((difference.key, difference) for difference in picked)
    return list(found.values())


_PICKS: Final = 50


def note_sample(session: Session, by: Actor, wrong: Sequence[Difference]) -> None:
    """Remember that a sample was taken; what is wrong, until a repair. The caller commits."""
    workspace = session.get_one(Workspace, 1, with_for_update=True, populate_existing=True)
    workspace.rollups_examined_at = by.now_ms
    workspace.rollups_wrong = max(workspace.rollups_wrong, len(wrong))
    if wrong:
        audit.record(session, by, Act.ROLLUPS_WRONG, **counts(wrong))


def _note_repaired(session: Session, by: Actor) -> None:
    workspace = session.get_one(Workspace, 1, with_for_update=True, populate_existing=True)
    workspace.rollups_examined_at, workspace.rollups_wrong = by.now_ms, 0


def _refresh(database: Database) -> None:
    while database.transact(refresh):
        pass


def _everybody(session: Session) -> list[Whose]:
    people = select(Person.id)
    strays = select(Cell.person_id).distinct().where(Cell.person_id != NOBODY, Cell.person_id.not_in(people))
    known = [*session.scalars(people.order_by(Person.id)), *session.scalars(strays)]
    projects = session.scalars(select(Project.id).order_by(Project.id))
    return [Whose(person_id) for person_id in known] + [Whose(NOBODY, project_id) for project_id in projects]


def _instant(database: Database, which: ColumnElement[bool], chance: random.Random) -> int:
    """Some time between the first and the last of the cells."""
    with database.reading() as session:
        low, high = session.execute(select(func.min(Cell.start), func.max(Cell.start)).where(which)).one()
    return 0 if low is None else chance.randint(low, high)


# Hours


def _verify_hours(
    database: Database, whose: Whose, at: int, repair: Actor | None
) -> Generator[Difference, None, int | None]:
    """Returns where the part ends, None if there was none."""
    with database.reading() as session:
        calendar = in_force(session)
        open_from = open_from_of(session, calendar.idle_limit_ms)
        part = _part(session, whose, max(at, open_from), windows.Hours(calendar.zone))
        if part is None:
            return None
        found = _compare_hours(session, whose, part, calendar, open_from)
    if found and repair is not None:
        database.transact(lambda writing: _repair_hours(writing, repair, whose, found, calendar))
    yield from found
    return part.end_ms


def _part(session: Session, whose: Whose, at: int, hours: windows.Hours) -> Window | None:
    """Whole hours with up to about ``PART`` events and cells from ``at`` on, None if there are none."""
    firsts, lasts = [], []
    for column, own in ((Event.timestamp, whose.events), (Cell.start, whose.hours)):
        after = select(column).where(own, column >= at).order_by(column).limit(1)
        firsts.append(session.scalar(after))
        lasts.append(session.scalar(after.offset(PART)))
    low = min((first for first in firsts if first is not None), default=None)
    if low is None:
        return None
    last = min((last for last in lasts if last is not None), default=None)
    first_hour = hours(low)
    if last is None:
        return Window(first_hour.start_ms, _FOR_EVER)
    return Window(first_hour.start_ms, max(first_hour.end_ms, hours(last).start_ms))


def _compare_hours(
    session: Session, whose: Whose, part: Window, calendar: Calendar, open_from: int
) -> list[Difference]:
    limit, hours = calendar.idle_limit_ms, windows.Hours(calendar.zone)
    rows = session.execute(
        select(*COUNTED)
        .where(whose.events, Event.timestamp >= part.start_ms - limit, Event.timestamp < part.end_ms + limit)
        .order_by(Event.timestamp, Event.event_id)
    ).all()
    counted = by_hour(rows, hours)
    if whose.person_id != NOBODY:
        for key, milliseconds in active_ms(rows, hours, limit).items():
            counted.setdefault(key, Tally()).active_ms = milliseconds
    stored = session.execute(
        select(Cell.__table__).where(whose.hours, Cell.start >= part.start_ms, Cell.start < part.end_ms)
    )
    return differences(
        session,
        {
            Key(row.project_id, Grain.HOUR, row.start, row.person_id): Tally.of(row)
            for row in stored
            if hours(row.start).start_ms >= open_from
        },
        {
            Key(project_id, Grain.HOUR, start, whose.person_id): tally
            for (project_id, start), tally in counted.items()
            if part.start_ms <= start < part.end_ms and start >= open_from
        },
    )


def _repair_hours(
    session: Session, by: Actor, whose: Whose, wrong: Sequence[Difference], calendar: Calendar
) -> None:
    """Count the hours anew, as of now: an upload may have come in between."""
    db.lock(session, Lock.RETENTION, shared=True)
    if in_force(session) != calendar:
        return
    held = select(Person.id).where(Person.id == whose.person_id)
    session.execute(held.with_for_update(key_share=True))
    if whose.person_id == NOBODY:
        db.lock(session, Lock.NOBODYS_CELLS, [whose.project_id])
    open_from = open_from_of(session, calendar.idle_limit_ms)
    _delete(session, wrong)
    hour_of = windows.Hours(calendar.zone)
    hours = sorted({hour_of(each.key.start) for each in wrong})
    hours = [hour for hour in hours if hour.start_ms >= open_from]
    changed = {(each.key.project_id, each.key.start) for each in wrong}
    if whose.person_id == NOBODY:
        changed |= recount_nobodys_hours(session, whose.project_id, hours)
    else:
        changed |= recount_hours(session, whose.person_id, hours, calendar.idle_limit_ms)
    mark(session, changed, calendar.zone)
    _record(session, by, wrong)


# Larger windows


def _verify_larger(
    database: Database, project_id: int, at: int, repair: Actor | None
) -> Generator[Difference, None, int | None]:
    """Returns where the month ends, None if there was none."""
    with database.reading() as session:
        zone = in_force(session).zone
        first = session.scalar(
            select(func.min(Cell.start)).where(Cell.project_id == project_id, Cell.start >= at)
        )
        if first is None:
            return None
        month = windows.window(Grain.MONTH, first, zone)
        found = _compare_larger(session, project_id, month, zone)
    if found and repair is not None:
        database.transact(lambda writing: _repair_larger(writing, repair, found))
    yield from found
    return month.end_ms


def _compare_larger(session: Session, project_id: int, month: Window, zone: ZoneInfo) -> list[Difference]:
    """The month, its days, and the weeks that have a day in it, but for those that are marked."""
    weeks = windows.spans_of(Grain.WEEK, month.start_ms, month.end_ms - 1, zone)
    low, high = min(weeks[0].start_ms, month.start_ms), max(weeks[-1].end_ms, month.end_ms)
    rows = session.execute(
        select(Cell.__table__).where(Cell.project_id == project_id, Cell.start >= low, Cell.start < high)
    )
    inside = {Grain.DAY: month, Grain.WEEK: Window(low, weeks[-1].end_ms), Grain.MONTH: month}
    stored: dict[Key, Tally] = {}
    counted: dict[Key, Tally] = {}
    for row in rows:
        if row.grain != Grain.HOUR:
            stored[Key(project_id, Grain(row.grain), row.start, row.person_id)] = Tally.of(row)
            continue
        tally = Tally.of(row)
        for grain in _LARGER:
            key = Key(project_id, grain, windows.window(grain, row.start, zone).start_ms, row.person_id)
            counted.setdefault(key, Tally()).add(tally)
    marks = session.scalars(
        select(Mark.day).where(Mark.project_id == project_id, Mark.day >= low, Mark.day < high)
    )
    pending = {(grain, windows.window(grain, day, zone).start_ms) for day in marks for grain in _LARGER}

    def is_meant(key: Key) -> bool:
        span = inside[key.grain]
        begin = windows.window(key.grain, key.start, zone).start_ms
        return span.start_ms <= key.start < span.end_ms and (key.grain, begin) not in pending

    return differences(
        session,
        {key: tally for key, tally in stored.items() if is_meant(key)},
        {key: tally for key, tally in counted.items() if is_meant(key)},
    )


def _repair_larger(session: Session, by: Actor, wrong: Sequence[Difference]) -> None:
    """Mark a day of each, from which ``refresh`` derives all three."""
    db.lock(session, Lock.RETENTION, shared=True)
    db.lock(session, Lock.LARGER_WINDOWS, {each.key.project_id for each in wrong})
    _delete(session, wrong)
    mark(session, {(each.key.project_id, each.key.start) for each in wrong}, in_force(session).zone)
    _record(session, by, wrong)


# Slices


def _days(database: Database) -> list[Piece]:
    """All days that have cells or slices."""
    cells = select(Cell.project_id, Cell.start.label("day"), Cell.events).where(Cell.grain == Grain.DAY)
    both = union_all(cells, select(Slice.project_id, Slice.day, literal(0))).subquery()
    days = select(both.c.project_id, both.c.day, func.sum(both.c.events)).group_by(
        both.c.project_id, both.c.day
    )
    with database.reading() as session:
        rows = session.execute(days.order_by(both.c.project_id, both.c.day))
        return list(pieces((project_id, day, int(events)) for project_id, day, events in rows))


def _verify_slices(database: Database, piece: Piece, repair: Actor | None) -> list[Difference]:
    with database.reading() as session:
        found = _compare_slices(session, piece)
    if found and repair is not None:
        database.transact(lambda writing: _repair_slices(writing, repair, found))
    return found


def _compare_slices(session: Session, piece: Piece) -> list[Difference]:
    calendar, project_id = in_force(session), piece.project_id
    days = sorted({windows.window(Grain.DAY, at, calendar.zone) for at in piece.days})
    left_out = slices.incomplete(session, days, calendar) | _waiting(session, project_id, days, calendar)
    days = [day for day in days if day.start_ms not in left_out]
    if not days:
        return []
    counted = slices.count(session, project_id, days, calendar)
    # Whatever lies between the days, too: no window begins there.
    spans = [and_(Slice.day >= day.start_ms, Slice.day < day.end_ms) for day in days]
    rows = session.execute(select(Slice.__table__).where(Slice.project_id == project_id, or_(*spans)))
    return differences(
        session,
        {
            SliceKey(project_id, row.day, row.person_id, row.dimension, row.value): Tally.of(row)
            for row in rows
        },
        {
            SliceKey(project_id, key.day, key.person_id, key.dimension, key.value): tally
            for key, tally in counted.items()
        },
    )


def _waiting(session: Session, project_id: int, days: Sequence[Window], calendar: Calendar) -> set[int]:
    """The starts of days whose slices are yet to be derived, by a mark of their own or of the day before."""
    low = days[0].start_ms - _LONGEST_DAY_MS
    marked = (
        select(table.day).where(table.project_id == project_id, table.day >= low, table.day < days[-1].end_ms)
        for table in (Mark, SliceMark)
    )
    marks = [windows.window(Grain.DAY, day, calendar.zone) for day in session.scalars(union_all(*marked))]
    return {day.start_ms for day in slices.reached(marks, calendar)}


def _repair_slices(session: Session, by: Actor, wrong: Sequence[Difference]) -> None:
    """Mark the days anew; what lies where no day begins is deleted here."""
    db.lock(session, Lock.RETENTION, shared=True)
    project_ids = {each.key.project_id for each in wrong}
    db.lock(session, Lock.LARGER_WINDOWS, project_ids)
    zone = in_force(session).zone
    for each in wrong:
        if each.counted is None:
            which = (getattr(Slice, name) == value for name, value in each.key.columns().items())
            session.execute(delete(Slice).where(*which))
    for project_id in sorted(project_ids):
        starts = (each.key.start for each in wrong if each.key.project_id == project_id)
        days = {windows.window(Grain.DAY, start, zone).start_ms for start in starts}
        mark_slices(session, project_id, sorted(days))
    _record(session, by, wrong)


# All


def _delete(session: Session, wrong: Iterable[Difference]) -> None:
    """Cells that should not be: where no window begins, no other count would find them."""
    for each in wrong:
        if each.counted is None:
            which = (getattr(Cell, name) == value for name, value in each.key.columns().items())
            session.execute(delete(Cell).where(*which))


def _record(session: Session, by: Actor, wrong: Sequence[Difference]) -> None:
    audit.record(session, by, Act.ROLLUPS_REPAIRED, **counts(wrong))
