"""The operator's secret, the keys that hang on it, and what is sealed with them.

A random key does the work; the wrapping key that seals it in the database is drawn from the
operator's secret by PBKDF2. So a new secret seals a few rows anew, and a new key replaces an old
one while the server runs.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import re
import secrets
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from devflow.errors import Invalid

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
KDF_ITERATIONS: Final = 600_000
"""OWASP's count for PBKDF2-HMAC-SHA256 (Password Storage Cheat Sheet, 2023)."""
SECRET_FILE: Final = "secret.key"  # noqa: S105 - a file's name
OLD_SECRET_FILE: Final = "secret.key.old"  # noqa: S105 - a file's name
MIN_SECRET: Final = 32
_MIN_DIFFERENT: Final = 10
_KEY_ID: Final = struct.Struct(">I")
# What people leave in from an example. 32 random characters have none of these by chance.
_KNOWN: Final = re.compile(
    r"change.?(me|it|this)|replace.?(me|this)|your.?(secret|key|own)|secret.?key|super.?secret|example|"
    r"placeholder|insecure|password|passphrase|default|0123456789|123456789|abcdefgh|qwerty|deadbeef",
    re.IGNORECASE,
)


class Damaged(Invalid):
    """What was to be opened was changed, moved from another row, or sealed with a key we do not have."""


def check_secret(secret: str, name: str) -> bytes:
    """The secret as bytes; raise Invalid for one that is short, repeats itself or stands in examples."""
    if len(secret) < MIN_SECRET:
        raise Invalid(f"{name}: expected at least {MIN_SECRET} characters, got {len(secret)}")
    if len(set(secret)) < _MIN_DIFFERENT:
        raise Invalid(f"{name}: expected a random secret, got one of {len(set(secret))} different characters")
    if _KNOWN.search(secret):
        raise Invalid(f"{name}: expected a secret of your own, got one as it stands in examples")
    return secret.encode()


def read_secret(path: Path) -> bytes | None:
    """The secret in the file, None without one; raise Invalid if it is damaged or others may read it."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(key) != KEY_BYTES:
        raise Invalid(f"{path}: expected {KEY_BYTES} bytes, got {len(key)}; restore it from a backup")
    if (mode := path.stat().st_mode & 0o777) & 0o077:
        raise Invalid(
            f"{path}: expected a file that only its owner may read, got mode {mode:o}; chmod 600 it"
        )
    return key


def make_secret(path: Path) -> bytes:
    """A new secret, durable in the file (0600); raise FileExistsError if there is one."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key := secrets.token_bytes(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    return key


# Kept: a process draws it once, and PBKDF2 is meant to take its time.
@functools.lru_cache(maxsize=8)
def wrapping_key(secret: bytes, salt: bytes, iterations: int) -> bytes:
    """PBKDF2-HMAC-SHA256 of the operator's secret."""
    return hashlib.pbkdf2_hmac("sha256", secret, salt, iterations, KEY_BYTES)


def wrap(wrapping: bytes, key: bytes, name: str) -> bytes:
    """``key`` sealed under its ``name``."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(wrapping).encrypt(nonce, key, name.encode())


def unwrap(wrapping: bytes, sealed: bytes, name: str) -> bytes:
    """Raise Damaged if it was not sealed so."""
    try:
        return AESGCM(wrapping).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], name.encode())
    except (InvalidTag, ValueError) as error:
        raise Damaged(f"the key {name} does not open") from error


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys of a workspace, open. ``fields`` and ``tokens`` are by id; the highest id seals and signs."""

    fields: Mapping[int, bytes]
    tokens: Mapping[int, bytes]
    hashes: bytes

    @classmethod
    def new(cls) -> Ring:
        return cls({1: os.urandom(KEY_BYTES)}, {2: os.urandom(KEY_BYTES)}, os.urandom(KEY_BYTES))


class Vault:
    """Seals sensitive fields, each for its very row, and finds them again by keyed hash.

    What is sealed begins with its key's id, so that keys can change while rows wait to be sealed
    anew. ``find_ring`` is asked for the keys of today when an id is not known.
    """

    def __init__(self, ring: Ring, find_ring: Callable[[], Ring] | None = None) -> None:
        self._find_ring = find_ring
        self.use(ring)

    def use(self, ring: Ring) -> None:
        """Take the keys; whoever is in the middle of something goes on with those before."""
        self._ciphers = {number: AESGCM(key) for number, key in ring.fields.items()}
        self._current = max(ring.fields)
        self.ring = ring

    def reload(self) -> None:
        """Take the keys that the workspace has now."""
        if self._find_ring is not None:
            self.use(self._find_ring())

    @property
    def current(self) -> bytes:
        """How everything begins that is sealed with the newest key."""
        return _KEY_ID.pack(self._current)

    def seal(self, field: str, row: bytes, text: bytes) -> bytes:
        """``text`` as the ``field`` ("table.column") of the row: AES-256-GCM, bound to both."""
        number, nonce = self._current, os.urandom(NONCE_BYTES)
        sealed = self._ciphers[number].encrypt(nonce, text, _bound(field, row))
        return _KEY_ID.pack(number) + nonce + sealed

    def open(self, field: str, row: bytes, sealed: bytes) -> bytes:
        """What was sealed for this field of this row; raise Damaged for anything else."""
        start = _KEY_ID.size + NONCE_BYTES
        if len(sealed) < start:
            raise Damaged(f"{field}: expected a sealed text, got {len(sealed)} bytes")
        cipher = self._cipher(_KEY_ID.unpack(sealed[: _KEY_ID.size])[0], field)
        try:
            return cipher.decrypt(sealed[_KEY_ID.size : start], sealed[start:], _bound(field, row))
        except InvalidTag as error:
            raise Damaged(f"{field}: this was not sealed for this row, or was changed since") from error

    def key_of(self, field: str, value: bytes) -> bytes:
        """16 bytes by which the value of the field is found again, and which tell nothing without our key."""
        return self.mac(field, value)[:16]

    def mac(self, purpose: str, *parts: bytes) -> bytes:
        """HMAC-SHA256 of the parts under a key of this purpose alone."""
        key = hmac.digest(self.ring.hashes, purpose.encode(), hashlib.sha256)
        framed = b"".join(_KEY_ID.pack(len(part)) + part for part in parts)
        return hmac.digest(key, framed, hashlib.sha256)

    def _cipher(self, number: int, field: str) -> AESGCM:
        if number not in self._ciphers:
            self.reload()
        try:
            return self._ciphers[number]
        except KeyError as error:
            raise Damaged(f"{field}: sealed with the key {number}, which is not there") from error


def _bound(field: str, row: bytes) -> bytes:
    table, _, column = field.partition(".")
    return b"|".join((table.encode(), column.encode(), row))


def new_token() -> str:
    """256 random bits, safe in a URL."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """What is stored of a token. Plain SHA-256: 256 random bits cannot be guessed."""
    return hashlib.sha256(token.encode()).digest()
