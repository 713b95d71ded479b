"""People: making an account, and knowing who comes with an address and a password."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import audit, wire
from devflow.accounts import passwords
from devflow.audit import Act, Actor
from devflow.crypto import Vault
from devflow.errors import Invalid, Unauthorized
from devflow.models import Person, PersonAuthor, Role
from devflow.names import plain_name

_WRONG = "wrong e-mail address or password"
EMAIL = "people.email"


def create(session: Session, by: Actor, *, name: str, email: str, password: str, role: Role) -> Person:
    """A new account. Raise Invalid saying what is wrong with the input. The caller commits."""
    name, email = plain_name(name), checked_email(email)
    passwords.check(password)
    key = email_key(by.vault, email)
    if session.scalar(select(Person.id).where(Person.email_key == key)) is not None:
        raise Invalid(f"expected an e-mail address nobody has yet, got {email}")
    public_id = uuid4()
    person = Person(
        public_id=public_id,
        email_key=key,
        email=by.vault.seal(EMAIL, public_id.bytes, email.encode()),
        name=name,
        password_hash=passwords.hashed(password),
        role=role,
        token_version=1,
        created_at=by.now_ms,
    )
    session.add(person)
    session.flush()
    _take_author(session, by.vault, person, email)
    audit.record(session, by, Act.PERSON_MADE, public_id, role=role)
    return person


def _take_author(session: Session, vault: Vault, person: Person, email: str) -> None:
    """The commits of the own address are the own, unless somebody else has told that they are theirs."""
    key = author_key(vault, bytes.fromhex(wire.author_key(email)))
    if session.get(PersonAuthor, key) is None:
        session.add(PersonAuthor(author_key=key, person_id=person.id))
        session.flush()


def checked_email(email: str) -> str:
    """The address in lower case; raise Invalid if it is none."""
    email = email.strip().lower()
    before, at, domain = email.rpartition("@")
    if not (before and at and domain) or len(email) > 320 or any(c.isspace() for c in email):
        raise Invalid(f"expected an e-mail address such as ada@example.org, got {email[:50]!r}")
    if passwords.has_control(email):
        raise Invalid("expected an e-mail address without control characters")
    return email


def email_of(vault: Vault, person: Person) -> str:
    """Raise Damaged if it cannot be read."""
    return vault.open(EMAIL, person.public_id.bytes, person.email).decode()


def shown_email(vault: Vault, person: Person) -> str | None:
    """For pages, which should not fail for one of many: None if it cannot be read, or was erased."""
    if not person.email:
        return None
    found = vault.open_or_none(EMAIL, person.public_id.bytes, person.email)
    return None if found is None else found.decode()


def email_key(vault: Vault, email: str) -> bytes:
    return vault.key_of(EMAIL, email.strip().lower().encode())


def author_key(vault: Vault, wire_key: bytes) -> bytes:
    """What is stored of an author key of the wire, which is a hash of an address that anybody can make."""
    return vault.key_of("events.author_key", wire_key)


def authenticate(session: Session, vault: Vault, email: str, password: str) -> Person:
    """The person, or Unauthorized with one message for an unknown address and a wrong password."""
    with passwords.hashing:  # whoever waits for a turn holds no connection that pages need
        key = email_key(vault, email)
        person = session.scalar(select(Person).where(Person.email_key == key))
        is_right = passwords.verify(None if person is None else person.password_hash, password)
    if person is None or not is_right or person.deactivated_at is not None:
        raise Unauthorized(_WRONG)
    return person
