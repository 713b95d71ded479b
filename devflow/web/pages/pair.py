"""Letting a PC in: its owner types the code that it shows, sees which PC that is, and decides."""

from __future__ import annotations

from contextlib import AbstractContextManager

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from devflow.access import Action
from devflow.accounts import pairing, throttle
from devflow.audit import Actor
from devflow.errors import Invalid, NotFound
from devflow.web import guard, htmx
from devflow.web.current import context, now, session
from devflow.web.i18n import said
from devflow.web.pages import bp
from devflow.web.session import viewer


@bp.get("/pair")
@guard.needs(Action.USE_OWN)
def pair() -> ResponseReturnValue:
    # A code in the address is only filled in: following a link must decide nothing.
    return _ask(request.args.get("code", "")[:20], done=request.args.get("done"))


@bp.post("/pair")
@guard.needs(Action.USE_OWN)
def look_at_pairing() -> ResponseReturnValue:
    code = _code()
    try:
        with _one_try():
            waiting = pairing.look(session(), Actor(viewer(), now(), context().vault), code)
    except (Invalid, NotFound) as error:
        return _ask(code, 422, wrong=said(error))
    return htmx.render("pair/decide.html", code=waiting.code, waiting=waiting)


@bp.post("/pair/approve")
@guard.needs(Action.USE_OWN)
def approve_pairing() -> ResponseReturnValue:
    code = _code()
    try:
        with _one_try():
            guard.act(lambda writing, by: pairing.approve(writing, by, code) and None)
    except (Invalid, NotFound) as error:
        return _ask(code, 422, wrong=said(error))
    return redirect(url_for("pages.pair", done="approved"), 303)


@bp.post("/pair/deny")
@guard.needs(Action.USE_OWN)
def deny_pairing() -> ResponseReturnValue:
    code = _code()
    try:
        with _one_try():
            guard.act(lambda writing, by: pairing.deny(writing, by, code))
    except (Invalid, NotFound) as error:
        return _ask(code, 422, wrong=said(error))
    return redirect(url_for("pages.pair", done="denied"), 303)


def _one_try() -> AbstractContextManager[None]:
    """Around the use of a code: raise Limited, or count a wrong one, which is NotFound."""
    bucket = throttle.pairing_codes(viewer().public_id)
    session().rollback()  # whoever waits for a turn holds no connection that pages need
    return context().throttle.attempt(bucket, failure=NotFound)


def _code() -> str:
    return request.form.get("code", "")


def _ask(code: str, status: int = 200, *, wrong: str | None = None, done: str | None = None) -> Response:
    return htmx.render("pair/page.html", status, code=code, wrong=wrong, done=done)
