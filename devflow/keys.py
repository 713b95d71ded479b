"""The workspace's keys: made once, opened at the start, sealed anew under a new secret, and rotated."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import event, exists, select
from sqlalchemy.orm import Session

from devflow import access, audit, crypto, secret
from devflow.access import Action
from devflow.accounts.tokens import TOKEN_LIFETIME_MS
from devflow.audit import Act, Actor
from devflow.config import Settings
from devflow.crypto import KDF_ITERATIONS, Damaged, Ring, Vault
from devflow.db import Database
from devflow.errors import Invalid
from devflow.models import Key, Workspace
from devflow.secret import Secret, Secrets

SALT_BYTES: Final = 16
RETIRED_FOR_MS: Final = 3_600_000
"""After so long nobody seals with a retired key any more: many times ``crypto.LEASE_S``."""
TOKENS_GOOD_FOR_MS: Final = TOKEN_LIFETIME_MS
"""How long after it was retired a key of tokens still verifies: then its last token has expired."""
LIFETIME_MS: Final = 365 * 86_400_000
"""A key of fields is replaced by itself after this: long before 2**32 random nonces."""
log = logging.getLogger(__name__)


class Purpose(StrEnum):
    """What a key is for. There is one of ``HASHES``, for good: what is found by them would be lost."""

    FIELDS = "fields"
    TOKENS = "tokens"
    HASHES = "hashes"


ROTATING: Final = (Purpose.FIELDS, Purpose.TOKENS)


@dataclass(frozen=True, slots=True)
class Listed:
    """A key as it may be shown."""

    id: int
    purpose: Purpose
    created_at: int
    retired_at: int | None


def is_new(session: Session) -> bool:
    """Whether there are no keys yet."""
    return not session.scalar(select(exists(select(Key.id))))


def new_kdf() -> dict[str, bytes | int]:
    """The columns of a new workspace that its wrapping key is drawn with."""
    return {"kdf_salt": os.urandom(SALT_BYTES), "kdf_iterations": KDF_ITERATIONS}


def make(session: Session, workspace: Workspace, secret: bytes, now_ms: int) -> Vault:
    """The first keys, and the vault they open. The caller commits."""
    wrapping = crypto.wrapping_key(secret, workspace.kdf_salt, workspace.kdf_iterations)
    for purpose in Purpose:
        _add(session, wrapping, purpose, now_ms)
    return Vault(_ring(_opened(_rows(session), wrapping)), secret)


def adopt(session: Session, workspace: Workspace, settings: Settings, now_ms: int) -> Vault:
    """Seal the keys under today's secret if they still are under one before; return the vault they open.

    The caller commits. A count of iterations below today's rises at this. Raise Invalid if no
    secret opens them.
    """
    found = secret.find(settings)
    rows = _rows(session)
    in_use, opened = _fitting(rows, workspace, found, settings)
    now = found.now or _make_secret(settings)
    vault = Vault(_ring(opened), now.value)
    if now.value == in_use.value and workspace.kdf_iterations >= KDF_ITERATIONS:
        return vault
    workspace.kdf_salt, workspace.kdf_iterations = os.urandom(SALT_BYTES), KDF_ITERATIONS
    wrapping = crypto.wrapping_key(now.value, workspace.kdf_salt, workspace.kdf_iterations)
    for row, plain in opened:
        row.sealed = crypto.wrap(wrapping, plain, _name(row))
    audit.record(session, Actor(None, now_ms, vault), Act.SECRET_CHANGED, iterations=KDF_ITERATIONS)
    if now.value != in_use.value:
        log.warning(
            "The keys of the database are now sealed under %s; the secret from %s is no longer needed.",
            now.origin,
            in_use.origin,
        )
    return vault


def first_secret(settings: Settings) -> bytes:
    """The secret that a new workspace is made with: the operator's, else a new one."""
    return (secret.find(settings).now or _make_secret(settings)).value


