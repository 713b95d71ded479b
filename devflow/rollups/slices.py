"""Slices: what each person did in a project on one day, cut by event type and by language of files.

They follow from the events of a day where cells follow from hours. In each dimension they add up to
the day's cells; by language only events and commits add up to more, since an event counts in each
language that it touches. Slices of days whose events retention deleted stay as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from pyroaring import BitMap
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from devflow import db, languages, windows
from devflow.active_time import active_ms
from devflow.models import Cell, Slice, Workspace
from devflow.rollups.recounting import open_from_of
from devflow.rollups.tallies import COMMITS, NOBODY, Calendar, Tally, merged, unpack_files
from devflow.windows import Finder, Grain, Window


class Dimension(StrEnum):
    """What a day is cut by; ``Slice.value`` is a ``TYPE_NUMBER``, or the number of a language."""

    TYPE = "type"
    LANGUAGE = "language"


NO_FILE: Final = 0
"""Stands where a language would: of events that are about no file."""
NOT_KEPT: Final = -1
"""In any dimension: of events that retention deleted before they were told apart."""
SEVERAL: Final = -2
"""Stands where a language would: time and lines of events about files of more than one."""

_COLUMNS: Final = tuple(column.key for column in Slice.__table__.columns)
_FILES_AT_ONCE: Final = 10_000
_ROWS_AT_ONCE: Final = 5_000


class Key(NamedTuple):
    dimension: str
    day: int
    value: int
    person_id: int


class _Kind(NamedTuple):
    """All that decides which slices an event is counted in."""

    day: int
    person_id: int
    event_type: int
    languages: tuple[int, ...]


@dataclass(slots=True)
class _Work:
    """What events of one kind add to their slices; ``files`` as in ``Event.files``."""

    events: int = 0
    insertions: int = 0
    deletions: int = 0
    active_ms: int = 0
    files: list[bytes] = field(default_factory=list)


_Kinds = dict[_Kind, _Work]


class _At(NamedTuple):
    """A moment of a person, as ``active_ms`` takes them.

    The time after it goes to what stands in the place of a project: the event's type and languages,
    or None if it was in another project.
    """

    timestamp: int
    event_id: bytes
    project_id: tuple[int, tuple[int, ...]] | None


Slices = dict[Key, Tally]


def reached(days: Iterable[Window], calendar: Calendar) -> list[Window]:
    """The days, and those after them, into which a gap may reach.

    A new event may take over a gap across midnight from another one of its project: then the time of
    the next day belongs to another slice, though no cell of it changes.
    """
    spans = (
        windows.spans_of(Grain.DAY, day.start_ms, day.end_ms - 1 + calendar.idle_limit_ms, calendar.zone)
        for day in days
    )
    return sorted(set(chain.from_iterable(spans)))


def incomplete(session: Session, days: Iterable[Window], calendar: Calendar) -> set[int]:
    """The starts of those days that need more than the events that are left."""
    open_from = open_from_of(session, calendar.idle_limit_ms)
    return {day.start_ms for day in days if day.start_ms < open_from}


def count(session: Session, project_id: int, days: Sequence[Window], calendar: Calendar) -> Slices:
    """The project's slices of these days, in order; where events are gone, cells say what there was."""
    limit = calendar.idle_limit_ms
    since = open_from_of(session, limit) - limit
    found: Slices = {}
    if counted := [day for day in days if day.start_ms >= since]:
        found = _from_events(session, project_id, counted, limit)
    if gone := [day.start_ms for day in days if day.start_ms < since]:
        found |= _kept(session, project_id, gone)
    # A day that begins with the events that are left may begin with the rest of a gap from before.
    if begun := incomplete(session, days, calendar):
        _add_rest(session, project_id, sorted(begun), found)
    return found


def replace(session: Session, project_id: int, found: Slices, days: Sequence[Window]) -> None:
    """Store these in the place of the project's slices of the days. The caller commits."""
    session.execute(delete(Slice).where(_of(project_id, [day.start_ms for day in days])))
    rows = [
        (
            project_id,
            *key,
            tally.events,
            tally.commits,
            tally.insertions,
            tally.deletions,
            tally.active_ms,
            tally.files.serialize(),
        )
        for key, tally in sorted(found.items(), key=lambda item: item[0])
    ]
    db.insert_many(session, Slice.__table__, _COLUMNS, rows)


