"""The way in and out: the first account, signing in, signing out."""

from __future__ import annotations

import re
from typing import Final, cast

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from devflow.access import Action
from devflow.accounts import links, people, sessions
from devflow.accounts.passwords import MIN_PASSWORD
from devflow.audit import Actor
from devflow.errors import Invalid, Unauthorized
from devflow.models import Person
from devflow.web import guard, htmx
from devflow.web import session as browser
from devflow.web.current import context, session
from devflow.web.i18n import gettext
from devflow.web.pages import bp

# One slash and then neither a second nor a backslash, which browsers take for one; no control
# characters, which they leave out before they look.
_OWN_PATH: Final = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


@bp.get("/setup/<token>")
@guard.public("the link proves that who follows it may")
def setup(token: str) -> ResponseReturnValue:
    links.check_setup(session(), token)
    return htmx.render("account/setup.html", token=token, min_password=MIN_PASSWORD)


@bp.post("/setup/<token>")
@guard.public("the link proves that who follows it may")
def set_up(token: str) -> ResponseReturnValue:
    form = request.form
    name, email, password = form.get("name", ""), form.get("email", ""), form.get("password", "")

    def work(writing: Session, by: Actor) -> str:
        person = links.set_up(writing, by, token, name=name, email=email, password=password)
        return _begin(writing, by, person)

    try:
        session_token = guard.act_as_nobody(work)
    except Invalid as error:
        return htmx.render(
            "account/setup.html",
            422,
            token=token,
            min_password=MIN_PASSWORD,
            name=name,
            email=email,
            wrong=str(error),
        )
    return _enter(session_token, url_for("pages.overview"))


@bp.get("/sign-in")
@guard.public("who signs in is not known yet")
def sign_in() -> ResponseReturnValue:
    if browser.signed_in() is not None:
        return redirect(_next())
    return htmx.render("account/sign_in.html", is_new=not session().scalar(select(exists(select(Person.id)))))


@bp.post("/sign-in")
@guard.public("who signs in is not known yet")
def check_password() -> ResponseReturnValue:
    email = request.form.get("email", "")
    try:
        found = people.authenticate(session(), context().vault, email, request.form.get("password", ""))
    except Unauthorized:
        wrong = gettext("That e-mail address and password do not belong together.")
        return htmx.render("account/sign_in.html", 422, email=email, wrong=wrong)
    person_id = found.id
    return _enter(
        guard.act_as_nobody(lambda writing, by: _begin(writing, by, writing.get_one(Person, person_id))),
        _next(),
    )


@bp.post("/sign-out")
@guard.needs(Action.USE_OWN)
def sign_out() -> ResponseReturnValue:
    guard.act(lambda writing, by: sessions.end(writing, by, browser.token()))
    return browser.forget(_to(url_for("pages.sign_in")))


def _begin(writing: Session, by: Actor, person: Person) -> str:
    """A new session; the one that the browser had, which somebody else may have planted, ends."""
    sessions.end(writing, by, browser.token())
    return sessions.begin(writing, by, person, request.user_agent.string)


def _enter(session_token: str, address: str) -> ResponseReturnValue:
    return browser.keep(_to(address), session_token)


def _to(address: str) -> Response:
    return cast(Response, redirect(address))


def _next() -> str:
    """Where the person wanted to go, if that is on this site."""
    wanted = request.args.get("next", "")
    return wanted if _OWN_PATH.fullmatch(wanted) else url_for("pages.overview")
