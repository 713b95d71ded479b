"""Teams and projects as groups of people: their names and members, by one set of rules for both.

To bring a person into a group takes a right on each of the two: who may manage a group may not
therefore reach everybody. Changes of one group come one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from devflow import access, audit
from devflow.access import MEMBER_ROLES, Action
from devflow.audit import Act, Actor
from devflow.errors import Invalid, NotFound
from devflow.models import Person, Project, ProjectMember, Role, Team, TeamMember
from devflow.names import plain_name

Group = TypeVar("Group", Team, Project)


@dataclass(frozen=True, slots=True)
class Member:
    """A person in a group, and as what; ``may_view`` is whether the viewer may see the person's days."""

    person: Person
    role: Role
    may_view: bool


@dataclass(frozen=True, slots=True)
class _Rules:
    """What differs between a team and a project; ``key`` is the column of ``row`` that names the group."""

    row: Any
    key: str
    view: Action
    manage: Action
    renamed: Act
    added: Act
    changed: Act
    removed: Act
    left: Act


_RULES: Final[dict[Any, _Rules]] = {
    Team: _Rules(
        row=TeamMember,
        key="team_id",
        view=Action.VIEW_TEAM,
        manage=Action.MANAGE_TEAM,
        renamed=Act.TEAM_RENAMED,
        added=Act.TEAM_MEMBER_ADDED,
        changed=Act.TEAM_MEMBER_ROLE,
        removed=Act.TEAM_MEMBER_REMOVED,
        left=Act.TEAM_MEMBER_LEFT,
    ),
    Project: _Rules(
        row=ProjectMember,
        key="project_id",
        view=Action.VIEW_PROJECT,
        manage=Action.MANAGE_PROJECT,
        renamed=Act.PROJECT_RENAMED,
        added=Act.PROJECT_MEMBER_ADDED,
        changed=Act.PROJECT_MEMBER_ROLE,
        removed=Act.PROJECT_MEMBER_REMOVED,
        left=Act.PROJECT_MEMBER_LEFT,
    ),
}


def members(session: Session, viewer: Person, group: Team | Project) -> list[Member]:
    """The members of a group that the viewer may view, by name, deactivated ones too."""
    rules = _RULES[type(group)]
    rows = session.execute(
        select(Person, rules.row.role)
        .join(rules.row, rules.row.person_id == Person.id)
        .where(getattr(rules.row, rules.key) == group.id, Person.erased_at.is_(None))
    ).all()
    viewable = set(
        session.scalars(
            access.visible(viewer, Action.VIEW_PERSON, Person)
            .where(Person.id.in_(_inside(rules, group)))
            .with_only_columns(Person.id)
        )
    )
    found = [Member(person, Role(role), person.id in viewable) for person, role in rows]
    return sorted(found, key=lambda member: _by_name(member.person))


def addable(session: Session, viewer: Person, group: Team | Project) -> Sequence[Person]:
    """Whom the viewer may bring into a group that is the viewer's to manage, by name."""
    people = session.scalars(
        access.visible(viewer, Action.ASSIGN_PERSON, Person).where(
            Person.deactivated_at.is_(None), Person.id.not_in(_inside(_RULES[type(group)], group))
        )
    )
    return sorted(people, key=_by_name)


def add(session: Session, by: Actor, kind: type[Group], group_id: UUID, person_id: UUID, role: str) -> None:
    """Bring a person into the group. The caller commits.

    Raise NotFound without a right on both of them, Invalid for a role that is none in a group and
    for somebody who is a member, or deactivated.
    """
    rules, given = _RULES[kind], _member_role(role)
    # Whoever is deactivated or erased at this moment is so before us or after. Uploads, too, lock
    # a person first and a project then.
    session.execute(select(Person.id).where(Person.public_id == person_id).with_for_update(read=True))
    group = held(session, by, rules.manage, kind, group_id)
    person = access.fetch(session, by.who(), Action.ASSIGN_PERSON, Person, person_id)
    if person.deactivated_at is not None:
        raise Invalid("expected somebody whose account is in use, got one that was deactivated")
    if session.get(rules.row, {rules.key: group.id, "person_id": person.id}) is not None:
        raise Invalid("expected somebody who is no member yet, got one who is")
    session.add(rules.row(**{rules.key: group.id}, person_id=person.id, role=given))
    audit.record(session, by, rules.added, group_id, person=person_id, role=given)


