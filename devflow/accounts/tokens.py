"""Tokens of programs: a log-in gives a grant, the grant a chain of refresh tokens, each an access token.

Refresh tokens rotate, and what one is exchanged for counts from the moment it is seen. Until then
the answer may have been lost - the program killed, the line cut - so the one before stays good and
can be exchanged again. Of several answers to one token the first that is seen goes on with the
chain; the others, and all before, are dead. Whoever comes with a dead one has stolen it, or it was
stolen from them: the grant ends, and with it every token of it (RFC 9700, 4.14.2).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

import jwt
from sqlalchemy import bindparam, delete, exists, select, update
from sqlalchemy.orm import Session

from devflow import audit, crypto, wire
from devflow.audit import Act, Actor
from devflow.crypto import Vault
from devflow.errors import Unauthorized
from devflow.models import Device, Grant, Person, RefreshToken

TOKEN_LIFETIME_MS: Final = 7 * 86_400_000
REFRESH_LIFETIME_MS: Final = 90 * 86_400_000
ISSUER: Final = "devflow"
ENDED: Final = "devflow_ended"
"""In ``Session.info``: the public ids of devices and people whose tokens a transaction has ended."""
_KEPT: Final = 500
"""Tokens whose signature was seen to be good."""
_REQUIRED: Final = ["exp", "iat", "sub", "aud", "iss", "ver", "grant", "num", "par"]
_NOT_VALID: Final = "this token is not valid here: sign in again"
_ENDED: Final = "this token was ended: sign in again"
_REPLACED: Final = "this token was replaced: refresh it, or sign in again"


# All at once: ``_holders`` finds person and device in the session. And made once: that takes longer than
# to run it.
_HELD: Final = (
    select(Grant, Person, Device)
    .join(Person, Person.id == Grant.person_id)
    .outerjoin(Device, Device.id == Grant.device_id)
    .where(Grant.public_id == bindparam("grant_id"))
)


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom an access token stands for; ``device`` is None for a token that is bound to no PC.

    ``number`` and ``parent`` are those of the refresh token that it came with.
    """

    person: Person
    device: Device | None
    grant: Grant
    number: int
    parent: int


def issue(session: Session, by: Actor, person: Person, device: Device | None, audience: UUID) -> wire.Tokens:
    """A new grant and its first tokens; those the device had before end. The caller commits."""
    return first(session, by, begin(session, by, person, device).id, audience)


def begin(session: Session, by: Actor, person: Person, device: Device | None) -> Grant:
    """A new grant; what the device was given before ends. The caller commits, and hands out tokens of it."""
    _clean_up(session, by.now_ms)
    if device is not None:
        # Locked: of two log-ins at once the later one ends what the earlier one was given.
        session.refresh(device, with_for_update={"key_share": True})
        end_all_of(session, device, by.now_ms)
    grant = Grant(
        public_id=uuid4(),
        person_id=person.id,
        device_id=None if device is None else device.id,
        token_version=person.token_version,
        current=0,
        parent=0,
        newest=0,
        created_at=by.now_ms,
    )
    session.add(grant)
    session.flush()
    return grant


def first(session: Session, by: Actor, grant_id: int, audience: UUID) -> wire.Tokens:
    """A grant's first tokens, and again while it is not known that they arrived. The caller commits.

    Raise Unauthorized once any of them was seen.
    """
    grant = _locked(session, grant_id)
    person, device = _holders(session, grant)
    if grant.current != 0:
        raise Unauthorized(_REPLACED)
    return _next(session, by, grant, person, device, audience)


def renew(session: Session, by: Actor, refresh_token: str, audience: UUID) -> wire.Tokens | None:
    """New tokens for a refresh token; None for one that is dead: its grant has ended.

    The caller commits, also what None means. Raise Unauthorized for any other that is not good.
    """
    row = session.get(RefreshToken, crypto.token_hash(refresh_token))
    if row is None or row.expires_at <= by.now_ms:
        raise Unauthorized("this refresh token is not valid: sign in again")
    # Two that use it at once come one after the other.
    grant = _locked(session, row.grant_id)
    person, device = _holders(session, grant)
    if row.number == grant.current or row.parent == grant.current:
        _saw(grant, row.number, row.parent)
        return _next(session, by, grant, person, device, audience)
    grant.ended_at = by.now_ms
    note_end(session, _id_of(device))
    audit.record(session, by, Act.TOKEN_REUSED, _id_of(device), is_refused=True)
    return None


def end(session: Session, by: Actor, bearer: Bearer) -> None:
    """Log out: no token of the grant is good any more. The caller commits."""
    session.execute(update(Grant).where(Grant.id == bearer.grant.id).values(ended_at=by.now_ms))
    note_end(session, _id_of(bearer.device))
    audit.record(session, by, Act.TOKENS_ENDED, _id_of(bearer.device))


def end_all_of(session: Session, device: Device, now_ms: int) -> None:
    """End what the device was given. The caller commits and says in the trail why."""
    session.execute(
        update(Grant).where(Grant.device_id == device.id, Grant.ended_at.is_(None)).values(ended_at=now_ms)
    )
    note_end(session, device.public_id)


def note_end(session: Session, whose: UUID | None) -> None:
    """Say to ``Database.after_commit`` that tokens of this device or person have ended; None is nobody's."""
    if whose is not None:
        session.info.setdefault(ENDED, set()).add(whose)


