"""Who may do what: the one place that decides, for pages, fragments and JSON alike.

Objects are fetched through ``visible``, so what is not yours looks like what is not there.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import Select, select, true
from sqlalchemy.orm import Session

from devflow.errors import NotFound, Unauthorized
from devflow.models import Membership, Person, Project, Role


class Action(StrEnum):
    VIEW_PROJECT = "project:view"
    CREATE_PROJECT = "project:create"
    SEND_EVENTS = "events:send"


PERMISSIONS: Final[dict[Role, frozenset[Action]]] = {
    Role.DEVELOPER: frozenset({Action.VIEW_PROJECT, Action.SEND_EVENTS}),
    Role.LEAD: frozenset({Action.VIEW_PROJECT, Action.SEND_EVENTS}),
    Role.MANAGER: frozenset({Action.VIEW_PROJECT, Action.SEND_EVENTS, Action.CREATE_PROJECT}),
    Role.ADMIN: frozenset({Action.VIEW_PROJECT, Action.SEND_EVENTS, Action.CREATE_PROJECT}),
}
# An admin sees every project's totals without joining it, and sends to none without joining it.
_EVERYWHERE: Final = {Role.ADMIN: frozenset({Action.VIEW_PROJECT})}


def may(person: Person, action: Action) -> bool:
    """Whether the person's role has the permission at all."""
    return action in PERMISSIONS[Role(person.role)]


def require(person: Person, action: Action) -> None:
    """Raise Unauthorized unless the person's role has the permission."""
    if not may(person, action):
        raise Unauthorized(f"expected a role with the permission {action}, yours is {person.role}")


def visible(person: Person, action: Action) -> Select[Project]:
    """The projects on which the person may do ``action``, by name."""
    projects = select(Project).order_by(Project.name)
    if not may(person, action):
        return projects.where(~true())
    if action in _EVERYWHERE.get(Role(person.role), frozenset()):
        return projects
    own = select(Membership.project_id).where(Membership.person_id == person.id)
    return projects.where(Project.id.in_(own))


def may_on(session: Session, person: Person, action: Action, project: Project) -> bool:
    """Whether the person may do ``action`` on this project."""
    found = session.scalar(visible(person, action).where(Project.id == project.id))
    return found is not None


def project(session: Session, person: Person, action: Action, public_id: UUID) -> Project:
    """The project, if the person may do ``action`` on it; else NotFound, whether it exists or not."""
    found = session.scalar(visible(person, action).where(Project.public_id == public_id))
    if found is None:
        raise NotFound(f"there is no project {public_id} that you have access to")
    return found
