"""The operator's secret: from the environment or a file, and checked before anything hangs on it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from devflow.config import Settings
from devflow.errors import Invalid

FILE: Final = "secret.key"
OLD_FILE: Final = "secret.key.old"
VARIABLE: Final = "DEVFLOW_SECRET_KEY"
OLD_VARIABLE: Final = "DEVFLOW_OLD_SECRET_KEY"
FILE_BYTES: Final = 32
MIN_LENGTH: Final = 32
_MIN_DIFFERENT: Final = 10
# What people leave in from an example. 32 random characters have none of these by chance.
_KNOWN: Final = re.compile(
    r"change.?(me|it|this)|replace.?(me|this)|your.?(secret|key|own)|secret.?key|super.?secret|example|"
    r"placeholder|insecure|password|passphrase|default|0123456789|123456789|abcdefgh|qwerty|deadbeef",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret, and where it is from in words that may be shown."""

    value: bytes = field(repr=False)
    origin: str


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secret of today, None if one is to be made, and those before that may still be in use."""

    now: Secret | None
    before: tuple[Secret, ...]

    @property
    def all(self) -> tuple[Secret, ...]:
        return (() if self.now is None else (self.now,)) + self.before


def find(settings: Settings) -> Secrets:
    """What the environment and the data folder hold; raise Invalid for a secret that is none."""
    folder = settings.data_path
    given, in_file = _given(settings.secret_key, VARIABLE), read(folder / FILE)
    old = (_given(settings.old_secret_key, OLD_VARIABLE), read(folder / OLD_FILE))
    now = in_file if given is None else given
    before = (secret for secret in (in_file, *old) if secret is not None and secret is not now)
    return Secrets(now, tuple(before))


def _given(value: str, name: str) -> Secret | None:
    return Secret(check(value, name), name) if value else None


def check(secret: str, name: str) -> bytes:
    """The secret as bytes; raise Invalid for one that is short, repeats itself or stands in examples."""
    if len(secret) < MIN_LENGTH:
        raise Invalid(f"{name}: expected at least {MIN_LENGTH} characters, got {len(secret)}")
    if len(set(secret)) < _MIN_DIFFERENT:
        raise Invalid(f"{name}: expected a random secret, got one of {len(set(secret))} different characters")
    if (period := _period(secret)) is not None:
        raise Invalid(f"{name}: expected a random secret, got one that repeats its first {period} characters")
    if _KNOWN.search(secret):
        raise Invalid(f"{name}: expected a secret of your own, got one as it stands in examples")
    # A line end that an editor added would be missing the next time the secret is typed.
    if secret != secret.strip():
        raise Invalid(f"{name}: expected no white space around the secret")
    try:
        return secret.encode()
    except UnicodeEncodeError as error:
        raise Invalid(f"{name}: expected text in UTF-8, got other bytes") from error


def _period(secret: str) -> int | None:
    """The length of what the secret says twice or more, None if it does not."""
    return next((n for n in range(1, len(secret) // 2 + 1) if secret[n:] == secret[:-n]), None)


def read(path: Path) -> Secret | None:
    """The secret in the file, None without one; raise Invalid if it is damaged or others may read it."""
    try:
        with path.open("rb") as file:
            mode, value = os.fstat(file.fileno()).st_mode & 0o777, file.read(FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    if mode & 0o077:
        raise Invalid(
            f"{path}: expected a file that only its owner may read, got mode {mode:o}; chmod 600 it"
        )
    # After a power failure a file may have its length and nothing but zeros.
    if len(value) != FILE_BYTES or len(set(value)) < _MIN_DIFFERENT:
        raise Invalid(f"{path}: expected {FILE_BYTES} random bytes, the file is damaged; restore it")
    return Secret(value, str(path))


def make(folder: Path) -> Secret:
    """A new secret in the folder's file (0600), there to stay before anything is sealed with it.

    Raise FileExistsError if there is one.
    """
    path = folder / FILE
    value = secrets.token_bytes(FILE_BYTES)
    # Whole or not at all: half a file would stop the next start.
    descriptor, unfinished = tempfile.mkstemp(prefix=f".{FILE}.", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        os.link(unfinished, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(unfinished).unlink()
    _sync_folder(folder)
    return Secret(value, str(path))


def _sync_folder(folder: Path) -> None:
    """Make the names in the folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
