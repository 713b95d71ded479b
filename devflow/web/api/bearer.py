"""The bearer token of a request: whom a program speaks for."""

from __future__ import annotations

from typing import Any

from flask import g, request
from sqlalchemy.orm import Session

from devflow.accounts import tokens
from devflow.accounts.tokens import Bearer
from devflow.errors import Unauthorized
from devflow.web.current import context, now


def current(session: Session) -> Bearer:
    """Whom the request's access token stands for, looked up once a session; raise Unauthorized."""
    found: Bearer | None = session.info.get(Bearer)
    if found is None:
        found = session.info[Bearer] = _look_up(session)
    return found


def _look_up(session: Session) -> Bearer:
    return tokens.holder(session, claims(), now())


def claims() -> dict[str, Any]:
    """What the request's token says, signed by us; raise Unauthorized. Who holds it is looked up."""
    if "claims" not in g:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized(
                "expected a header `Authorization: Bearer TOKEN`; get a token from /auth/login"
            )
        g.claims = tokens.claims(context().vault, token, context().server_id)
    found: dict[str, Any] = g.claims
    return found


def arrived(found: Bearer, writing: Session | None = None) -> None:
    """Note once that these tokens have reached their PC, in the transaction if one is ``writing``."""
    if not tokens.needs_confirming(found):
        return
    if writing is None:
        context().database.transact(lambda writing: tokens.confirm(writing, found))
    else:
        tokens.confirm(writing, found)
