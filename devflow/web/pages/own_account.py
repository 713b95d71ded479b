"""The viewer's own account: the name, and asking to be deleted."""

from __future__ import annotations

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from devflow.access import Action
from devflow.accounts import erasure, people
from devflow.errors import Invalid, Limited, Unauthorized
from devflow.models import DeletionRequest
from devflow.web import entrance, guard, htmx
from devflow.web.current import context, session
from devflow.web.errors import told_to_wait, wait
from devflow.web.i18n import said
from devflow.web.pages import bp
from devflow.web.session import viewer


@bp.get("/me/account")
@guard.needs(Action.USE_OWN)
def own_account() -> ResponseReturnValue:
    return _show()


@bp.post("/me/account/name")
@guard.needs(Action.USE_OWN)
def rename() -> ResponseReturnValue:
    name = request.form.get("name", "")
    try:
        guard.act(lambda writing, by: people.rename(writing, by, name))
    except Invalid as error:
        return _show(422, name=name, wrong=said(error), wrong_at="name")
    return redirect(url_for("pages.own_account"))


@bp.post("/me/account/deletion")
@guard.needs(Action.USE_OWN)
def ask_deletion() -> ResponseReturnValue:
    try:
        with entrance.confirmed(request.form.get("password", "")) as act:
            act(erasure.ask)
    except Limited as error:
        return told_to_wait(_show(429, wrong=wait(error), wrong_at="deletion"), error)
    except (Invalid, Unauthorized) as error:
        return _show(422, wrong=said(error), wrong_at="deletion")
    return redirect(url_for("pages.own_account"))


@bp.post("/me/account/deletion/withdraw")
@guard.needs(Action.USE_OWN)
def withdraw_deletion() -> ResponseReturnValue:
    guard.act(erasure.withdraw)
    return redirect(url_for("pages.own_account"))


def _show(
    status: int = 200, *, name: str | None = None, wrong: str | None = None, wrong_at: str | None = None
) -> Response:
    person = viewer()
    return htmx.render(
        "own_account/page.html",
        status,
        name=person.name if name is None else name,
        email=people.email_of(context().vault, person),
        role=person.role,
        deletion=session().get(DeletionRequest, person.id),
        wait_days=erasure.WAIT_MS // 86_400_000,
        wrong=wrong,
        wrong_at=wrong_at,
    )
