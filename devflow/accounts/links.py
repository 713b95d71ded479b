"""Links that work once; so far the one that makes the first account."""

from __future__ import annotations

from enum import StrEnum
from uuid import uuid4

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from devflow import crypto
from devflow.accounts import people
from devflow.audit import Actor
from devflow.errors import NotFound
from devflow.models import Link, Person, Role


class Purpose(StrEnum):
    SETUP = "setup"
    INVITE = "invite"
    RESET = "reset"


def open_setup(session: Session, now_ms: int) -> str | None:
    """A new token for the link that makes the first account; None once there is an account.

    Links handed out before end. The caller commits.
    """
    session.execute(delete(Link).where(Link.purpose == Purpose.SETUP))
    if session.scalar(select(func.count()).select_from(Person)):
        return None
    token = crypto.new_token()
    session.add(
        Link(token_hash=crypto.token_hash(token), public_id=uuid4(), purpose=Purpose.SETUP, created_at=now_ms)
    )
    return token


def check_setup(session: Session, token: str) -> None:
    """Raise NotFound unless the set-up link is open."""
    link = session.get(Link, crypto.token_hash(token))
    if link is None or link.purpose != Purpose.SETUP:
        raise NotFound("this set-up link is not open; a start of the server without accounts prints another")


def set_up(session: Session, by: Actor, token: str, *, name: str, email: str, password: str) -> Person:
    """Make the first account, an admin's, and close the link. The caller commits."""
    check_setup(session, token)
    person = people.create(session, by, name=name, email=email, password=password, role=Role.ADMIN)
    # By row count: of two that use the link at once, one finds it gone.
    used = session.execute(delete(Link).where(Link.token_hash == crypto.token_hash(token)))
    if used.rowcount != 1:  # type: ignore[attr-defined]  # a CursorResult, for a DELETE
        raise NotFound("this set-up link was used already")
    return person
