"""Access receipts: who looked at a person's days or changed their account, told to that person."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from devflow import access, audit
from devflow.access import Action
from devflow.audit import Act, Actor
from devflow.errors import NotFound
from devflow.models import AuditEntry, Device, Person, Project, Team

RECENT: Final = 1_000


class Who(StrEnum):
    """Who did it, where that is nobody with a name: the server, or somebody whose account is gone."""

    SERVER = "server"
    FORMER_MEMBER = "former member"


@dataclass(frozen=True, slots=True)
class Receipt:
    """One act on the person, a PC of theirs or their membership. ``act`` is an ``audit.Act``.

    Names are those of today: ``by`` the actor's; ``device`` the PC's; ``place`` that of the team or
    project, None for one that the person sees no more.
    """

    id: int
    at_ms: int
    act: str
    by: str | Who
    is_refused: bool
    device: str | None
    place: str | None
    detail: dict[str, Any]


def note_view(session: Session, by: Actor, subject: Person, first: date, last: date, page: str) -> None:
    """Write that somebody is shown these days of the subject; they are shown once this is committed.

    Raise NotFound if they may not see the subject.
    """
    note_views(session, by, [subject.public_id], first, last, page)


def note_views(
    session: Session, by: Actor, subjects: Sequence[UUID], first: date, last: date, page: str
) -> None:
    """``note_view`` of several people at once: of all of them, or NotFound and of none."""
    mine = access.visible(by.who(), Action.VIEW_PERSON, Person).with_only_columns(Person.public_id)
    seen = set(session.scalars(mine.where(Person.public_id.in_(subjects))))
    # "from" is no name that a call can be written with.
    detail: dict[str, Any] = {"from": first.isoformat(), "to": last.isoformat(), "page": page}
    for subject in subjects:
        if subject not in seen:
            raise NotFound(f"there is no person {subject} that you have access to")
        audit.record(session, by, Act.PERSON_VIEWED, subject, **detail)


def viewed_since(session: Session, viewer: Person, since_ms: int, page: str) -> set[UUID]:
    """Who was told since then of a look at this page, as far as the viewer's newest ``RECENT`` acts go."""
    acts = (
        select(AuditEntry.act, AuditEntry.at, AuditEntry.subject, AuditEntry.detail)
        .where(AuditEntry.actor == viewer.public_id)
        .order_by(AuditEntry.id.desc())
        .limit(RECENT)
    )
    return {
        row.subject
        for row in session.execute(acts)
        if row.act == Act.PERSON_VIEWED and row.at >= since_ms and json.loads(row.detail)["page"] == page
    }


def read(
    session: Session, person: Person, *, limit: int | None = None, before: int | None = None
) -> list[Receipt]:
    """What others did, newest first: ``limit`` of them at most, and those with an id below ``before``."""
    own = select(Device.public_id, Device.name).where(Device.person_id == person.id)
    devices = dict(session.execute(own).all())
    query = (
        select(AuditEntry, Person.name, Person.erased_at)
        .outerjoin(Person, Person.public_id == AuditEntry.actor)
        .where(
            or_(AuditEntry.subject.in_([person.public_id, *devices]), AuditEntry.person == person.public_id),
            or_(AuditEntry.actor.is_(None), AuditEntry.actor != person.public_id),
        )
        .order_by(AuditEntry.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(AuditEntry.id < before)
    rows = session.execute(query).all()
    places = _places(session, person, [entry.subject for entry, _, _ in rows if entry.subject is not None])
    return [
        Receipt(
            id=entry.id,
            at_ms=entry.at,
            act=entry.act,
            by=_who(entry, name, erased_at),
            is_refused=entry.is_refused,
            device=_named(entry, devices),
            place=_named(entry, places),
            detail=json.loads(entry.detail),
        )
        for entry, name, erased_at in rows
    ]


def _places(session: Session, person: Person, subjects: Sequence[UUID]) -> dict[UUID, str]:
    """The names of the teams and projects among these that the person may know of."""
    found: dict[UUID, str] = {}
    kinds: tuple[tuple[Any, Action], ...] = ((Team, Action.VIEW_TEAM), (Project, Action.VIEW_PROJECT))
    for kind, action in kinds:
        seen = access.visible(person, action, kind).where(kind.public_id.in_(subjects))
        found |= dict(session.execute(seen.with_only_columns(kind.public_id, kind.name)).all())
    return found


def _named(entry: AuditEntry, names: dict[UUID, str]) -> str | None:
    return None if entry.subject is None else names.get(entry.subject)


def _who(entry: AuditEntry, name: str | None, erased_at: int | None) -> str | Who:
    if entry.actor is None:
        return Who.SERVER
    return Who.FORMER_MEMBER if name is None or erased_at is not None else name
