"""What a JSON door takes and gives, said once: its signature, obeyed by the door and told in the document.

A view behind ``operation`` is a function of our own types: the arguments ``given`` and ``asked`` are the
body and the query, decoded by their annotations, and what is returned is the answer, of the
annotation again.
"""

from __future__ import annotations

import functools
import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

import msgspec
from flask import Response, request
from msgspec import Struct

from devflow import wire
from devflow.errors import Invalid
from devflow.web.api.body import SMALL_BYTES, read_body

View = Callable[..., Any]
GIVEN: Final = "given"
"""The argument that is the body."""
ASKED: Final = "asked"
"""The argument that is the query."""
ZIPPED_FROM_BYTES: Final = 1_000
ZIP_LEVEL: Final = 5
JSON: Final = "application/json"
CSV: Final = "text/csv"
OK: Final = 200
NO_CONTENT: Final = 204


@dataclass(frozen=True, slots=True)
class Operation:
    """What ``/openapi.json`` tells of a door, beside what its guard says.

    ``limit`` is in bytes, of the inflated body. ``answer`` is None for one without content, or
    Response for a view that makes its own. ``refusals`` says by status why a door refuses more, or
    otherwise, than all doors do, and ``codes`` which codes these problems may bear. ``is_table`` is for
    an answer that comes as CSV too, and with an ETag (``numbered``).
    """

    summary: str
    description: str
    body: type[Struct] | None
    query: type[Struct] | None
    limit: int
    answer: type[Struct] | type[Response] | None
    status: int
    refusals: Mapping[int, str]
    codes: Mapping[int, Sequence[str]]
    is_table: bool


def operation(
    summary: str,
    refusals: Mapping[int, str] | None = None,
    *,
    codes: Mapping[int, Sequence[str]] | None = None,
    status: int | None = None,
    body: type[Struct] | None = None,
    limit: int = SMALL_BYTES,
    is_zipped: bool = False,
    answer: type[Struct] | None = None,
    is_table: bool = False,
) -> Callable[[View], View]:
    """Make a view of our types a door of the API: under its guard, so that strangers' bodies stay unread.

    ``body`` is for a view that reads it itself, and has no argument for it; ``answer`` for one that
    writes it itself. What ``is_zipped`` is answered in gzip to whoever takes it.
    """

    def declare(view: View) -> View:
        hints = get_type_hints(view)
        taken: type[Struct] | None = hints.get(GIVEN)
        query: type[Struct] | None = hints.get(ASKED)
        returned = None if hints["return"] is type(None) else hints["return"]

        @functools.wraps(view)
        def described(**arguments: Any) -> Response:
            if taken is not None:
                arguments[GIVEN] = wire.decode(read_body(limit), taken)
            if query is not None:
                arguments[ASKED] = _asked(query)
            response = _response(view(**arguments), success)
            return _zipped(response) if is_zipped else response

        success = status or (NO_CONTENT if returned is None else OK)
        described.operation = Operation(  # type: ignore[attr-defined]
            summary,
            view.__doc__ or "",
            body or taken,
            query,
            limit,
            answer or returned,
            success,
            refusals or {},
            codes or {},
            is_table,
        )
        return described

    return declare


def _asked(expected: type[Struct]) -> Struct:
    """The query; raise Invalid with the first wrong parameter and what was expected of it."""
    try:
        return msgspec.convert(request.args.to_dict(), expected, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(f"the query is not as expected: {error}") from error


def _response(message: Struct | Response | None, status: int) -> Response:
    if isinstance(message, Response):
        return message
    if message is None:
        response = Response(status=status)
        del response.headers["Content-Type"]
        return response
    return Response(wire.encode(message), status, content_type=JSON)


def _zipped(response: Response) -> Response:
    """The answer in gzip for whoever takes it, where that is worth the while."""
    response.vary.add("Accept-Encoding")
    body = response.get_data()
    if request.accept_encodings.quality("gzip") > 0 and len(body) > ZIPPED_FROM_BYTES:
        response.set_data(gzip.compress(body, ZIP_LEVEL, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
    return response
