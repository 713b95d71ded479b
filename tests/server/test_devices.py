"""Devices: whose they are, what they are called, and shutting one out."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from devflow.accounts import devices
from devflow.audit import Act
from devflow.errors import Invalid, NotFound, Unauthorized
from devflow.models import AuditEntry, Device, Person, Role
from tests.build import NOW_MS, Member, World


def names(world: World, member: Member) -> list[str]:
    with world.reading() as session:
        return [device.name for device in devices.own(session, session.get_one(Person, member.id))]


def revoke(world: World, member: Member, device_id: UUID) -> None:
    with world.database.writing() as session:
        devices.revoke(session, world.by(session, member), device_id)


def rename(world: World, member: Member, device_id: UUID, name: str) -> None:
    with world.database.writing() as session:
        devices.rename(session, world.by(session, member), device_id, name)


def acts(world: World) -> list[str]:
    with world.reading() as session:
        return list(session.scalars(select(AuditEntry.act).order_by(AuditEntry.id)))


def test_a_device_of_somebody_else_cannot_be_taken_over(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    with pytest.raises(Invalid, match="somebody else"), world.database.writing() as session:
        person = session.get_one(Person, ben.id)
        devices.enrol(session, world.by(session, ben), person, ada.device_id, "mine now")


@pytest.mark.parametrize("name", ["", "a\x00b", "\u202eevil", "x" * 101])
def test_a_name_that_hides_something_is_refused(world: World, name: str) -> None:
    ada = world.person("Ada")
    with pytest.raises(Invalid, match="expected a name"), world.database.writing() as session:
        devices.enrol(session, world.by(session, ada), session.get_one(Person, ada.id), uuid4(), name)
    with pytest.raises(Invalid, match="expected a name"):
        rename(world, ada, ada.device_id, name)


def test_only_its_owner_renames_a_device(world: World) -> None:
    ada, lead, admin = world.person("Ada"), world.person("Lea"), world.person("Adi", Role.ADMIN)
    world.team("crew", {ada: Role.DEVELOPER, lead: Role.LEAD})
    for other in (lead, admin):
        with pytest.raises(NotFound):
            rename(world, other, ada.device_id, "theirs")
    rename(world, ada, ada.device_id, "  the   big one ")
    rename(world, ada, ada.device_id, "the big one")
    assert names(world, ada) == ["the big one"]
    assert acts(world).count(Act.DEVICE_RENAMED) == 1


def test_its_owner_and_an_admin_revoke_a_device_and_nobody_else(world: World) -> None:
    ada, lead, eve = world.person("Ada"), world.person("Lea"), world.person("Eve")
    admin, second = world.person("Adi", Role.ADMIN), world.second_device(ada)
    world.team("crew", {ada: Role.DEVELOPER, lead: Role.LEAD})
    for other in (lead, eve):
        with pytest.raises(NotFound):
            revoke(world, other, ada.device_id)
    revoke(world, ada, ada.device_id)
    revoke(world, admin, second.device_id)
    revoke(world, admin, second.device_id)
    assert acts(world).count(Act.DEVICE_REVOKED) == 2
    with world.reading() as session:
        revoked = session.scalars(select(Device.revoked_at).filter_by(person_id=ada.id)).all()
    assert revoked == [NOW_MS, NOW_MS]


def test_a_revoked_device_is_not_let_in_by_a_password(world: World) -> None:
    ada = world.person("Ada")
    revoke(world, ada, ada.device_id)
    with pytest.raises(Unauthorized, match="revoked"), world.database.writing() as session:
        person = session.get_one(Person, ada.id)
        devices.enrol(session, world.by(session, ada), person, ada.device_id, "a PC")


def test_only_an_admin_sees_everybodys_devices(world: World) -> None:
    ada, admin = world.person("Ada"), world.person("Adi", Role.ADMIN)
    manager, lead = world.person("Mia", Role.MANAGER), world.person("Lea")
    world.team("crew", {ada: Role.DEVELOPER, lead: Role.LEAD})
    with world.reading() as session:
        found = devices.everybodys(session, session.get_one(Person, admin.id))
        assert {owner.name for _, owner in found} == {"Ada", "Adi", "Mia", "Lea"}
        for other in (ada, manager, lead):
            with pytest.raises(Unauthorized):
                devices.everybodys(session, session.get_one(Person, other.id))
    assert names(world, ada) == ["a PC"]


def test_the_devices_in_use_come_first_the_last_one_seen_at_the_top(world: World) -> None:
    ada = world.person("Ada")
    ids = [ada.device_id, *(world.second_device(ada).device_id for _ in range(3))]
    with world.database.writing() as session:
        found = {each.public_id: each for each in session.scalars(select(Device))}
        for number, device_id in enumerate(ids):
            found[device_id].name = f"PC {number}"
        found[ids[0]].last_seen_at, found[ids[2]].last_seen_at = NOW_MS - 5, NOW_MS
        found[ids[3]].revoked_at = found[ids[3]].last_seen_at = NOW_MS
    assert names(world, ada) == ["PC 2", "PC 0", "PC 1", "PC 3"]
