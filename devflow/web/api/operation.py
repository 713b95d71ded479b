"""What a JSON door takes and gives, said once: its signature, obeyed by the door and told in the document.

A view behind ``operation`` is a function of our own types: the argument ``given`` is the body,
decoded by its annotation, and what is returned is the answer, of the annotation again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

from flask import Response
from msgspec import Struct

from devflow import wire
from devflow.web.api.body import SMALL_BYTES, read_body

View = Callable[..., Any]
GIVEN: Final = "given"
"""The argument that is the body."""
JSON: Final = "application/json"
OK: Final = 200
NO_CONTENT: Final = 204


@dataclass(frozen=True, slots=True)
class Operation:
    """What ``/openapi.json`` tells of a door, beside what its guard says.

    ``limit`` is in bytes, of the inflated body. ``answer`` is None for one without content, or
    Response for a view that makes its own. ``refusals`` says by status why a door refuses more, or
    otherwise, than all doors do, and ``codes`` which codes these problems may bear.
    """

    summary: str
    description: str
    body: type[Struct] | None
    limit: int
    answer: type[Struct] | type[Response] | None
    status: int
    refusals: Mapping[int, str]
    codes: Mapping[int, Sequence[str]]


def operation(
    summary: str,
    refusals: Mapping[int, str] | None = None,
    *,
    codes: Mapping[int, Sequence[str]] | None = None,
    status: int | None = None,
    body: type[Struct] | None = None,
    limit: int = SMALL_BYTES,
) -> Callable[[View], View]:
    """Make a view of our types a door of the API: under its guard, so that strangers' bodies stay unread.

    ``body`` and ``limit`` are for a view that reads the body itself, and has no argument for it.
    """

    def declare(view: View) -> View:
        hints = get_type_hints(view)
        taken: type[Struct] | None = hints.get(GIVEN)
        answer = None if hints["return"] is type(None) else hints["return"]

        @functools.wraps(view)
        def described(**arguments: Any) -> Response:
            if taken is not None:
                arguments[GIVEN] = wire.decode(read_body(limit), taken)
            return _response(view(**arguments), success)

        success = status or (NO_CONTENT if answer is None else OK)
        described.operation = Operation(  # type: ignore[attr-defined]
            summary, view.__doc__ or "", body or taken, limit, answer, success, refusals or {}, codes or {}
        )
        return described

    return declare


def _response(message: Struct | Response | None, status: int) -> Response:
    if isinstance(message, Response):
        return message
    if message is None:
        response = Response(status=status)
        del response.headers["Content-Type"]
        return response
    return Response(wire.encode(message), status, content_type=JSON)
