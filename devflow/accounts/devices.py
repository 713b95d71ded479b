"""Devices: the PCs that people send from - taken in, named, revoked, and let in again."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import access, audit, wire
from devflow.access import Action, NotYours
from devflow.accounts import tokens
from devflow.audit import Act, Actor
from devflow.errors import Invalid, Unauthorized
from devflow.models import Device, Person
from devflow.names import plain_name

QUEUE_LIMIT: Final = 1_000
WORKING_LIMIT: Final = 900
"""Of a thousand attempts, so many have to work."""
SILENCE_MS: Final = 3_600_000
QUIET_DAYS: Final = 7


class Trouble(StrEnum):
    """What is wrong with a PC's sync, by what it said last and how long ago that was."""

    QUEUE = "queue"
    FAILURES = "failures"
    SILENT = "silent"
    QUIET = "quiet"
    NEVER = "never"


def note(device: Device, said: str | None, now_ms: int) -> None:
    """Keep what a PC said of its sync with a batch. The caller commits.

    Who says nothing - most batches of a stream, a test of the way here - leaves what was said before,
    with its time.
    """
    if said is None:
        return
    device.report = wire.report_header(wire.read_report(said)) or None
    device.reported_at = None if device.report is None else now_ms


def reported(device: Device) -> wire.Report | None:
    """What the PC said last, None if nothing."""
    return None if device.report is None else wire.read_report(device.report)


def troubles(device: Device, now_ms: int) -> list[Trouble]:
    """What its owner should look at.

    The silence of a PC on which nothing was left waiting is none before ``QUIET_DAYS``. It is asked about
    then, as it is of one that was let in so long ago and never sent anything.
    """
    if device.revoked_at is not None:
        return []
    return _reported_troubles(device, now_ms) or _quiet(device, now_ms)


def _quiet(device: Device, now_ms: int) -> list[Trouble]:
    heard_at = device.last_seen_at
    if now_ms - (device.created_at if heard_at is None else heard_at) <= QUIET_DAYS * wire.DAY_MS:
        return []
    return [Trouble.NEVER if heard_at is None else Trouble.QUIET]


def _reported_troubles(device: Device, now_ms: int) -> list[Trouble]:
    report = reported(device)
    if report is None or device.reported_at is None:
        return []
    # Not each batch of a stream brings a report.
    heard_at = max(device.reported_at, device.last_seen_at or 0)
    patience_ms = max(SILENCE_MS, 2_000 * (report.interval or 0))
    found = {
        Trouble.QUEUE: report.queue is not None and report.queue > QUEUE_LIMIT,
        Trouble.FAILURES: report.success is not None and report.success < WORKING_LIMIT,
        Trouble.SILENT: bool(report.queue) and now_ms - heard_at > patience_ms,
    }
    return [trouble for trouble, is_so in found.items() if is_so]


def enrol(session: Session, by: Actor, person: Person, public_id: UUID, name: str) -> Device:
    """The person's device of this id, made if it is new. The caller commits.

    Raise Unauthorized for a revoked one: a password alone, which may be known to whoever has
    the PC now, does not let it in again.
    """
    device = find_own(session, person, public_id)
    if device is None:
        return _make(session, by, person, public_id, name)
    if device.revoked_at is not None:
        raise Unauthorized(
            f"the device {device.name} was revoked: `devflow sync auth` without an e-mail address "
            "asks its owner to let it in again"
        )
    return device


def admit(session: Session, by: Actor, public_id: UUID, name: str) -> Device:
    """The device of who acts, made if it is new, let in again if it was revoked. The caller commits."""
    person = by.who()
    device = find_own(session, person, public_id)
    if device is None:
        return _make(session, by, person, public_id, name)
    if device.revoked_at is not None:
        device.revoked_at = None
        audit.record(session, by, Act.DEVICE_READMITTED, public_id)
    return device


def find_own(session: Session, person: Person, public_id: UUID) -> Device | None:
    """The person's device of this id, None if it is nobody's; raise Invalid if it is somebody else's."""
    device = session.scalar(select(Device).where(Device.public_id == public_id))
    if device is not None and device.person_id != person.id:
        raise Invalid("expected a device of your own: this PC is signed in to this server as somebody else")
    return device


def rename(session: Session, by: Actor, public_id: UUID, name: str) -> None:
    """Call the own device something else; raise NotYours if it is not the own. The caller commits."""
    device = session.scalar(select(Device).filter_by(public_id=public_id, person_id=by.who().id))
    if device is None:
        raise NotYours(f"there is no device {public_id} of yours", Action.USE_OWN, public_id)
    name = plain_name(name)
    if name != device.name:
        device.name = name
        audit.record(session, by, Act.DEVICE_RENAMED, public_id)


def revoke(session: Session, by: Actor, public_id: UUID) -> None:
    """Let nothing of the device in any more, from its very next request on. The caller commits.

    Raise NotFound unless it is the own, or who acts may revoke everybody's.
    """
    device = access.fetch(session, by.who(), Action.REVOKE_DEVICE, Device, public_id)
    if device.revoked_at is not None:
        return
    device.revoked_at = by.now_ms
    tokens.end_all_of(session, device, by.now_ms)
    audit.record(session, by, Act.DEVICE_REVOKED, public_id)


def own(session: Session, person: Person) -> Sequence[Device]:
    """The person's devices: those in use first, the last one seen first."""
    return session.scalars(_in_order(select(Device).where(Device.person_id == person.id))).all()


def has_one_in_use(session: Session, person: Person) -> bool:
    mine = select(Device.id).where(Device.person_id == person.id, Device.revoked_at.is_(None))
    return session.execute(mine.limit(1)).first() is not None


def everybodys(session: Session, person: Person) -> list[tuple[Device, Person]]:
    """All devices with their owners, in the same order; raise Unauthorized unless the person manages them."""
    access.require(person, Action.MANAGE_DEVICES)
    return of_all(session)


def of_all(session: Session, person_id: int | None = None) -> list[tuple[Device, Person]]:
    """All devices with their owners, or the person's, in the same order; who may see them is asked before."""
    query = select(Device, Person).join(Person, Person.id == Device.person_id)
    if person_id is not None:
        query = query.where(Person.id == person_id)
    return [(device, owner) for device, owner in session.execute(_in_order(query))]


def _in_order(query: Any) -> Any:
    is_over, seen_at = Device.revoked_at.is_not(None), Device.last_seen_at
    return query.order_by(is_over, seen_at.is_(None), seen_at.desc(), Device.created_at.desc(), Device.id)


def _make(session: Session, by: Actor, person: Person, public_id: UUID, name: str) -> Device:
    device = Device(public_id=public_id, person_id=person.id, name=plain_name(name), created_at=by.now_ms)
    session.add(device)
    session.flush()
    audit.record(session, by, Act.DEVICE_ENROLLED, public_id)
    return device
