"""The server's secret, and the keys and hashes made from it."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from devflow.errors import Invalid

KEY_BYTES: Final = 32


def master_key(configured: str, data_dir: Path) -> bytes:
    """The configured secret, else the one in ``data_dir``, made there (0600) on first use."""
    if configured:
        return configured.encode()
    path = data_dir / "secret.key"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            raise Invalid(
                f"{path}: expected {KEY_BYTES} bytes, got {len(key)}; restore it from a backup"
            ) from None
        return key
    with os.fdopen(descriptor, "wb") as file:
        file.write(key := secrets.token_bytes(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    return key


def derive(master: bytes, purpose: str) -> bytes:
    """32 bytes for one purpose only, so that what signs cookies never signs tokens."""
    return hmac.digest(master, f"devflow:{purpose}".encode(), hashlib.sha256)


def new_token() -> str:
    """256 random bits, safe in a URL."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """What is stored of a token. Plain SHA-256: 256 random bits cannot be guessed."""
    return hashlib.sha256(token.encode()).digest()
