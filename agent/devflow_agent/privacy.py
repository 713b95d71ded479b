"""What of a path or a name may be recorded, and how it is written so that it fits the wire."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from devflow import wire

MAX_REF: Final = 1_024
_MAX_JSON_BYTES: Final = 12_000  # a rename carries two paths, and both must fit one event
_ALWAYS_FITS: Final = 1_000  # bytes: JSON writes each of them in at most six
_KEPT: Final = 950  # characters of a name that is cut; with the hash still below MAX_REF


def wire_path(raw: bytes) -> str:
    r"""A path as git or the file system has it, as the wire carries it.

    UTF-8 as it stands; bytes that are not become ``\xff``, so that names which differ only
    there stay different. What is too long for the wire keeps its beginning and ends in the
    SHA-256 of the whole, for the same reason.
    """
    return _fitting(raw, wire.MAX_PATH)


def wire_ref(raw: bytes) -> str:
    """The name of a branch or a tag, by the rule of ``wire_path``."""
    return _fitting(raw, MAX_REF)


def _fitting(raw: bytes, longest: int) -> str:
    text = raw.decode("utf-8", "backslashreplace")
    if len(raw) <= _ALWAYS_FITS:
        return text if len(text) <= longest else _cut(text, raw)
    if len(text) <= longest and len(msgspec.json.encode(text)) <= _MAX_JSON_BYTES:
        return text
    return _cut(text, raw)


def _cut(text: str, raw: bytes) -> str:
    return f"{text[:_KEPT]}~{hashlib.sha256(raw).hexdigest()}"
