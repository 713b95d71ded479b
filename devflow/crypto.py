"""What is sealed and how: keys that hang on the operator's secret, and a vault that seals fields with them.

A random key does the work; the wrapping key that seals it in the database is drawn from the
operator's secret by PBKDF2. So a new secret seals a few rows anew, and a new key replaces an old
one while the server runs.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import logging
import os
import secrets
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from devflow.errors import DevflowError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_DRAWN: Final = 50
KDF_ITERATIONS: Final = 600_000
"""OWASP's count for PBKDF2-HMAC-SHA256 (Password Storage Cheat Sheet, 2023)."""
LEASE_S: Final = 600
"""How long a process seals with its keys without having looked whether there are newer ones."""
_KEY_ID: Final = struct.Struct(">I")
log = logging.getLogger(__name__)


class Damaged(DevflowError):
    """What is stored was changed, moved from another row, or sealed with a key we do not have.

    No fault of who asks, so it is no ``Invalid``: a program that was told so would give up.
    """


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
    """The keys of a workspace, open. ``fields`` and ``tokens`` are by id; the highest id seals and signs.

    Ids only rise, so one above ``newest`` is of a key that was made after these were read.
    """

    fields: Mapping[int, bytes] = field(repr=False)
    tokens: Mapping[int, bytes] = field(repr=False)
    hashes: bytes = field(repr=False)
    newest: int


@dataclass(frozen=True, slots=True)
class _Open:
    """A ring made ready; replaced as one, so that no thread sees half of the old and half of the new."""

    ring: Ring
    ciphers: Mapping[int, AESGCM]
    current: int
    read_at: float


class Vault:
    """Seals sensitive fields, each for its very row, and finds them again by keyed hash.

    What is sealed begins with its key's id, so that keys can change while rows wait to be sealed
    anew. ``find_ring`` is asked for the keys of today when an id is not known. The operator's
    secret stays here so that a running process can make a new key.
    """

    def __init__(self, ring: Ring, secret: bytes, find_ring: Callable[[], Ring] | None = None) -> None:
        self._secret = secret
        self._find_ring = find_ring
        self._replacing = threading.Lock()
        self._open = _ready(ring)

    def __repr__(self) -> str:
        return f"Vault(fields={sorted(self.ring.fields)}, tokens={sorted(self.ring.tokens)})"

    @property
    def ring(self) -> Ring:
        return self._open.ring

    @property
    def current(self) -> int:
        """The id of the key that seals."""
        return self._open.current

    def use(self, ring: Ring) -> None:
        """Take the keys; whoever is in the middle of something goes on with those before."""
        ready = _ready(ring)
        with self._replacing:
            # Of two who read at once the one who read earlier may come later.
            if ring.newest >= self._open.ring.newest:
                self._open = ready

    def reload(self) -> None:
        """Take the keys that the workspace has now; raise Damaged if they do not open."""
        if self._find_ring is not None:
            self.use(self._find_ring())

    def wrapping(self, salt: bytes, iterations: int) -> bytes:
        """The wrapping key that the operator's secret gives."""
        return wrapping_key(self._secret, salt, iterations)

    def seal(self, field: str, row: bytes, text: bytes) -> bytes:
        """``text`` as the ``field`` ("table.column") of the row: AES-256-GCM, bound to both.

        Raise Damaged if the keys could not be read for long: a key that was replaced meanwhile
        may be deleted, and what is sealed with it lost.
        """
        return self.sealer(field)(row, text)

    def sealer(self, field: str) -> Callable[[bytes, bytes], bytes]:
        """``seal`` for many rows of one field, with the key of this moment: (row, text) to sealed text."""
        if self._find_ring is not None and time.monotonic() - self._open.read_at > LEASE_S:
            self.reload()
        number = self._open.current
        prefix, bound, encrypt = _KEY_ID.pack(number), _bound(field, b""), self._open.ciphers[number].encrypt

        nonces = _nonces()

        def seal(row: bytes, text: bytes) -> bytes:
            nonce = next(nonces)
            return prefix + nonce + encrypt(nonce, text, bound + row)

        return seal

    def open(self, field: str, row: bytes, sealed: bytes) -> bytes:
        """What was sealed for this field of this row; raise Damaged for anything else."""
        start = _KEY_ID.size + NONCE_BYTES
        if len(sealed) < start:
            raise Damaged(f"{field}: expected a sealed text, got {len(sealed)} bytes")
        cipher = self._cipher(_KEY_ID.unpack_from(sealed)[0], field)
        try:
            return cipher.decrypt(sealed[_KEY_ID.size : start], sealed[start:], _bound(field, row))
        except InvalidTag as error:
            raise Damaged(f"{field}: this was not sealed for this row, or was changed since") from error

    def open_or_none(self, field: str, row: bytes, sealed: bytes) -> bytes | None:
        """As ``open``, but None for what is damaged, which is logged: one bad row among many to show."""
        try:
            return self.open(field, row, sealed)
        except Damaged as error:
            log.warning("%s of row %s is damaged in the database: %s", field, row.hex(), error)
            return None

    def signing_key(self) -> tuple[int, bytes]:
        """The id and bytes of the key that signs tokens."""
        tokens = self.ring.tokens
        return max(tokens), tokens[max(tokens)]

    def token_key(self, number: int) -> bytes | None:
        """The key that verifies tokens signed with the ``number``, None if there is none."""
        if number > self.ring.newest:
            self.reload()
        return self.ring.tokens.get(number)

    def key_of(self, field: str, value: bytes) -> bytes:
        """16 bytes by which the value of the field is found again, and which tell nothing without our key."""
        return self.mac(field, value)[:16]

    def mac(self, purpose: str, *parts: bytes) -> bytes:
        """HMAC-SHA256 of the parts under a key of this purpose alone."""
        framed = b"".join([_KEY_ID.pack(len(part)) + part for part in parts])
        return hmac.digest(_key_for(self.ring.hashes, purpose), framed, "sha256")

    def _cipher(self, number: int, field: str) -> AESGCM:
        if number > self.ring.newest:
            self.reload()
        try:
            return self._open.ciphers[number]
        except KeyError as error:
            raise Damaged(f"{field}: sealed with the key {number}, which is not there") from error


def prefix(number: int) -> bytes:
    """How everything begins that is sealed with the key."""
    return _KEY_ID.pack(number)


PREFIX_BYTES: Final = _KEY_ID.size


def _ready(ring: Ring) -> _Open:
    ciphers = {number: AESGCM(key) for number, key in ring.fields.items()}
    return _Open(ring, ciphers, max(ring.fields), time.monotonic())


@functools.lru_cache(maxsize=64)
def _key_for(key: bytes, purpose: str) -> bytes:
    return hmac.digest(key, purpose.encode(), "sha256")


def _nonces() -> Iterator[bytes]:
    """Random ones, drawn some at a time: for one alone the system is asked as long as it takes to seal."""
    while True:
        drawn = os.urandom(_DRAWN * NONCE_BYTES)
        for start in range(0, len(drawn), NONCE_BYTES):
            yield drawn[start : start + NONCE_BYTES]


def _bound(field: str, row: bytes) -> bytes:
    table, _, column = field.partition(".")
    return b"|".join((table.encode(), column.encode(), row))


def new_token() -> str:
    """256 random bits, safe in a URL."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """What is stored of a token. Plain SHA-256: 256 random bits cannot be guessed."""
    return hashlib.sha256(token.encode()).digest()