def holder(session: Session, claims: dict[str, Any], now_ms: int) -> Bearer:
    """Whom a token with these ``claims`` stands for right now; raise Unauthorized."""
    try:
        person_id, grant_id = UUID(claims["sub"]), UUID(claims["grant"])
        number, parent, expires_at_s = int(claims["num"]), int(claims["par"]), int(claims["exp"])
        device_id = device_of(claims)
    except (ValueError, TypeError, AttributeError) as error:
        raise Unauthorized(_NOT_VALID) from error
    if expires_at_s * 1_000 <= now_ms:
        raise Unauthorized("this token has expired: refresh it, or sign in again")
    found = session.execute(_HELD, {"grant_id": grant_id}).one_or_none()
    if found is None:
        raise Unauthorized(_ENDED)
    grant = found.Grant
    person, device = _holders(session, grant)
    if person.public_id != person_id or _id_of(device) != device_id:
        raise Unauthorized(_NOT_VALID)
    _check_not_replaced(grant, number, parent)
    return Bearer(person, device, grant, number, parent)


def needs_confirming(bearer: Bearer) -> bool:
    """Whether these tokens have just been seen for the first time."""
    return bearer.parent == bearer.grant.current


def confirm(session: Session, bearer: Bearer) -> None:
    """Note that these tokens have arrived: from now on those before, and others given beside them, are dead.

    The caller commits. Raise Unauthorized if others given beside them were faster.
    """
    grant = _locked(session, bearer.grant.id)
    _check_not_replaced(grant, bearer.number, bearer.parent)
    if bearer.parent == grant.current:
        _saw(grant, bearer.number, bearer.parent)


def _check_not_replaced(grant: Grant, number: int, parent: int) -> None:
    # The one before is still in use by requests under way, and by other processes of that PC.
    if number not in (grant.current, grant.parent) and parent != grant.current:
        raise Unauthorized(_REPLACED)


def _saw(grant: Grant, number: int, parent: int) -> None:
    if number != grant.current:
        grant.current, grant.parent = number, parent


def _locked(session: Session, grant_id: int) -> Grant:
    grant = session.get(Grant, grant_id, with_for_update=True, populate_existing=True)
    if grant is None:
        raise Unauthorized(_ENDED)
    return grant


def _next(
    session: Session, by: Actor, grant: Grant, person: Person, device: Device | None, audience: UUID
) -> wire.Tokens:
    # A number is never given twice, so what is dead stays dead.
    grant.newest += 1
    refresh_token = crypto.new_token()
    session.add(
        RefreshToken(
            token_hash=crypto.token_hash(refresh_token),
            grant_id=grant.id,
            number=grant.newest,
            parent=grant.current,
            expires_at=by.now_ms + REFRESH_LIFETIME_MS,
        )
    )
    session.flush()
    act = Act.TOKENS_ISSUED if grant.current == 0 else Act.TOKENS_RENEWED
    audit.record(session, Actor(person, by.now_ms, by.vault), act, _id_of(device))
    return wire.Tokens(
        token=_signed(by, grant, person, device, audience),
        user_id=person.public_id,
        refresh_token=refresh_token,
        expires_at=by.now_ms + TOKEN_LIFETIME_MS,
    )


def _signed(by: Actor, grant: Grant, person: Person, device: Device | None, audience: UUID) -> str:
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": str(audience),
        "sub": str(person.public_id),
        "ver": person.token_version,
        "grant": str(grant.public_id),
        "num": grant.newest,
        "par": grant.current,
        "iat": by.now_ms // 1_000,
        "exp": (by.now_ms + TOKEN_LIFETIME_MS) // 1_000,
    }
    if device is not None:
        claims["dev"] = str(device.public_id)
    key_id, key = by.vault.signing_key()
    return jwt.encode(claims, key, algorithm="HS256", headers={"kid": str(key_id)})


def _holders(session: Session, grant: Grant) -> tuple[Person, Device | None]:
    """Whose grant it is; raise Unauthorized if it, its person or its device was ended."""
    person = session.get_one(Person, grant.person_id)
    device = None if grant.device_id is None else session.get_one(Device, grant.device_id)
    if device is not None and device.revoked_at is not None:
        raise Unauthorized("this device was revoked: its owner can pair it again")
    if (
        grant.ended_at is not None
        or grant.token_version != person.token_version
        or person.deactivated_at is not None
    ):
        raise Unauthorized(_ENDED)
    return person, device


def device_of(claims: dict[str, Any]) -> UUID | None:
    """The device that a token is bound to by its ``claims``."""
    return UUID(claims["dev"]) if "dev" in claims else None


def claims(vault: Vault, token: str, audience: UUID) -> dict[str, Any]:
    """What the token says, signed by us for us; whether it has expired is for our own clock to say."""
    try:
        return _verified(token, _key(vault, _key_number(token)), audience)
    except (jwt.InvalidTokenError, ValueError, TypeError) as error:
        raise Unauthorized(_NOT_VALID) from error


@functools.lru_cache(maxsize=_KEPT)
def _key_number(token: str) -> int:
    return int(jwt.get_unverified_header(token).get("kid", ""))


@functools.lru_cache(maxsize=_KEPT)
def _verified(token: str, key: bytes, audience: UUID) -> dict[str, Any]:
    """The same each time: what changes, as that a token expires, is not looked at here."""
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=["HS256"],
        audience=str(audience),
        issuer=ISSUER,
        options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False},
    )
    return claims


def _key(vault: Vault, number: int) -> bytes:
    """The key that signs tokens under this number, which another process may have made just now."""
    key = vault.token_key(number)
    if key is None:
        raise Unauthorized(_NOT_VALID)
    return key


def _clean_up(session: Session, now_ms: int) -> None:
    """Forget what can open nothing any more."""
    session.execute(delete(RefreshToken).where(RefreshToken.expires_at <= now_ms))
    is_of_it = exists().where(RefreshToken.grant_id == Grant.id)
    session.execute(delete(Grant).where(Grant.ended_at.is_not(None) | ~is_of_it))


def _id_of(device: Device | None) -> UUID | None:
    return None if device is None else device.public_id
