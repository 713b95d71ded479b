"""``/healthz``: whether the server can do its work, for whatever watches it."""

from __future__ import annotations

from flask import Response
from sqlalchemy import text

from devflow.web import guard
from devflow.web.api import bp
from devflow.web.current import session


@bp.get("/healthz")
@guard.public("whatever watches the server has no account")
def healthz() -> Response:
    session().execute(text("SELECT 1"))
    return Response('{"status":"ok"}', content_type="application/json")
