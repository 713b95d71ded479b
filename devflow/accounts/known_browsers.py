"""Known browsers: a cookie that says this one has signed in to this account before.

It opens nothing. Its bearer only is throttled apart from the strangers who guess
(OWASP calls it a device cookie).
"""

from __future__ import annotations

import hmac
import secrets
from typing import Final
from uuid import UUID

from devflow.crypto import Vault

LIFETIME_S: Final = 400 * 86_400
"""The longest that browsers keep a cookie."""
_PURPOSE: Final = "known browser"


def cookie(vault: Vault, person: UUID) -> str:
    """A new cookie for a browser that has just signed in as the person."""
    nonce = secrets.token_urlsafe(16)
    return f"{nonce}.{_mac(vault, person, nonce)}"


def nonce_of(vault: Vault, person: UUID | None, given: str) -> str | None:
    """What tells this browser from others, if we gave the cookie to one signed in as this very person."""
    nonce, _, mac = given.partition(".")
    if person is None or not given.isascii():
        return None
    if not hmac.compare_digest(mac, _mac(vault, person, nonce)):
        return None
    return nonce


def _mac(vault: Vault, person: UUID, nonce: str) -> str:
    return vault.mac(_PURPOSE, person.bytes, nonce.encode()).hex()
