"""Settings of sync that a person wants equal on their PCs: the last change wins, in whatever order they come.

A change is ordered by its time and then by the id of the PC that it was made on, so that every two have
an order, and any order of arrival ends in the same values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import audit, wire
from devflow.audit import Act, Actor
from devflow.errors import Invalid
from devflow.ingest.sender import lock_person
from devflow.models import Device, Person, SharedSetting

_VERSION_DIGITS: Final = 32


def read(session: Session, person: Person, known: str = "") -> wire.SharedSettings:
    """The person's values as they stand; only their version if that is the ``known`` one."""
    told = _told(session, person)
    version = _version(told)
    return wire.SharedSettings(version=version, settings=None if version == known else told)


def change(
    session: Session, by: Actor, device: Device, changes: Sequence[wire.SettingChange]
) -> wire.SharedSettings:
    """Take what was changed on ``device`` later than what is stored, and tell all. The caller commits.

    Raise Invalid, with nothing changed, for one out of the future: it would stay the last until then.
    """
    _check_times(changes, by.now_ms)
    person = by.who()
    lock_person(session, person)  # of two PCs at once the second sees what the first has changed
    taken = {one.key for one in changes if _take(session, person, device, one)}
    session.flush()
    if taken:
        audit.record(session, by, Act.SETTINGS_SHARED, device.public_id, settings=sorted(taken))
    return read(session, person)


def _check_times(changes: Sequence[wire.SettingChange], now_ms: int) -> None:
    latest = max((one.changed_at for one in changes), default=0)
    if latest > now_ms + wire.CLOCK_TOLERANCE_MS:
        minutes = (latest - now_ms) // 60_000
        raise Invalid(
            f"expected changes up to now, got one {minutes:,} minutes ahead of the server's clock:"
            " set the clock of this PC"
        )


def _take(session: Session, person: Person, device: Device, one: wire.SettingChange) -> bool:
    """Whether the change is later than what was stored, and so is stored now."""
    value = msgspec.json.encode(one.value).decode()
    row = session.get(SharedSetting, (person.id, one.key), populate_existing=True)
    if row is None:
        row = SharedSetting(person_id=person.id, key=one.key)
        session.add(row)
    elif (one.changed_at, device.public_id) <= (row.changed_at, _public_id(session, row)):
        return False
    row.value, row.changed_at, row.device_id = value, one.changed_at, device.id
    session.flush()
    return True


def _public_id(session: Session, row: SharedSetting) -> UUID:
    return session.get_one(Device, row.device_id).public_id


def _told(session: Session, person: Person) -> list[wire.SharedSetting]:
    """By key, so that equal values have one version."""
    query = (
        select(SharedSetting, Device)
        .join(Device, Device.id == SharedSetting.device_id)
        .where(SharedSetting.person_id == person.id)
        .order_by(SharedSetting.key)
    )
    return [
        wire.SharedSetting(
            key=row.key,
            value=msgspec.json.decode(row.value),
            changed_at=row.changed_at,
            device_id=device.public_id,
            device_name=device.name,
        )
        for row, device in session.execute(query)
    ]


def _version(told: Sequence[wire.SharedSetting]) -> str:
    """Another one for other values, times or names."""
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:_VERSION_DIGITS]
