"""What a person did, event by event and the newest first, for nobody but them; and what others did, by days.

Of others only what 0015 allows: totals of a project and a day, with how many people they are of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Select, func, select, union_all
from sqlalchemy.orm import Session

from devflow import access, windows, wire
from devflow.access import Action
from devflow.audit import Act
from devflow.crypto import Vault
from devflow.errors import NotFound
from devflow.export import TYPE_OF
from devflow.ingest.rows import DATA
from devflow.models import AuditEntry, Device, Event, Person, Project, Slice
from devflow.rollups import NOBODY, TYPE_NUMBER, Calendar
from devflow.rollups.slices import Dimension
from devflow.wire import EventState, EventType

ARROW: Final = " \N{RIGHTWARDS ARROW} "
"""Between the old path of a renamed file and the new one."""
MOST: Final = 100
"""Rows of a feed."""
LOOKED_AT: Final = 1_000
"""The newest events of a PC among which one is looked for that no index leads to."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event of one's own. ``about`` is the file, branch or tag it is about, or the commit's hash.

    ``files`` is how many files a commit touched, None where it is no commit; both are None of an
    event that was erased, or cannot be opened.
    """

    id: UUID
    at_ms: int
    kind: EventType
    project_id: int
    state: EventState
    about: str | None = None
    files: int | None = None
    insertions: int = 0
    deletions: int = 0


@dataclass(frozen=True, slots=True)
class Day:
    """What others did in a project on one day; ``people`` without those whom nobody here knows."""

    project_id: int
    date: date
    people: int
    events: Mapping[EventType, int]


def entries(
    session: Session,
    vault: Vault,
    person_id: int,
    project_ids: Sequence[int],
    kind: EventType | None,
    since_ms: int,
) -> list[Entry]:
    """The person's newest events in these projects, ``MOST`` at most."""
    wanted = select(*_COLUMNS).where(
        Event.person_id == person_id, Event.timestamp >= since_ms, Event.project_id.in_(project_ids)
    )
    if kind is not None:
        wanted = wanted.where(Event.event_type == TYPE_NUMBER[kind])
    newest = wanted.order_by(Event.timestamp.desc(), Event.event_id.desc()).limit(MOST)
    return [_entry(vault, row) for row in session.execute(newest)]


def newest_sent(session: Session, vault: Vault, device_ids: Sequence[int], project_id: int) -> Entry | None:
    """The last event that one of these PCs sent of the project, among the last that they sent of any."""
    if not device_ids:
        return None
    found = session.execute(
        select(*_COLUMNS)
        .where(Event.seq.in_(_last_of(device_ids)), Event.project_id == project_id)
        .order_by(Event.seq.desc())
        .limit(1)
    ).one_or_none()
    return None if found is None else _entry(vault, found)


def days_of_others(
    session: Session,
    person_id: int,
    project_ids: Sequence[int],
    kind: EventType | None,
    days: Sequence[date],
    calendar: Calendar,
) -> list[Day]:
    """What anybody but the person did in these projects on these days, the newest day first."""
    starts = {windows.day_window(each, calendar.zone).start_ms: each for each in days}
    chosen = [
        Slice.dimension == Dimension.TYPE,
        Slice.project_id.in_(project_ids),
        Slice.day.in_(starts),
        Slice.person_id != person_id,
        Slice.events > 0,
    ]
    if kind is not None:
        chosen.append(Slice.value == TYPE_NUMBER[kind])
    place = Slice.project_id, Slice.day
    people = {
        (row.project_id, row.day): row.people
        for row in session.execute(
            select(*place, func.count(func.distinct(func.nullif(Slice.person_id, NOBODY))).label("people"))
            .where(*chosen)
            .group_by(*place)
        )
    }
    events: defaultdict[tuple[int, int], dict[EventType, int]] = defaultdict(dict)
    sums = select(*place, Slice.value, func.sum(Slice.events).label("events")).where(*chosen)
    for row in session.execute(sums.group_by(*place, Slice.value)):
        if row.value in TYPE_OF:
            events[row.project_id, row.day][TYPE_OF[row.value]] = int(row.events)
    found = [
        Day(project_id, starts[day], count, events[project_id, day])
        for (project_id, day), count in people.items()
    ]
    return sorted(found, key=lambda each: (each.date, sum(each.events.values())), reverse=True)


