"""People changed by an admin: roles, access, second factor; and that an admin is always left."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from devflow import access
from devflow.access import Action
from devflow.accounts import directory, people, sessions, tokens
from devflow.accounts.directory import State
from devflow.audit import Act, Actor
from devflow.errors import Invalid, NotFound, Unauthorized
from devflow.models import BrowserSession, Device, Person, RecoveryCode, Role, SecondFactor
from tests.build import NOW_MS, PASSWORD, Member, World, saved
from tests.server.test_concurrency import wait_for_a_lock
from tests.server.test_links import act, signs_in, trail
from tests.server.test_tokens import SERVER, bearer, issue, renew

Change = Callable[[Session, Actor, Member], None]


def to_manager(session: Session, by: Actor, member: Member) -> None:
    people.change_role(session, by, member.public_id, Role.MANAGER)


def deactivate(session: Session, by: Actor, member: Member) -> None:
    people.deactivate(session, by, member.public_id)


def reactivate(session: Session, by: Actor, member: Member) -> None:
    people.reactivate(session, by, member.public_id)


def drop_second_factor(session: Session, by: Actor, member: Member) -> None:
    people.drop_second_factor(session, by, member.public_id)


def change(world: World, by: Member, what: Change, whom: Member) -> None:
    act(world, by, lambda session, actor: what(session, actor, whom))


def person(world: World, member: Member) -> Person:
    with world.reading() as session:
        return session.get_one(Person, member.id)


@pytest.mark.parametrize("what", [to_manager, deactivate, reactivate, drop_second_factor])
def test_only_another_admin_changes_an_account(world: World, what: Change) -> None:
    ada, lead, eve = world.person("Ada", Role.ADMIN), world.person("Lea", Role.MANAGER), world.person("Eve")
    world.person("Bea", Role.ADMIN)
    world.team("core", {lead: Role.MANAGER, eve: Role.DEVELOPER})
    for member in (lead, eve):
        with pytest.raises(NotFound):
            change(world, member, what, eve)
    with pytest.raises(Invalid, match="another administrator"):
        change(world, ada, what, ada)


def test_a_new_role_counts_from_the_next_request_and_sessions_stay(world: World) -> None:
    ada, eve = world.person("Ada", Role.ADMIN), world.person("Eve")
    with world.database.writing() as session:
        cookie = sessions.begin(session, world.by(session), session.get_one(Person, eve.id), "")
    change(world, ada, to_manager, eve)
    with world.reading() as session:
        found = sessions.find(session, cookie, NOW_MS)
        assert found is not None and access.may(found.person, Action.CREATE_TEAMS)
    (entry,) = trail(world, Act.ROLE_CHANGED)
    assert (entry.actor, entry.subject) == (ada.public_id, eve.public_id)
    assert json.loads(entry.detail) == {"before": "developer", "now": "manager"}
    change(world, ada, to_manager, eve)
    assert len(trail(world, Act.ROLE_CHANGED)) == 1


def test_nobody_leads_the_whole_workspace(world: World) -> None:
    ada, eve = world.person("Ada", Role.ADMIN), world.person("Eve")
    with pytest.raises(Invalid, match="developer, manager, admin"):
        act(world, ada, lambda s, by: people.change_role(s, by, eve.public_id, Role.LEAD))


def test_deactivating_ends_browsers_and_pcs_at_once_and_loses_nothing(world: World) -> None:
    ada, eve = world.person("Ada", Role.ADMIN), world.person("Eve")
    project = world.project("atlas", eve)
    world.report(eve, project, (NOW_MS, saved()))
    with world.database.writing() as session:
        cookie = sessions.begin(session, world.by(session), session.get_one(Person, eve.id), "")
    given = issue(world, eve)
    change(world, ada, deactivate, eve)
    with world.reading() as session:
        assert sessions.find(session, cookie, NOW_MS) is None
    assert not signs_in(world, eve, PASSWORD)
    for use in (lambda: bearer(world, given.token), lambda: renew(world, given)):
        with pytest.raises(Unauthorized):
            use()
    with pytest.raises(Unauthorized, match="deactivated"):
        world.send(eve, world.event(eve, project, saved(), NOW_MS))

    change(world, ada, reactivate, eve)
    assert signs_in(world, eve, PASSWORD)
    with world.reading() as session:
        assert sessions.find(session, cookie, NOW_MS) is None
        with pytest.raises(Unauthorized):
            tokens.holder(session, tokens.claims(world.vault, given.token, SERVER), NOW_MS)
    assert world.send(eve, world.event(eve, project, saved(), NOW_MS)).success
    acts = [trail(world, kind)[0] for kind in (Act.PERSON_DEACTIVATED, Act.PERSON_REACTIVATED)]
    assert [json.loads(entry.detail)["before"] for entry in acts] == ["active", "deactivated"]


def test_the_own_name_is_changed_by_nobody_else_and_stands_in_no_trail(world: World) -> None:
    eve = world.person("Eve")
    act(world, eve, lambda s, by: people.rename(s, by, "  Evelyn   Q "))
    assert person(world, eve).name == "Evelyn Q"
    with pytest.raises(Invalid):
        act(world, eve, lambda s, by: people.rename(s, by, "\u202eevE"))
    (entry,) = trail(world, Act.PERSON_RENAMED)
    assert (entry.subject, entry.detail) == (eve.public_id, "{}")


def test_an_admin_switches_a_second_factor_off_and_its_owner_can_see_that(world: World) -> None:
    ada, eve, bob = world.person("Ada", Role.ADMIN), world.person("Eve"), world.person("Bob")
    with world.database.writing() as session:
        for member in (eve, bob):
            session.add(SecondFactor(person_id=member.id, secret=b"sealed", confirmed_at=NOW_MS, last_step=0))
            session.add(RecoveryCode(code_hash=bytes([member.id]) * 32, person_id=member.id))
    change(world, ada, drop_second_factor, eve)
    with world.reading() as session:
        assert session.scalars(select(SecondFactor.person_id)).all() == [bob.id]
        assert session.scalars(select(RecoveryCode.person_id)).all() == [bob.id]
    (entry,) = trail(world, Act.SECOND_FACTOR_DROPPED)
    assert (entry.actor, entry.subject) == (ada.public_id, eve.public_id)
    with pytest.raises(Invalid, match="has none"):
        change(world, ada, drop_second_factor, eve)


@pytest.mark.parametrize("what", [to_manager, deactivate])
def test_the_last_active_admin_stays_one(world: World, what: Change) -> None:
    ada, bea = world.person("Ada", Role.ADMIN), world.person("Bea", Role.ADMIN)
    change(world, ada, what, bea)
    with pytest.raises(NotFound):
        change(world, bea, what, ada)
    with world.database.writing() as session:
        assert people.is_last_admin(session, session.get_one(Person, ada.id))
        with pytest.raises(Invalid, match="last one"):
            people.shut_out(session, session.get_one(Person, ada.id), NOW_MS)


@pytest.mark.parametrize("backend", ["postgres"])  # on SQLite one waits before it has begun
@pytest.mark.parametrize("what", [to_manager, deactivate])
def test_of_two_admins_who_act_on_each_other_at_once_one_is_left(world: World, what: Change) -> None:
    ada, bea = world.person("Ada", Role.ADMIN), world.person("Bea", Role.ADMIN)

    def checked_before(session: Session) -> None:
        """As the door of a view does: the right is there, the lock is not."""
        by = world.by(session, bea)
        access.fetch(session, by.who(), Action.MANAGE_PERSON, Person, ada.public_id)
        what(session, by, ada)

    with ThreadPoolExecutor(1) as pool:
        with world.database.writing() as session:
            what(session, world.by(session, ada), bea)
            second = pool.submit(world.database.transact, checked_before)
            wait_for_a_lock(world)
        with pytest.raises(NotFound):
            second.result()
    assert (person(world, ada).role, person(world, ada).deactivated_at) == (Role.ADMIN, None)


def test_the_directory_tells_of_everybody_and_only_to_admins(world: World) -> None:
    ada, lead, eve = world.person("ada", Role.ADMIN), world.person("Lea", Role.MANAGER), world.person("Eve")
    world.project("atlas", eve, lead)
    world.team("core", {lead: Role.MANAGER, eve: Role.DEVELOPER})
    with world.database.writing() as session:
        session.add(SecondFactor(person_id=eve.id, secret=b"sealed", confirmed_at=None, last_step=0))
        session.add(SecondFactor(person_id=lead.id, secret=b"sealed", confirmed_at=NOW_MS, last_step=0))
        sessions.begin(session, world.by(session), session.get_one(Person, eve.id), "")
        session.get_one(Device, eve.device).last_seen_at = NOW_MS + 1
    change(world, ada, deactivate, lead)
    with world.reading() as session:
        entries = directory.everybody(session, session.get_one(Person, ada.id), world.vault)
        assert [(e.person.name, e.email, e.teams, e.projects) for e in entries] == [
            ("ada", "ada@example.org", 0, 0),
            ("Eve", "eve@example.org", 1, 1),
            ("Lea", "lea@example.org", 1, 1),
        ]
        assert [e.has_second_factor for e in entries] == [False, False, True]
        assert [e.last_seen for e in entries] == [None, NOW_MS + 1, None]
        assert [e.state for e in entries] == [State.ACTIVE, State.ACTIVE, State.DEACTIVATED]
        for member in (lead, eve):
            assert directory.everybody(session, session.get_one(Person, member.id), world.vault) == []
        assert session.scalar(select(func.count()).select_from(BrowserSession)) == 1
