"""Teams: who works together; what they share with projects is in ``groups``."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from devflow import access, audit, groups
from devflow.access import Action
from devflow.audit import Act, Actor
from devflow.errors import Invalid
from devflow.models import Person, Role, Team, TeamMember


@dataclass(frozen=True, slots=True)
class TeamRow:
    """A team, how many are in it, and what the viewer is there; None for no member."""

    team: Team
    members: int
    role: Role | None


def listed(session: Session, viewer: Person) -> list[TeamRow]:
    """The teams that the viewer may view, by name."""
    count = (
        select(func.count())
        .select_from(TeamMember)
        .join(Person, Person.id == TeamMember.person_id)
        .where(TeamMember.team_id == Team.id, Person.erased_at.is_(None))
        .scalar_subquery()
    )
    own = (
        select(TeamMember.role)
        .where(TeamMember.team_id == Team.id, TeamMember.person_id == viewer.id)
        .scalar_subquery()
    )
    rows = session.execute(access.visible(viewer, Action.VIEW_TEAM, Team).add_columns(count, own))
    found = [TeamRow(team, members, None if role is None else Role(role)) for team, members, role in rows]
    return sorted(found, key=lambda row: (row.team.name.casefold(), row.team.name))


def create(session: Session, by: Actor, name: str, *, joins: bool = True) -> Team:
    """A new team with its creator as the manager, or, if an admin makes it, without. The caller commits.

    Raise Unauthorized without the permission, Invalid for a name that is empty, long or taken.
    """
    creator = by.who()
    access.require(creator, Action.CREATE_TEAMS)
    team = Team(public_id=uuid4(), name=groups.free_name(session, Team, name), created_at=by.now_ms)
    session.add(team)
    session.flush()
    if joins:
        session.add(TeamMember(team_id=team.id, person_id=creator.id, role=Role.MANAGER))
    elif not access.may_on(session, creator, Action.MANAGE_TEAM, team):
        raise Invalid("expected the maker of a team to join it: only an admin can manage one from outside")
    audit.record(session, by, Act.TEAM_MADE, team.public_id, joins=joins)
    return team


def delete(session: Session, by: Actor, team_id: UUID, typed: str) -> None:
    """Delete a team, its memberships and its open invitations; nobody's events. The caller commits.

    Raise NotFound if it is not the caller's to manage, Invalid unless ``typed`` is its name.
    """
    team = groups.held(session, by, Action.MANAGE_TEAM, Team, team_id)
    groups.check_typed(team, typed)
    session.delete(team)
    session.flush()
    audit.record(session, by, Act.TEAM_DELETED, team_id)
