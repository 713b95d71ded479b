"""Links that work once: to make the first account, to accept an invitation, to set a new password."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from devflow import access, audit, crypto
from devflow.access import Action
from devflow.accounts import people, sessions
from devflow.accounts.people import Newcomer
from devflow.audit import Act, Actor
from devflow.errors import Invalid, NotFound, phrase
from devflow.models import Link, Person, Project, ProjectMember, Role, Team, TeamMember

INVITE_MS: Final = 7 * 86_400_000
RESET_MS: Final = 86_400_000
_NOT_OPEN: Final = phrase("this link is not open: it works once, for some days at most; ask for another")


class Purpose(StrEnum):
    SETUP = "setup"
    INVITE = "invite"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Offer:
    """What an invitation gives: a role in the workspace, and in a team and a project if they are named."""

    role: Role
    team_id: UUID | None = None
    team_role: Role = Role.DEVELOPER
    project_id: UUID | None = None
    project_role: Role = Role.DEVELOPER


@dataclass(frozen=True, slots=True)
class Invitation:
    """An open invitation, with the names of who made it and of where it leads."""

    link: Link
    team: str | None
    project: str | None
    made_by: str


def open_setup(session: Session, now_ms: int) -> str | None:
    """A new token for the link that makes the first account; None once there is an account.

    Links handed out before end. The caller commits.
    """
    session.execute(delete(Link).where(Link.purpose == Purpose.SETUP))
    if session.scalar(select(func.count()).select_from(Person)):
        return None
    return _add(session, Link(purpose=Purpose.SETUP, created_at=now_ms))


def check_setup(session: Session, token: str) -> None:
    """Raise NotFound unless the set-up link is open."""
    link = session.get(Link, crypto.token_hash(token))
    if link is None or link.purpose != Purpose.SETUP:
        raise NotFound("this set-up link is not open; a start of the server without accounts prints another")


def set_up(session: Session, by: Actor, token: str, who: Newcomer) -> Person:
    """Make the first account, an admin's, and close the link. The caller commits."""
    check_setup(session, token)
    _use_up(session, token)
    return people.create(session, by, who, Role.ADMIN)


def invite(session: Session, by: Actor, offer: Offer) -> str:
    """A new invitation's token. The caller commits.

    Raise Unauthorized or NotFound for what the inviter may not give, Invalid for a role there is not.
    """
    inviter = by.who()
    access.require(inviter, Action.MANAGE_PEOPLE)
    people.check_role(offer.role, access.WORKSPACE_ROLES)
    team = project = None
    if offer.team_id is not None:
        people.check_role(offer.team_role, access.MEMBER_ROLES)
        team = access.fetch(session, inviter, Action.MANAGE_TEAM, Team, offer.team_id)
    if offer.project_id is not None:
        people.check_role(offer.project_role, access.MEMBER_ROLES)
        project = access.fetch(session, inviter, Action.MANAGE_PROJECT, Project, offer.project_id)
    link = Link(
        purpose=Purpose.INVITE,
        role=offer.role,
        team_id=team and team.id,
        team_role=team and offer.team_role,
        project_id=project and project.id,
        project_role=project and offer.project_role,
        created_by=inviter.id,
        created_at=by.now_ms,
        expires_at=by.now_ms + INVITE_MS,
    )
    _drop_expired(session, by.now_ms)
    token = _add(session, link)
    audit.record(session, by, Act.INVITATION_MADE, link.public_id, **_given(offer))
    return token


def _given(offer: Offer) -> dict[str, Any]:
    """What the trail says of an offer."""
    given: dict[str, Any] = {"role": offer.role}
    if offer.team_id is not None:
        given |= {"team": offer.team_id, "team_role": offer.team_role}
    if offer.project_id is not None:
        given |= {"project": offer.project_id, "project_role": offer.project_role}
    return given


def invitations(session: Session, person: Person, now_ms: int) -> Sequence[Invitation]:
    """All that are open, the newest first; raise Unauthorized unless the person manages people."""
    access.require(person, Action.MANAGE_PEOPLE)
    is_open = (Link.purpose == Purpose.INVITE) & (Link.expires_at > now_ms)
    return _invitations(session, is_open)


def invitation(session: Session, token: str, now_ms: int) -> Invitation:
    """What the token's bearer is invited to; raise NotFound unless it is open."""
    link = _open(session, Purpose.INVITE, token, now_ms)
    (found,) = _invitations(session, Link.token_hash == link.token_hash)
    return found


def _invitations(session: Session, which: ColumnElement[bool]) -> Sequence[Invitation]:
    rows = session.execute(
        select(Link, Team.name, Project.name, Person.name)
        .join(Person, Person.id == Link.created_by)
        .outerjoin(Team, Team.id == Link.team_id)
        .outerjoin(Project, Project.id == Link.project_id)
        .where(which)
        .order_by(Link.created_at.desc(), Link.public_id)
    )
    return [Invitation(*row) for row in rows]


