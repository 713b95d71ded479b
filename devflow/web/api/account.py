"""``/account``: what a person asks for the own account from a PC."""

from __future__ import annotations

from flask import Response

from devflow import wire
from devflow.access import Action
from devflow.accounts import erasure, people
from devflow.errors import Invalid, Unauthorized
from devflow.web import entrance, guard
from devflow.web.api import answer, bearer, bp
from devflow.web.api.body import read_body
from devflow.web.current import context, session


@bp.post("/account/deletion")
@guard.needs(Action.USE_OWN)
def ask_deletion() -> Response:
    given = wire.decode(read_body(), wire.AskDeletion)
    # Before the transaction: while a password is verified nobody else should wait to write.
    email = people.email_of(context().vault, bearer.current(session()).person)
    try:
        entrance.by_password(email, given.password)
    except Unauthorized as error:
        # No 401: the token is good, and whoever refreshed it would learn nothing.
        raise Invalid("expected the password of your account, got another one") from error
    response = answer(guard.act(lambda writing, by: wire.Deletion(due_at=erasure.ask(writing, by).due_at)))
    response.status_code = 202
    return response


@bp.delete("/account/deletion")
@guard.needs(Action.USE_OWN)
def withdraw_deletion() -> Response:
    guard.act(erasure.withdraw)
    return Response(status=204)
