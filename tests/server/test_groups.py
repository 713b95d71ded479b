"""Members of teams and of projects: who may bring in, promote and take out whom, and that it ends access."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from devflow import access, audit, groups
from devflow.access import Action
from devflow.audit import Actor
from devflow.errors import Invalid, NotFound
from devflow.models import AuditEntry, Person, Project, ProjectMember, Role, Team
from tests.build import NOW_MS, Member, World
from tests.server.test_concurrency import wait_for_a_lock

T = TypeVar("T")
Kind = Any  # Team or Project


def act(world: World, who: Member, work: Callable[[Session, Actor], T]) -> T:
    """What the server does for the member in one transaction."""
    return world.database.transact(lambda session: work(session, world.by(session, who)))


def someone(world: World, name: str, role: Role = Role.DEVELOPER) -> Member:
    """A person without a password, which takes its time to hash, and without a PC."""
    with world.database.writing() as session:
        person = Person(
            public_id=uuid4(), email=b"", name=name, password_hash="", role=role, created_at=world.now_ms
        )
        session.add(person)
        session.flush()
        return Member(person.id, 0, person.public_id, uuid4(), f"{name.lower()}@example.org")


@dataclass(frozen=True)
class Groups:
    """The same tests for teams and for projects: every change as somebody, by name."""

    world: World
    kind: Kind

    def make(self, name: str, members: Mapping[Member, Role]) -> UUID:
        if self.kind is Team:
            return self.world.team(name, members).public_id
        project = self.world.project(name)
        with self.world.database.writing() as session:
            session.add_all(
                ProjectMember(project_id=project.id, person_id=member.id, role=role)
                for member, role in members.items()
            )
        return project.public_id

    def add(self, who: Member, group: UUID, person: UUID, role: str = "developer") -> None:
        act(self.world, who, lambda s, by: groups.add(s, by, self.kind, group, person, role))

    def change(self, who: Member, group: UUID, person: UUID, role: str) -> None:
        act(self.world, who, lambda s, by: groups.change_role(s, by, self.kind, group, person, role))

    def remove(self, who: Member, group: UUID, person: UUID) -> None:
        act(self.world, who, lambda s, by: groups.remove(s, by, self.kind, group, person))

    def leave(self, who: Member, group: UUID) -> None:
        act(self.world, who, lambda s, by: groups.leave(s, by, self.kind, group))

    def rename(self, who: Member, group: UUID, name: str) -> None:
        act(self.world, who, lambda s, by: groups.rename(s, by, self.kind, group, name))

    def roles(self, group: UUID) -> dict[str, str]:
        """Who is in it as what."""
        with self.world.reading() as session:
            found = groups.members(session, Person(id=-1, role="developer"), self.get(session, group))
            return {member.person.name: member.role.value for member in found}

    def addable(self, who: Member, group: UUID) -> list[str]:
        with self.world.reading() as session:
            viewer = session.get_one(Person, who.id)
            return [each.name for each in groups.addable(session, viewer, self.get(session, group))]

    def get(self, session: Session, group: UUID) -> Any:
        return session.scalars(select(self.kind).where(self.kind.public_id == group)).one()

    def may(self, who: Member, action: str, thing: UUID) -> bool:
        """Whether the next request finds the right; ``action`` without its scope is done to the group."""
        scope = self.kind.__name__.lower()
        done = Action(action if ":" in action else f"{scope}:{action}")
        with self.world.reading() as session:
            person, kind = session.get_one(Person, who.id), access.SCOPES[done.scope]
            found: Any = access.visible(person, done, kind)
            return session.scalar(found.where(kind.public_id == thing)) is not None

    def acts(self) -> list[tuple[str, UUID | None, UUID | None, dict[str, str]]]:
        """What was done to teams and projects: the act, the group, the member, and the rest."""
        with self.world.reading() as session:
            assert audit.verify(session, self.world.vault) is None
            entries = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
            return [
                (each.act, each.subject, each.person, json.loads(each.detail))
                for each in entries
                if each.act.partition(".")[0] in ("team", "project")
            ]


@pytest.fixture(params=[Team, Project], ids=["team", "project"])
def made(world: World, request: pytest.FixtureRequest) -> Groups:
    return Groups(world, request.param)


@dataclass(frozen=True)
class Cast:
    """Mo manages ``a`` and the team that Bob is in; Nia manages ``b``, where Cem is; Eve is nowhere."""

    ada: Member
    mo: Member
    nia: Member
    bob: Member
    cem: Member
    eve: Member
    a: UUID
    b: UUID


@pytest.fixture
def cast(made: Groups) -> Cast:
    world = made.world
    ada = someone(world, "Ada", Role.ADMIN)
    mo, nia, bob, cem, eve = (someone(world, name) for name in ("Mo", "Nia", "Bob", "Cem", "Eve"))
    world.team("Mo's people", {mo: Role.MANAGER, bob: Role.DEVELOPER})
    world.team("Nia's people", {nia: Role.MANAGER, cem: Role.DEVELOPER, mo: Role.LEAD})
    a = made.make("a", {mo: Role.MANAGER})
    b = made.make("b", {nia: Role.MANAGER, cem: Role.DEVELOPER, mo: Role.LEAD})
    return Cast(ada, mo, nia, bob, cem, eve, a, b)


def refused(change: Callable[[], None]) -> str:
    """What is said of something that is not there, or not yours."""
    with pytest.raises(NotFound) as said:
        change()
    return str(said.value)


# Both ends of every link


def test_a_manager_adds_whom_the_own_teams_have_and_nobody_else(made: Groups, cast: Cast) -> None:
    made.add(cast.mo, cast.a, cast.bob.public_id, "lead")
    assert made.roles(cast.a) == {"Mo": "manager", "Bob": "lead"}
    missing = uuid4()
    words = refused(lambda: made.add(cast.mo, cast.a, missing))
    # Cem is in a team that Mo leads: that lets Mo see Cem's days, not take Cem along.
    for other in (cast.cem, cast.eve, cast.ada):
        said = refused(lambda other=other: made.add(cast.mo, cast.a, other.public_id))  # type: ignore[misc]
        assert said == words.replace(str(missing), str(other.public_id))
    assert made.roles(cast.a) == {"Mo": "manager", "Bob": "lead"}


@pytest.mark.parametrize("who", ["mo", "bob", "cem", "eve"])
def test_a_group_that_is_not_yours_to_manage_is_like_one_that_is_not_there(
    made: Groups, cast: Cast, who: str
) -> None:
    """Mo leads in b, Cem is in it, Bob and Eve are not; Bob is Mo's to bring into a."""
    outsider: Member = getattr(cast, who)
    missing, before = uuid4(), made.roles(cast.b)

    def tries(group: UUID) -> list[str]:
        return [
            refused(lambda: made.add(outsider, group, outsider.public_id)),
            refused(lambda: made.add(outsider, group, cast.bob.public_id, "manager")),
            refused(lambda: made.change(outsider, group, cast.mo.public_id, "manager")),
            refused(lambda: made.change(outsider, group, outsider.public_id, "manager")),
            refused(lambda: made.remove(outsider, group, cast.nia.public_id)),
            refused(lambda: made.rename(outsider, group, "mine")),
        ]

    assert [said.replace(str(cast.b), str(missing)) for said in tries(cast.b)] == tries(missing)
    assert made.roles(cast.b) == before
    assert made.acts() == []


