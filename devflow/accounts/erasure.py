"""Deletion of a person on request: nothing says who it was any more, and every total stays as it was.

Asked for by the person, it is carried out by an admin, or by itself when it is due. What a person
did is counted in the team's numbers and stays in them, as the work of a former member.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from devflow import access, audit, db
from devflow.access import Action
from devflow.accounts import people, sessions
from devflow.audit import Act, Actor
from devflow.db import Lock
from devflow.errors import Invalid, NotFound
from devflow.models import (
    BrowserSession,
    DeletionRequest,
    Device,
    Event,
    Grant,
    Link,
    Pairing,
    Person,
    PersonAuthor,
    ProjectMember,
    RecoveryCode,
    RefreshToken,
    Role,
    SecondFactor,
    SharedSetting,
    TeamMember,
)

WAIT_MS: Final = 30 * 86_400_000
"""How long a person has to think better of it."""
STEP: Final = 20_000
"""Events looked at in one transaction: others write between two."""


def ask(session: Session, by: Actor) -> DeletionRequest:
    """The person's request; one that stands already stays as it is. The caller commits.

    Raise Invalid for the last active admin.
    """
    person = by.who()
    access.require(person, Action.USE_OWN)
    db.lock(session, Lock.PEOPLE)
    found = session.get(DeletionRequest, person.id)
    if found is not None:
        return found
    people.check_not_last_admin(session, person)
    request = DeletionRequest(
        person_id=person.id, asked_at=by.now_ms, due_at=by.now_ms + WAIT_MS, erased_to=0
    )
    session.add(request)
    session.flush()
    audit.record(session, by, Act.DELETION_ASKED, person.public_id, due_at=request.due_at)
    return request


def withdraw(session: Session, by: Actor) -> None:
    """Take the own request back; raise NotFound if there is none. The caller commits."""
    person = by.who()
    access.require(person, Action.USE_OWN)
    ended = session.execute(delete(DeletionRequest).where(DeletionRequest.person_id == person.id))
    if ended.rowcount != 1:  # type: ignore[attr-defined]  # a CursorResult, for a DELETE
        raise NotFound("there is no request to delete your account")
    audit.record(session, by, Act.DELETION_WITHDRAWN, person.public_id)


def confirm(session: Session, by: Actor, person_id: UUID) -> None:
    """Make a person's deletion due now, and shut them out; ``advance`` does the rest. The caller commits.

    Raise Invalid for somebody who is active and did not ask. Who is deactivated cannot ask here,
    and will have asked in another way.
    """
    person = people.managed(session, by, person_id)
    request = session.get(DeletionRequest, person.id)
    if request is None and person.deactivated_at is None:
        raise Invalid("expected a person who asked to be deleted, or who is deactivated")
    if person.deactivated_at is None:
        people.shut_out(session, person, by.now_ms)
    was_asked = request is not None
    if request is None:
        request = DeletionRequest(person_id=person.id, asked_at=by.now_ms, erased_to=0)
        session.add(request)
    request.due_at = by.now_ms
    audit.record(session, by, Act.DELETION_CONFIRMED, person.public_id, was_asked=was_asked)


def advance(session: Session, by: Actor) -> bool:
    """Go on for one step with a deletion that is due; return False if there is none.

    The caller commits, and calls again. Whoever is the last active admin by now has to wait.
    """
    db.lock(session, Lock.PEOPLE)
    due = select(DeletionRequest).where(DeletionRequest.due_at <= by.now_ms)
    for request in session.scalars(due.order_by(DeletionRequest.due_at, DeletionRequest.person_id)):
        person = session.get_one(Person, request.person_id, populate_existing=True)
        if people.is_last_admin(session, person):
            continue
        if person.deactivated_at is None:
            # From now on no event of the person's comes in: ``ingest`` waits for the row, and sees it.
            people.shut_out(session, person, by.now_ms)
        if _erase_events(session, request):
            _erase_person(session, by, person)
        return True
    return False


def _erase_events(session: Session, request: DeletionRequest) -> bool:
    """Empty the next events by the person, from whichever PC they came; return whether that was all."""
    last = session.scalar(select(func.max(Event.seq))) or 0
    until = min(request.erased_to + STEP, last)
    keys = select(PersonAuthor.author_key).where(PersonAuthor.person_id == request.person_id)
    session.execute(
        update(Event)
        .where(Event.seq > request.erased_to, Event.seq <= until)
        .where(or_(Event.person_id == request.person_id, Event.author_key.in_(keys)))
        .values(data=b"", author_key=None),
        execution_options={"synchronize_session": False},
    )
    request.erased_to = until
    session.flush()
    return until == last


def _erase_person(session: Session, by: Actor, person: Person) -> None:
    """The row stays without anything in it: events and cells hang on its number."""
    known_as = person.public_id
    _erase_access(session, person)
    for device in session.scalars(select(Device).where(Device.person_id == person.id)):
        device.public_id, device.name = uuid4(), ""
        device.revoked_at = device.revoked_at or by.now_ms
    person.public_id, person.name = uuid4(), ""
    person.email, person.email_key = by.vault.seal(people.EMAIL, person.public_id.bytes, b""), None
    person.password_hash, person.role = "", Role.DEVELOPER
    person.erased_at = by.now_ms
    sessions.end_all(session, person)
    audit.record(session, by, Act.PERSON_ERASED, known_as)


def _erase_access(session: Session, person: Person) -> None:
    """All rows that are the person's alone."""
    grants = select(Grant.id).where(Grant.person_id == person.id)
    session.execute(delete(Pairing).where(or_(Pairing.person_id == person.id, Pairing.grant_id.in_(grants))))
    session.execute(delete(RefreshToken).where(RefreshToken.grant_id.in_(grants)))
    people.end_links_by(session, person)
    session.execute(delete(Link).where(Link.person_id == person.id))
    own: tuple[type[Any], ...] = (
        Grant,
        BrowserSession,
        PersonAuthor,
        SecondFactor,
        RecoveryCode,
        TeamMember,
        ProjectMember,
        DeletionRequest,
        SharedSetting,
    )
    for kind in own:
        session.execute(delete(kind).where(kind.person_id == person.id))
