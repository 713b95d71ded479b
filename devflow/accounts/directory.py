"""The directory: everybody with an account, as those see them who manage people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, func, select, true
from sqlalchemy.orm import Session

from devflow import access
from devflow.access import Action
from devflow.accounts import people
from devflow.crypto import Vault
from devflow.models import (
    BrowserSession,
    DeletionRequest,
    Device,
    Person,
    ProjectMember,
    SecondFactor,
    TeamMember,
)


class State(StrEnum):
    ACTIVE = "active"
    DEACTIVATED = "deactivated"
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class Entry:
    """A person; ``last_seen`` is when a browser or PC of theirs came last, exact to some minutes.

    ``deletion_due`` is None for who did not ask to be deleted.
    """

    person: Person
    email: str
    teams: int
    projects: int
    last_seen: int | None
    has_second_factor: bool
    deletion_due: int | None

    @property
    def state(self) -> State:
        if self.deletion_due is not None:
            return State.LEAVING
        return State.ACTIVE if self.person.deactivated_at is None else State.DEACTIVATED


def everybody(session: Session, viewer: Person, vault: Vault) -> list[Entry]:
    """All whom the viewer manages, by name; one statement, however many."""
    return sorted(_entries(session, viewer, vault, true()), key=lambda entry: entry.person.name.casefold())


def entry(session: Session, viewer: Person, vault: Vault, person: Person) -> Entry:
    """One of them, whom the viewer is known to manage."""
    (found,) = _entries(session, viewer, vault, Person.id == person.id)
    return found


def _entries(session: Session, viewer: Person, vault: Vault, which: ColumnElement[bool]) -> list[Entry]:
    rows = session.execute(
        access.visible(viewer, Action.MANAGE_PERSON, Person)
        .where(which)
        .add_columns(
            _of_person(func.count(), TeamMember).label("teams"),
            _of_person(func.count(), ProjectMember).label("projects"),
            _of_person(func.max(BrowserSession.seen_at), BrowserSession).label("browser_seen"),
            _of_person(func.max(Device.last_seen_at), Device).label("device_seen"),
            _of_person(SecondFactor.confirmed_at, SecondFactor).label("confirmed_at"),
            _of_person(DeletionRequest.due_at, DeletionRequest).label("due_at"),
        )
    )
    return [
        Entry(
            person=row.Person,
            email=people.email_of(vault, row.Person),
            teams=row.teams,
            projects=row.projects,
            last_seen=max((at for at in (row.browser_seen, row.device_seen) if at is not None), default=None),
            has_second_factor=row.confirmed_at is not None,
            deletion_due=row.due_at,
        )
        for row in rows
    ]


def _of_person(what: Any, kind: type[Any]) -> ColumnElement[Any]:
    return (
        select(what).select_from(kind).where(kind.person_id == Person.id).correlate(Person).scalar_subquery()
    )
