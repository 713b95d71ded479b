"""The JSON doors: for agents and other programs, by bearer token."""

from __future__ import annotations

import logging

from flask import Blueprint, Flask, Response, request
from msgspec import UNSET, UnsetType
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, UnsupportedMediaType

from devflow import outage, wire
from devflow.crypto import Damaged
from devflow.errors import CodeNeeded, Invalid, Limited, NotFound, TooLarge, Unauthorized
from devflow.web import request_ids
from devflow.web.api import uploads
from devflow.web.current import context

log = logging.getLogger(__name__)
bp = Blueprint("api", __name__)


def init_app(app: Flask) -> None:
    from devflow.web.api import (  # noqa: F401 - they hang their routes on bp
        account,
        auth,
        health,
        live,
        metrics,
        openapi,
        sync,
    )

    uploads.init_app(app)
    live.init_app(app)
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
    said = wire.Problem(
        title=title, status=status, detail=detail, code=code, request_id=request_ids.current()
    )
    body = wire.encode(said)
    return Response(body, status, content_type="application/problem+json")


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
    log.error("%s failed: %s", request_ids.asked(), error)
    return problem(500, "Server fault", "something stored here cannot be read; the server's log says what")


@bp.errorhandler(SQLAlchemyError)
def database_failed(error: SQLAlchemyError) -> Response:
    return http_error(unavailable(error))


def unavailable(error: SQLAlchemyError) -> HTTPException:
    """503 for an outage of the database; raise the error again if it is none."""
    why = outage.of(error)
    if why is None:
        raise error
    # Without the statement: what is in it is no matter of the log.
    log.error("%s found no database: %s", request_ids.asked(), getattr(error, "orig", None) or why)
    return uploads.unavailable(f"the server has no database for now, {why}")


@bp.errorhandler(HTTPException)
def http_error(error: HTTPException) -> Response:
    status = error.code or 500
    response = problem(status, error.name, error.description or error.name)
    return keep_headers(response, error)


def keep_headers(response: Response, error: HTTPException) -> Response:
    """What the error tells programs beside its words."""
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    if isinstance(error, UnsupportedMediaType):
        response.headers["Accept-Encoding"] = "gzip, identity"
    return response