def test_an_admin_adds_anybody_anywhere_without_joining(made: Groups, cast: Cast) -> None:
    for person in (cast.eve, cast.bob):
        made.add(cast.ada, cast.b, person.public_id, "lead")
    made.change(cast.ada, cast.b, cast.nia.public_id, "developer")
    made.remove(cast.ada, cast.b, cast.cem.public_id)
    assert made.roles(cast.b) == {"Bob": "lead", "Eve": "lead", "Mo": "lead", "Nia": "developer"}


@pytest.mark.parametrize("role", ["admin", "owner", "", "Developer", "developer\0"])
def test_a_role_that_is_none_in_a_group_is_refused(made: Groups, cast: Cast, role: str) -> None:
    for who in (cast.mo, cast.ada):
        with pytest.raises(Invalid, match="expected the role developer, lead, manager, got"):
            made.add(who, cast.a, cast.bob.public_id, role)
        with pytest.raises(Invalid, match="expected the role"):
            made.change(who, cast.a, cast.mo.public_id, role)
    assert made.roles(cast.a) == {"Mo": "manager"}


def test_members_deactivated_and_erased_people_are_not_added(made: Groups, cast: Cast) -> None:
    with pytest.raises(Invalid, match="no member yet"):
        made.add(cast.mo, cast.a, cast.mo.public_id, "lead")
    mark(made.world, cast.bob, deactivated_at=NOW_MS)
    assert made.addable(cast.mo, cast.a) == []
    with pytest.raises(Invalid, match="deactivated"):
        made.add(cast.mo, cast.a, cast.bob.public_id)
    mark(made.world, cast.bob, erased_at=NOW_MS)
    assert "there is no person" in refused(lambda: made.add(cast.ada, cast.a, cast.bob.public_id))


