"""Browser sessions: kept on the server, ended there, and known to the browser by a random token alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from devflow import audit, crypto
from devflow.access import Action, NotYours
from devflow.accounts import browsers, tokens
from devflow.audit import Act, Actor
from devflow.errors import NotFound
from devflow.models import BrowserSession, Person

IDLE_MS: Final = 3 * 86_400_000
"""A weekend."""
LIFETIME_MS: Final = 30 * 86_400_000
CODE_MS: Final = 10 * 60_000
"""How long a browser may take between the password and the second factor."""
SEEN_EVERY_MS: Final = 5 * 60_000
"""How exact ``seen_at`` is: a row is not written for every page."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A browser that is signed in, and as whom."""

    person: Person
    session: BrowserSession


def begin(session: Session, by: Actor, person: Person, user_agent: str, *, needs_code: bool = False) -> str:
    """A new session's token, for the cookie. The caller commits."""
    _drop_expired(session, by.now_ms)
    token = crypto.new_token()
    session.add(
        BrowserSession(
            public_id=uuid4(),
            token_hash=crypto.token_hash(token),
            person_id=person.id,
            token_version=person.token_version,
            needs_code=needs_code,
            browser=browsers.label(user_agent),
            created_at=by.now_ms,
            seen_at=by.now_ms,
        )
    )
    session.flush()
    act = Act.CODE_AWAITED if needs_code else Act.SIGNED_IN
    audit.record(session, Actor(person, by.now_ms, by.vault), act, person.public_id)
    return token


def find(session: Session, token: str, now_ms: int, *, needs_code: bool = False) -> SignedIn | None:
    """Who is signed in with the token right now, None for nobody."""
    row = session.scalar(select(BrowserSession).where(BrowserSession.token_hash == crypto.token_hash(token)))
    if row is None or row.needs_code != needs_code or _is_over(row, now_ms):
        return None
    person = session.get_one(Person, row.person_id)
    if person.token_version != row.token_version or person.deactivated_at is not None:
        return None
    return SignedIn(person, row)


def is_due(found: SignedIn, now_ms: int) -> bool:
    """Whether ``touch`` has something to write."""
    return now_ms - found.session.seen_at >= SEEN_EVERY_MS


def touch(session: Session, found: SignedIn, now_ms: int) -> None:
    """Note that the browser was here. The caller commits."""
    session.execute(update(BrowserSession).filter_by(id=found.session.id).values(seen_at=now_ms))


def end(session: Session, by: Actor, token: str) -> None:
    """Sign out. The caller commits."""
    ended = session.execute(delete(BrowserSession).filter_by(token_hash=crypto.token_hash(token)))
    if ended.rowcount and by.person is not None:  # type: ignore[attr-defined]  # a CursorResult
        audit.record(session, by, Act.SIGNED_OUT, by.person.public_id)


def open_ones(session: Session, person: Person, now_ms: int) -> Sequence[BrowserSession]:
    """The browsers that are signed in as the person, the one seen last first."""
    query = select(BrowserSession).where(
        BrowserSession.person_id == person.id,
        BrowserSession.token_version == person.token_version,
        BrowserSession.needs_code.is_(False),
        BrowserSession.seen_at > now_ms - IDLE_MS,
        BrowserSession.created_at > now_ms - LIFETIME_MS,
    )
    return session.scalars(query.order_by(BrowserSession.seen_at.desc(), BrowserSession.id.desc())).all()


def end_one(session: Session, by: Actor, public_id: UUID) -> None:
    """End one of the own sessions. Raise NotYours if there is none of this id. The caller commits."""
    ended = session.execute(delete(BrowserSession).filter_by(public_id=public_id, person_id=by.who().id))
    if not ended.rowcount:  # type: ignore[attr-defined]  # a CursorResult, for a DELETE
        raise NotYours(f"you have no session {public_id}", Action.USE_OWN, public_id)
    audit.record(session, by, Act.SESSION_ENDED, public_id)


def end_others(session: Session, by: Actor, token: str) -> int:
    """End all own sessions but the token's; return how many. The caller commits."""
    ended = _drop_others(session, by, token)
    audit.record(session, by, Act.SESSIONS_ENDED, by.who().public_id, n=ended)
    return ended


def keep_only(session: Session, by: Actor, token: str) -> str:
    """End all own sessions but the token's, and give that one a new token. The caller commits.

    For after something that decides who gets in has changed; that act is the one for the trail.
    """
    _drop_others(session, by, token)
    renewed = crypto.new_token()
    changed = session.execute(
        update(BrowserSession)
        .filter_by(token_hash=crypto.token_hash(token), person_id=by.who().id)
        .values(token_hash=crypto.token_hash(renewed), token_version=by.who().token_version)
    )
    if not changed.rowcount:  # type: ignore[attr-defined]  # a CursorResult, for an UPDATE
        raise NotFound("this session has just ended")
    return renewed


def _drop_others(session: Session, by: Actor, token: str) -> int:
    ended = session.execute(
        delete(BrowserSession).where(
            BrowserSession.person_id == by.who().id, BrowserSession.token_hash != crypto.token_hash(token)
        )
    )
    return int(ended.rowcount)  # type: ignore[attr-defined]  # a CursorResult, for a DELETE


def end_all(session: Session, person: Person) -> None:
    """End every session and grant of the person, by moving what stands in all of them. The caller commits."""
    person.token_version += 1
    tokens.note_end(session, person.public_id)
    session.execute(delete(BrowserSession).where(BrowserSession.person_id == person.id))


def _is_over(row: BrowserSession, now_ms: int) -> bool:
    if row.needs_code:
        return now_ms - row.created_at >= CODE_MS
    return now_ms - row.seen_at >= IDLE_MS or now_ms - row.created_at >= LIFETIME_MS


def _drop_expired(session: Session, now_ms: int) -> None:
    session.execute(
        delete(BrowserSession).where(
            or_(
                BrowserSession.created_at <= now_ms - LIFETIME_MS,
                BrowserSession.needs_code & (BrowserSession.created_at <= now_ms - CODE_MS),
            )
        )
    )
