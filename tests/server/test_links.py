"""One-time links: what they give, to whom, how long, and that they all end alike."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from devflow import crypto
from devflow.accounts import links, passwords, people, sessions, sign_in
from devflow.accounts.links import INVITE_MS, RESET_MS, Offer
from devflow.audit import Act, Actor
from devflow.errors import Invalid, NotFound, Unauthorized
from devflow.models import (
    AuditEntry,
    BrowserSession,
    Link,
    Person,
    ProjectMember,
    Role,
    SecondFactor,
    Team,
    TeamMember,
)
from tests.build import NOW_MS, PASSWORD, Member, World
from tests.server.test_concurrency import wait_for_a_lock

NEW_PASSWORD = "another horse, another battery"
Work = Callable[[Session, Actor], Any]


def act(world: World, member: Member | None, work: Work) -> Any:
    return world.database.transact(lambda session: work(session, world.by(session, member)))


def open_setup(world: World) -> str | None:
    return world.database.transact(lambda session: links.open_setup(session, NOW_MS))


def set_up(world: World, token: str) -> None:
    who = people.newcomer(name="Ada", email="ada@example.org", password=PASSWORD)
    act(world, None, lambda session, by: links.set_up(session, by, token, who))


def invite(world: World, member: Member, offer: Offer) -> str:
    token: str = act(world, member, lambda session, by: links.invite(session, by, offer))
    return token


def accept(world: World, token: str, name: str = "Zoe", password: str = PASSWORD) -> UUID:
    who = people.newcomer(name=name, email=f"{name.lower()}@example.org", password=password)
    public_id: UUID = act(world, None, lambda s, by: links.accept(s, by, token, who).public_id)
    return public_id


def make_reset(world: World, member: Member, person_id: UUID) -> str:
    token: str = act(world, member, lambda session, by: links.make_reset(session, by, person_id))
    return token


def reset(world: World, token: str, password: str = NEW_PASSWORD) -> None:
    kept = passwords.kept(password)
    act(world, None, lambda session, by: links.reset(session, by, token, kept))


def signs_in(world: World, member: Member, password: str) -> bool:
    with world.reading() as session:
        try:
            found = sign_in.candidate(session, world.vault, member.email)
            found.check(password)
            return found.person_id == member.id
        except Unauthorized:
            return False


def trail(world: World, act: Act) -> list[AuditEntry]:
    with world.reading() as session:
        return list(session.scalars(select(AuditEntry).filter_by(act=act).order_by(AuditEntry.id)))


def later(world: World, milliseconds: int) -> World:
    return replace(world, now_ms=world.now_ms + milliseconds)


def test_the_set_up_link_makes_an_admin_and_works_once(world: World) -> None:
    token = open_setup(world)
    assert token is not None
    set_up(world, token)
    with world.reading() as session:
        assert session.scalars(select(Person.role)).all() == [Role.ADMIN]
    with pytest.raises(NotFound):
        set_up(world, token)
    assert open_setup(world) is None


def test_a_new_set_up_link_ends_the_one_before_and_a_guess_opens_nothing(world: World) -> None:
    first, second = open_setup(world), open_setup(world)
    assert first is not None and second is not None
    for token in (first, "guess"):
        with pytest.raises(NotFound):
            set_up(world, token)
    set_up(world, second)


def test_an_invitation_makes_an_account_with_all_it_offers_and_works_once(world: World) -> None:
    ada = world.person("Ada", Role.ADMIN)
    team, project = world.team("core", {}), world.project("atlas")
    token = invite(
        world, ada, Offer(Role.MANAGER, team.public_id, Role.LEAD, project.public_id, Role.DEVELOPER)
    )
    zoe = accept(world, token)
    with world.reading() as session:
        person = session.scalars(select(Person).filter_by(public_id=zoe)).one()
        assert (person.name, person.role) == ("Zoe", Role.MANAGER)
        in_team = session.scalars(select(TeamMember).filter_by(person_id=person.id)).one()
        assert (in_team.team_id, in_team.role) == (team.id, Role.LEAD)
        in_project = session.scalars(select(ProjectMember).filter_by(person_id=person.id)).one()
        assert (in_project.project_id, in_project.role) == (project.id, Role.DEVELOPER)
    with pytest.raises(NotFound):
        accept(world, token, "Yan")
    (made,), (accepted,) = trail(world, Act.INVITATION_MADE), trail(world, Act.INVITATION_ACCEPTED)
    assert (made.actor, accepted.actor, accepted.subject) == (ada.public_id, None, zoe)
    assert str(made.subject) in accepted.detail
    assert str(team.public_id) in made.detail


def test_only_who_manages_people_invites_withdraws_and_sees_the_open_ones(world: World) -> None:
    ada, lead, outsider = (
        world.person("Ada", Role.ADMIN),
        world.person("Lea", Role.MANAGER),
        world.person("Eve"),
    )
    team = world.team("core", {lead: Role.MANAGER})
    invite(world, ada, Offer(Role.DEVELOPER))
    with world.reading() as session:
        (open_one,) = links.invitations(session, session.get_one(Person, ada.id), NOW_MS)
    for member in (lead, outsider):
        with pytest.raises(Unauthorized):
            invite(world, member, Offer(Role.DEVELOPER, team.public_id))
        with pytest.raises(Unauthorized):
            act(world, member, lambda s, by: links.withdraw(s, by, open_one.link.public_id))
        with world.reading() as session, pytest.raises(Unauthorized):
            links.invitations(session, session.get_one(Person, member.id), NOW_MS)


@pytest.mark.parametrize(
    "offer",
    [
        Offer(Role.LEAD),
        Offer(Role.DEVELOPER, uuid4(), Role.ADMIN),
        Offer(Role.DEVELOPER, None, Role.LEAD, uuid4(), Role.ADMIN),
    ],
)
def test_a_role_that_nobody_can_have_there_is_not_offered(world: World, offer: Offer) -> None:
    ada = world.person("Ada", Role.ADMIN)
    with pytest.raises(Invalid, match="expected one of the roles developer"):
        invite(world, ada, offer)


def test_a_team_or_project_that_is_not_there_is_not_offered(world: World) -> None:
    ada = world.person("Ada", Role.ADMIN)
    for offer in (Offer(Role.DEVELOPER, uuid4()), Offer(Role.DEVELOPER, project_id=uuid4())):
        with pytest.raises(NotFound):
            invite(world, ada, offer)


def demote(world: World, ada: Member, bea: Member) -> None:
    act(world, bea, lambda s, by: people.change_role(s, by, ada.public_id, Role.MANAGER))


def deactivate(world: World, ada: Member, bea: Member) -> None:
    act(world, bea, lambda s, by: people.deactivate(s, by, ada.public_id))


def set_role_alone(world: World, ada: Member, bea: Member) -> None:
    """As nothing here does it: the links of who is no admin any more stay."""
    with world.database.writing() as session:
        session.get_one(Person, ada.id).role = Role.MANAGER


def set_deactivated_alone(world: World, ada: Member, bea: Member) -> None:
    with world.database.writing() as session:
        session.get_one(Person, ada.id).deactivated_at = NOW_MS


@pytest.mark.parametrize("lose", [demote, deactivate, set_role_alone, set_deactivated_alone])
def test_links_of_who_may_not_give_them_any_more_give_nothing(
    world: World, lose: Callable[[World, Member, Member], None]
) -> None:
    ada, bea, eve = world.person("Ada", Role.ADMIN), world.person("Bea", Role.ADMIN), world.person("Eve")
    team = world.team("core", {ada: Role.MANAGER})
    invitation = invite(world, ada, Offer(Role.DEVELOPER, team.public_id))
    new_password = make_reset(world, ada, eve.public_id)
    lose(world, ada, bea)
    with pytest.raises(NotFound):
        accept(world, invitation)
    with pytest.raises(NotFound):
        reset(world, new_password)
    with world.reading() as session:
        assert session.scalar(select(func.count()).select_from(Person)) == 3
    assert signs_in(world, eve, PASSWORD)


def test_an_invitation_ends_with_the_team_it_leads_to(world: World) -> None:
    ada = world.person("Ada", Role.ADMIN)
    team = world.team("core", {})
    token = invite(world, ada, Offer(Role.DEVELOPER, team.public_id))
    with world.database.writing() as session:
        session.delete(session.get_one(Team, team.id))
    with pytest.raises(NotFound):
        accept(world, token)


def test_unknown_used_expired_withdrawn_and_other_links_look_alike(world: World) -> None:
    ada, eve = world.person("Ada", Role.ADMIN), world.person("Eve")
    used, withdrawn = invite(world, ada, Offer(Role.DEVELOPER)), invite(world, ada, Offer(Role.DEVELOPER))
    accept(world, used)
    with world.reading() as session:
        (left,) = links.invitations(session, session.get_one(Person, ada.id), NOW_MS)
    act(world, ada, lambda s, by: links.withdraw(s, by, left.link.public_id))
    with pytest.raises(NotFound):
        act(world, ada, lambda s, by: links.withdraw(s, by, left.link.public_id))
    expired = invite(later(world, -INVITE_MS), ada, Offer(Role.DEVELOPER))
    of_another_kind = make_reset(world, ada, eve.public_id)
    said = set()
    for token in ("guess", used, withdrawn, expired, of_another_kind):
        with pytest.raises(NotFound) as refused:
            accept(world, token, "Yan")
        said.add(str(refused.value))
        with world.reading() as session, pytest.raises(NotFound) as refused:
            links.invitation(session, token, NOW_MS)
        said.add(str(refused.value))
    for token in ("guess", invite(world, ada, Offer(Role.ADMIN))):
        with pytest.raises(NotFound) as refused:
            reset(world, token)
        said.add(str(refused.value))
    assert len(said) == 1


def test_links_last_as_long_as_is_said(world: World) -> None:
    ada, eve = world.person("Ada", Role.ADMIN), world.person("Eve")
    tokens = [invite(world, ada, Offer(Role.DEVELOPER)) for _ in range(2)]
    accept(later(world, INVITE_MS - 1), tokens[0])
    with pytest.raises(NotFound):
        accept(later(world, INVITE_MS), tokens[1], "Yan")
    token = make_reset(world, ada, eve.public_id)
    with pytest.raises(NotFound):
        reset(later(world, RESET_MS), token)
    reset(later(world, RESET_MS - 1), token)


def test_wrong_input_leaves_an_invitation_open(world: World) -> None:
    token = invite(world, world.person("Ada", Role.ADMIN), Offer(Role.DEVELOPER))
    for name, password in (("Zoe", "short"), ("Ada", PASSWORD)):
        with pytest.raises(Invalid):
            accept(world, token, name, password)
    accept(world, token)


@pytest.mark.parametrize("backend", ["postgres"])  # on SQLite one waits before it has begun
def test_of_two_who_use_an_invitation_at_once_one_gets_an_account(world: World) -> None:
    token = invite(world, world.person("Ada", Role.ADMIN), Offer(Role.DEVELOPER))
    with ThreadPoolExecutor(1) as pool:
        yan = people.newcomer(name="Yan", email="yan@example.org", password=PASSWORD)
        with world.database.writing() as session:
            links.accept(session, world.by(session), token, yan)
            second = pool.submit(accept, world, token)
            wait_for_a_lock(world)
        with pytest.raises(NotFound):
            second.result()
    with world.reading() as session:
        assert set(session.scalars(select(Person.name))) == {"Ada", "Yan"}


def test_a_reset_sets_the_password_ends_every_session_and_keeps_the_second_factor(world: World) -> None:
    ada, eve = world.person("Ada", Role.ADMIN), world.person("Eve")
    with world.database.writing() as session:
        person = session.get_one(Person, eve.id)
        cookie = sessions.begin(session, world.by(session), person, "a browser")
        session.add(SecondFactor(person_id=eve.id, secret=b"sealed", confirmed_at=NOW_MS, last_step=0))
        version = person.token_version
    token = make_reset(world, ada, eve.public_id)
    assert signs_in(world, eve, PASSWORD)
    reset(world, token)
    assert (signs_in(world, eve, PASSWORD), signs_in(world, eve, NEW_PASSWORD)) == (False, True)
    with world.reading() as session:
        assert sessions.find(session, cookie, NOW_MS) is None
        assert session.scalar(select(func.count()).select_from(BrowserSession)) == 0
        assert session.get_one(Person, eve.id).token_version > version  # ends the grants of PCs too
        assert session.get_one(SecondFactor, eve.id).confirmed_at == NOW_MS
    (done,) = trail(world, Act.PASSWORD_RESET)
    assert (done.actor, done.subject) == (None, eve.public_id)
    assert str(ada.public_id) in done.detail
    with pytest.raises(NotFound):
        reset(world, token, PASSWORD)


def test_a_new_reset_link_ends_the_one_before_and_a_bad_password_ends_none(world: World) -> None:
    ada, eve, bob = world.person("Ada", Role.ADMIN), world.person("Eve"), world.person("Bob")
    bobs = make_reset(world, ada, bob.public_id)
    first, second = make_reset(world, ada, eve.public_id), make_reset(world, ada, eve.public_id)
    with pytest.raises(NotFound):
        reset(world, first)
    with pytest.raises(Invalid, match="expected a password"):
        reset(world, second, "short")
    reset(world, second)
    reset(world, bobs)


def test_who_is_deactivated_gets_no_reset_and_loses_the_one_there_is(world: World) -> None:
    ada, eve = world.person("Ada", Role.ADMIN), world.person("Eve")
    token = make_reset(world, ada, eve.public_id)
    act(world, ada, lambda s, by: people.deactivate(s, by, eve.public_id))
    with pytest.raises(NotFound):
        reset(world, token)
    with pytest.raises(Invalid, match="deactivated"):
        make_reset(world, ada, eve.public_id)
    act(world, ada, lambda s, by: people.reactivate(s, by, eve.public_id))
    with pytest.raises(NotFound):
        reset(world, token)


def test_nobody_but_another_admin_makes_a_reset_link(world: World) -> None:
    ada, lead, eve = world.person("Ada", Role.ADMIN), world.person("Lea", Role.MANAGER), world.person("Eve")
    world.team("core", {lead: Role.MANAGER, eve: Role.DEVELOPER})
    for member in (lead, eve):
        with pytest.raises(NotFound):
            make_reset(world, member, eve.public_id)
    with pytest.raises(Invalid, match="another administrator"):
        make_reset(world, ada, ada.public_id)
    make_reset(world, ada, eve.public_id)


def test_only_hashes_of_links_are_stored_and_expired_ones_do_not_stay(world: World) -> None:
    ada = world.person("Ada", Role.ADMIN)
    invite(later(world, -INVITE_MS), ada, Offer(Role.DEVELOPER))
    token = invite(world, ada, Offer(Role.DEVELOPER))
    with world.reading() as session:
        assert session.scalars(select(Link.token_hash)).all() == [crypto.token_hash(token)]
    assert not [entry for entry in trail(world, Act.INVITATION_MADE) if token in entry.detail]
