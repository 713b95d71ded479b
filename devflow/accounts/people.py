"""People: making an account, knowing who comes with a password, and what an admin changes later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from devflow import access, audit, db, wire
from devflow.access import Action
from devflow.accounts import passwords, sessions, tokens
from devflow.audit import Act, Actor
from devflow.crypto import Vault
from devflow.db import Lock
from devflow.errors import Invalid, NotFound
from devflow.models import (
    DeletionRequest,
    Link,
    Person,
    PersonAuthor,
    RecoveryCode,
    Role,
    SecondFactor,
)
from devflow.names import plain_name

EMAIL = "people.email"


@dataclass(frozen=True, slots=True)
class Newcomer:
    """What a new account is made of, as ``newcomer`` has found it right."""

    name: str
    email: str
    password_hash: str = field(repr=False)


def newcomer(*, name: str, email: str, password: str) -> Newcomer:
    """Raise Invalid saying what is wrong with the input.

    Called before the transaction in which ``create`` is, for the password is hashed.
    """
    name, email = plain_name(name), checked_email(email)
    return Newcomer(name, email, passwords.kept(password, name, email))


def create(session: Session, by: Actor, who: Newcomer, role: Role) -> Person:
    """A new account. Raise Invalid if the e-mail address has one already. The caller commits."""
    key = email_key(by.vault, who.email)
    if session.scalar(select(Person.id).where(Person.email_key == key)) is not None:
        raise Invalid("expected an e-mail address nobody has yet, got %(email)s", email=who.email)
    public_id = uuid4()
    person = Person(
        public_id=public_id,
        email_key=key,
        email=by.vault.seal(EMAIL, public_id.bytes, who.email.encode()),
        name=who.name,
        password_hash=who.password_hash,
        role=role,
        token_version=1,
        created_at=by.now_ms,
    )
    session.add(person)
    session.flush()
    _take_author(session, by.vault, person, who.email)
    audit.record(session, by, Act.PERSON_MADE, public_id, role=role)
    return person


def change_password(
    session: Session, by: Actor, password_hash: str, token: str, *, end_programs: bool
) -> str:
    """Give the own account a new password, and end all sessions but that of ``token``; return its new token.

    ``end_programs``: the tokens of programs end as well. The caller commits.
    """
    person = by.who()
    person.password_hash = password_hash
    if end_programs:
        person.token_version += 1
        tokens.note_end(session, person.public_id)
    session.flush()
    renewed = sessions.keep_only(session, by, token)
    audit.record(session, by, Act.PASSWORD_CHANGED, person.public_id, programs_ended=end_programs)
    return renewed


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
        raise Invalid("expected an e-mail address such as ada@example.org, got %(email)r", email=email[:50])
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


def named(session: Session, vault: Vault, email: str) -> Person | None:
    """Who has the address, None for nobody."""
    return session.scalar(select(Person).where(Person.email_key == email_key(vault, email)))


def check_role(role: Role, offered: Sequence[Role]) -> None:
    """Raise Invalid for a role that nobody can have there."""
    if role not in offered:
        raise Invalid(f"expected one of the roles {', '.join(offered)}, got {role}")


def rename(session: Session, by: Actor, name: str) -> None:
    """Change the own name. The trail tells that, but no name. The caller commits."""
    person = by.who()
    access.require(person, Action.USE_OWN)
    name = plain_name(name)
    if name == person.name:
        return
    person.name = name
    audit.record(session, by, Act.PERSON_RENAMED, person.public_id)


def managed(session: Session, by: Actor, person_id: UUID) -> Person:
    """Somebody else's account, to change it; until the transaction ends nobody else changes any.

    Raise NotFound without the permission, Invalid for the own account.
    """
    db.lock(session, Lock.PEOPLE)
    # What was read before the lock may be over: two admins can act on each other at once.
    admin = by.who()
    session.refresh(admin)
    if admin.deactivated_at is not None:
        raise NotFound("your own account was deactivated just now")
    person = access.fetch(session, admin, Action.MANAGE_PERSON, Person, person_id)
    session.refresh(person)
    if person.id == admin.id:
        raise Invalid("expected somebody else's account: another administrator has to change yours")
    return person


def change_role(session: Session, by: Actor, person_id: UUID, role: Role) -> None:
    """Give the person another role in the workspace, in force from the next request on.

    Invitations and reset links made by who is no admin any more end. The caller commits.
    """
    person = managed(session, by, person_id)
    check_role(role, access.WORKSPACE_ROLES)
    before = person.role
    if role == before:
        return
    if before == Role.ADMIN:
        check_not_last_admin(session, person)
        end_links_by(session, person)
    person.role = role
    audit.record(session, by, Act.ROLE_CHANGED, person.public_id, before=before, now=role)


def deactivate(session: Session, by: Actor, person_id: UUID) -> None:
    """Shut the person out at once; nothing of theirs is lost. The caller commits."""
    person = managed(session, by, person_id)
    if person.deactivated_at is not None:
        return
    shut_out(session, person, by.now_ms)
    audit.record(session, by, Act.PERSON_DEACTIVATED, person.public_id, before="active", now="deactivated")


def shut_out(session: Session, person: Person, now_ms: int) -> None:
    """End all that lets the person in, or others in their name. Who may is not asked here.

    Raise Invalid for the last active admin; the caller holds ``Lock.PEOPLE``, and commits.
    """
    check_not_last_admin(session, person)
    person.deactivated_at = now_ms
    sessions.end_all(session, person)
    end_links_by(session, person)
    session.execute(delete(Link).where(Link.person_id == person.id))
    session.flush()


def reactivate(session: Session, by: Actor, person_id: UUID) -> None:
    """Let the person in again; all their browsers and PCs have to sign in anew. The caller commits.

    Raise Invalid once the person's deletion is being carried out.
    """
    person = managed(session, by, person_id)
    if person.deactivated_at is None:
        return
    request = session.get(DeletionRequest, person.id)
    if request is not None and request.due_at <= by.now_ms:
        raise Invalid("expected a person who stays: this one is being deleted")
    person.deactivated_at = None
    audit.record(session, by, Act.PERSON_REACTIVATED, person.public_id, before="deactivated", now="active")


def drop_second_factor(session: Session, by: Actor, person_id: UUID) -> None:
    """Switch the person's second factor off, as for a lost phone. The caller commits."""
    person = managed(session, by, person_id)
    found = session.get(SecondFactor, person.id)
    if found is None:
        raise Invalid("expected a person with a second factor, this one has none")
    session.delete(found)
    session.execute(delete(RecoveryCode).where(RecoveryCode.person_id == person.id))
    audit.record(session, by, Act.SECOND_FACTOR_DROPPED, person.public_id, before="on", now="off")


def check_not_last_admin(session: Session, person: Person) -> None:
    """Raise Invalid if nobody else could manage people."""
    if is_last_admin(session, person):
        raise Invalid("expected another active administrator to be left, this is the last one")


def is_last_admin(session: Session, person: Person) -> bool:
    """Whether nobody else is an active admin; true for as long as ``Lock.PEOPLE`` is held."""
    if person.role != Role.ADMIN or person.deactivated_at is not None:
        return False
    others = (Person.role == Role.ADMIN) & Person.deactivated_at.is_(None) & (Person.id != person.id)
    return not session.scalar(select(exists().where(others)))


def end_links_by(session: Session, person: Person) -> None:
    """End the links that the person made for others. The caller commits."""
    session.execute(delete(Link).where(Link.created_by == person.id))