def mark(world: World, member: Member, **columns: int) -> None:
    with world.database.writing() as session:
        session.execute(update(Person).where(Person.id == member.id).values(**columns))


def test_the_list_to_add_from_holds_whom_one_may_add_and_is_not_in_it(made: Groups, cast: Cast) -> None:
    assert made.addable(cast.mo, cast.a) == ["Bob"]
    assert made.addable(cast.nia, cast.b) == []  # Nia has Cem and Mo already
    assert made.addable(cast.ada, cast.b) == ["Ada", "Bob", "Eve"]
    made.add(cast.mo, cast.a, cast.bob.public_id)
    assert made.addable(cast.mo, cast.a) == []


# Ends of access


def test_taking_out_needs_no_right_on_the_person(made: Groups, cast: Cast) -> None:
    made.add(cast.ada, cast.a, cast.eve.public_id)
    made.remove(cast.mo, cast.a, cast.eve.public_id)
    assert made.roles(cast.a) == {"Mo": "manager"}
    assert "there is no member" in refused(lambda: made.remove(cast.mo, cast.a, cast.eve.public_id))


@pytest.mark.parametrize(
    ("role", "rights"),
    [("developer", ["view"]), ("lead", ["view"]), ("manager", ["view", "manage"])],
)
def test_who_was_taken_out_has_no_right_left_there_on_the_next_request(
    made: Groups, cast: Cast, role: str, rights: list[str]
) -> None:
    made.add(cast.ada, cast.b, cast.eve.public_id, role)
    assert [right for right in ("view", "manage") if made.may(cast.eve, right, cast.b)] == rights
    made.remove(cast.nia, cast.b, cast.eve.public_id)
    assert [right for right in ("view", "manage") if made.may(cast.eve, right, cast.b)] == []
    assert "there is no" in refused(lambda: made.leave(cast.eve, cast.b))


def test_what_a_team_gave_on_its_members_ends_with_the_role(world: World) -> None:
    made = Groups(world, Team)
    nia, mo, cem = (someone(world, name) for name in ("Nia", "Mo", "Cem"))
    team = made.make("b", {nia: Role.MANAGER, mo: Role.DEVELOPER, cem: Role.DEVELOPER})

    def rights() -> list[str]:
        return [act for act in ("person:view", "person:assign") if made.may(mo, act, cem.public_id)]

    assert rights() == []
    made.change(nia, team, mo.public_id, "lead")
    assert rights() == ["person:view"]
    made.change(nia, team, mo.public_id, "manager")
    assert rights() == ["person:view", "person:assign"]
    made.remove(nia, team, cem.public_id)
    assert rights() == []


def test_a_manager_may_step_down_and_then_manages_no_more(made: Groups, cast: Cast) -> None:
    made.change(cast.mo, cast.a, cast.mo.public_id, "developer")
    assert "there is no" in refused(lambda: made.change(cast.mo, cast.a, cast.mo.public_id, "manager"))
    assert made.roles(cast.a) == {"Mo": "developer"}


def test_the_last_manager_may_leave_and_an_admin_goes_on(made: Groups, cast: Cast) -> None:
    made.leave(cast.mo, cast.a)
    assert made.roles(cast.a) == {}
    assert not made.may(cast.mo, "view", cast.a)
    made.add(cast.ada, cast.a, cast.bob.public_id, "manager")
    assert made.roles(cast.a) == {"Bob": "manager"}


def test_who_is_no_member_cannot_leave(made: Groups, cast: Cast) -> None:
    assert "there is no member" in refused(lambda: made.leave(cast.ada, cast.a))
    assert "that you have access to" in refused(lambda: made.leave(cast.eve, cast.a))


# Names


def test_a_group_is_renamed_by_who_manages_it_to_a_name_that_is_free(made: Groups, cast: Cast) -> None:
    made.rename(cast.mo, cast.a, "  new   name ")
    with made.world.reading() as session:
        assert made.get(session, cast.a).name == "new name"
    for name, said in (("b", "has yet, got 'b'"), ("", "1 to 100"), ("a\u202eb", "U\\+202E")):
        with pytest.raises(Invalid, match=said):
            made.rename(cast.mo, cast.a, name)
    made.rename(cast.mo, cast.a, "new name ")  # as it is: nothing to do, and nothing to record
    assert len(made.acts()) == 1


# What is shown


def test_members_are_listed_by_name_and_the_erased_left_out(made: Groups, cast: Cast) -> None:
    mark(made.world, cast.cem, erased_at=NOW_MS)
    assert list(made.roles(cast.b).items()) == [("Mo", "lead"), ("Nia", "manager")]
    assert "no member" in refused(lambda: made.remove(cast.nia, cast.b, cast.cem.public_id))


