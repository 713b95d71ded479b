"""Who may do what: the one place that decides, for pages, fragments, JSON and exports alike.

A role is held in a team or in a project, and counts there. The role a person has in the whole
workspace counts for what belongs to no team or project; an admin's also for every team and
project. Objects are fetched through ``visible``, so what is not yours looks like what is not there.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable
from enum import StrEnum
from typing import Any, Final, TypeVar, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Select, bindparam, false, or_, select, true
from sqlalchemy.orm import Session, aliased

from devflow.errors import NotFound, Unauthorized
from devflow.models import Device, Person, Project, ProjectMember, Role, Team, TeamMember

Thing = TypeVar("Thing", Project, Team, Person, Device)


class Action(StrEnum):
    """What there is to be allowed. The first word is the scope: the kind of thing it is done to.

    ``own`` is the person's own account, and ``workspace`` what belongs to nobody in particular.
    """

    USE_OWN = "own:use"
    SYNC = "own:sync"
    CREATE_PROJECTS = "workspace:create_projects"
    CREATE_TEAMS = "workspace:create_teams"
    MANAGE_PEOPLE = "workspace:manage_people"
    MANAGE_DEVICES = "workspace:manage_devices"
    MANAGE_KEYS = "workspace:manage_keys"
    MANAGE_RETENTION = "workspace:manage_retention"
    READ_AUDIT = "workspace:read_audit"
    VIEW_PROJECT = "project:view"
    SEND_EVENTS = "project:send_events"
    MANAGE_PROJECT = "project:manage"
    DELETE_PROJECT = "project:delete"
    VIEW_TEAM = "team:view"
    MANAGE_TEAM = "team:manage"
    VIEW_PERSON = "person:view"
    ASSIGN_PERSON = "person:assign"
    MANAGE_PERSON = "person:manage"
    REVOKE_DEVICE = "device:revoke"

    @property
    def scope(self) -> str:
        return self.partition(":")[0]


_EVERYONE: Final = frozenset({Action.USE_OWN, Action.SYNC})
_DEVELOPER: Final = _EVERYONE | {Action.VIEW_PROJECT, Action.SEND_EVENTS, Action.VIEW_TEAM}
_LEAD: Final = _DEVELOPER | {Action.VIEW_PERSON}
_MANAGER: Final = _LEAD | {
    Action.CREATE_PROJECTS,
    Action.CREATE_TEAMS,
    Action.MANAGE_PROJECT,
    Action.MANAGE_TEAM,
    Action.ASSIGN_PERSON,
}
# An admin sees every project's and team's totals without joining it, and sends events to none
# and reads nobody's days without joining it.
_ADMIN: Final = _EVERYONE | {
    Action.CREATE_PROJECTS,
    Action.CREATE_TEAMS,
    Action.MANAGE_PEOPLE,
    Action.MANAGE_DEVICES,
    Action.MANAGE_KEYS,
    Action.MANAGE_RETENTION,
    Action.READ_AUDIT,
    Action.VIEW_PROJECT,
    Action.MANAGE_PROJECT,
    Action.DELETE_PROJECT,
    Action.VIEW_TEAM,
    Action.MANAGE_TEAM,
    Action.ASSIGN_PERSON,
    Action.MANAGE_PERSON,
    Action.REVOKE_DEVICE,
}
PERMISSIONS: Final[dict[Role, frozenset[Action]]] = {
    Role.DEVELOPER: _DEVELOPER,
    Role.LEAD: _LEAD,
    Role.MANAGER: _MANAGER,
    Role.ADMIN: _ADMIN,
}
WORKSPACE_ROLES: Final = (Role.DEVELOPER, Role.MANAGER, Role.ADMIN)
"""What a person can be in the whole workspace; to lead there would mean to lead everybody."""
MEMBER_ROLES: Final = (Role.DEVELOPER, Role.LEAD, Role.MANAGER)
"""What a person can be in a team or a project."""

SCOPES: Final[dict[str, type[Project | Team | Person | Device]]] = {
    "project": Project,
    "team": Team,
    "person": Person,
    "device": Device,
}
"""The kinds of things that are fetched through the scope, by the first word of the action."""
# What everybody may do with what is the own.
_OWN: Final = frozenset({Action.VIEW_PERSON, Action.REVOKE_DEVICE})


_KEPT: Final = 1_000
"""Statements that are kept: to make one takes longer than to run it."""


class NotAllowed(Unauthorized):
    """The person's role does not permit the action."""

    def __init__(self, message: str, action: Action) -> None:
        super().__init__(message)
        self.action = action
        self.subject = None


class NotYours(NotFound):
    """There is no ``subject`` of this id on which the person may do the action."""

    def __init__(self, message: str, action: Action, subject: UUID) -> None:
        super().__init__(message)
        self.action = action
        self.subject = subject


