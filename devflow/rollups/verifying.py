"""The proof of the cells: a recount from the events, what differs from it, and putting that right.

Reading takes one view of the database for each part, in which events and cells belong together,
so that nobody waits. Only a repair takes what an upload would hold, a part a transaction. Closed
hours cannot be counted anew: they are only held against the larger windows that follow from them.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from devflow import audit, db, windows
from devflow.active_time import active_ms
from devflow.audit import Act, Actor
from devflow.db import Database, Lock
from devflow.models import Cell, Event, Mark, Person, Project, Workspace
from devflow.rollups.calendars import in_force
from devflow.rollups.cells import mark
from devflow.rollups.larger import refresh
from devflow.rollups.recounting import COUNTED, open_from_of, recount_hours, recount_nobodys_hours
from devflow.rollups.tallies import NOBODY, Calendar, Tally, by_hour
from devflow.windows import Grain, Window

PART: Final = 2_000
"""Events, and hour cells, that are looked at in one view: memory stays flat however many there are."""
_FOR_EVER: Final = 1 << 62
_LARGER: Final = (Grain.DAY, Grain.WEEK, Grain.MONTH)


class Key(NamedTuple):
    """Which cell."""

    project_id: int
    grain: Grain
    start: int
    person_id: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A cell that is not what was counted; None for one that is not there, or should not be."""

    key: Key
    project: UUID
    person: UUID | None  # None for nobody known here
    stored: Tally | None
    counted: Tally | None

    def __str__(self) -> str:
        """``project P person Q hour 2026-11-19T14:00:00Z: events 3, counted 2``."""
        start = datetime.fromtimestamp(self.key.start / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        person = self.person or ("nobody" if self.key.person_id == NOBODY else "unknown")
        return f"project {self.project} person {person} {self.key.grain} {start}: {self._what()}"

    def _what(self) -> str:
        if self.stored is None:
            return "missing"
        if self.counted is None:
            return "should not be"
        stored, counted = amounts(self.stored), amounts(self.counted)
        wrong = [
            f"{name} {amount}, counted {counted[name]}"
            for name, amount in stored.items()
            if amount != counted[name]
        ]
        return "; ".join(wrong) or f"of {counted['files']} files others"


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
    """Each cell that differs, hours first; with ``repair`` in its name, each part is put right and committed.

    Larger windows are held against the hour cells that are stored, except where a mark says that
    they are still to be derived.
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
        database.transact(lambda session: _note_repaired(session, repair))


def amounts(tally: Tally) -> dict[str, int]:
    """What the cell says, of the files how many."""
    return {
        "events": tally.events,
        "commits": tally.commits,
        "insertions": tally.insertions,
        "deletions": tally.deletions,
        "activeMs": tally.active_ms,
        "files": len(tally.files),
    }


def sample(
    database: Database, chance: random.Random, now: Callable[[], float] = time.monotonic, for_s: float = 5
) -> list[Difference]:
    """The cells that differ among those of somebody, and of a project, picked by chance for a while."""
    with database.reading() as session:
        everybody = _everybody(session)
        project_ids = session.scalars(select(Project.id)).all()
    found: dict[Key, Difference] = {}
    deadline = now() + for_s
    for _ in range(_PICKS):
        if not everybody or not project_ids or now() > deadline:
            break
        whose, project_id = chance.choice(everybody), chance.choice(project_ids)
        picked = [
            *_verify_hours(database, whose, _instant(database, whose.hours, chance), None),
            *_verify_larger(
                database, project_id, _instant(database, Cell.project_id == project_id, chance), None
            ),
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
        audit.record(session, by, Act.ROLLUPS_WRONG, **_counts(wrong))


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
    return _differences(
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

    return _differences(
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


# Both


def _differences(session: Session, stored: dict[Key, Tally], counted: dict[Key, Tally]) -> list[Difference]:
    wrong = sorted(key for key in stored.keys() | counted.keys() if stored.get(key) != counted.get(key))
    if not wrong:
        return []
    projects = _public_ids(session, Project, {key.project_id for key in wrong})
    people = _public_ids(session, Person, {key.person_id for key in wrong})
    return [
        Difference(
            key, projects[key.project_id], people.get(key.person_id), stored.get(key), counted.get(key)
        )
        for key in wrong
    ]


def _public_ids(session: Session, kind: type[Project | Person], ids: Iterable[int]) -> dict[int, UUID]:
    found = session.execute(select(kind.id, kind.public_id).where(kind.id.in_(ids)))
    return {row.id: row.public_id for row in found}


def _delete(session: Session, wrong: Iterable[Difference]) -> None:
    """Cells that should not be: where no window begins, no other count would find them."""
    for each in wrong:
        if each.counted is None:
            which = (getattr(Cell, name) == value for name, value in each.key._asdict().items())
            session.execute(delete(Cell).where(*which))


def _record(session: Session, by: Actor, wrong: Sequence[Difference]) -> None:
    audit.record(session, by, Act.ROLLUPS_REPAIRED, **_counts(wrong))


def _counts(wrong: Sequence[Difference]) -> dict[str, Any]:
    return {"cells": len(wrong), "projects": dict(Counter(str(each.project) for each in wrong))}
