"""Signing in: is it the right password, for whom, and what is written of it.

A password is verified outside every transaction, for it takes its time. So what was found is
checked again in the transaction that lets somebody in: ``let_in``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from devflow.accounts import known_browsers, passwords, people, throttle
from devflow.accounts.throttle import Bucket
from devflow.crypto import Vault
from devflow.errors import Unauthorized
from devflow.models import Person

WRONG: Final = "wrong e-mail address or password"


@dataclass(frozen=True, slots=True)
class Visitor:
    """What is known of whoever asks: where from, and the cookie of a known browser if there is one."""

    address: str | None
    known_cookie: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """The account that an e-mail address names, or none, as it was before the password was verified."""

    email_key: bytes
    person_id: int | None
    public_id: UUID | None
    password_hash: str | None
    is_active: bool

    def who(self) -> UUID:
        """The account; raise Unauthorized if there is none."""
        if self.public_id is None:
            raise Unauthorized(WRONG)
        return self.public_id

    def check(self, password: str) -> None:
        """Raise Unauthorized, after the same time, unless it is the password of an active account."""
        with passwords.hashing:
            is_right = passwords.verify(self.password_hash, password)
        if not is_right or not self.is_active:
            raise Unauthorized(WRONG)


def candidate(session: Session, vault: Vault, email: str) -> Candidate:
    key = people.email_key(vault, email)
    person = people.named(session, vault, email)
    if person is None:
        return Candidate(key, None, None, None, is_active=False)
    return Candidate(
        key, person.id, person.public_id, person.password_hash, is_active=person.deactivated_at is None
    )


def password_buckets(vault: Vault, who: Candidate, visitor: Visitor) -> tuple[Bucket, ...]:
    """What a wrong password counts in."""
    nonce = known_browsers.nonce_of(vault, who.public_id, visitor.known_cookie)
    if nonce is not None:
        return (throttle.known_browser(nonce),)
    return throttle.account(who.email_key), throttle.address(visitor.address)


def code_buckets(vault: Vault, person: UUID, visitor: Visitor) -> tuple[Bucket, ...]:
    """What a wrong code counts in."""
    nonce = known_browsers.nonce_of(vault, person, visitor.known_cookie)
    if nonce is not None:
        return (throttle.codes_of_known_browser(nonce),)
    return throttle.codes(person), throttle.address(visitor.address)


def let_in(session: Session, who: Candidate) -> Person:
    """The person, locked against changes of the password while the transaction lasts.

    Raise Unauthorized if the account is not what it was when the password was verified.
    """
    if who.person_id is None:
        raise Unauthorized(WRONG)
    person = session.get_one(Person, who.person_id, with_for_update=True)
    if person.password_hash != who.password_hash or person.deactivated_at is not None:
        raise Unauthorized(WRONG)
    return person
