"""The audit trail: who did what, when, to whom - written in the transaction of the act itself.

Each entry's hash covers the one before it (HMAC-SHA256 with a key the database does not hold), and
the workspace keeps the number and hash of the last one under a seal: no entry can be changed,
removed, added or moved unnoticed, the last ones included. Whoever can write the database and also
has an older copy of it can put that whole copy back; only a head kept elsewhere shows that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow.crypto import Vault
from devflow.errors import Unauthorized
from devflow.models import AuditEntry, Person, Workspace

FIRST: Final = bytes(32)
"""Stands where the first entry's predecessor would."""
_STEP: Final = 1_000


class Act(StrEnum):
    """What can stand in the trail. The first word says what kind of thing the subject is."""

    WORKSPACE_MADE = "workspace.made"
    SIGNED_IN = "person.signed_in"
    SIGNED_OUT = "person.signed_out"
    PROJECT_MADE = "project.made"
    EVENTS_CONFLICT = "device.events_conflict"
    AUTHORS_TOLD = "person.authors_told"
    PERSON_MADE = "person.made"
    PERSON_VIEWED = "person.viewed"
    DATA_EXPORTED = "person.data_exported"
    DEVICE_ENROLLED = "device.enrolled"
    TOKENS_ISSUED = "device.tokens_issued"
    TOKENS_RENEWED = "device.tokens_renewed"
    TOKEN_REUSED = "device.token_reused"  # noqa: S105 - a name


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
class Flaw:
    """The first place where the trail is not what was written."""

    id: int
    what: str


def record(
    session: Session,
    by: Actor,
    act: Act,
    subject: UUID | None = None,
    *,
    is_refused: bool = False,
    **detail: Any,
) -> None:
    """Add an entry to the trail, as the last thing before the caller commits.

    ``detail`` is JSON of ids, counts and our own words, never of names or addresses: nothing here
    can be erased. On PostgreSQL this holds the end of the trail until the transaction ends.
    """
    workspace = session.get_one(Workspace, 1, with_for_update=True, populate_existing=True)
    entry = AuditEntry(
        id=workspace.audit_count + 1,
        at=by.now_ms,
        actor=None if by.person is None else by.person.public_id,
        act=act,
        subject=subject,
        is_refused=is_refused,
        detail=json.dumps(detail, sort_keys=True, separators=(",", ":"), default=str),
    )
    entry.hash = _hash(by.vault, workspace.audit_head, entry)
    session.add(entry)
    workspace.audit_count, workspace.audit_head = entry.id, entry.hash
    workspace.audit_seal = _seal(by.vault, entry.id, entry.hash)
    session.flush()


def begin(workspace: Workspace, vault: Vault) -> None:
    """The empty trail of a new workspace."""
    workspace.audit_count, workspace.audit_head = 0, FIRST
    workspace.audit_seal = _seal(vault, 0, FIRST)


def verify(session: Session, vault: Vault) -> Flaw | None:
    """Walk the whole trail; return its first flaw, None if it is as it was written."""
    workspace = session.get_one(Workspace, 1)
    before, expected = FIRST, 1
    for entry in _entries(session):
        if entry.id != expected:
            return Flaw(expected, f"expected entry {expected}, found {entry.id}")
        if entry.hash != _hash(vault, before, entry):
            return Flaw(
                entry.id, f"entry {entry.id} is not what was written, or not after entry {entry.id - 1}"
            )
        before, expected = entry.hash, expected + 1
    if (workspace.audit_count, workspace.audit_head) != (expected - 1, before):
        return Flaw(expected, f"expected {workspace.audit_count} entries, found {expected - 1}")
    if workspace.audit_seal != _seal(vault, workspace.audit_count, workspace.audit_head):
        return Flaw(expected, "the end of the trail is not sealed by this server")
    return None


def _entries(session: Session) -> Iterator[AuditEntry]:
    """All entries in order, some at a time."""
    last = None
    while True:
        query = select(AuditEntry).order_by(AuditEntry.id).limit(_STEP)
        found = session.scalars(query if last is None else query.where(AuditEntry.id > last)).all()
        if not found:
            return
        yield from found
        last = found[-1].id
        session.expunge_all()


def _hash(vault: Vault, before: bytes, entry: AuditEntry) -> bytes:
    return vault.mac(
        "audit",
        before,
        str(entry.id).encode(),
        str(entry.at).encode(),
        _bytes(entry.actor),
        entry.act.encode(),
        _bytes(entry.subject),
        b"refused" if entry.is_refused else b"done",
        entry.detail.encode(),
    )


def _seal(vault: Vault, count: int, head: bytes) -> bytes:
    return vault.mac("audit head", str(count).encode(), head)


def _bytes(public_id: UUID | None) -> bytes:
    return b"" if public_id is None else public_id.bytes
