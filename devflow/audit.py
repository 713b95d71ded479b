"""The audit trail: who did what, when, to whom - written in the transaction of the act itself.

Each entry's hash covers the one before it (HMAC-SHA256 with a key the database does not hold), and
the workspace keeps the number and hash of the last one under a seal: no entry can be changed,
removed, added or moved unnoticed, the last ones included. Whoever can write the database and also
has an older copy of it can put that whole copy back; only a head kept elsewhere shows that.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, event, func, or_, select, update
from sqlalchemy.orm import Session, SessionTransaction

from devflow.crypto import Vault
from devflow.errors import Unauthorized
from devflow.models import AuditEntry, Person, Workspace

FIRST: Final = bytes(32)
"""Stands where the first entry's predecessor would."""
_STEP: Final = 1_000
# What a session holds of entries until it commits.
_WAITING: Final = "audit.waiting"
_VAULT: Final = "audit.vault"


class Act(StrEnum):
    """What can stand in the trail. The first word says what kind of thing the subject is.

    Of ``REFUSED`` it can be any: ``detail`` has the action that was not allowed.
    """

    WORKSPACE_MADE = "workspace.made"
    SECRET_CHANGED = "workspace.secret_changed"  # noqa: S105 - a name
    CALENDAR_CHANGED = "workspace.calendar_changed"
    KEY_ROTATED = "workspace.key_rotated"
    KEY_DELETED = "workspace.key_deleted"
    RESTORED = "workspace.restored"
    SIGNED_IN = "person.signed_in"
    SIGNED_OUT = "person.signed_out"
    SIGN_IN_REFUSED = "person.sign_in_refused"
    CODE_AWAITED = "person.code_awaited"
    CONFIRMATION_REFUSED = "person.confirmation_refused"
    PASSWORD_CHANGED = "person.password_changed"  # noqa: S105 - a name
    SECOND_FACTOR_OFFERED = "person.second_factor_offered"
    SECOND_FACTOR_ON = "person.second_factor_on"
    SECOND_FACTOR_OFF = "person.second_factor_off"
    RECOVERY_CODES_MADE = "person.recovery_codes_made"
    RECOVERY_CODE_USED = "person.recovery_code_used"
    SESSION_ENDED = "session.ended"
    SESSIONS_ENDED = "person.sessions_ended"
    PROJECT_MADE = "project.made"
    PROJECT_RENAMED = "project.renamed"
    PROJECT_DELETED = "project.deleted"
    PROJECT_PURGED = "project.purged"
    PROJECT_MEMBER_ADDED = "project.member_added"
    PROJECT_MEMBER_ROLE = "project.member_role"
    PROJECT_MEMBER_REMOVED = "project.member_removed"
    PROJECT_MEMBER_LEFT = "project.member_left"
    TEAM_MADE = "team.made"
    TEAM_RENAMED = "team.renamed"
    TEAM_DELETED = "team.deleted"
    TEAM_MEMBER_ADDED = "team.member_added"
    TEAM_MEMBER_ROLE = "team.member_role"
    TEAM_MEMBER_REMOVED = "team.member_removed"
    TEAM_MEMBER_LEFT = "team.member_left"
    EVENTS_CONFLICT = "device.events_conflict"
    AUTHORS_TOLD = "person.authors_told"
    PERSON_MADE = "person.made"
    PERSON_RENAMED = "person.renamed"
    ROLE_CHANGED = "person.role_changed"
    PERSON_DEACTIVATED = "person.deactivated"
    PERSON_REACTIVATED = "person.reactivated"
    SECOND_FACTOR_DROPPED = "person.second_factor_dropped"
    RESET_MADE = "person.reset_made"
    PASSWORD_RESET = "person.password_reset"  # noqa: S105 - a name
    INVITATION_MADE = "invitation.made"
    INVITATION_WITHDRAWN = "invitation.withdrawn"
    INVITATION_ACCEPTED = "person.invitation_accepted"
    DELETION_ASKED = "person.deletion_asked"
    DELETION_WITHDRAWN = "person.deletion_withdrawn"
    DELETION_CONFIRMED = "person.deletion_confirmed"
    PERSON_ERASED = "person.erased"
    PERSON_VIEWED = "person.viewed"
    DATA_EXPORTED = "person.data_exported"
    DEVICE_ENROLLED = "device.enrolled"
    DEVICE_RENAMED = "device.renamed"
    DEVICE_REVOKED = "device.revoked"
    DEVICE_READMITTED = "device.readmitted"
    PAIRING_STARTED = "device.pairing_started"
    PAIRING_APPROVED = "device.pairing_approved"
    PAIRING_DENIED = "device.pairing_denied"
    SETTINGS_SHARED = "device.settings_shared"
    TOKENS_ISSUED = "device.tokens_issued"
    TOKENS_RENEWED = "device.tokens_renewed"
    TOKENS_ENDED = "device.tokens_ended"
    TOKEN_REUSED = "device.token_reused"  # noqa: S105 - a name
    REFUSED = "thing.refused"
    TRAIL_READ = "person.trail_read"
    TRAIL_EXPORTED = "workspace.trail_exported"
    RETENTION_CHANGED = "workspace.retention_changed"
    EVENTS_EXPIRED = "workspace.events_expired"
    ROLLUPS_WRONG = "workspace.rollups_wrong"
    ROLLUPS_REPAIRED = "workspace.rollups_repaired"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and when; ``person`` is None for the server itself and for whoever has no account."""

    person: Person | None
    now_ms: int
    vault: Vault

    def who(self) -> Person:
        """The person; raise Unauthorized if it is nobody."""
        if self.person is None:
            raise Unauthorized("expected somebody who is signed in")
        return self.person


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the trail: the number of its last entry, 0 for none, and that entry's hash."""

    number: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.number} entries, head {self.number}:{self.hash.hex()}"


