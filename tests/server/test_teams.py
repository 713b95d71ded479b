"""Teams: who makes one, who sees which, and what goes with it when it is deleted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from devflow import audit, teams
from devflow.errors import Invalid, NotFound, Unauthorized
from devflow.models import AuditEntry, Link, Person, Role, Team, TeamMember
from tests.build import NOW_MS, Member, World
from tests.server.test_concurrency import wait_for_a_lock
from tests.server.test_groups import act, someone


def create(world: World, who: Member, name: str, *, joins: bool = True) -> UUID:
    return act(world, who, lambda session, by: teams.create(session, by, name, joins=joins).public_id)


def delete(world: World, who: Member, team: UUID, typed: str) -> None:
    act(world, who, lambda session, by: teams.delete(session, by, team, typed))


def listed(world: World, who: Member) -> list[tuple[str, int, str | None]]:
    with world.reading() as session:
        found = teams.listed(session, session.get_one(Person, who.id))
        return [(row.team.name, row.members, row.role) for row in found]


def acts(world: World) -> list[str]:
    with world.reading() as session:
        assert audit.verify(session, world.vault) is None
        return [act for act in session.scalars(select(AuditEntry.act)) if act.startswith("team.")]


def test_a_manager_makes_a_team_and_manages_it(world: World) -> None:
    mo = someone(world, "Mo", Role.MANAGER)
    create(world, mo, "  the   core ")
    assert listed(world, mo) == [("the core", 1, "manager")]
    assert acts(world) == ["team.made"]


def test_an_admin_may_stay_outside_the_team_that_is_made_and_nobody_else(world: World) -> None:
    ada, mo = someone(world, "Ada", Role.ADMIN), someone(world, "Mo", Role.MANAGER)
    create(world, ada, "outside", joins=False)
    create(world, ada, "inside")
    assert listed(world, ada) == [("inside", 1, "manager"), ("outside", 0, None)]
    with pytest.raises(Invalid, match="only an admin can manage one from outside"):
        create(world, mo, "orphan", joins=False)
    assert [name for name, _, _ in listed(world, ada)] == ["inside", "outside"]


def test_who_leads_or_develops_makes_no_team(world: World) -> None:
    bob = someone(world, "Bob")
    world.team("core", {bob: Role.MANAGER})  # to manage one is not to make another
    with pytest.raises(Unauthorized, match="workspace:create_teams"):
        create(world, bob, "mine")


@pytest.mark.parametrize(
    ("name", "said"),
    [("", "1 to 100"), ("x" * 101, "1 to 100"), ("core", "no team has yet"), ("a\u200bb", "U\\+200B")],
)
def test_a_bad_name_is_refused(world: World, name: str, said: str) -> None:
    mo = someone(world, "Mo", Role.MANAGER)
    create(world, mo, "core")
    with pytest.raises(Invalid, match=said):
        create(world, mo, name)


def test_everybody_sees_the_own_teams_and_an_admin_all(world: World) -> None:
    ada, mo = someone(world, "Ada", Role.ADMIN), someone(world, "Mo", Role.MANAGER)
    bob, eve = someone(world, "Bob"), someone(world, "Eve")
    world.team("Core", {mo: Role.MANAGER, bob: Role.LEAD})
    world.team("apps", {bob: Role.DEVELOPER})
    assert listed(world, ada) == [("apps", 1, None), ("Core", 2, None)]
    assert listed(world, mo) == [("Core", 2, "manager")]
    assert listed(world, bob) == [("apps", 1, "developer"), ("Core", 2, "lead")]
    assert listed(world, eve) == []


def test_a_deleted_team_takes_its_memberships_and_invitations_along_and_nothing_else(world: World) -> None:
    mo, bob = someone(world, "Mo", Role.MANAGER), someone(world, "Bob")
    core = world.team("core", {mo: Role.MANAGER, bob: Role.DEVELOPER})
    apps = world.team("apps", {mo: Role.LEAD, bob: Role.LEAD})
    with world.database.writing() as session:
        session.add_all(invitation(team) for team in (core, apps))
    delete(world, mo, core.public_id, " core ")
    with world.reading() as session:
        assert session.scalars(select(Team.name)).all() == ["apps"]
        assert set(session.scalars(select(TeamMember.team_id))) == {apps.id}
        assert session.scalars(select(Link.team_id)).all() == [apps.id]
        assert session.scalar(select(func.count()).select_from(Person)) == 2
    assert acts(world) == ["team.deleted"]


def invitation(team: Team) -> Link:
    return Link(
        token_hash=uuid4().bytes * 2,
        public_id=uuid4(),
        purpose="invite",
        role="developer",
        team_id=team.id,
        created_at=NOW_MS,
    )


@pytest.mark.parametrize("typed", ["", "Core", "cor", "core core", "apps"])
def test_a_team_is_deleted_only_by_its_name(world: World, typed: str) -> None:
    mo = someone(world, "Mo", Role.MANAGER)
    core = create(world, mo, "core")
    with pytest.raises(Invalid, match="expected the name 'core' to confirm, got"):
        delete(world, mo, core, typed)
    assert listed(world, mo) == [("core", 1, "manager")]


def test_a_team_is_deleted_by_who_manages_it_and_for_others_it_is_not_there(world: World) -> None:
    ada, mo = someone(world, "Ada", Role.ADMIN), someone(world, "Mo", Role.MANAGER)
    lea, eve = someone(world, "Lea"), someone(world, "Eve", Role.MANAGER)
    core = world.team("core", {mo: Role.MANAGER, lea: Role.LEAD}).public_id
    missing = uuid4()
    for who in (lea, eve):
        said = []
        for team in (core, missing):
            with pytest.raises(NotFound) as error:
                delete(world, who, team, "core")
            said.append(str(error.value).replace(str(core), str(missing)))
        assert said[0] == said[1]
    delete(world, ada, core, "core")
    assert listed(world, ada) == []


@pytest.mark.parametrize("backend", ["postgres"])  # on SQLite one waits before it has begun
def test_of_two_teams_of_one_name_at_once_the_second_is_refused_in_words(world: World) -> None:
    mo = someone(world, "Mo", Role.MANAGER)

    def make(session: Session) -> None:
        teams.create(session, world.by(session, mo), "one")

    with ThreadPoolExecutor(1) as pool:
        with world.database.writing() as session:
            make(session)
            second = pool.submit(world.database.transact, make)
            wait_for_a_lock(world)
        with pytest.raises(Invalid, match="no team has yet"):
            second.result()