def stored(session: Session, project_id: int, days: Sequence[int]) -> Slices:
    rows = session.execute(select(Slice.__table__).where(_of(project_id, days)))
    return {Key(row.dimension, row.day, row.value, row.person_id): Tally.of(row) for row in rows}


def forget_other_days(session: Session, zone: ZoneInfo) -> None:
    """Forget the slices of all days, if they were cut by another zone than this one.

    What is derived anew is whole; of days whose events are gone nothing is told apart any more.
    """
    if session.scalars(select(Workspace.timezone)).one() != zone.key:
        session.execute(delete(Slice))


# From events


def _from_events(session: Session, project_id: int, days: Sequence[Window], limit: int) -> Slices:
    events = list(_events(session, project_id, days, limit))
    found = _Languages(session, [files for *_, files in events])
    day_of = Finder(days)
    kinds: _Kinds = {}
    people: dict[int, list[_At]] = {}
    day = Window(0, 0)
    for timestamp, event_id, person_id, event_type, insertions, deletions, files in events:
        touched = found.of(files)
        if person_id is not None:
            people.setdefault(person_id, []).append(_At(timestamp, event_id, (event_type, touched)))
        if not day.start_ms <= timestamp < day.end_ms:  # most are where the one before was
            if (its := day_of(timestamp)) is None:
                continue
            day = its
        kind = _Kind(day.start_ms, person_id or NOBODY, event_type, touched)
        if (work := kinds.get(kind)) is None:
            work = kinds[kind] = _Work()
        work.events += 1
        work.insertions += insertions
        work.deletions += deletions
        work.files.append(files)
    for timestamp, event_id, person_id in _elsewhere(session, project_id, people, days, limit):
        people[person_id].append(_At(timestamp, event_id, None))
    for person_id, own in people.items():
        for (what, start), milliseconds in active_ms(sorted(own), day_of, limit).items():
            if what is not None:
                kind = _Kind(start, person_id, *what)
                kinds.setdefault(kind, _Work()).active_ms += milliseconds
    by_type = _by_type(kinds)
    return by_type | _by_language(kinds, by_type, found.files)


def _events(session: Session, project_id: int, days: Sequence[Window], limit: int) -> Iterable[Any]:
    """The project's events of the days, and an idle limit around, for the gaps that begin or end there."""
    return _read(
        session,
        "person_id, event_type, insertions, deletions, files",
        f"events.project_id = {project_id}",
        days,
        limit,
    )


def _elsewhere(
    session: Session, project_id: int, people: Iterable[int], days: Sequence[Window], limit: int
) -> Iterable[Any]:
    """When these people did something in other projects: it ends their gaps in this one."""
    if not (listed := ", ".join(map(str, people))):
        return []
    own = f"events.person_id IN ({listed}) AND events.project_id <> {project_id}"
    return _read(session, "person_id", own, days, limit)


def _read(session: Session, columns: str, which: str, days: Sequence[Window], limit: int) -> Iterable[Any]:
    """Timestamp, event id and the columns; in no order."""
    spans = merged([(day.start_ms - limit, day.end_ms + limit) for day in days])
    connection = session.connection()
    known = db.between(connection, spans[0][0], spans[-1][1])
    statement = (
        f"{db.in_ranges(spans)} SELECT events.timestamp, events.event_id, {columns} "  # noqa: S608 - integers
        "FROM ranges CROSS JOIN events "
        f"WHERE {which} AND events.timestamp >= low AND events.timestamp < high AND {known}"
    )
    return chain.from_iterable(connection.exec_driver_sql(statement).partitions(_ROWS_AT_ONCE))


def _by_type(kinds: _Kinds) -> Slices:
    found: Slices = {}
    for kind, work in kinds.items():
        tally = found.setdefault(Key(Dimension.TYPE, kind.day, kind.event_type, kind.person_id), Tally())
        _add_events(tally, kind, work)
        _add_work(tally, work)
        tally.files |= BitMap(unpack_files(b"".join(work.files)))
    return found