def time_of(
    session: Session, person: Person, event_id: UUID, span: tuple[int, int] | None, *, has_index: bool
) -> int | None:
    """When the event was, to be asked for by ``own_events.trace``, whoever's it is; None if it is not found.

    Where ids have no index (``ingest.known``) it is looked for in ``span``, from and until in
    milliseconds, and without one among the last events that each of the person's PCs sent.
    """
    wanted = select(Event.timestamp).where(Event.event_id == event_id.bytes)
    if span is not None:
        wanted = wanted.where(Event.timestamp >= span[0], Event.timestamp < span[1])
    elif not has_index:
        own = session.scalars(select(Device.id).where(Device.person_id == person.id)).all()
        if not own:
            return None
        wanted = wanted.where(Event.seq.in_(_last_of(own)))
    return session.scalar(wanted.limit(1))


def contents(session: Session, vault: Vault, event_id: UUID, timestamp: int) -> Entry:
    """What an event says, to who has traced it as their own; raise NotFound if it has just gone."""
    row = session.execute(
        select(*_COLUMNS).where(Event.timestamp == timestamp, Event.event_id == event_id.bytes)
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no event {event_id} of yours")
    return _entry(vault, row)


def refusals(session: Session, person: Person, event_id: UUID) -> list[AuditEntry]:
    """When the person's PCs sent other contents under this id, as far as the trail names it; newest first.

    Looks through the last refusals alone: the trail of a person has no index of ids in it.
    """
    last = session.scalars(
        select(AuditEntry)
        .where(AuditEntry.actor == person.public_id, AuditEntry.act == Act.EVENTS_CONFLICT)
        .order_by(AuditEntry.id.desc())
        .limit(LOOKED_AT)
    )
    return [each for each in last if str(event_id) in msgspec.json.decode(each.detail).get("events", ())]


def may_send_to(session: Session, person: Person) -> Sequence[Project]:
    """The projects that the person's PCs may send to, by name."""
    return session.scalars(
        access.visible(person, Action.SEND_EVENTS, Project).order_by(Project.name, Project.id)
    ).all()


_COLUMNS: Final = (
    Event.event_id,
    Event.timestamp,
    Event.event_type,
    Event.project_id,
    Event.data,
    Event.insertions,
    Event.deletions,
)


def _last_of(device_ids: Sequence[int]) -> Any:
    """The numbers of the last events of each PC: a look at the index for each, in one statement."""

    def of(device_id: int) -> Select[int]:
        last = (
            select(Event.seq)
            .where(Event.device_id == device_id)
            .order_by(Event.seq.desc())
            .limit(LOOKED_AT)
            .subquery()
        )
        return select(last.c.seq)

    return union_all(*map(of, device_ids))


def _entry(vault: Vault, row: Any) -> Entry:
    event_id, kind = UUID(bytes=row.event_id), TYPE_OF[row.event_type]
    data = vault.open_or_none(DATA, row.event_id, row.data) if row.data else None
    if data is None:
        state = EventState.DAMAGED if row.data else EventState.ERASED
        return Entry(event_id, row.timestamp, kind, row.project_id, state)
    said = msgspec.json.decode(data, type=wire.DATA[kind])
    about, files = _told(said)
    return Entry(
        event_id,
        row.timestamp,
        kind,
        row.project_id,
        EventState.WHOLE,
        about,
        files,
        row.insertions,
        row.deletions,
    )


def _told(data: wire.EventData) -> tuple[str | None, int | None]:
    match data:
        case wire.FileRenamed():
            return f"{data.old_path}{ARROW}{data.path}", None
        case wire.FileSaved() | wire.FileCreated() | wire.FileDeleted():
            return data.path, None
        case wire.Commit():
            return data.sha[:12], data.files_changed
        case wire.CommitFiles():
            return data.sha[:12], len(data.files)
        case wire.Merge():
            return data.sha[:12], None
        case wire.TagCreated():
            return data.tag, None
        case _:
            return data.branch, None
