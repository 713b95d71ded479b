"""The bearer token of a request: whom a program speaks for."""

from __future__ import annotations

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
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("expected a header `Authorization: Bearer TOKEN`; get a token from /auth/login")
    if "claims" not in g:  # what is signed stays signed; who holds it is looked up each time
        g.claims = tokens.claims(context().vault, token, context().server_id)
    return tokens.holder(session, g.claims, now())


def arrived(found: Bearer) -> None:
    """Note once that these tokens have reached their PC."""
    if tokens.needs_confirming(found):
        context().database.transact(lambda writing: tokens.confirm(writing, found))
