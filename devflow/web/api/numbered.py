"""Answers with numbers: known again by an ETag, as JSON or as a table.

The tag is made of what decides the answer - who asks, what they may see, and the generations of
what is counted - so that it is known before anything is counted. It names one viewer alone: nobody
is told by it what another one sees.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec
from flask import Response, request
from msgspec import UNSET, Struct

from devflow import wire
from devflow.models import Person
from devflow.web import csv_lines
from devflow.web.api.operation import CSV, JSON
from devflow.web.current import calendar, context

_FORMS: Final = {"json": JSON, "csv": CSV}
NOT_MODIFIED: Final = 304


def tag(viewer: Person, *parts: object) -> str:
    """``parts`` is anything that JSON can write; the server, its epoch and its calendar count too."""
    about = context()
    cut_by = (calendar().zone.key, calendar().idle_limit_ms)
    decides = (
        request.endpoint,
        about.server_id,
        about.epoch.value,
        cut_by,
        viewer.public_id,
        _form(),
        parts,
    )
    return hashlib.sha256(msgspec.json.encode(decides)).hexdigest()[:32]


def unchanged(tag: str) -> Response | None:
    """304, if that is what the program has already."""
    if not request.if_none_match.contains_weak(tag):
        return None
    return _tagged(Response(status=NOT_MODIFIED), tag)


def answer(message: Struct, rows: Sequence[Struct], tag: str, following: str | None = None) -> Response:
    """The whole message, or its rows as a table; ``following`` is the cursor of the next page."""
    if _form() == JSON:
        response = Response(wire.encode(message), content_type=JSON)
    else:
        response = Response(_table(rows), content_type=f"{CSV}; charset=utf-8; header=present")
    if following is not None:
        asked = urlencode({**request.args.to_dict(), "cursor": following})
        response.headers["Link"] = f'<{request.path}?{asked}>; rel="next"'
    return _tagged(response, tag)


def _form() -> str:
    """JSON, unless the address or else the header asks for a table."""
    named = request.args.get("format")
    if named in _FORMS:
        return _FORMS[named]
    return request.accept_mimetypes.best_match(list(_FORMS.values()), JSON) or JSON


def _tagged(response: Response, tag: str) -> Response:
    # Weak: the same numbers, whether they are sent zipped or not.
    response.set_etag(tag, weak=True)
    response.headers["Cache-Control"] = "private, no-cache"
    response.vary.update(("Authorization", "Accept"))
    return response


def _table(rows: Sequence[Struct]) -> str:
    fields = [] if not rows else list(msgspec.structs.fields(rows[0]))
    return "".join(
        (
            csv_lines.line(field.encode_name for field in fields),
            *(csv_lines.line(_cell(getattr(row, field.name)) for field in fields) for row in rows),
        )
    )


def _cell(value: object) -> object:
    if value is UNSET:
        return None
    return str(value).lower() if isinstance(value, bool) else value
