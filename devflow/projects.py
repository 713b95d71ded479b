"""Projects: what was worked on; what they share with teams is in ``groups``.

A deleted project is gone for everybody at once. What it holds, which may be millions of events,
is taken away in steps, so that uploads need not wait.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import delete as delete_from
from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from devflow import access, audit, db, groups, retention, rollups
from devflow.access import Action
from devflow.audit import Act, Actor
from devflow.models import Event, File, Link, Person, Project, ProjectMember, Role
from devflow.rollups import NOBODY, Calendar, Touched

STEP: Final = 2_000
"""How many events or files one transaction takes away."""


def create(session: Session, by: Actor, name: str) -> Project:
    """A new project with its creator as the first member and manager. The caller commits.

    Raise Unauthorized without the permission, Invalid for a name that is empty, long or taken.
    """
    creator = by.who()
    access.require(creator, Action.CREATE_PROJECTS)
    name = groups.free_name(session, Project, name)
    project = Project(public_id=uuid4(), name=name, created_at=by.now_ms)
    session.add(project)
    session.flush()
    session.add(ProjectMember(project_id=project.id, person_id=creator.id, role=Role.MANAGER))
    audit.record(session, by, Act.PROJECT_MADE, project.public_id)
    return project


def delete(session: Session, by: Actor, project_id: UUID, typed: str) -> None:
    """End a project for everybody; ``purge`` takes away what it holds. The caller commits.

    Raise NotFound without the right to delete it, Invalid unless ``typed`` is its name.
    """
    project = groups.held(session, by, Action.DELETE_PROJECT, Project, project_id)
    groups.check_typed(project, typed)
    project.deleted_at = by.now_ms
    project.name = str(uuid4())  # the old one is free again; nobody can have taken this one
    session.flush()
    session.execute(delete_from(ProjectMember).where(ProjectMember.project_id == project.id))
    session.execute(delete_from(Link).where(Link.project_id == project.id))
    audit.record(session, by, Act.PROJECT_DELETED, project_id)


def purge(session: Session, by: Actor) -> bool:
    """Take away a part of what a deleted project holds; False if there is none. The caller commits.

    Called again until False. After each step all cells are what a recount of the events would give.
    """
    calendar = retention.hold(session, by.now_ms).calendar
    deleted = select(Project).where(Project.deleted_at.is_not(None)).order_by(Project.deleted_at, Project.id)
    project = session.scalars(deleted.limit(1)).first()
    if project is None:
        return False
    if not _purge_events(session, project, calendar) and not _purge_files(session, project):
        _purge_rest(session, by, project)
    return True


def _purge_events(session: Session, project: Project, calendar: Calendar) -> bool:
    """Delete up to ``STEP`` events, oldest first, and count anew what they were counted in."""
    columns = select(Event.seq, Event.person_id, Event.timestamp)
    oldest = columns.where(Event.project_id == project.id).order_by(Event.timestamp, Event.seq).limit(STEP)
    chosen = session.execute(oldest).all()
    if not chosen:
        return False
    people = {event.person_id for event in chosen} - {None}
    _lock(session, project, people)
    # Read again: somebody may have claimed an event until the locks were ours; that one is left for later.
    locked = or_(Event.person_id.is_(None), Event.person_id.in_(people))
    events = session.execute(columns.where(Event.seq.in_([event.seq for event in chosen]), locked)).all()
    session.execute(delete_from(Event).where(Event.seq.in_([event.seq for event in events])))
    touched = [Touched(event.person_id or NOBODY, project.id, event.timestamp) for event in events]
    rollups.recount(session, touched, calendar)
    return True


def _lock(session: Session, project: Project, people: set[Any]) -> None:
    """Hold what an upload of these people to this project would, in the order in which it would."""
    ordered = select(Person.id).where(Person.id.in_(people)).order_by(Person.id)
    session.execute(ordered.with_for_update(key_share=True))
    db.lock(session, db.Lock.NOBODYS_CELLS, [project.id])


def _purge_files(session: Session, project: Project) -> bool:
    some = select(File.id).where(File.project_id == project.id).limit(STEP)
    deleted = session.execute(delete_from(File).where(File.id.in_(some)))
    return bool(deleted.rowcount)  # type: ignore[attr-defined]  # a CursorResult


def _purge_rest(session: Session, by: Actor, project: Project) -> None:
    """The row itself, and by cascade the cells and marks that are left."""
    db.lock(session, db.Lock.CALENDAR)
    db.lock(session, db.Lock.LARGER_WINDOWS, [project.id])
    # Waits for uploads that began before the project was deleted, and lets no other begin.
    held = session.scalar(select(Project.id).where(Project.id == project.id).with_for_update())
    if held is None or session.scalar(select(exists().where(Event.project_id == project.id))):
        return
    session.execute(delete_from(Project).where(Project.id == project.id))
    audit.record(session, by, Act.PROJECT_PURGED, project.public_id)
