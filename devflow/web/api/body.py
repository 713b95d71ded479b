"""Request bodies: read and inflated within limits, whatever was sent."""

from __future__ import annotations

import zlib
from typing import Final

from flask import request

from devflow import wire
from devflow.errors import Invalid, TooLarge

SMALL_BYTES: Final = 16_384
"""What is enough for everything but events; strangers may send it, many at once."""
_GZIP_ONLY: Final = 31  # window bits: 15, and 16 for a gzip header


def read_body(limit: int = SMALL_BYTES) -> bytes:
    """The body, inflated to at most ``limit`` bytes if it says it is gzip.

    Raise Invalid or TooLarge with what was expected and what came.
    """
    return inflated(receive(limit), limit)


def receive(limit: int) -> bytes:
    """The body as it was sent, by whoever may take long about it."""
    if request.mimetype != "application/json":
        raise Invalid(f"expected Content-Type application/json, got {request.mimetype[:100]!r}")
    if request.content_length is None:
        raise Invalid("expected a Content-Length")
    most = min(limit, wire.MAX_BODY_BYTES)
    if request.content_length > most:
        raise TooLarge(f"expected at most {most} bytes, got {request.content_length}")
    return request.get_data(cache=False)


def inflated(body: bytes, limit: int) -> bytes:
    """The request's ``body`` as its Content-Encoding says."""
    match request.headers.get("Content-Encoding", "identity").lower():
        case "identity":
            return body
        case "gzip":
            return _inflate(body, limit)
        case other:
            raise Invalid(f"expected Content-Encoding gzip or identity, got {other[:50]!r}")


def _inflate(body: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(_GZIP_ONLY)
    try:
        inflated = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise Invalid(f"expected a gzip body, could not inflate it: {error}") from error
    if len(inflated) > limit:
        raise TooLarge(f"expected at most {limit} bytes after inflation, got more")
    if not inflater.eof:
        raise Invalid("expected a whole gzip body, got one that ends too early")
    if inflater.unused_data:
        raise Invalid(f"expected one gzip body, got {len(inflater.unused_data)} bytes after its end")
    return inflated
