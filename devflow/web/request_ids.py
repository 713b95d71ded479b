"""Request ids: by one word an answer, its error and the server's log line are known to belong together."""

from __future__ import annotations

import logging
import re
from types import TracebackType
from typing import Final
from uuid import uuid4

from flask import Flask, Response, g, request

HEADER: Final = "X-Request-Id"
# What proxies and clients make: UUIDs, ULIDs, trace ids. Nothing that could forge a line of the log.
_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{7,63}")
log = logging.getLogger(__name__)
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def init_app(app: Flask) -> None:
    app.after_request(add_header)
    app.log_exception = log_fault  # type: ignore[method-assign]


def current() -> str:
    """The id that the caller gave this request if it is well-formed, else one of ours."""
    if "request_id" not in g:
        given = request.headers.get(HEADER, "")
        g.request_id = given if _WELL_FORMED.fullmatch(given) else str(uuid4())
    return str(g.request_id)


def add_header(response: Response) -> Response:
    response.headers[HEADER] = current()
    return response


def asked() -> str:
    """The request as the log may name it: by its rule, since addresses hold the tokens of links."""
    rule = "an unknown address" if request.url_rule is None else request.url_rule.rule
    return f"{request.method} {rule} (request {current()})"


def log_fault(exc_info: _ExcInfo) -> None:
    """In the place of Flask's own line, which has the address in it."""
    log.error("%s failed", asked(), exc_info=exc_info)
