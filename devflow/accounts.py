"""People, their passwords, their devices, and the tokens that stand for them."""

from __future__ import annotations

import threading
import unicodedata
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from devflow import crypto, wire
from devflow.errors import Invalid, NotFound, Unauthorized
from devflow.models import Device, Person, PersonAuthor, RefreshToken, Role, SetupLink

TOKEN_LIFETIME_MS: Final = 7 * 86_400_000
REFRESH_LIFETIME_MS: Final = 90 * 86_400_000
MIN_PASSWORD: Final = 10
ISSUER: Final = "devflow"

# OWASP's smaller Argon2id setting: 19 MiB and two passes. Four at a time, so that a flood of
# log-ins takes 76 MiB and not all of the memory.
_hasher: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_hashing: Final = threading.BoundedSemaphore(4)
# Verified against when nobody has the address, so that both answers take the same time.
_NOBODYS_HASH: Final = _hasher.hash(crypto.new_token())
_WRONG: Final = "wrong e-mail address or password"


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom an access token stands for; ``device`` is None for a token that is bound to no PC."""

    person: Person
    device: Device | None


def open_setup(session: Session, now_ms: int) -> str | None:
    """A new token for the link that makes the first account; None once there is an account.

    Links handed out before end. The caller commits.
    """
    session.execute(delete(SetupLink))
    if session.scalar(select(func.count()).select_from(Person)):
        return None
    token = crypto.new_token()
    session.add(SetupLink(token_hash=crypto.token_hash(token), created_at=now_ms))
    return token


def check_setup(session: Session, token: str) -> None:
    """Raise NotFound unless the set-up link is open."""
    if session.get(SetupLink, crypto.token_hash(token)) is None:
        raise NotFound("this set-up link is not open; a start of the server without accounts prints another")


def set_up(session: Session, token: str, *, name: str, email: str, password: str, now_ms: int) -> Person:
    """Make the first account, an admin's, and close the link. The caller commits."""
    check_setup(session, token)
    person = create_person(session, name=name, email=email, password=password, role=Role.ADMIN, now_ms=now_ms)
    # By row count: of two that use the link at once, one finds it gone.
    used = session.execute(delete(SetupLink).where(SetupLink.token_hash == crypto.token_hash(token)))
    if used.rowcount != 1:  # type: ignore[attr-defined]  # a CursorResult, for a DELETE
        raise NotFound("this set-up link was used already")
    return person


def create_person(
    session: Session, *, name: str, email: str, password: str, role: Role, now_ms: int
) -> Person:
    """Raise Invalid saying what is wrong with the input. The caller commits."""
    name, email = name.strip(), email.strip().lower()
    if not 1 <= len(name) <= 100:
        raise Invalid(f"expected a name of 1 to 100 characters, got {len(name)}")
    if has_control(name) or has_control(email):
        raise Invalid("expected a name and an e-mail address without control characters")
    before, at, domain = email.rpartition("@")
    if not (before and at and domain) or len(email) > 320 or any(c.isspace() for c in email):
        raise Invalid(f"expected an e-mail address such as ada@example.org, got {email[:50]!r}")
    if not MIN_PASSWORD <= len(password) <= 1_024:
        raise Invalid(f"expected a password of {MIN_PASSWORD} to 1024 characters, got {len(password)}")
    if session.scalar(select(Person.id).where(Person.email == email)) is not None:
        raise Invalid(f"expected an e-mail address nobody has yet, got {email}")
    person = Person(
        public_id=uuid4(),
        email=email,
        name=name,
        password_hash=_hash(password),
        role=role,
        token_version=1,
        created_at=now_ms,
    )
    session.add(person)
    session.flush()
    session.add(PersonAuthor(author_key=bytes.fromhex(wire.author_key(email)), person_id=person.id))
    return person


def authenticate(session: Session, email: str, password: str) -> Person:
    """The person, or Unauthorized with one message for an unknown address and a wrong password."""
    email = email.strip().lower()
    with _hashing:  # whoever waits for a turn holds no connection that pages need
        # PostgreSQL cannot even be asked for text with a NUL in it.
        person = None if has_control(email) else session.scalar(select(Person).where(Person.email == email))
        is_right = _verify(_NOBODYS_HASH if person is None else person.password_hash, password)
    if person is None or not is_right:
        raise Unauthorized(_WRONG)
    return person


