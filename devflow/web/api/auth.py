"""``/auth``: a password, or a refresh token, for tokens."""

from __future__ import annotations

from flask import Response
from sqlalchemy.orm import Session

from devflow import wire
from devflow.accounts import devices, people, tokens
from devflow.audit import Actor
from devflow.errors import Unauthorized
from devflow.models import Person
from devflow.web import guard
from devflow.web.api import answer, bp
from devflow.web.api.body import read_body
from devflow.web.current import context, session


@bp.post("/auth/login")
@guard.public("who logs in is not known yet")
def login() -> Response:
    given = wire.decode(read_body(), wire.Login)
    # Before the transaction: while a password is verified nobody else should wait to write.
    person_id = people.authenticate(session(), context().vault, given.email, given.password).id
    session().rollback()

    def work(session: Session, by: Actor) -> wire.Tokens:
        person = session.get_one(Person, person_id)
        as_person = Actor(person, by.now_ms, by.vault)
        device = None
        if given.device_id is not None:
            name = given.device_name or "unnamed"
            device = devices.enrol(session, as_person, person, given.device_id, name)
        return tokens.issue(session, as_person, person, device, context().server_id)

    return answer(guard.act_as_nobody(work))


@bp.post("/auth/refresh")
@guard.public("the refresh token proves who asks")
def refresh() -> Response:
    given = wire.decode(read_body(), wire.Refresh)
    renewed = guard.act_as_nobody(
        lambda session, by: tokens.renew(session, by, given.refresh_token, context().server_id)
    )
    if renewed is None:
        raise Unauthorized("this refresh token was used before: all tokens of this log-in have ended")
    return answer(renewed)
