"""The JSON doors: for agents and other programs, by bearer token."""

from __future__ import annotations

import gzip
import logging
from typing import Final

from flask import Blueprint, Flask, Response, request
from msgspec import UNSET, Struct, UnsetType
from werkzeug.exceptions import HTTPException

from devflow import wire
from devflow.crypto import Damaged
from devflow.errors import CodeNeeded, Invalid, Limited, NotFound, TooLarge, Unauthorized
from devflow.web.current import context

ZIPPED_FROM_BYTES: Final = 1_000
ZIP_LEVEL: Final = 5
log = logging.getLogger(__name__)
bp = Blueprint("api", __name__)


def init_app(app: Flask) -> None:
    from devflow.web.api import account, auth, health, sync  # noqa: F401 - they hang their routes on bp

    app.register_blueprint(bp)


@bp.before_request
def check_protocol() -> Response | None:
    """An agent that says which protocol it speaks must speak ours; a plain HTTP client need not say."""
    spoken = request.headers.get(wire.PROTOCOL_HEADER, str(wire.PROTOCOL))
    if spoken == str(wire.PROTOCOL):
        return None
    return problem(426, "Upgrade required", f"expected protocol {wire.PROTOCOL}, got {spoken[:20]!r}")


@bp.after_request
def name_the_server(response: Response) -> Response:
    response.headers[wire.SERVER_HEADER] = str(context().server_id)
    response.headers[wire.EPOCH_HEADER] = str(context().epoch.value)
    return response


def problem(status: int, title: str, detail: str, code: str | UnsetType = UNSET) -> Response:
    """An error answer, ``application/problem+json``; ``code`` tells programs what to do."""
    body = wire.encode(wire.Problem(title=title, status=status, detail=detail, code=code))
    return Response(body, status, content_type="application/problem+json")


def answer(message: Struct) -> Response:
    return Response(wire.encode(message), content_type="application/json")


def zipped(response: Response) -> Response:
    """The answer in gzip for whoever takes it, where that is worth the while."""
    response.vary.add("Accept-Encoding")
    body = response.get_data()
    if request.accept_encodings.quality("gzip") > 0 and len(body) > ZIPPED_FROM_BYTES:
        response.set_data(gzip.compress(body, ZIP_LEVEL, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
    return response


@bp.errorhandler(Invalid)
def invalid(error: Invalid) -> Response:
    return problem(400, "Bad request", str(error))


@bp.errorhandler(Unauthorized)
def unauthorized(error: Unauthorized) -> Response:
    code = wire.SECOND_FACTOR if isinstance(error, CodeNeeded) else UNSET
    response = problem(401, "Unauthorized", str(error), code)
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


@bp.errorhandler(NotFound)
def not_found(error: NotFound) -> Response:
    return problem(404, "Not found", str(error))


@bp.errorhandler(TooLarge)
def too_large(error: TooLarge) -> Response:
    return problem(413, "Content too large", str(error))


@bp.errorhandler(Limited)
def limited(error: Limited) -> Response:
    response = problem(429, "Too many requests", str(error))
    response.headers["Retry-After"] = str(error.retry_after_s)
    return response


@bp.errorhandler(Damaged)
def damaged(error: Damaged) -> Response:
    """A fault of ours: agents keep what they have and come again."""
    log.error("%s %s failed: %s", request.method, request.path, error)
    return problem(500, "Server fault", "something stored here cannot be read; the server's log says what")


@bp.errorhandler(HTTPException)
def http_error(error: HTTPException) -> Response:
    return problem(error.code or 500, error.name, error.description or error.name)
