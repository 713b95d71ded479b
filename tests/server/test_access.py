"""Who may do what: each role's permissions word by word, and the one rule against a slow, obvious one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from devflow import access
from devflow.access import Action
from devflow.db import Database
from devflow.errors import NotFound, Unauthorized
from devflow.models import Device, Person, Project, ProjectMember, Role, Team, TeamMember
from tests.build import NOW_MS

ALLOWED: Final = {
    "developer": [
        "own:sync",
        "own:use",
        "project:send_events",
        "project:view",
        "team:view",
    ],
    "lead": [
        "own:sync",
        "own:use",
        "person:view",
        "project:send_events",
        "project:view",
        "team:view",
    ],
    "manager": [
        "own:sync",
        "own:use",
        "person:assign",
        "person:view",
        "project:manage",
        "project:send_events",
        "project:view",
        "team:manage",
        "team:view",
        "workspace:create_projects",
        "workspace:create_teams",
    ],
    "admin": [
        "device:revoke",
        "own:sync",
        "own:use",
        "person:assign",
        "person:manage",
        "project:delete",
        "project:manage",
        "project:view",
        "team:manage",
        "team:view",
        "workspace:create_projects",
        "workspace:create_teams",
        "workspace:manage_devices",
        "workspace:manage_keys",
        "workspace:manage_people",
        "workspace:manage_retention",
        "workspace:read_audit",
    ],
}
"""What each role may do, written down a second time: a change of the rules has to be meant."""
IN_A_GROUP: Final = ("developer", "lead", "manager")
DONE_TO_THINGS: Final = [action for action in Action if action.scope in access.SCOPES]


def test_each_role_has_exactly_these_permissions() -> None:
    found = {role.value: sorted(permissions) for role, permissions in access.PERMISSIONS.items()}
    assert found == ALLOWED


def test_no_action_is_allowed_to_nobody() -> None:
    assert {action for actions in ALLOWED.values() for action in actions} == set(Action)


def test_a_role_is_given_only_where_it_means_something() -> None:
    assert access.WORKSPACE_ROLES == ("developer", "manager", "admin")
    assert access.MEMBER_ROLES == IN_A_GROUP
    may_give_roles = [role for role in IN_A_GROUP if {"team:manage", "project:manage"} & {*ALLOWED[role]}]
    assert may_give_roles == ["manager"], "nobody may give a role above the own"


@pytest.mark.parametrize("role", Role)
def test_what_is_the_own_or_the_workspaces_follows_the_role_in_the_workspace(role: Role) -> None:
    person = Person(role=role)
    for action in set(Action) - set(DONE_TO_THINGS):
        assert access.may(person, action) == (action in ALLOWED[role])
        if action not in ALLOWED[role]:
            with pytest.raises(Unauthorized, match=f"permission {action}, yours is {role}"):
                access.require(person, action)


@pytest.mark.parametrize("action", DONE_TO_THINGS)
def test_what_is_done_to_a_thing_is_never_allowed_without_one(action: Action) -> None:
    assert not access.may(Person(role=Role.ADMIN), action)
    other: Any = next(kind for scope, kind in access.SCOPES.items() if scope != action.scope)
    with pytest.raises(AssertionError, match="is not done to"):
        access.visible(Person(role=Role.ADMIN), action, other)


# The slow, obvious rule


@dataclass(frozen=True)
class Somebody:
    role: str
    is_erased: bool = False


@dataclass(frozen=True)
class Group:
    """A team or a project: who is in it (by number) as what."""

    members: dict[int, str]
    is_deleted: bool = False


@dataclass(frozen=True)
class Plan:
    """A small workspace; everybody has one device, of the own number."""

    people: list[Somebody]
    teams: list[Group] = field(default_factory=list)
    projects: list[Group] = field(default_factory=list)

    def count(self, scope: str) -> int:
        return len({"team": self.teams, "project": self.projects}.get(scope, self.people))

    def allows(self, viewer: int, action: str, number: int) -> bool:
        """Whether the viewer may do the action to the thing of that number; in the words of ``access``."""
        scope = action.partition(":")[0]
        if scope == "project" and self.projects[number].is_deleted:
            return False
        if scope == "person" and self.people[number].is_erased:
            return False
        if self.people[viewer].role == "admin" and action in ALLOWED["admin"]:
            return True
        if scope == "team":
            return self._as(self.teams[number], viewer, action)
        if scope == "project":
            return self._as(self.projects[number], viewer, action)
        if number == viewer and action in ("person:view", "device:revoke"):
            return True
        return scope == "person" and any(
            self._as(team, viewer, action) for team in self.teams if number in team.members
        )

    def _as(self, group: Group, viewer: int, action: str) -> bool:
        """Whether the role held in the group, if any, allows the action."""
        role = group.members.get(viewer)
        return role in IN_A_GROUP and action in ALLOWED[role]


Things = dict[str, list[tuple[Any, UUID]]]


def build(session: Session, plan: Plan) -> Things:
    """The plan as rows: by scope, each thing and its public id, in order of number."""
    people = [
        Person(
            public_id=uuid4(),
            email=b"",
            name=str(number),
            password_hash="",
            role=somebody.role,
            created_at=NOW_MS,
            erased_at=NOW_MS if somebody.is_erased else None,
        )
        for number, somebody in enumerate(plan.people)
    ]
    session.add_all(people)
    session.flush()
    made: dict[str, list[Any]] = {
        "person": people,
        "device": [
            Device(public_id=uuid4(), person_id=each.id, name="a PC", created_at=NOW_MS) for each in people
        ],
        "team": [Team(public_id=uuid4(), name=str(uuid4()), created_at=NOW_MS) for _ in plan.teams],
        "project": [
            Project(
                public_id=uuid4(),
                name=str(uuid4()),
                created_at=NOW_MS,
                deleted_at=NOW_MS if project.is_deleted else None,
            )
            for project in plan.projects
        ],
    }
    session.add_all(thing for things in made.values() for thing in things)
    session.flush()
    for group, team in zip(plan.teams, made["team"], strict=True):
        session.add_all(
            TeamMember(team_id=team.id, person_id=people[who].id, role=role)
            for who, role in group.members.items()
        )
    for group, project in zip(plan.projects, made["project"], strict=True):
        session.add_all(
            ProjectMember(project_id=project.id, person_id=people[who].id, role=role)
            for who, role in group.members.items()
        )
    session.flush()
    return {scope: [(thing, thing.public_id) for thing in things] for scope, things in made.items()}


PEOPLE: Final = 4
# An "admin" of a team cannot be made; if a row says so, it must give nothing.
groups = st.builds(
    Group, st.dictionaries(st.integers(0, PEOPLE - 1), st.sampled_from([*IN_A_GROUP, "admin"])), st.booleans()
)
plans = st.builds(
    Plan,
    st.lists(
        st.builds(Somebody, st.sampled_from([*ALLOWED]), st.booleans()), min_size=PEOPLE, max_size=PEOPLE
    ),
    st.lists(groups, max_size=3),
    st.lists(groups, max_size=2),
)
PROPERTY: Final = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def in_a_world_of(engine: Engine, plan: Plan) -> Session:
    """A session with the plan in it, which closing forgets."""
    session = Session(engine)
    session.info["things"] = build(session, plan)
    return session


@PROPERTY
@given(plan=plans)
def test_what_is_visible_is_what_the_rules_allow_in_any_workspace(database: Database, plan: Plan) -> None:
    with in_a_world_of(database.engine, plan) as session:
        things: Things = session.info["things"]
        for viewer, (person, _) in enumerate(things["person"]):
            for action in DONE_TO_THINGS:
                kind: Any = access.SCOPES[action.scope]
                seen = {thing.public_id for thing in session.scalars(access.visible(person, action, kind))}
                assert seen == {
                    public_id
                    for number, (_, public_id) in enumerate(things[action.scope])
                    if plan.allows(viewer, action, number)
                }


@PROPERTY
@given(plan=plans, viewer=st.integers(0, PEOPLE - 1), action=st.sampled_from(DONE_TO_THINGS))
def test_to_fetch_and_to_ask_follow_the_same_rule_and_not_yours_is_not_there(
    database: Database, plan: Plan, viewer: int, action: Action
) -> None:
    with in_a_world_of(database.engine, plan) as session:
        things: Things = session.info["things"]
        person, kind = things["person"][viewer][0], access.SCOPES[action.scope]
        for number, (thing, public_id) in enumerate(things[action.scope]):
            allowed = plan.allows(viewer, action, number)
            assert access.may_on(session, person, action, thing) == allowed
            assert fetched(session, person, action, kind, public_id) == (
                thing if allowed else f"there is no {action.scope} {public_id} that you have access to"
            )
        missing = uuid4()
        said = fetched(session, person, action, kind, missing)
        assert said == f"there is no {action.scope} {missing} that you have access to"


def fetched(session: Session, person: Person, action: Action, kind: Any, public_id: UUID) -> Any:
    """The thing, or what is said in its place."""
    try:
        return access.fetch(session, person, action, kind, public_id)
    except NotFound as error:
        return str(error)


def test_who_was_erased_is_visible_to_nobody_for_anything(database: Database) -> None:
    team = Group({0: "manager", 1: "lead", 2: "developer"})
    plan = Plan([Somebody("admin"), Somebody("manager"), Somebody("developer", is_erased=True)], [team])
    with in_a_world_of(database.engine, plan) as session:
        *viewers, (gone, gone_id) = session.info["things"]["person"]
        for viewer, _ in [*viewers, (gone, gone_id)]:
            for action in (Action.VIEW_PERSON, Action.ASSIGN_PERSON, Action.MANAGE_PERSON):
                assert "there is no person" in str(fetched(session, viewer, action, Person, gone_id))


def test_three_people_see_of_a_team_what_their_roles_say(database: Database) -> None:
    """The rules by example: the owner, the lead, and the outsider who must see nothing."""
    plan = Plan([Somebody("developer")] * 3, [Group({0: "developer", 1: "lead"})])
    with in_a_world_of(database.engine, plan) as session:
        people = session.info["things"]["person"]
        seen = {
            number: sorted(
                int(each.name) for each in session.scalars(access.visible(who, Action.VIEW_PERSON, Person))
            )
            for number, (who, _) in enumerate(people)
        }
        assert seen == {0: [0], 1: [0, 1], 2: [2]}
