"""``/auth``: a password, or a refresh token, for tokens."""

from __future__ import annotations

from flask import Response, request
from sqlalchemy.orm import Session

from devflow import accounts, wire
from devflow.accounts import Bearer
from devflow.errors import Unauthorized
from devflow.models import Device, Person
from devflow.web.api import answer, bp
from devflow.web.api.body import read_body
from devflow.web.current import context, now, session


@bp.post("/auth/login")
def login() -> Response:
    given = wire.decode(read_body(), wire.Login)
    # Before the transaction: while a password is verified nobody else should wait to write.
    person_id = accounts.authenticate(session(), given.email, given.password).id
    session().rollback()

    def work(session: Session) -> wire.Tokens:
        person = session.get_one(Person, person_id)
        device = None
        if given.device_id is not None:
            name = given.device_name or "unnamed"
            device = accounts.enrol(session, person, given.device_id, name, now())
        return _issue(session, person, device)

    return answer(context().database.transact(work))


@bp.post("/auth/refresh")
def refresh() -> Response:
    given = wire.decode(read_body(), wire.Refresh)
    return answer(
        context().database.transact(
            lambda session: accounts.renew(
                session,
                given.refresh_token,
                key=context().token_key,
                audience=context().server_id,
                now_ms=now(),
            )
        )
    )


def bearer(session: Session) -> Bearer:
    """Whom the request's access token stands for, checked now; raise Unauthorized."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("expected a header `Authorization: Bearer TOKEN`; get a token from /auth/login")
    return accounts.bearer(session, token, key=context().token_key, audience=context().server_id)


def _issue(session: Session, person: Person, device: Device | None) -> wire.Tokens:
    return accounts.issue(
        session, person, device, key=context().token_key, audience=context().server_id, now_ms=now()
    )
