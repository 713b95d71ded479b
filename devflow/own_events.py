"""A person's own events as the server has them: page by page for their other PCs, and one by its id.

The cursor is a server sequence, not a clock: an event that comes late has a late number. Numbers of
one person's events become visible in their order, since an upload draws them under the lock of its
person and holds that until it commits (``ingest``): whoever sees one sees all before it.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final
from uuid import UUID

from msgspec import Raw
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from devflow import access, wire
from devflow.access import Action
from devflow.audit import Actor
from devflow.crypto import Vault
from devflow.errors import Invalid, NotFound
from devflow.export import TYPE_OF
from devflow.ingest.rows import DATA
from devflow.models import Device, Event, Person, Project
from devflow.rollups import TYPE_NUMBER
from devflow.wire import Counted, EventState

MAX_PAGE_BYTES: Final = 1 << 20
"""Of event data, opened; an agent takes no answer that is much larger."""
CHUNK: Final = 100
_CURSOR: Final = re.compile(r"([0-9a-f]{32})\.([0-9]{1,18})", re.ASCII)
_NULL: Final = Raw(b"null")
_FACTS: Final = frozenset(TYPE_NUMBER[kind] for kind in wire.FACTS)


def cursor(epoch: UUID, seq: int) -> str:
    """Where to go on. It belongs to the epoch: a restored database gives the same numbers anew."""
    return f"{epoch.hex}.{seq}"


def position(given: str, epoch: UUID) -> int:
    """The number to go on from: the very first without a cursor, or with one from before a restore."""
    if not given:
        return 0
    match = _CURSOR.fullmatch(given)
    if match is None:
        raise Invalid(f"expected `since` to be a cursor that this server gave, got {given[:60]!r}")
    return int(match[2]) if match[1] == epoch.hex else 0


def updates(session: Session, person: Person, this: Device | None, after: int, epoch: UUID) -> wire.Updates:
    """Whether the person's other PCs have sent anything after this number, and when any was last heard of."""
    heard = select(func.max(Device.last_seen_at)).where(Device.person_id == person.id)
    return wire.Updates(
        has_updates=bool(_seqs(session, person, this, after, 1)),
        last_sync_timestamp=session.scalar(heard),
        cursor=cursor(epoch, after),
    )


def page(
    session: Session, by: Actor, this: Device | None, after: int, limit: int, epoch: UUID
) -> wire.OwnEvents:
    """Up to ``limit`` events after this number from the person's other PCs, in the order they were stored."""
    found = _seqs(session, by.who(), this, after, limit + 1)
    events, last, size = list[wire.OwnEvent](), after, 0
    for row in _rows(session, found[:limit]):
        event = _told(by.vault, by.who(), row)
        size += len(bytes(event.event_data))
        if events and size > MAX_PAGE_BYTES:
            break
        events.append(event)
        last = row.seq
    return wire.OwnEvents(
        events=events,
        server_timestamp=by.now_ms,
        cursor=cursor(epoch, last),
        has_more=bool(found) and found[-1] > last,
    )


def trace(session: Session, by: Actor, event_id: UUID, timestamp: int) -> wire.Trace:
    """What is stored of an event of the person's, or of a fact in a project they send to.

    Raise NotFound if it is not there, or not theirs to know of.
    """
    person = by.who()
    found = session.execute(
        _stored().where(Event.timestamp == timestamp, Event.event_id == event_id.bytes)
    ).one_or_none()
    if found is None or not _is_known_to(session, person, found):
        raise NotFound(f"there is no event {event_id} of yours at this time")
    is_ours = found.owner == person.id
    return wire.Trace(
        id=str(event_id),
        timestamp=timestamp,
        project_id=found.project_public_id,
        event_type=TYPE_OF[found.event_type],
        state=_opened(by.vault, found)[0],
        counted=_counted(person, found),
        # Which PC of a colleague's it was, and when it sent, is the colleague's.
        device_id=found.device_public_id if is_ours else None,
        local_id=found.local_id if is_ours else None,
        received_at=found.received_at if is_ours else None,
        seq=found.seq if is_ours else None,
    )


def _is_known_to(session: Session, person: Person, row: Any) -> bool:
    """Own is what an own PC reported, and own work; a fact is known to whoever may report it too."""
    if person.id in (row.owner, row.person_id):
        return True
    sent_to = access.visible(person, Action.SEND_EVENTS, Project).where(Project.id == row.project_id)
    return row.event_type in _FACTS and session.scalar(sent_to) is not None


def _counted(person: Person, row: Any) -> Counted:
    if row.person_id is None:
        return Counted.NOBODY
    return Counted.YOU if row.person_id == person.id else Counted.SOMEBODY_ELSE


def _seqs(session: Session, person: Person, this: Device | None, after: int, limit: int) -> list[int]:
    """The next numbers: a look at the index for each PC, merged."""
    own = select(Device.id).where(Device.person_id == person.id)
    others = own if this is None else own.where(Device.id != this.id)
    of_each = (
        session.scalars(
            select(Event.seq)
            .where(Event.device_id == device_id, Event.seq > after)
            .order_by(Event.seq)
            .limit(limit)
        ).all()
        for device_id in session.scalars(others).all()
    )
    return list(islice(heapq.merge(*of_each), limit))


def _rows(session: Session, seqs: list[int]) -> Iterable[Any]:
    """The rows of these numbers in order, read a few at a time, since some are large."""
    for start in range(0, len(seqs), CHUNK):
        some = seqs[start : start + CHUNK]
        yield from session.execute(_stored().where(Event.seq.in_(some)).order_by(Event.seq))


def _stored() -> Select[*tuple[Any, ...]]:
    return (
        select(
            Event.seq,
            Event.event_id,
            Event.timestamp,
            Event.local_id,
            Event.event_type,
            Event.data,
            Event.received_at,
            Event.person_id,
            Event.project_id,
            Device.person_id.label("owner"),
            Device.public_id.label("device_public_id"),
            Project.public_id.label("project_public_id"),
        )
        .join(Device, Device.id == Event.device_id)
        .join(Project, Project.id == Event.project_id)
    )


def _told(vault: Vault, person: Person, row: Any) -> wire.OwnEvent:
    state, data = _opened(vault, row)
    return wire.OwnEvent(
        id=str(UUID(bytes=row.event_id)),
        timestamp=row.timestamp,
        device_id=row.device_public_id,
        user_id=person.public_id,
        project_id=row.project_public_id,
        local_id=row.local_id,
        event_type=TYPE_OF[row.event_type],
        event_data=data,
        state=state,
        received_at=row.received_at,
    )


def _opened(vault: Vault, row: Any) -> tuple[EventState, Raw]:
    if not row.data:
        return EventState.ERASED, _NULL
    data = vault.open_or_none(DATA, row.event_id, row.data)
    return (EventState.DAMAGED, _NULL) if data is None else (EventState.WHOLE, Raw(data))