def test_only_days_that_the_viewer_may_see_are_offered(made: Groups, cast: Cast) -> None:
    """Mo leads Nia's people; Cem is one of them; Ada is an admin."""
    offered = {}
    with made.world.reading() as session:
        for who in (cast.ada, cast.mo, cast.cem):
            found = groups.members(session, session.get_one(Person, who.id), made.get(session, cast.b))
            offered[who.email] = [member.person.name for member in found if member.may_view]
    assert offered == {
        "ada@example.org": [],
        "mo@example.org": ["Cem", "Mo", "Nia"],
        "cem@example.org": ["Cem"],
    }


# The trail


def test_every_change_leaves_one_entry_with_ids_and_roles_and_no_name(made: Groups, cast: Cast) -> None:
    bob = cast.bob.public_id
    made.add(cast.mo, cast.a, bob)
    made.change(cast.mo, cast.a, bob, "lead")
    made.change(cast.mo, cast.a, bob, "lead")
    made.remove(cast.mo, cast.a, bob)
    made.rename(cast.mo, cast.a, "other")
    made.leave(cast.mo, cast.a)
    scope = made.kind.__name__.lower()
    assert made.acts() == [
        (f"{scope}.member_added", cast.a, bob, {"role": "developer"}),
        (f"{scope}.member_role", cast.a, bob, {"was": "developer", "role": "lead"}),
        (f"{scope}.member_removed", cast.a, bob, {}),
        (f"{scope}.renamed", cast.a, None, {}),
        (f"{scope}.member_left", cast.a, cast.mo.public_id, {}),
    ]


# Two at once


@pytest.mark.parametrize("backend", ["postgres"])  # on SQLite one waits before it has begun
def test_of_two_who_add_the_same_person_at_once_the_second_is_told(made: Groups, cast: Cast) -> None:
    bob = cast.bob.public_id
    second = beside(
        made,
        cast.ada,
        lambda s, by: groups.add(s, by, made.kind, cast.a, bob, "lead"),
        lambda: made.add(cast.mo, cast.a, bob, "developer"),
    )
    with pytest.raises(Invalid, match="no member yet"):
        second()
    assert made.roles(cast.a) == {"Mo": "manager", "Bob": "lead"}


@pytest.mark.parametrize("backend", ["postgres"])
def test_a_manager_who_is_taken_out_at_this_moment_changes_nothing_more(made: Groups, cast: Cast) -> None:
    mo, bob = cast.mo.public_id, cast.bob.public_id
    for change in (
        lambda: made.add(cast.mo, cast.a, bob, "manager"),
        lambda: made.change(cast.mo, cast.a, mo, "lead"),
        lambda: made.rename(cast.mo, cast.a, "mine"),
        lambda: made.leave(cast.mo, cast.a),
    ):
        waiting = beside(made, cast.ada, lambda s, by: groups.remove(s, by, made.kind, cast.a, mo), change)
        assert "that you have access to" in refused(waiting)
        assert made.roles(cast.a) == {}
        made.add(cast.ada, cast.a, mo, "manager")


@pytest.mark.parametrize("backend", ["postgres"])
def test_of_two_groups_renamed_to_one_name_at_once_the_second_is_refused(made: Groups, cast: Cast) -> None:
    second = beside(
        made,
        cast.mo,
        lambda s, by: groups.rename(s, by, made.kind, cast.a, "one"),
        lambda: made.rename(cast.nia, cast.b, "one"),
    )
    with pytest.raises(Invalid, match="has yet, got 'one'"):
        second()


@pytest.mark.parametrize("backend", ["postgres"])
def test_who_is_erased_at_this_moment_is_not_added(made: Groups, cast: Cast) -> None:
    def erase(session: Session, _by: Actor) -> None:
        session.execute(update(Person).where(Person.id == cast.bob.id).values(erased_at=NOW_MS))

    waiting = beside(made, cast.ada, erase, lambda: made.add(cast.mo, cast.a, cast.bob.public_id))
    assert "there is no person" in refused(waiting)


def beside(
    made: Groups, who: Member, first: Callable[[Session, Actor], None], second: Callable[[], None]
) -> Callable[[], None]:
    """Begin ``second`` while ``first`` has done its work but not committed; give what came of it."""
    with ThreadPoolExecutor(1) as pool:
        with made.world.database.writing() as session:
            first(session, made.world.by(session, who))
            begun = pool.submit(second)
            wait_for_a_lock(made.world)
        begun.exception()
    return begun.result
