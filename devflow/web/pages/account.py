"""The way in and out: the first account, signing in, signing out."""

from __future__ import annotations

import re
from typing import Final

from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import exists, select

from devflow import accounts
from devflow.errors import Invalid, Unauthorized
from devflow.models import Person
from devflow.web import htmx
from devflow.web.current import context, now, session
from devflow.web.i18n import gettext
from devflow.web.pages import bp
from devflow.web.session import sign_in as begin
from devflow.web.session import sign_out as end
from devflow.web.session import signed_in

# One slash and then neither a second nor a backslash, which browsers take for one; no control
# characters, which they leave out before they look.
_OWN_PATH: Final = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


@bp.get("/setup/<token>")
def setup(token: str) -> ResponseReturnValue:
    accounts.check_setup(session(), token)
    return htmx.render("account/setup.html", token=token, min_password=accounts.MIN_PASSWORD)


@bp.post("/setup/<token>")
def set_up(token: str) -> ResponseReturnValue:
    form = request.form
    name, email, password = form.get("name", ""), form.get("email", ""), form.get("password", "")
    try:
        person = context().database.transact(
            lambda writing: (
                accounts.set_up(
                    writing, token, name=name, email=email, password=password, now_ms=now()
                ).public_id
            )
        )
    except Invalid as error:
        return htmx.render(
            "account/setup.html",
            422,
            token=token,
            min_password=accounts.MIN_PASSWORD,
            name=name,
            email=email,
            wrong=str(error),
        )
    begin(session().scalars(select(Person).where(Person.public_id == person)).one())
    return redirect(url_for("pages.overview"))


@bp.get("/sign-in")
def sign_in() -> ResponseReturnValue:
    if signed_in() is not None:
        return redirect(_next())
    return htmx.render("account/sign_in.html", is_new=not session().scalar(select(exists(select(Person.id)))))


@bp.post("/sign-in")
def check_password() -> ResponseReturnValue:
    email = request.form.get("email", "")
    try:
        person = accounts.authenticate(session(), email, request.form.get("password", ""))
    except Unauthorized:
        wrong = gettext("That e-mail address and password do not belong together.")
        return htmx.render("account/sign_in.html", 422, email=email, wrong=wrong)
    begin(person)
    return redirect(_next())


@bp.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    end()
    return redirect(url_for("pages.sign_in"))


def _next() -> str:
    """Where the person wanted to go, if that is on this site."""
    wanted = request.args.get("next", "")
    return wanted if _OWN_PATH.fullmatch(wanted) else url_for("pages.overview")
