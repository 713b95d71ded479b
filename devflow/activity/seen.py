"""Who belongs to a project, and whom of them the viewer may see by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from devflow.access import Action, visible
from devflow.models import Cell, Person, Project, ProjectMember, Team, TeamMember
from devflow.windows import Grain


class Seen(NamedTuple):
    """A person whose numbers the viewer may see; part of the key of a page that shows them."""

    id: int
    public_id: UUID
    name: str
    is_member: bool


def in_project(session: Session, viewer: Person, project: Project) -> list[Seen]:
    """Those the viewer may see, the viewer too, who are members of the project or ever worked in it."""
    is_member = exists().where(ProjectMember.project_id == project.id, ProjectMember.person_id == Person.id)
    has_worked = exists().where(
        Cell.project_id == project.id, Cell.person_id == Person.id, Cell.grain == Grain.MONTH
    )
    columns = (Person.id, Person.public_id, Person.name, is_member.label("is_member"))
    rows = session.execute(
        visible(viewer, Action.VIEW_PERSON, Person)
        .with_only_columns(*columns)
        .where(or_(is_member, has_worked))
        .order_by(Person.name, Person.id)
    )
    return [Seen(*row) for row in rows]


def of_projects(
    session: Session, viewer: Person, project_ids: Iterable[int], team: Team | None = None
) -> tuple[list[int], list[Seen]]:
    """The ids of the members of any of the projects, and of the team if one is named; and those seen of them.

    Who was deactivated is not counted among them. One statement.
    """
    joined = select(ProjectMember.person_id).where(ProjectMember.project_id.in_(list(project_ids)))
    seen = visible(viewer, Action.VIEW_PERSON, Person).with_only_columns(Person.id)
    columns = (Person.id, Person.public_id, Person.name, Person.id.in_(seen).label("is_seen"))
    members = select(*columns).where(Person.id.in_(joined), Person.deactivated_at.is_(None))
    if team is not None:
        in_team = select(TeamMember.person_id).where(TeamMember.team_id == team.id)
        members = members.where(Person.id.in_(in_team))
    found = session.execute(members.order_by(Person.name, Person.id)).all()
    named = [Seen(row.id, row.public_id, row.name, True) for row in found if row.is_seen]
    return [row.id for row in found], named