def _by_language(kinds: _Kinds, by_type: Slices, files_of: dict[int, BitMap]) -> Slices:
    """An event counts once in each language it touches; its lines and its time only where that is one."""
    found: Slices = {}

    def at(day: int, language: int, person_id: int) -> Tally:
        return found.setdefault(Key(Dimension.LANGUAGE, day, language, person_id), Tally())

    for kind, work in kinds.items():
        if work.events:  # an event of the day before has only its time here
            for language in kind.languages:
                _add_events(at(kind.day, language, kind.person_id), kind, work)
        if work.active_ms or work.insertions or work.deletions:
            only = kind.languages[0] if len(kind.languages) == 1 else SEVERAL
            _add_work(at(kind.day, only, kind.person_id), work)
    for key, tally in by_type.items():
        for language, files in files_of.items():
            if both := tally.files & files:
                at(key.day, language, key.person_id).files |= both
    return found


def _add_events(to: Tally, kind: _Kind, work: _Work) -> None:
    to.events += work.events
    to.commits += work.events if kind.event_type in COMMITS else 0


def _add_work(to: Tally, work: _Work) -> None:
    to.insertions += work.insertions
    to.deletions += work.deletions
    to.active_ms += work.active_ms


class _Languages:
    """Of the files of some events."""

    def __init__(self, session: Session, packed: Iterable[bytes]) -> None:
        self.files: dict[int, BitMap] = {}
        self._found: dict[bytes, tuple[int, ...]] = {b"": (NO_FILE,)}
        self._language: dict[int, int] = {}
        numbers = list(BitMap(unpack_files(b"".join(packed))))
        for some in db.in_steps(numbers, _FILES_AT_ONCE):
            listed = ",".join(map(str, some))
            statement = f"SELECT id, language FROM files WHERE id IN ({listed})"  # noqa: S608 - integers
            rows = session.connection().exec_driver_sql(statement).all()
            stored = {row.id: row.language for row in rows}
            for number in some:  # files of a project that is being deleted may be gone before an event is
                self._language[number] = language = stored.get(number, languages.OTHER)
                self.files.setdefault(language, BitMap()).add(number)

    def of(self, packed: bytes) -> tuple[int, ...]:
        """Each once; (NO_FILE,) of no file."""
        found = self._found.get(packed)
        if found is None:
            own = sorted({self._language[number] for number in unpack_files(packed)})
            found = self._found[packed] = tuple(own)
        return found


# Of events that are gone


def _kept(session: Session, project_id: int, days: Sequence[int]) -> Slices:
    """What is stored of days whose events are gone, without what was never told apart."""
    found = stored(session, project_id, days)
    return {key: tally for key, tally in found.items() if key.value != NOT_KEPT}


def _add_rest(session: Session, project_id: int, days: Sequence[int], found: Slices) -> None:
    """What the days' cells have and no slice tells is ``NOT_KEPT``, so that slices add up to them."""
    cells = _cells(session, project_id, days)
    told: dict[tuple[int, int], Tally] = {}
    for key, tally in found.items():
        if key.dimension == Dimension.TYPE and key.day in days:
            told.setdefault((key.day, key.person_id), Tally()).add(tally)
    for day, person_id in cells.keys() | told.keys():
        cell = cells.get((day, person_id), Tally())
        rest = _rest(cell, told.get((day, person_id), Tally()))
        if rest is None:  # what was kept is of before the cell was counted anew
            for key in [key for key in found if (key.day, key.person_id) == (day, person_id)]:
                del found[key]
            rest = cell
        if rest != Tally():
            for dimension in Dimension:
                found[Key(dimension, day, NOT_KEPT, person_id)] = rest


def _cells(session: Session, project_id: int, days: Sequence[int]) -> dict[tuple[int, int], Tally]:
    which = (Cell.project_id == project_id, Cell.grain == Grain.DAY, Cell.start.in_(days))
    rows = session.execute(select(Cell.__table__).where(*which))
    return {(row.start, row.person_id): Tally.of(row) for row in rows}


def _rest(cell: Tally, told: Tally) -> Tally | None:
    """What of the cell is not told; None if more is told than there is."""
    rest = Tally(
        cell.events - told.events,
        cell.commits - told.commits,
        cell.insertions - told.insertions,
        cell.deletions - told.deletions,
        cell.active_ms - told.active_ms,
        cell.files - told.files,
    )
    least = min(rest.events, rest.commits, rest.insertions, rest.deletions, rest.active_ms)
    return rest if least >= 0 and told.files <= cell.files else None


def _of(project_id: int, days: Sequence[int]) -> Any:
    # Each dimension named: the key begins with it.
    return (
        (Slice.project_id == project_id) & Slice.dimension.in_(tuple(Dimension)) & Slice.day.in_(list(days))
    )