def has_control(text: str) -> bool:
    """Whether there are control characters in it, NUL and line ends among them."""
    return any(unicodedata.category(character) == "Cc" for character in text)


def _hash(password: str) -> str:
    with _hashing:
        return _hasher.hash(password)


def _verify(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def enrol(session: Session, person: Person, public_id: UUID, name: str, now_ms: int) -> Device:
    """The person's device of this id, made if it is new. The caller commits."""
    device = session.scalar(select(Device).where(Device.public_id == public_id))
    if device is None:
        device = Device(public_id=public_id, person_id=person.id, name=name, created_at=now_ms)
        session.add(device)
        session.flush()
    if device.person_id != person.id:
        raise Invalid("expected a device of your own: this PC is signed in to this server as somebody else")
    if device.revoked_at is not None:
        raise Unauthorized(f"the device {device.name} was revoked")
    return device


def issue(
    session: Session, person: Person, device: Device | None, *, key: bytes, audience: UUID, now_ms: int
) -> wire.Tokens:
    """An access token of 7 days and the refresh token that follows it. The caller commits."""
    session.execute(delete(RefreshToken).where(RefreshToken.expires_at <= now_ms))
    refresh_token = crypto.new_token()
    session.add(
        RefreshToken(
            token_hash=crypto.token_hash(refresh_token),
            person_id=person.id,
            device_id=None if device is None else device.id,
            token_version=person.token_version,
            expires_at=now_ms + REFRESH_LIFETIME_MS,
        )
    )
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": str(audience),
        "sub": str(person.public_id),
        "ver": person.token_version,
        "iat": now_ms // 1_000,
        "exp": (now_ms + TOKEN_LIFETIME_MS) // 1_000,
    }
    if device is not None:
        claims["dev"] = str(device.public_id)
    return wire.Tokens(
        token=jwt.encode(claims, key, algorithm="HS256"),
        user_id=person.public_id,
        refresh_token=refresh_token,
        expires_at=now_ms + TOKEN_LIFETIME_MS,
    )


def renew(session: Session, refresh_token: str, *, key: bytes, audience: UUID, now_ms: int) -> wire.Tokens:
    """New tokens for a refresh token, which can be used once. The caller commits."""
    token_hash = crypto.token_hash(refresh_token)
    used = session.execute(
        update(RefreshToken)
        .where(
            RefreshToken.token_hash == token_hash,
            RefreshToken.used_at.is_(None),
            RefreshToken.expires_at > now_ms,
        )
        .values(used_at=now_ms)
    )
    if used.rowcount != 1:  # type: ignore[attr-defined]  # a CursorResult, for an UPDATE
        raise Unauthorized("this refresh token is not valid: sign in again")
    row = session.get_one(RefreshToken, token_hash)
    person = session.get_one(Person, row.person_id)
    if row.token_version != person.token_version:
        raise Unauthorized("this refresh token was ended: sign in again")
    device = None if row.device_id is None else session.get_one(Device, row.device_id)
    if device is not None and device.revoked_at is not None:
        raise Unauthorized(f"the device {device.name} was revoked")
    return issue(session, person, device, key=key, audience=audience, now_ms=now_ms)


def bearer(session: Session, token: str, *, key: bytes, audience: UUID) -> Bearer:
    """Whom the access token stands for right now; raise Unauthorized with what is wrong with it."""
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=["HS256"],
            audience=str(audience),
            issuer=ISSUER,
            options={"require": ["exp", "iat", "sub", "aud", "iss", "ver"]},
        )
        person_id = UUID(claims["sub"])
        device_id = UUID(claims["dev"]) if "dev" in claims else None
    except jwt.ExpiredSignatureError as error:
        raise Unauthorized("this token has expired: refresh it, or sign in again") from error
    except (jwt.InvalidTokenError, ValueError, TypeError) as error:
        raise Unauthorized("this token is not valid here: sign in again") from error
    person = session.scalar(select(Person).where(Person.public_id == person_id))
    if person is None or person.token_version != claims["ver"]:
        raise Unauthorized("this token was ended: sign in again")
    return Bearer(person, None if device_id is None else _live_device(session, person, device_id))


def _live_device(session: Session, person: Person, public_id: UUID) -> Device:
    device = session.scalar(
        select(Device).where(Device.public_id == public_id, Device.person_id == person.id)
    )
    if device is None or device.revoked_at is not None:
        raise Unauthorized("this device was revoked: sign in again")
    return device
