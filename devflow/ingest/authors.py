"""Whose commits are whose: author keys that people told, and events that become theirs by them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from devflow import audit, db, retention, rollups
from devflow.accounts import people
from devflow.audit import Act, Actor
from devflow.errors import Invalid
from devflow.ingest.rows import own_keys
from devflow.ingest.sender import Sender, lock_person
from devflow.models import Device, Event, PersonAuthor
from devflow.retention import Held
from devflow.rollups import NOBODY, Calendar, Touched


def claim(session: Session, sender: Sender, stored: Sequence[Any], calendar: Calendar) -> None:
    """Give the sender the own commits among ``stored`` that somebody else's PC reported before theirs did.

    Only the author's own upload does so: that a colleague's PC has seen your work is no
    consent of yours to be counted.
    """
    if not any(row.person_id is None and row.author_key for row in stored):
        return
    keys = own_keys(session, sender.person.id)
    own = [row for row in stored if row.person_id is None and row.author_key in keys]
    if own:
        which = Event.seq.in_([row.seq for row in own])
        session.execute(update(Event).where(which).values(person_id=sender.person.id))
        _count_anew(session, own, sender.person.id, calendar)


def add(session: Session, by: Actor, wire_keys: Iterable[bytes]) -> None:
    """From now on these author keys are the person, also in what the own PCs have already sent.

    Raise Invalid if a key is somebody else's. The caller commits.
    """
    person = by.who()
    keys = {people.author_key(by.vault, key) for key in wire_keys}
    held = retention.hold(session, by.now_ms)
    lock_person(session, person)
    known = select(PersonAuthor.author_key).where(PersonAuthor.author_key.in_(keys))
    is_new = bool(keys - set(session.scalars(known)))
    db.insert_new(
        session,
        PersonAuthor,
        [{"author_key": key, "person_id": person.id} for key in sorted(keys)],
        unique=("author_key",),
    )
    # Looked for now, when whoever adds the same key at the same time has been waited for.
    others = PersonAuthor.author_key.in_(keys) & (PersonAuthor.person_id != person.id)
    if session.scalar(select(exists().where(others))):
        raise Invalid("expected author addresses of your own, got one that another person here has")
    _claim_sent(session, person.id, keys, held)
    if is_new:
        audit.record(session, by, Act.AUTHORS_TOLD, person.public_id)


def _claim_sent(session: Session, person_id: int, keys: set[bytes], held: Held) -> None:
    devices = select(Device.id).where(Device.person_id == person_id)
    unclaimed = (
        Event.device_id.in_(devices)
        & Event.author_key.in_(keys)
        & Event.person_id.is_(None)
        & (Event.timestamp >= held.horizon)
    )
    project_ids = session.scalars(select(Event.project_id).where(unclaimed).distinct())
    db.lock(session, db.Lock.NOBODYS_CELLS, project_ids)
    events = session.execute(select(Event.project_id, Event.timestamp).where(unclaimed)).all()
    session.execute(update(Event).where(unclaimed).values(person_id=person_id))
    _count_anew(session, events, person_id, held.calendar)


def _count_anew(session: Session, events: Sequence[Any], person_id: int, calendar: Calendar) -> None:
    """Count what was nobody's and is the person's now."""
    both = (NOBODY, person_id)
    touched = [Touched(who, event.project_id, event.timestamp) for event in events for who in both]
    rollups.recount(session, touched, calendar)