def withdraw(session: Session, by: Actor, public_id: UUID) -> None:
    """End an open invitation; raise NotFound if there is none with this id. The caller commits."""
    access.require(by.who(), Action.MANAGE_PEOPLE)
    ended = session.execute(delete(Link).where(Link.purpose == Purpose.INVITE, Link.public_id == public_id))
    if ended.rowcount != 1:  # type: ignore[attr-defined]  # a CursorResult, for a DELETE
        raise NotFound("this invitation is not open any more: it was used, withdrawn or has expired")
    audit.record(session, by, Act.INVITATION_WITHDRAWN, public_id)


def accept(session: Session, by: Actor, token: str, who: Newcomer) -> Person:
    """Make the invited person's account, with all that the invitation gives, and close the link.

    Raise NotFound if it is not open, Invalid if there is such an account. The caller commits.
    """
    link = _open(session, Purpose.INVITE, token, by.now_ms)
    _use_up(session, token)
    person = people.create(session, by, who, Role(str(link.role)))
    if link.team_id is not None:
        session.add(TeamMember(team_id=link.team_id, person_id=person.id, role=link.team_role))
    if link.project_id is not None:
        session.add(ProjectMember(project_id=link.project_id, person_id=person.id, role=link.project_role))
    session.flush()
    audit.record(session, by, Act.INVITATION_ACCEPTED, person.public_id, invitation=link.public_id)
    return person


def make_reset(session: Session, by: Actor, person_id: UUID) -> str:
    """The token of a link that sets the person's password; the one before ends. The caller commits."""
    person = people.managed(session, by, person_id)
    if person.deactivated_at is not None:
        raise Invalid("expected an active account, got a deactivated one: reactivate it first")
    session.execute(delete(Link).where(Link.purpose == Purpose.RESET, Link.person_id == person.id))
    _drop_expired(session, by.now_ms)
    link = Link(
        purpose=Purpose.RESET,
        person_id=person.id,
        created_by=by.who().id,
        created_at=by.now_ms,
        expires_at=by.now_ms + RESET_MS,
    )
    token = _add(session, link)
    audit.record(session, by, Act.RESET_MADE, person.public_id)
    return token


def check_reset(session: Session, token: str, now_ms: int) -> Person:
    """Whose password the link sets; raise NotFound unless it is open."""
    return session.get_one(Person, _open(session, Purpose.RESET, token, now_ms).person_id)


def reset(session: Session, by: Actor, token: str, password_hash: str) -> None:
    """Set the password, and end every session and token of the person; the second factor stays.

    Raise NotFound if the link is not open. The caller commits.
    """
    link = _open(session, Purpose.RESET, token, by.now_ms)
    _use_up(session, token)
    person = session.get_one(Person, link.person_id)
    person.password_hash = password_hash
    sessions.end_all(session, person)
    maker = session.get_one(Person, link.created_by)
    audit.record(session, by, Act.PASSWORD_RESET, person.public_id, link_by=maker.public_id)


def _add(session: Session, link: Link) -> str:
    """Keep the link's hash, and return its token, which is nowhere else."""
    token = crypto.new_token()
    link.token_hash, link.public_id = crypto.token_hash(token), uuid4()
    session.add(link)
    session.flush()
    return token


def _open(session: Session, purpose: Purpose, token: str, now_ms: int) -> Link:
    """The link, if it still gives what it was made for; else NotFound, whatever is the reason."""
    link = session.get(Link, crypto.token_hash(token))
    if (
        link is None
        or link.purpose != purpose
        or link.expires_at is None
        or link.expires_at <= now_ms
        or not _may_give(session, link)
    ):
        raise NotFound(_NOT_OPEN)
    return link


def _may_give(session: Session, link: Link) -> bool:
    """Whether who made the link may, right now, give all that it gives."""
    maker = session.get(Person, link.created_by)
    if maker is None or maker.deactivated_at is not None or not access.may(maker, Action.MANAGE_PEOPLE):
        return False
    team = session.get(Team, link.team_id) if link.team_id else None
    project = session.get(Project, link.project_id) if link.project_id else None
    person = session.get(Person, link.person_id) if link.person_id else None
    return (
        (team is None or access.may_on(session, maker, Action.MANAGE_TEAM, team))
        and (project is None or access.may_on(session, maker, Action.MANAGE_PROJECT, project))
        and (person is None or access.may_on(session, maker, Action.MANAGE_PERSON, person))
    )


def _use_up(session: Session, token: str) -> None:
    """By row count: of two that use the link at once, one finds it gone."""
    used = session.execute(delete(Link).where(Link.token_hash == crypto.token_hash(token)))
    if used.rowcount != 1:  # type: ignore[attr-defined]  # a CursorResult, for a DELETE
        raise NotFound(_NOT_OPEN)


def _drop_expired(session: Session, now_ms: int) -> None:
    session.execute(delete(Link).where(Link.expires_at <= now_ms))
