"""A person's own events, opened and handed back page by page, however many there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from msgspec import Raw, Struct
from pyroaring import BitMap64
from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import audit
from devflow.audit import Act, Actor
from devflow.crypto import Vault
from devflow.db import Database
from devflow.ingest.rows import DATA
from devflow.models import Device, Event, Person, Project
from devflow.rollups import TYPE_NUMBER
from devflow.wire import EventType

PAGE_EVENTS: Final = 250
"""8 MiB at most, if every event is as large as can be."""
TYPE_OF: Final[dict[int, EventType]] = {number: kind for kind, number in TYPE_NUMBER.items()}
_NULL: Final = b"null"


class Exported(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An event as it came over the wire (``wire.SyncEvent``), and when the server took it.

    ``device_id`` and ``local_id`` are null where a colleague's PC was the one that reported it:
    those are the colleague's. ``event_data`` is null where it was erased, and where it is damaged
    in the database: only then the event is ``unreadable``.
    """

    id: UUID
    timestamp: int
    device_id: UUID | None
    user_id: UUID
    project_id: UUID
    local_id: int | None
    event_type: EventType
    event_data: Raw
    received_at: int
    unreadable: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """An event with the names that a reader of a table wants."""

    event: Exported
    project: str
    device: str | None


def numbers(session: Session, person: Person) -> BitMap64:
    """The numbers of all events of the person, packed: some bits for each.

    These are what the own PCs sent and what others sent that is the person's work. What comes
    later is not in it, so an export ends.
    """
    devices = select(Device.id).where(Device.person_id == person.id)
    found = BitMap64()
    # One after the other: each has its index, which both at once would not use.
    for own in (Event.person_id == person.id, Event.device_id.in_(devices)):
        for some in session.scalars(select(Event.seq).where(own)).partitions(10_000):
            found.update(some)
    return found


def note(session: Session, by: Actor, form: str, events: int) -> None:
    """The audit's word that the person takes these events along as ``form``. The caller commits."""
    audit.record(session, by, Act.DATA_EXPORTED, by.who().public_id, form=form, events=events)


def pages(database: Database, vault: Vault, person_id: int, which: BitMap64) -> Iterator[Sequence[Row]]:
    """The events of these ``numbers`` in the order in which they came; each page reads for itself."""
    page: list[int] = []
    for number in which:
        page.append(number)
        if len(page) == PAGE_EVENTS:
            yield _page(database, vault, person_id, page)
            page = []
    if page:
        yield _page(database, vault, person_id, page)


def _page(database: Database, vault: Vault, person_id: int, which: Sequence[int]) -> Sequence[Row]:
    with database.reading() as session:
        person = session.get_one(Person, person_id)
        found = session.execute(
            select(
                Event.event_id,
                Event.timestamp,
                Event.local_id,
                Event.event_type,
                Event.data,
                Event.received_at,
                Device.public_id.label("device_id"),
                Device.name.label("device"),
                (Device.person_id == person_id).label("is_own_device"),
                Project.public_id.label("project_id"),
                Project.name.label("project"),
            )
            .join(Device, Device.id == Event.device_id)
            .join(Project, Project.id == Event.project_id)
            .where(Event.seq.in_(which))
            .order_by(Event.seq)
        ).all()
    return [_exported(vault, person, row) for row in found]


def _exported(vault: Vault, person: Person, row: Any) -> Row:
    data = vault.open_or_none(DATA, row.event_id, row.data) if row.data else _NULL
    return Row(
        Exported(
            id=UUID(bytes=row.event_id),
            timestamp=row.timestamp,
            device_id=row.device_id if row.is_own_device else None,
            user_id=person.public_id,
            project_id=row.project_id,
            local_id=row.local_id if row.is_own_device else None,
            event_type=TYPE_OF[row.event_type],
            event_data=Raw(_NULL if data is None else data),
            received_at=row.received_at,
            unreadable=data is None,
        ),
        row.project,
        row.device if row.is_own_device else None,
    )
