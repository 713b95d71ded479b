"""``/account``: what a person asks for the own account from a PC."""

from __future__ import annotations

from devflow import wire
from devflow.access import Action
from devflow.accounts import erasure, people
from devflow.errors import Invalid, Unauthorized
from devflow.web import entrance, guard
from devflow.web.api import bearer, bp
from devflow.web.api.operation import operation
from devflow.web.current import context, session


@bp.post("/account/deletion")
@guard.needs(Action.USE_OWN)
@operation(
    "Ask to be deleted",
    {
        400: "Not the password of the account, or no body as expected.",
        429: "Too many wrong ones.",
    },
    status=202,
)
def ask_deletion(given: wire.AskDeletion) -> wire.Deletion:
    # Before the transaction: while a password is verified nobody else should wait to write.
    email = people.email_of(context().vault, bearer.current(session()).person)
    try:
        entrance.by_password(email, given.password)
    except Unauthorized as error:
        # No 401: the token is good, and whoever refreshed it would learn nothing.
        raise Invalid("expected the password of your account, got another one") from error
    return guard.act(lambda writing, by: wire.Deletion(due_at=erasure.ask(writing, by).due_at))


@bp.delete("/account/deletion")
@guard.needs(Action.USE_OWN)
@operation("Stay after all", {404: "The person has not asked to be deleted."})
def withdraw_deletion() -> None:
    guard.act(erasure.withdraw)