@dataclass(frozen=True, slots=True)
class Flaw:
    """The first place where the trail is not what was written."""

    id: int
    what: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries are wanted; None is any. Times are half-open, in Unix milliseconds.

    ``subject`` finds what was done to this person or thing, a person's memberships too.
    """

    actor: UUID | None = None
    subject: UUID | None = None
    act: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    refused_only: bool = False


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An entry without number and hash, and the transaction or savepoint that it belongs to."""

    entry: AuditEntry
    transaction: SessionTransaction | None


def record(
    session: Session,
    by: Actor,
    act: Act,
    subject: UUID | None = None,
    *,
    person: UUID | None = None,
    is_refused: bool = False,
    **detail: Any,
) -> None:
    """Add an entry to the trail, in the caller's transaction; it gets its number as that one commits.

    ``person`` is whom it is done to, where the subject is something else: the member of a team.
    ``detail`` is JSON of ids, counts and our own words, never of names or addresses: nothing here
    can be erased.
    """
    entry = AuditEntry(
        at=by.now_ms,
        actor=None if by.person is None else by.person.public_id,
        act=act,
        subject=subject,
        person=person,
        is_refused=is_refused,
        detail=json.dumps(detail, sort_keys=True, separators=(",", ":"), default=str),
    )
    transaction = session.get_nested_transaction() or session.get_transaction() or session.begin()
    session.info.setdefault(_WAITING, []).append(_Waiting(entry, transaction))
    session.info[_VAULT] = by.vault


@event.listens_for(Session, "before_commit")
def _write(session: Session) -> None:
    """Chain what waits to the end of the trail, which on PostgreSQL is then held until the commit.

    Here and not in ``record``: so the end of the trail is the last thing that any transaction
    waits for, in whatever order acts are put together, and no two can wait for each other.
    """
    if session.in_nested_transaction() or not session.info.get(_WAITING):
        return
    session.flush()
    waiting: list[_Waiting] = session.info.pop(_WAITING)
    vault: Vault = session.info.pop(_VAULT)
    workspace = session.get_one(Workspace, 1, with_for_update=True, populate_existing=True)
    for each in waiting:
        entry = each.entry
        entry.id = workspace.audit_count + 1
        entry.hash = _hash(vault, workspace.audit_head, entry)
        workspace.audit_count, workspace.audit_head = entry.id, entry.hash
        session.add(entry)
    workspace.audit_seal = _seal(vault, workspace.audit_count, workspace.audit_head)
    session.flush()


@event.listens_for(Session, "after_soft_rollback")
def _forget(session: Session, rolled_back: SessionTransaction) -> None:
    """What did not happen leaves no entry."""
    waiting: list[_Waiting] = session.info.pop(_WAITING, [])
    if kept := [each for each in waiting if not _is_within(each.transaction, rolled_back)]:
        session.info[_WAITING] = kept


def _is_within(transaction: SessionTransaction | None, outer: SessionTransaction) -> bool:
    while transaction is not None and transaction is not outer:
        transaction = transaction.parent
    return transaction is outer


def begin(workspace: Workspace, vault: Vault) -> None:
    """The empty trail of a new workspace."""
    workspace.audit_count, workspace.audit_head = 0, FIRST
    workspace.audit_seal = _seal(vault, 0, FIRST)


def verify(session: Session, vault: Vault) -> Flaw | None:
    """Walk the whole trail; return its first flaw, None if it is as it was written."""
    found = examine(session, vault)
    return found if isinstance(found, Flaw) else None


def examine(session: Session, vault: Vault, anchor: Head | None = None) -> Head | Flaw:
    """Walk the whole trail, some entries at a time; return its end, or its first flaw.

    ``anchor`` is an end that was written down earlier: the trail must still have that very entry.
    Entries that are added meanwhile do no harm.
    """
    walked = Head(0, FIRST)
    while True:
        try:
            entries = _after(session, walked.number)
            for entry in entries:
                if (what := _wrong(vault, walked, entry, anchor)) is not None:
                    return Flaw(walked.number + 1, what)
                walked = Head(entry.id, entry.hash)
        except (ValueError, TypeError, AttributeError) as error:  # a column holds what is no value of it
            return Flaw(walked.number + 1, f"from entry {walked.number + 1} on, one cannot be read: {error}")
        if not entries and (end := _end(session, vault, walked)) is not None:
            break
    if anchor is not None and anchor.number > walked.number:
        return Flaw(walked.number + 1, f"expected at least {anchor.number} entries, found {walked.number}")
    return walked if end == "" else Flaw(walked.number + 1, end)


