"""Request bodies: read and inflated within limits, whatever was sent."""

from __future__ import annotations

import zlib
from typing import Final

from flask import request
from werkzeug.exceptions import LengthRequired, RequestTimeout, UnsupportedMediaType

from devflow import wire
from devflow.errors import Invalid, TooLarge

SMALL_BYTES: Final = 16_384
"""What is enough for everything but events; strangers may send it, many at once."""
_GZIP_ONLY: Final = 31  # window bits: 15, and 16 for a gzip header


def read_body(limit: int = SMALL_BYTES) -> bytes:
    """The body, inflated to at most ``limit`` bytes if it says it is gzip.

    Raise Invalid, TooLarge or an error of HTTP with what was expected and what came.
    """
    return inflated(receive(promised(limit)), limit)


def promised(limit: int) -> int:
    """How many bytes the body has by its own word, if it is worth receiving: decided by the head alone.

    Chunks are refused: their length is not known before they have come, and no agent sends them.
    """
    if request.mimetype != "application/json":
        raise UnsupportedMediaType(f"expected Content-Type application/json, got {request.mimetype[:100]!r}")
    _encoding()
    if request.content_length is None:
        raise LengthRequired("expected a Content-Length")
    most = min(limit, wire.MAX_BODY_BYTES)
    if request.content_length > most:
        raise TooLarge(f"expected at most {most} bytes, got {request.content_length}")
    return request.content_length


def receive(size: int) -> bytes:
    """The body as it was sent, by whoever may take long about it; ``size`` is what it promised.

    Raise RequestTimeout if it ends too early: the connection was cut on the way, or took too long
    (``worker.py``). Nothing is wrong with what was sent, so it may be sent again.
    """
    body = request.get_data(cache=False)
    if len(body) != size:
        raise RequestTimeout(f"expected {size} bytes, as in Content-Length, got {len(body)}")
    return body


def inflated(body: bytes, limit: int) -> bytes:
    """The request's ``body`` as its Content-Encoding says."""
    return _inflate(body, limit) if _encoding() == "gzip" else body


def _encoding() -> str:
    """The one Content-Encoding; several, in one header or more, would be a bomb in a bomb."""
    given = request.headers.get("Content-Encoding", "identity").strip().lower()
    if given not in ("identity", "gzip"):
        raise UnsupportedMediaType(f"expected Content-Encoding gzip or identity, got {given[:50]!r}")
    return given


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
