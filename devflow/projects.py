"""Projects: what was worked on, and who works on it together."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import access, accounts
from devflow.access import Action
from devflow.errors import Invalid
from devflow.models import Membership, Person, Project

MAX_NAME: Final = 100


def create(session: Session, creator: Person, name: str, now_ms: int) -> Project:
    """A new project with its creator as the first member. The caller commits.

    Raise Unauthorized without the permission, Invalid for a name that is empty, long or taken.
    """
    access.require(creator, Action.CREATE_PROJECT)
    name = " ".join(name.split())
    if not 1 <= len(name) <= MAX_NAME:
        raise Invalid(f"expected a name of 1 to {MAX_NAME} characters, got {len(name)}")
    if accounts.has_control(name):
        raise Invalid("expected a name without control characters")
    if session.scalar(select(Project.id).where(Project.name == name)) is not None:
        raise Invalid(f"expected a name no project has yet, got {name!r}")
    project = Project(public_id=uuid4(), name=name, created_at=now_ms)
    session.add(project)
    session.flush()
    session.add(Membership(project_id=project.id, person_id=creator.id))
    return project
