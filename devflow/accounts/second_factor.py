"""The second factor: codes of an authenticator app (TOTP, RFC 6238), and recovery codes in its place.

SHA-1, six digits, a new one every 30 seconds: what every authenticator app knows. The clocks may
differ by one step. A code is good once.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from typing import Final

import pyotp
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from devflow import audit
from devflow.accounts import people
from devflow.audit import Act, Actor
from devflow.crypto import Vault
from devflow.errors import CodeNeeded, Invalid, NotFound
from devflow.models import Person, RecoveryCode, SecondFactor

SECRET: Final = "second_factors.secret"  # noqa: S105 - a field's name
ISSUER: Final = "DevFlow Monitor"
STEP_MS: Final = 30_000
DRIFT: Final = 1
RECOVERY_CODES: Final = 10
_RECOVERY_BYTES: Final = 10  # 80 bits: not to be guessed, and four groups of four to type
_DIGITS: Final = 6
_MISSING: Final = "expected a code of your authenticator, or a recovery code: the second factor is on"
_WRONG: Final = (
    "expected a code of your authenticator, or a recovery code: this one is wrong, or was used already"
)


def is_on(session: Session, person: Person) -> bool:
    return _confirmed(session, person) is not None


def since(session: Session, person: Person) -> int | None:
    """When it was switched on, in Unix milliseconds; None while it is off."""
    found = _confirmed(session, person)
    return None if found is None else found.confirmed_at


def recovery_codes_left(session: Session, person: Person) -> int:
    query = select(func.count()).select_from(RecoveryCode).where(RecoveryCode.person_id == person.id)
    return session.scalar(query) or 0


def offer(session: Session, by: Actor) -> None:
    """A new secret, in force once a code of it is shown; one offered before is void. The caller commits."""
    person = _locked(session, by)
    if is_on(session, person):
        raise Invalid("expected no second factor yet: yours is on")
    session.execute(delete(SecondFactor).where(SecondFactor.person_id == person.id))
    sealed = by.vault.seal(SECRET, person.public_id.bytes, pyotp.random_base32().encode())
    session.add(SecondFactor(person_id=person.id, secret=sealed, confirmed_at=None, last_step=0))
    audit.record(session, by, Act.SECOND_FACTOR_OFFERED, person.public_id)


def offered(session: Session, vault: Vault, person: Person) -> str:
    """The secret (base32) that waits for its first code; raise NotFound if there is none."""
    found = session.get(SecondFactor, person.id)
    if found is None or found.confirmed_at is not None:
        raise NotFound("there is no second factor being set up: begin on the page of your account's security")
    return _secret(vault, person, found)


def uri(vault: Vault, person: Person, secret: str) -> str:
    """What authenticator apps read from a QR code."""
    totp = pyotp.TOTP(secret, digits=_DIGITS, interval=STEP_MS // 1_000)
    return totp.provisioning_uri(name=people.email_of(vault, person), issuer_name=ISSUER)


def switch_on(session: Session, by: Actor, code: str) -> list[str]:
    """Put the secret offered in force; return new recovery codes, to be shown once. The caller commits.

    Raise CodeNeeded for a wrong code.
    """
    person = _locked(session, by)
    offered(session, by.vault, person)
    if not _use_code(session, by, person, code):
        raise CodeNeeded("expected the code that your authenticator shows now: this one is wrong")
    session.execute(update(SecondFactor).filter_by(person_id=person.id).values(confirmed_at=by.now_ms))
    made = _new_recovery_codes(session, by.vault, person)
    audit.record(session, by, Act.SECOND_FACTOR_ON, person.public_id)
    return made


def switch_off(session: Session, by: Actor, code: str) -> None:
    """The caller commits. Raise CodeNeeded for a wrong code, of either kind."""
    person = _locked(session, by)
    check(session, by, person, code)
    session.execute(delete(SecondFactor).where(SecondFactor.person_id == person.id))
    session.execute(delete(RecoveryCode).where(RecoveryCode.person_id == person.id))
    audit.record(session, by, Act.SECOND_FACTOR_OFF, person.public_id)


def renew_recovery_codes(session: Session, by: Actor, code: str) -> list[str]:
    """New recovery codes, to be shown once; those before are void. The caller commits.

    Raise CodeNeeded for a wrong code, of either kind: with new ones the factor can be switched off.
    """
    person = _locked(session, by)
    if not is_on(session, person):
        raise Invalid("expected a second factor: yours is off, and recovery codes stand in for nothing")
    check(session, by, person, code)
    made = _new_recovery_codes(session, by.vault, person)
    audit.record(session, by, Act.RECOVERY_CODES_MADE, person.public_id, n=len(made))
    return made


def check(session: Session, by: Actor, person: Person, code: str) -> None:
    """Use up a code of either kind; raise CodeNeeded for a wrong one. The caller commits."""
    if not is_on(session, person):
        raise CodeNeeded(_WRONG)
    given = "".join(code.split())
    if not given:
        raise CodeNeeded(_MISSING)
    if _is_totp(given):
        if not _use_code(session, by, person, given):
            raise CodeNeeded(_WRONG)
        return
    _use_recovery_code(session, by, person, given)


def _locked(session: Session, by: Actor) -> Person:
    """The person who acts, one act after the other."""
    return session.get_one(Person, by.who().id, with_for_update=True)


def _confirmed(session: Session, person: Person) -> SecondFactor | None:
    return session.scalar(
        select(SecondFactor).where(
            SecondFactor.person_id == person.id, SecondFactor.confirmed_at.is_not(None)
        )
    )


def _secret(vault: Vault, person: Person, factor: SecondFactor) -> str:
    return vault.open(SECRET, person.public_id.bytes, factor.secret).decode()


def _is_totp(code: str) -> bool:
    return len(code) == _DIGITS and code.isascii() and code.isdigit()


def _use_code(session: Session, by: Actor, person: Person, code: str) -> bool:
    factor = session.get(SecondFactor, person.id)
    given = "".join(code.split())
    if factor is None or not _is_totp(given):
        return False
    step = _step_of(_secret(by.vault, person, factor), given, by.now_ms)
    if step is None:
        return False
    # By row count: of two that use one code at once, the second finds its step taken.
    used = session.execute(
        update(SecondFactor)
        .where(SecondFactor.person_id == person.id, SecondFactor.last_step < step)
        .values(last_step=step)
    )
    return bool(used.rowcount)  # type: ignore[attr-defined]  # a CursorResult, for an UPDATE


def _step_of(secret: str, code: str, now_ms: int) -> int | None:
    """The newest step near now that the code is of."""
    totp, now = pyotp.TOTP(secret, digits=_DIGITS), now_ms // STEP_MS
    near = range(now - DRIFT, now + DRIFT + 1)
    fitting = [step for step in near if hmac.compare_digest(totp.generate_otp(step), code)]
    return max(fitting, default=None)


def _new_recovery_codes(session: Session, vault: Vault, person: Person) -> list[str]:
    session.execute(delete(RecoveryCode).where(RecoveryCode.person_id == person.id))
    made = [_readable(secrets.token_bytes(_RECOVERY_BYTES)) for _ in range(RECOVERY_CODES)]
    session.add_all(
        RecoveryCode(code_hash=_recovery_hash(vault, person, code), person_id=person.id) for code in made
    )
    session.flush()
    return made


def _readable(code: bytes) -> str:
    """Base32 in groups of four, without what looks alike (0 and O, 1 and I)."""
    text = base64.b32encode(code).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def _recovery_hash(vault: Vault, person: Person, code: str) -> bytes:
    plain = "".join(c for c in code.lower() if c.isalnum())
    return vault.mac("recovery_codes.code_hash", person.public_id.bytes, plain.encode())


def _use_recovery_code(session: Session, by: Actor, person: Person, code: str) -> None:
    used = session.execute(
        delete(RecoveryCode).where(
            RecoveryCode.person_id == person.id,
            RecoveryCode.code_hash == _recovery_hash(by.vault, person, code),
        )
    )
    if not used.rowcount:  # type: ignore[attr-defined]  # a CursorResult, for a DELETE
        raise CodeNeeded(_WRONG)
    left = recovery_codes_left(session, person)
    audit.record(session, by, Act.RECOVERY_CODE_USED, person.public_id, left=left)