def _make_secret(settings: Settings) -> Secret:
    made = secret.make(settings.data_path)
    log.warning(
        "Made the secret %s. Back it up now, apart from the database: without it nobody can sign in, and "
        "e-mail addresses, paths and what events say cannot be read again.",
        made.origin,
    )
    return made


def origin(settings: Settings) -> str:
    """Where today's secret is from."""
    return secret.VARIABLE if settings.secret_key else str(settings.data_path / secret.FILE)


def open_vault(database: Database, settings: Settings) -> Vault:
    """The vault of a workspace that is set up; it finds keys that another process adds later.

    Raise Invalid if they do not open.
    """
    found = secret.find(settings)
    if found.now is None:
        raise _missing(settings)
    value = found.now.value
    with database.reading() as session:
        workspace = session.get_one(Workspace, 1)
        _, opened = _fitting(_rows(session), workspace, Secrets(found.now, ()), settings)

    def find_ring() -> Ring:
        with database.reading() as session:
            workspace = session.get_one(Workspace, 1)
            wrapping = crypto.wrapping_key(value, workspace.kdf_salt, workspace.kdf_iterations)
            return _ring(_opened(_rows(session), wrapping))

    return Vault(_ring(opened), value, find_ring)


def rotate(session: Session, by: Actor, purpose: Purpose) -> None:
    """Retire the key of the purpose for a new one, which is used as soon as the caller commits.

    Raise Invalid for the one that cannot be replaced.
    """
    access.require(by.who(), Action.MANAGE_KEYS)
    _rotate(session, by, purpose)


def is_old(session: Session, now_ms: int) -> bool:
    """Whether the key of fields has been in use for long enough."""
    made_at = select(Key.created_at).where(Key.purpose == Purpose.FIELDS, Key.retired_at.is_(None))
    return session.scalars(made_at).one() <= now_ms - LIFETIME_MS


def renew(session: Session, by: Actor) -> None:
    """Replace the key of fields if it is old. The caller commits."""
    _lock(session)
    if is_old(session, by.now_ms):
        _rotate(session, by, Purpose.FIELDS)


def _lock(session: Session) -> Workspace:
    """One changes keys after the other, and none while a start changes the secret."""
    return session.get_one(Workspace, 1, with_for_update=True, populate_existing=True)


def _rotate(session: Session, by: Actor, purpose: Purpose) -> None:
    if purpose not in ROTATING:
        raise Invalid(
            f"expected {' or '.join(ROTATING)}, got {purpose}: what is found by hashes would be lost"
        )
    workspace = _lock(session)
    wrapping = by.vault.wrapping(workspace.kdf_salt, workspace.kdf_iterations)
    _opened(_rows(session), wrapping)  # a key sealed under yesterday's secret could never be opened
    for key in session.scalars(select(Key).where(Key.purpose == purpose, Key.retired_at.is_(None))):
        key.retired_at = by.now_ms
    made = _add(session, wrapping, purpose, by.now_ms)
    ring = _ring(_opened(_rows(session), wrapping))
    # Not before: what is sealed with a key that was never stored is lost.
    event.listen(session, "after_commit", lambda _: by.vault.use(ring), once=True)
    audit.record(session, by, Act.KEY_ROTATED, purpose=purpose, key=made.id)


def listed(session: Session) -> list[Listed]:
    """All keys, those of one purpose together, the newest first."""
    rows = session.execute(
        select(Key.id, Key.purpose, Key.created_at, Key.retired_at).order_by(Key.id.desc())
    )
    found = [Listed(row.id, Purpose(row.purpose), row.created_at, row.retired_at) for row in rows]
    return sorted(found, key=lambda key: list(Purpose).index(key.purpose))


def iterations(session: Session) -> int:
    """The count of PBKDF2 that today's wrapping key is drawn with."""
    return session.get_one(Workspace, 1).kdf_iterations


