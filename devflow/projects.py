"""Projects: what was worked on, and who works on it together."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import access, audit
from devflow.access import Action
from devflow.audit import Act, Actor
from devflow.errors import Invalid
from devflow.models import Project, ProjectMember, Role
from devflow.names import plain_name


def create(session: Session, by: Actor, name: str) -> Project:
    """A new project with its creator as the first member and manager. The caller commits.

    Raise Unauthorized without the permission, Invalid for a name that is empty, long or taken.
    """
    creator = by.who()
    access.require(creator, Action.CREATE_PROJECTS)
    name = plain_name(name)
    if session.scalar(select(Project.id).where(Project.name == name)) is not None:
        raise Invalid(f"expected a name no project has yet, got {name!r}")
    project = Project(public_id=uuid4(), name=name, created_at=by.now_ms)
    session.add(project)
    session.flush()
    session.add(ProjectMember(project_id=project.id, person_id=creator.id, role=Role.MANAGER))
    audit.record(session, by, Act.PROJECT_MADE, project.public_id)
    return project