def head(session: Session) -> Head:
    """Where the trail ends, unexamined."""
    return Head(*session.execute(select(Workspace.audit_count, Workspace.audit_head)).one())


def note_examined(session: Session, now_ms: int, found: Head | Flaw) -> None:
    """Keep for the trail's page when it was examined, and what was found. The caller commits."""
    flaw = found.what[:_MAX_FLAW] if isinstance(found, Flaw) else None
    session.execute(update(Workspace).values(audit_examined_at=now_ms, audit_flaw=flaw))


_MAX_FLAW: Final = 200


def entries(session: Session, which: Filter, before: int | None, limit: int) -> Sequence[AuditEntry]:
    """Up to ``limit`` entries, newest first; of those before the entry ``before``, if given."""
    query = _wanted(which).order_by(AuditEntry.id.desc()).limit(limit)
    return session.scalars(query if before is None else query.where(AuditEntry.id < before)).all()


def entries_between(
    session: Session, which: Filter, after: int, last: int, limit: int = _STEP
) -> Sequence[AuditEntry]:
    """Up to ``limit`` entries, oldest first, of those after the entry ``after`` up to ``last``."""
    query = _wanted(which).where(AuditEntry.id > after, AuditEntry.id <= last)
    return session.scalars(query.order_by(AuditEntry.id).limit(limit)).all()


def _wanted(which: Filter) -> Select[AuditEntry]:
    query = select(AuditEntry)
    if which.actor is not None:
        query = query.where(AuditEntry.actor == which.actor)
    if which.subject is not None:
        query = query.where(or_(AuditEntry.subject == which.subject, AuditEntry.person == which.subject))
    if which.act is not None:
        query = query.where(AuditEntry.act == which.act)
    if which.since_ms is not None:
        query = query.where(AuditEntry.at >= which.since_ms)
    if which.until_ms is not None:
        query = query.where(AuditEntry.at < which.until_ms)
    return query.where(AuditEntry.is_refused) if which.refused_only else query


# Columns, not objects: a session would keep each object until it ends.
_COLUMNS: Final = (
    AuditEntry.id,
    AuditEntry.at,
    AuditEntry.actor,
    AuditEntry.act,
    AuditEntry.subject,
    AuditEntry.person,
    AuditEntry.is_refused,
    AuditEntry.detail,
    AuditEntry.hash,
)


def _after(session: Session, number: int) -> Sequence[Any]:
    """The next entries; from the start also those with numbers that none of ours has."""
    query = select(*_COLUMNS).order_by(AuditEntry.id).limit(_STEP)
    return session.execute(query.where(AuditEntry.id > number) if number else query).all()


def _wrong(vault: Vault, before: Head, entry: Any, anchor: Head | None) -> str | None:
    """What is wrong with the entry that stands after ``before``."""
    if entry.id != before.number + 1:
        return f"expected entry {before.number + 1}, found {entry.id}"
    if entry.hash != _hash(vault, before.hash, entry):
        return f"entry {entry.id} is not what was written, or not after entry {before.number}"
    if anchor is not None and entry.id == anchor.number and entry.hash != anchor.hash:
        return f"entry {entry.id} is not the one that was written down"
    return None


def _end(session: Session, vault: Vault, walked: Head) -> str | None:
    """What is wrong with the end of the trail, "" for nothing; None if it has grown since.

    One statement: what it sees of entries and workspace is of one moment, on either database.
    """
    newest = select(func.max(AuditEntry.id)).scalar_subquery()
    end = session.execute(
        select(Workspace.audit_count, Workspace.audit_head, Workspace.audit_seal, newest.label("newest"))
    ).one()
    if (end.newest or 0) > walked.number:
        return None
    if (end.audit_count, end.audit_head) != (walked.number, walked.hash):
        return f"expected {end.audit_count} entries, found {walked.number}"
    if end.audit_seal != _seal(vault, end.audit_count, end.audit_head):
        return "the end of the trail is not sealed by this server"
    return ""


def _hash(vault: Vault, before: bytes, entry: Any) -> bytes:
    return vault.mac(
        "audit",
        before,
        str(entry.id).encode(),
        str(entry.at).encode(),
        _bytes(entry.actor),
        entry.act.encode(),
        _bytes(entry.subject),
        _bytes(entry.person),
        b"refused" if entry.is_refused else b"done",
        entry.detail.encode(),
    )


def _seal(vault: Vault, count: int, head: bytes) -> bytes:
    return vault.mac("audit head", str(count).encode(), head)


def _bytes(public_id: UUID | None) -> bytes:
    return b"" if public_id is None else public_id.bytes
