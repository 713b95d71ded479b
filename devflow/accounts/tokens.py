"""Tokens of programs: a log-in gives a grant, the grant a chain of refresh tokens, each an access token.

Refresh tokens rotate. The one that was used is dead as soon as the one it was exchanged for has
been seen; until then the answer may have been lost, and it can be used again, which makes the
unseen one void. A token that is neither of the two was stolen, or is the thief's: the grant ends,
and with it every token of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

import jwt
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from devflow import audit, crypto, wire
from devflow.audit import Act, Actor
from devflow.crypto import Vault
from devflow.errors import Unauthorized
from devflow.models import Device, Grant, Person, RefreshToken

TOKEN_LIFETIME_MS: Final = 7 * 86_400_000
REFRESH_LIFETIME_MS: Final = 90 * 86_400_000
ISSUER: Final = "devflow"
_REQUIRED: Final = ["exp", "iat", "sub", "aud", "iss", "ver", "grant", "num"]


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom an access token stands for; ``device`` is None for a token that is bound to no PC."""

    person: Person
    device: Device | None
    grant: Grant
    number: int


def issue(session: Session, by: Actor, person: Person, device: Device | None, audience: UUID) -> wire.Tokens:
    """A new grant and its first tokens. The caller commits."""
    session.execute(delete(RefreshToken).where(RefreshToken.expires_at <= by.now_ms))
    grant = Grant(
        public_id=uuid4(),
        person_id=person.id,
        device_id=None if device is None else device.id,
        token_version=person.token_version,
        current=0,
        parent=0,
        is_confirmed=True,
        created_at=by.now_ms,
    )
    session.add(grant)
    session.flush()
    return _next(session, by, grant, person, device, parent=0, audience=audience)


def renew(session: Session, by: Actor, refresh_token: str, audience: UUID) -> wire.Tokens | None:
    """New tokens for a refresh token; None for one that was used before: its grant has ended.

    The caller commits, also what None means. Raise Unauthorized for any other that is not good.
    """
    row = session.get(RefreshToken, crypto.token_hash(refresh_token))
    if row is None or row.expires_at <= by.now_ms:
        raise Unauthorized("this refresh token is not valid: sign in again")
    # Two that use it at once come one after the other.
    grant = session.get_one(Grant, row.grant_id, with_for_update=True, populate_existing=True)
    person, device = _holders(session, grant)
    if row.number == grant.current or (row.number == grant.parent and not grant.is_confirmed):
        return _next(session, by, grant, person, device, parent=row.number, audience=audience)
    grant.ended_at = by.now_ms
    audit.record(session, by, Act.TOKEN_REUSED, None if device is None else device.public_id, is_refused=True)
    return None


def _next(
    session: Session,
    by: Actor,
    grant: Grant,
    person: Person,
    device: Device | None,
    *,
    parent: int,
    audience: UUID,
) -> wire.Tokens:
    # A number is never given twice, so what was void stays void.
    number = grant.current + 1
    grant.current, grant.parent, grant.is_confirmed = number, parent, False
    refresh_token = crypto.new_token()
    session.add(
        RefreshToken(
            token_hash=crypto.token_hash(refresh_token),
            grant_id=grant.id,
            number=number,
            expires_at=by.now_ms + REFRESH_LIFETIME_MS,
        )
    )
    session.flush()
    act = Act.TOKENS_ISSUED if parent == 0 else Act.TOKENS_RENEWED
    as_person = Actor(person, by.now_ms, by.vault)
    audit.record(session, as_person, act, None if device is None else device.public_id)
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
        "num": grant.current,
        "iat": by.now_ms // 1_000,
        "exp": (by.now_ms + TOKEN_LIFETIME_MS) // 1_000,
    }
    if device is not None:
        claims["dev"] = str(device.public_id)
    key_id, key = by.vault.signing_key()
    return jwt.encode(claims, key, algorithm="HS256", headers={"kid": str(key_id)})


def bearer(session: Session, vault: Vault, token: str, audience: UUID) -> Bearer:
    """Whom the access token stands for right now; raise Unauthorized with what is wrong with it."""
    claims = _claims(vault, token, audience)
    try:
        person_id, grant_id, number = UUID(claims["sub"]), UUID(claims["grant"]), int(claims["num"])
        device_id = UUID(claims["dev"]) if "dev" in claims else None
    except (ValueError, TypeError, AttributeError) as error:
        raise Unauthorized("this token is not valid here: sign in again") from error
    grant = session.scalar(select(Grant).where(Grant.public_id == grant_id))
    if grant is None:
        raise Unauthorized("this token was ended: sign in again")
    person, device = _holders(session, grant)
    if person.public_id != person_id or (None if device is None else device.public_id) != device_id:
        raise Unauthorized("this token is not valid here: sign in again")
    # The one before is still in use by requests under way, and by other processes of that PC.
    if number not in (grant.current, grant.parent):
        raise Unauthorized("this token was replaced: refresh it, or sign in again")
    return Bearer(person, device, grant, number)


def confirm(session: Session, bearer: Bearer) -> None:
    """Note that the newest tokens have arrived: from now on the one before is a stolen one.

    The caller commits.
    """
    session.execute(
        update(Grant)
        .where(Grant.id == bearer.grant.id, Grant.current == bearer.number)
        .values(is_confirmed=True)
    )


def needs_confirming(bearer: Bearer) -> bool:
    return bearer.number == bearer.grant.current and not bearer.grant.is_confirmed


def _holders(session: Session, grant: Grant) -> tuple[Person, Device | None]:
    """Whose grant it is; raise Unauthorized if it, its person or its device was ended."""
    person = session.get_one(Person, grant.person_id)
    if (
        grant.ended_at is not None
        or grant.token_version != person.token_version
        or person.deactivated_at is not None
    ):
        raise Unauthorized("this token was ended: sign in again")
    device = None if grant.device_id is None else session.get_one(Device, grant.device_id)
    if device is not None and device.revoked_at is not None:
        raise Unauthorized("this device was revoked: sign in again")
    return person, device


def _claims(vault: Vault, token: str, audience: UUID) -> dict[str, Any]:
    try:
        key = vault.token_key(int(jwt.get_unverified_header(token).get("kid", "")))
        if key is None:
            raise Unauthorized("this token is not valid here: sign in again")
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=["HS256"],
            audience=str(audience),
            issuer=ISSUER,
            options={"require": _REQUIRED},
        )
    except jwt.ExpiredSignatureError as error:
        raise Unauthorized("this token has expired: refresh it, or sign in again") from error
    except (jwt.InvalidTokenError, ValueError, TypeError) as error:
        raise Unauthorized("this token is not valid here: sign in again") from error
    return claims