def change_role(
    session: Session, by: Actor, kind: type[Group], group_id: UUID, person_id: UUID, role: str
) -> None:
    """Make a member something else in the group. The caller commits.

    Raise NotFound if the group is not the caller's to manage, or the person no member.
    """
    rules, given = _RULES[kind], _member_role(role)
    membership = _membership(session, rules, held(session, by, rules.manage, kind, group_id), person_id)
    if membership.role == given:
        return
    was, membership.role = membership.role, given
    audit.record(session, by, rules.changed, group_id, person=person_id, was=was, role=given)


def remove(session: Session, by: Actor, kind: type[Group], group_id: UUID, person_id: UUID) -> None:
    """Take a member out of the group; that takes no right on the person. The caller commits.

    Raise NotFound if the group is not the caller's to manage, or the person no member.
    """
    rules = _RULES[kind]
    session.delete(_membership(session, rules, held(session, by, rules.manage, kind, group_id), person_id))
    audit.record(session, by, rules.removed, group_id, person=person_id)


def leave(session: Session, by: Actor, kind: type[Group], group_id: UUID) -> None:
    """Take the caller out of the group, the last manager too: an admin can always manage it.

    Raise NotFound for who is no member. The caller commits.
    """
    rules, person_id = _RULES[kind], by.who().public_id
    session.delete(_membership(session, rules, held(session, by, rules.view, kind, group_id), person_id))
    audit.record(session, by, rules.left, group_id, person=person_id)


def rename(session: Session, by: Actor, kind: type[Group], group_id: UUID, name: str) -> None:
    """Raise NotFound if the group is not the caller's to manage, Invalid for a bad name or one that is taken.

    The caller commits.
    """
    rules = _RULES[kind]
    group = held(session, by, rules.manage, kind, group_id)
    if plain_name(name) == group.name:
        return
    group.name = free_name(session, kind, name)
    session.flush()
    audit.record(session, by, rules.renamed, group_id)


def held(session: Session, by: Actor, action: Action, kind: type[Group], group_id: UUID) -> Group:
    """The group, if the caller may do ``action`` to it once nobody else is changing it; else NotFound."""
    # Locked first and judged then: whoever was waited for may have taken the right away. The lock is
    # the strongest, which a new name takes anyhow: raised only then, it would meet uploads that wait.
    session.execute(select(kind.id).where(kind.public_id == group_id).with_for_update())
    group = access.fetch(session, by.who(), action, kind, group_id)
    session.refresh(group)  # it may have been read before it was locked
    return group


def free_name(session: Session, kind: type[Group], given: str) -> str:
    """The name as it will stand; raise Invalid if it is empty, long, hides something or is taken."""
    name = plain_name(given)
    if session.scalar(select(kind.id).where(kind.name == name)) is not None:
        if kind is Team:
            raise Invalid("expected a name no team has yet, got %(name)r", name=name)
        raise Invalid("expected a name no project has yet, got %(name)r", name=name)
    return name


def check_typed(group: Team | Project, typed: str) -> None:
    """Raise Invalid unless what was typed to confirm is the group's name."""
    if " ".join(typed.split()) != group.name:
        raise Invalid(
            "expected the name %(name)r to confirm, got %(typed)r", name=group.name, typed=typed[:100]
        )


def _inside(rules: _Rules, group: Team | Project) -> Select[tuple[int]]:
    """The ids of the people in the group."""
    return select(rules.row.person_id).where(getattr(rules.row, rules.key) == group.id)


def _membership(session: Session, rules: _Rules, group: Team | Project, person_id: UUID) -> Any:
    found = session.scalar(
        select(rules.row)
        .join(Person, Person.id == rules.row.person_id)
        .where(
            getattr(rules.row, rules.key) == group.id,
            Person.public_id == person_id,
            Person.erased_at.is_(None),
        )
    )
    if found is None:
        raise NotFound(f"there is no member {person_id} here")
    return found


def _member_role(given: str) -> Role:
    if given not in MEMBER_ROLES:
        raise Invalid(
            "expected the role %(roles)s, got %(given)r", roles=", ".join(MEMBER_ROLES), given=given[:40]
        )
    return Role(given)


def _by_name(person: Person) -> tuple[str, UUID]:
    return person.name.casefold(), person.public_id