def may(person: Person, action: Action) -> bool:
    """Whether the person may do what concerns the own account, or the workspace as a whole."""
    return action.scope in ("own", "workspace") and action in PERMISSIONS[Role(person.role)]


def require(person: Person, action: Action) -> None:
    """Raise NotAllowed unless ``may``."""
    if not may(person, action):
        raise NotAllowed(f"expected a role with the permission {action}, yours is {person.role}", action)


def allowed(role: Role, held_in: type[Team] | type[Project] | None) -> frozenset[Action]:
    """What the role allows where it is held: in a team, in a project, or (None) in the whole workspace."""
    scopes = {Team: {"team", "person"}, Project: {"project"}, None: {"own", "workspace"}}[held_in]
    everywhere = held_in is None and role == Role.ADMIN
    return frozenset(action for action in PERMISSIONS[role] if everywhere or action.scope in scopes)


def visible(person: Person, action: Action, kind: type[Thing]) -> Select[Thing]:
    """The things on which the person may do ``action``; the one rule that everything else asks."""
    if SCOPES.get(action.scope) is not kind:
        raise AssertionError(f"{action} is not done to a {kind.__name__}")
    statement: Select[Thing] = _visible(person.id, _is_everywhere(person, action), action, kind)
    return statement


def _is_everywhere(person: Person, action: Action) -> bool:
    return person.role == Role.ADMIN and action in _ADMIN


@functools.lru_cache(maxsize=_KEPT)
def _visible(person_id: int, is_everywhere: bool, action: Action, kind: type[Any]) -> Select[Any]:
    return select(kind).where(_rule(person_id, true() if is_everywhere else false(), action, kind))


def _rule(
    person_id: int, everywhere: ColumnElement[bool], action: Action, kind: type[Any]
) -> ColumnElement[bool]:
    if kind is Project:
        joined = Project.id.in_(_member_of(ProjectMember.project_id, ProjectMember, person_id, action))
        return Project.deleted_at.is_(None) & or_(everywhere, joined)
    if kind is Team:
        return everywhere | Team.id.in_(_member_of(TeamMember.team_id, TeamMember, person_id, action))
    if kind is Person:
        own = Person.id == person_id if action in _OWN else false()
        return Person.erased_at.is_(None) & or_(everywhere, own, Person.id.in_(_under(person_id, action)))
    return everywhere | (Device.person_id == person_id if action in _OWN else false())


def _member_of(column: Any, kind: type[Any], person_id: int, action: Action) -> Select[Any]:
    """The ids of the teams or projects in which the person's role has the permission."""
    return select(column).where(kind.person_id == person_id, kind.role.in_(_roles_with(action)))


def _under(person_id: int, action: Action) -> Select[Any]:
    """The ids of the people in the teams in which the person's role has the permission."""
    led, member = aliased(TeamMember), aliased(TeamMember)
    return (
        select(member.person_id)
        .join(led, led.team_id == member.team_id)
        .where(led.person_id == person_id, led.role.in_(_roles_with(action)))
    )


def watchers(subject: Person) -> Select[Person, Team]:
    """Who may VIEW_PERSON the subject, once for each team by which: ``visible`` from the other end."""
    led, member = aliased(TeamMember), aliased(TeamMember)
    return (
        select(Person, Team)
        .join(led, led.person_id == Person.id)
        .join(member, member.team_id == led.team_id)
        .join(Team, Team.id == led.team_id)
        .where(
            member.person_id == subject.id,
            led.role.in_(_roles_with(Action.VIEW_PERSON)),
            Person.id != subject.id,
            Person.deactivated_at.is_(None),
            Person.erased_at.is_(None),
        )
        .order_by(Person.name, Person.id, Team.name)
    )


def _roles_with(action: Action) -> list[str]:
    return [role.value for role in MEMBER_ROLES if action in PERMISSIONS[role]]


def fetch(session: Session, person: Person, action: Action, kind: type[Thing], public_id: UUID) -> Thing:
    """The thing, if the person may do ``action`` to it; else NotYours, whether it exists or not."""
    asked = _by_id(person.id, _is_everywhere(person, action), action, cast(Hashable, kind))
    found: Thing | None = session.scalar(asked, {"public_id": public_id})
    if found is None:
        raise NotYours(f"there is no {action.scope} {public_id} that you have access to", action, public_id)
    return found


@functools.lru_cache(maxsize=_KEPT)
def _by_id(person_id: int, is_everywhere: bool, action: Action, kind: Any) -> Select[Any]:
    asked = bindparam("public_id", type_=kind.public_id.type)
    return _visible(person_id, is_everywhere, action, kind).where(kind.public_id == asked)


def may_on(session: Session, person: Person, action: Action, thing: Project | Team | Person | Device) -> bool:
    """Whether the person may do ``action`` to this thing."""
    kind: type[Any] = type(thing)
    return session.scalar(visible(person, action, kind).where(kind.id == thing.id)) is not None
