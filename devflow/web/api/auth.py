"""``/auth``: a password, or a refresh token, for tokens."""

from __future__ import annotations

from flask import Response
from sqlalchemy.orm import Session

from devflow import wire
from devflow.accounts import devices, second_factor, sign_in, tokens
from devflow.accounts.sign_in import Candidate
from devflow.audit import Actor
from devflow.errors import CodeNeeded, Unauthorized
from devflow.web import entrance, guard
from devflow.web.api import answer, bp
from devflow.web.api.body import read_body
from devflow.web.current import context


@bp.post("/auth/login")
@guard.public("who logs in is not known yet")
def login() -> Response:
    given = wire.decode(read_body(), wire.Login)
    # Before the transaction: while a password is verified nobody else should wait to write.
    found = entrance.by_password(given.email, given.password)
    if given.code is None:
        try:
            return answer(_issue(given, found))
        except CodeNeeded:
            entrance.code_awaited(found.who())
            raise
    with entrance.by_code(found.who()):
        return answer(_issue(given, found))


def _issue(given: wire.Login, found: Candidate) -> wire.Tokens:
    """Tokens for who has shown the password; raise CodeNeeded if a code is missing or wrong."""

    def work(session: Session, by: Actor) -> wire.Tokens:
        person = sign_in.let_in(session, found)
        as_person = Actor(person, by.now_ms, by.vault)
        if second_factor.is_on(session, person):
            second_factor.check(session, as_person, person, given.code or "")
        device = None
        if given.device_id is not None:
            name = given.device_name or "unnamed"
            device = devices.enrol(session, as_person, person, given.device_id, name)
        return tokens.issue(session, as_person, person, device, context().server_id)

    return guard.act_as_nobody(work)


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
