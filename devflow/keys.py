"""The workspace's keys: made once, opened at the start, sealed anew under a new secret."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from devflow import crypto
from devflow.config import Settings
from devflow.crypto import KDF_ITERATIONS, Damaged, Ring, Vault
from devflow.db import Database
from devflow.errors import Invalid
from devflow.models import Key, Workspace


class Purpose(StrEnum):
    """What a key is for. There is one of ``HASHES``, for good: what is found by them would be lost."""

    FIELDS = "fields"
    TOKENS = "tokens"
    HASHES = "hashes"


SALT_BYTES: Final = 16


def secrets_of(settings: Settings, *, may_make: bool) -> tuple[bytes, ...]:
    """The operator's secret, and after it those before that keys may still be sealed with.

    ``may_make``: without any, make one in the data folder. Raise Invalid if there is none, or a bad one.
    """
    folder = settings.data_path
    in_file, old = (
        crypto.read_secret(folder / name) for name in (crypto.SECRET_FILE, crypto.OLD_SECRET_FILE)
    )
    given = _given(settings.secret_key, "DEVFLOW_SECRET_KEY")
    old_given = _given(settings.old_secret_key, "DEVFLOW_OLD_SECRET_KEY")
    if given is None and in_file is None and (may_make or old is not None):
        in_file = crypto.make_secret(folder / crypto.SECRET_FILE)
    found = [secret for secret in (given, in_file, old_given, old) if secret is not None]
    if given is None and in_file is None:
        raise Invalid(
            f"expected the secret that this database was made with, in {folder / crypto.SECRET_FILE} or as "
            "DEVFLOW_SECRET_KEY, found neither; restore it from a backup"
        )
    return tuple(dict.fromkeys(found))


def _given(value: str, name: str) -> bytes | None:
    return crypto.check_secret(value, name) if value else None


def is_new(session: Session) -> bool:
    """Whether there are no keys yet."""
    return not session.scalar(select(exists(select(Key.id))))


def new_kdf() -> dict[str, bytes | int]:
    """The columns of a new workspace that its wrapping key is drawn with."""
    return {"kdf_salt": os.urandom(SALT_BYTES), "kdf_iterations": KDF_ITERATIONS}


def make(session: Session, workspace: Workspace, secret: bytes, now_ms: int) -> Ring:
    """The first keys. The caller commits."""
    wrapping = crypto.wrapping_key(secret, workspace.kdf_salt, workspace.kdf_iterations)
    for purpose in Purpose:
        add(session, wrapping, purpose, now_ms)
    return _ring(_opened(session, wrapping))


def add(session: Session, wrapping: bytes, purpose: Purpose, now_ms: int) -> Key:
    """One more key of the purpose. The caller commits."""
    key = Key(purpose=purpose, sealed=b"", created_at=now_ms)
    session.add(key)
    session.flush()
    key.sealed = crypto.wrap(wrapping, os.urandom(crypto.KEY_BYTES), _name(key))
    session.flush()
    return key


def adopt(session: Session, workspace: Workspace, candidates: Sequence[bytes]) -> None:
    """Seal the keys under the first secret if they still are under one of the others. The caller commits.

    A count of iterations below today's rises at this. Raise Invalid if no secret opens them.
    """
    keys = session.scalars(select(Key)).all()
    wrapping = _fitting(keys, workspace, candidates)
    wanted = crypto.wrapping_key(candidates[0], workspace.kdf_salt, workspace.kdf_iterations)
    if wrapping == wanted and workspace.kdf_iterations >= KDF_ITERATIONS:
        return
    opened = [(key, crypto.unwrap(wrapping, key.sealed, _name(key))) for key in keys]
    workspace.kdf_salt, workspace.kdf_iterations = os.urandom(SALT_BYTES), KDF_ITERATIONS
    wrapping = crypto.wrapping_key(candidates[0], workspace.kdf_salt, workspace.kdf_iterations)
    for key, plain in opened:
        key.sealed = crypto.wrap(wrapping, plain, _name(key))


def open_vault(database: Database, settings: Settings) -> Vault:
    """The vault of a workspace that is set up; it finds keys that another process adds later."""
    secret = secrets_of(settings, may_make=False)[0]

    def find_ring() -> Ring:
        with database.reading() as session:
            workspace = session.get_one(Workspace, 1)
            return _ring(_opened(session, _fitting(session.scalars(select(Key)).all(), workspace, [secret])))

    return Vault(find_ring(), find_ring)


def _fitting(keys: Sequence[Key], workspace: Workspace, candidates: Sequence[bytes]) -> bytes:
    """The wrapping key that opens the keys."""
    for secret in candidates:
        wrapping = crypto.wrapping_key(secret, workspace.kdf_salt, workspace.kdf_iterations)
        try:
            for key in keys:
                crypto.unwrap(wrapping, key.sealed, _name(key))
        except Damaged:
            continue
        return wrapping
    raise Invalid(
        "expected the secret that this database was made with, got another one; restore "
        f"{Path(crypto.SECRET_FILE)} or DEVFLOW_SECRET_KEY, or name the one before as DEVFLOW_OLD_SECRET_KEY"
    )


def _opened(session: Session, wrapping: bytes) -> Iterator[tuple[Key, bytes]]:
    for key in session.scalars(select(Key).order_by(Key.id)):
        yield key, crypto.unwrap(wrapping, key.sealed, _name(key))


def _ring(keys: Iterator[tuple[Key, bytes]]) -> Ring:
    by_purpose: dict[str, dict[int, bytes]] = {purpose: {} for purpose in Purpose}
    for key, plain in keys:
        by_purpose[key.purpose][key.id] = plain
    (hashes,) = by_purpose[Purpose.HASHES].values()
    return Ring(by_purpose[Purpose.FIELDS], by_purpose[Purpose.TOKENS], hashes)


def _name(key: Key) -> str:
    return f"keys|{key.purpose}|{key.id}"