def drop(session: Session, by: Actor, key_ids: Iterable[int]) -> None:
    """Delete retired keys with which nothing is sealed or signed any more. The caller commits."""
    wanted = select(Key).where(Key.id.in_(list(key_ids)), Key.retired_at.is_not(None)).with_for_update()
    for key in session.scalars(wanted).all():
        session.delete(key)
        audit.record(session, by, Act.KEY_DELETED, purpose=key.purpose, key=key.id)


def retired_before(session: Session, purpose: Purpose, before_ms: int) -> list[int]:
    """The ids of keys that were retired at that time or earlier."""
    return list(session.scalars(select(Key.id).where(Key.purpose == purpose, Key.retired_at <= before_ms)))


def _add(session: Session, wrapping: bytes, purpose: Purpose, now_ms: int) -> Key:
    key = Key(purpose=purpose, sealed=b"", created_at=now_ms)
    session.add(key)
    session.flush()
    key.sealed = crypto.wrap(wrapping, os.urandom(crypto.KEY_BYTES), _name(key))
    session.flush()
    return key


_Opened = list[tuple[Key, bytes]]


def _rows(session: Session) -> Sequence[Key]:
    return session.scalars(select(Key).order_by(Key.id).execution_options(populate_existing=True)).all()


def _fitting(
    rows: Sequence[Key], workspace: Workspace, found: Secrets, settings: Settings
) -> tuple[Secret, _Opened]:
    """The secret that opens the keys, and the keys; raise Invalid with what is wrong with them."""
    if not {row.purpose for row in rows} >= set(Purpose):
        raise Invalid("expected the keys of this database, found not all of them; restore it from a backup")
    if not found.all:
        raise _missing(settings)
    for candidate in found.all:
        wrapping = crypto.wrapping_key(candidate.value, workspace.kdf_salt, workspace.kdf_iterations)
        opening = [row for row in rows if _opens(row, wrapping)]
        if len(opening) == len(rows):
            return candidate, _opened(rows, wrapping)
        if opening:
            damaged = ", ".join(str(row.id) for row in rows if row not in opening)
            raise Invalid(
                f"expected keys as they were stored, but of {len(rows)} these are damaged: {damaged}; "
                "restore the database from a backup"
            )
    raise Invalid(
        "expected the secret that this database was made with, got another one from "
        f"{' and '.join(candidate.origin for candidate in found.all)}; restore it, or name the one before as "
        f"{secret.OLD_VARIABLE}"
    )


def _missing(settings: Settings) -> Invalid:
    return Invalid(
        "expected the secret that this database was made with, in "
        f"{settings.data_path / secret.FILE} or as {secret.VARIABLE}, found neither; restore it from a backup"
    )


def _opens(row: Key, wrapping: bytes) -> bool:
    try:
        crypto.unwrap(wrapping, row.sealed, _name(row))
    except Damaged:
        return False
    return True


def _opened(rows: Sequence[Key], wrapping: bytes) -> _Opened:
    """The keys; raise Damaged if they are under another secret than that of this process."""
    try:
        return [(row, crypto.unwrap(wrapping, row.sealed, _name(row))) for row in rows]
    except Damaged as error:
        raise Damaged(
            f"{error} with the secret this process was started with: it was changed or the key was; "
            "start the server anew"
        ) from error


def _ring(opened: _Opened) -> Ring:
    by_purpose: dict[str, dict[int, bytes]] = {purpose: {} for purpose in Purpose}
    for key, plain in opened:
        by_purpose[key.purpose][key.id] = plain
    (hashes,) = by_purpose[Purpose.HASHES].values()
    return Ring(
        by_purpose[Purpose.FIELDS],
        by_purpose[Purpose.TOKENS],
        hashes,
        newest=max(key.id for key, _ in opened),
    )


def _name(key: Key) -> str:
    return f"keys|{key.purpose}|{key.id}"
