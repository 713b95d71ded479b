"""Pairing: a PC shows a code, its owner types it into the browser, the PC gets tokens (after RFC 8628).

The PC keeps a secret that it asks with; the code, short enough to type, is good for nothing but
to be approved or denied by somebody who is signed in. How many may be tried is the callers' to limit
(``throttle``), outside of the transaction.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from devflow import audit, crypto, wire
from devflow.accounts import devices, people, tokens
from devflow.audit import Act, Actor
from devflow.crypto import Vault
from devflow.errors import Invalid, Limited, NotFound, Unauthorized, phrase
from devflow.models import Device, Pairing, Person
from devflow.names import plain_name
from devflow.wire import PairingState

LIFETIME_MS: Final = 15 * 60_000
INTERVAL_S: Final = 2
"""How often the PC asks whether it was approved."""
MAX_OPEN: Final = 1_000
"""How many PCs may wait at a time: strangers can ask, and must not fill the disk."""
# No vowels, so that no code is a word, and nothing that is easily taken for another (RFC 8628, 6.1).
LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
CODE_LENGTH: Final = 8
_GONE: Final = phrase("this code is not waiting: `devflow sync auth` on the PC shows a new one")
_OVER: Final = "this pairing has expired or was used: start anew"


@dataclass(frozen=True, slots=True)
class Started:
    """What a PC is told; only hashes of both are kept."""

    secret: str
    code: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A PC that waits to be approved; ``device`` is what is known of it here from earlier."""

    code: str
    name: str
    since_ms: int
    device: Device | None


def start(session: Session, by: Actor, device_id: UUID, name: str) -> Started:
    """Let a PC ask to be let in; raise Limited if too many wait already. The caller commits."""
    name = plain_name(name)
    session.execute(delete(Pairing).where(Pairing.expires_at <= by.now_ms))
    if (session.scalar(select(func.count()).select_from(Pairing)) or 0) >= MAX_OPEN:
        raise Limited(f"expected at most {MAX_OPEN} PCs that wait to be paired", 60)
    started = Started(crypto.new_token(), _new_code(), by.now_ms + LIFETIME_MS)
    session.add(
        Pairing(
            secret_hash=crypto.token_hash(started.secret),
            code_hash=_code_hash(by.vault, started.code),
            device_public_id=device_id,
            device_name=name,
            created_at=by.now_ms,
            expires_at=started.expires_at,
        )
    )
    session.flush()
    audit.record(session, by, Act.PAIRING_STARTED, device_id)
    return started


def look(session: Session, by: Actor, code: str) -> Waiting:
    """The PC that shows this code, for who acts to decide about.

    Raise NotFound if none does, Invalid for what cannot be a code or a PC of somebody else's.
    """
    found = _find(session, by, code)
    device = devices.find_own(session, by.who(), found.device_public_id)
    return Waiting(_shown(_plain(code)), found.device_name, found.created_at, device)


def approve(session: Session, by: Actor, code: str) -> Device:
    """Let the PC in as one of who acts, also if it was revoked. Raise as ``look``. The caller commits."""
    found = _find(session, by, code)
    device = devices.admit(session, by, found.device_public_id, found.device_name)
    _decide(session, by, found, person_id=by.who().id, token_version=by.who().token_version)
    audit.record(session, by, Act.PAIRING_APPROVED, device.public_id)
    return device


def deny(session: Session, by: Actor, code: str) -> None:
    """Turn the PC away. Raise NotFound or Invalid as ``look``. The caller commits."""
    found = _find(session, by, code)
    _decide(session, by, found, denied_at=by.now_ms)
    audit.record(session, by, Act.PAIRING_DENIED, found.device_public_id)


def state(session: Session, secret: str, now_ms: int) -> PairingState:
    """What was decided so far; raise Unauthorized if the pairing is over."""
    return _state(_asking(session, secret, now_ms))


def collect(session: Session, by: Actor, secret: str, audience: UUID) -> wire.Paired:
    """The tokens of an approved PC: of one grant, again and again until it has used one. The caller commits.

    Raise Unauthorized if it is not approved, or if it, its owner or the device ended meanwhile.
    """
    # Locked: of two answers to one PC, the second is given on the grant of the first.
    found = _asking(session, secret, by.now_ms, lock=True)
    person = None if found.person_id is None else session.get_one(Person, found.person_id)
    if person is None:
        raise Unauthorized("this pairing is not approved")
    if person.token_version != found.token_version or person.deactivated_at is not None:
        raise Unauthorized(_OVER)
    given = _tokens(session, by, found, person, audience)
    return wire.Paired(state=PairingState.APPROVED, tokens=given, email=people.email_of(by.vault, person))


def _tokens(session: Session, by: Actor, found: Pairing, person: Person, audience: UUID) -> wire.Tokens:
    if found.grant_id is None:
        device = devices.enrol(session, by, person, found.device_public_id, found.device_name)
        found.grant_id = tokens.begin(session, by, person, device).id
    return tokens.first(session, by, found.grant_id, audience)


def _find(session: Session, by: Actor, code: str) -> Pairing:
    """The pairing of this code that nobody has decided."""
    plain = _plain(code)
    # Ask for ASCII first: some letters become others, or two, in capitals.
    if not code.isascii() or len(plain) != CODE_LENGTH or not set(plain) <= set(LETTERS):
        raise Invalid("expected a code of 8 letters such as BCDF-GHJK, as the PC shows it")
    query = select(Pairing).where(
        Pairing.code_hash == _code_hash(by.vault, plain),
        Pairing.expires_at > by.now_ms,
        Pairing.person_id.is_(None),
        Pairing.denied_at.is_(None),
    )
    found = session.scalar(query)
    if found is None:
        raise NotFound(_GONE)
    return found


def _decide(session: Session, by: Actor, found: Pairing, **decision: int) -> None:
    """By row count: of two who decide at once, one comes too late."""
    decided = session.execute(
        update(Pairing)
        .where(
            Pairing.secret_hash == found.secret_hash,
            Pairing.person_id.is_(None),
            Pairing.denied_at.is_(None),
        )
        .values(**decision)
    )
    if decided.rowcount != 1:  # type: ignore[attr-defined]  # a CursorResult, for an UPDATE
        raise NotFound(_GONE)


def _asking(session: Session, secret: str, now_ms: int, *, lock: bool = False) -> Pairing:
    found = session.get(Pairing, crypto.token_hash(secret), with_for_update=lock or None)
    if found is None or found.expires_at <= now_ms:
        raise Unauthorized(_OVER)
    return found


def _state(found: Pairing) -> PairingState:
    if found.denied_at is not None:
        return PairingState.DENIED
    return PairingState.PENDING if found.person_id is None else PairingState.APPROVED


def _new_code() -> str:
    return _shown("".join(secrets.choice(LETTERS) for _ in range(CODE_LENGTH)))


def _shown(plain: str) -> str:
    return f"{plain[:4]}-{plain[4:]}"


def _plain(code: str) -> str:
    """The letters of a code, however it was typed."""
    return "".join(code.upper().split()).replace("-", "")


def _code_hash(vault: Vault, code: str) -> bytes:
    # Keyed: a code is short enough to be found from a plain hash.
    return vault.mac("pairings.code_hash", _plain(code).encode())
