"""Devices: the PCs that people send from."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import audit
from devflow.audit import Act, Actor
from devflow.errors import Invalid, Unauthorized
from devflow.models import Device, Person


def enrol(session: Session, by: Actor, person: Person, public_id: UUID, name: str) -> Device:
    """The person's device of this id, made if it is new. The caller commits."""
    device = session.scalar(select(Device).where(Device.public_id == public_id))
    if device is None:
        device = Device(public_id=public_id, person_id=person.id, name=name, created_at=by.now_ms)
        session.add(device)
        session.flush()
        audit.record(session, by, Act.DEVICE_ENROLLED, public_id)
    if device.person_id != person.id:
        raise Invalid("expected a device of your own: this PC is signed in to this server as somebody else")
    if device.revoked_at is not None:
        raise Unauthorized(f"the device {device.name} was revoked")
    return device
