"""``/healthz``: whether the server can do its work, for whatever watches it."""

from __future__ import annotations

from sqlalchemy import text

from devflow import wire
from devflow.web import guard
from devflow.web.api import bp
from devflow.web.api.operation import operation
from devflow.web.current import session


@bp.get("/healthz")
@guard.public("whatever watches the server has no account")
@operation("Ask whether the server can do its work")
def healthz() -> wire.Health:
    session().execute(text("SELECT 1"))
    return wire.Health()
