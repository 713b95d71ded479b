"""Where one-time links lead: an invited person makes an account, a person sets a new password."""

from __future__ import annotations

from typing import Final

from flask import Response, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from devflow.accounts import links, passwords, people, sessions
from devflow.accounts.passwords import MIN_PASSWORD
from devflow.accounts.people import Newcomer
from devflow.audit import Actor
from devflow.errors import Invalid
from devflow.web import entrance, guard, htmx
from devflow.web import session as browser
from devflow.web.current import context, now, session
from devflow.web.i18n import said
from devflow.web.pages import bp

_WITH_TOKEN: Final = frozenset(
    {
        "pages.setup",
        "pages.set_up",
        "pages.invitation",
        "pages.accept",
        "pages.new_password",
        "pages.reset",
    }
)


@bp.after_request
def keep_the_token(response: Response) -> Response:
    """Never name the address, which holds the token, to another one.

    Not "no-referrer": with it browsers send forms with ``Origin: null``, and on plain http, where
    they leave out ``Sec-Fetch-Site``, such a form looks like another site's.
    """
    if request.endpoint in _WITH_TOKEN:
        response.headers["Referrer-Policy"] = "strict-origin"
    return response


@bp.get("/invite/<token>")
@guard.public("the link proves that who follows it may")
def invitation(token: str) -> ResponseReturnValue:
    return _invited(token)


@bp.post("/invite/<token>")
@guard.public("the link proves that who follows it may")
def accept(token: str) -> ResponseReturnValue:
    form = request.form
    links.invitation(session(), token, now())

    def work(writing: Session, by: Actor, who: Newcomer) -> str:
        person = links.accept(writing, by, token, who)
        # The session that the browser had, maybe somebody else's, ends.
        sessions.end(writing, by, browser.token())
        return sessions.begin(writing, by, person, request.user_agent.string)

    try:
        who = entrance.newcomer()
        session_token = guard.act_as_nobody(lambda writing, by: work(writing, by, who))
    except Invalid as error:
        given = {"name": form.get("name", ""), "email": form.get("email", "")}
        return _invited(token, 422, **given, wrong=said(error))
    return browser.keep(Response(status=302, headers={"Location": url_for("pages.start")}), session_token)


def _invited(token: str, status: int = 200, **given: str) -> Response:
    return htmx.render(
        "links/invitation.html",
        status,
        token=token,
        invitation=links.invitation(session(), token, now()),
        min_password=MIN_PASSWORD,
        **given,
    )


@bp.get("/reset/<token>")
@guard.public("the link proves that who follows it may")
def new_password(token: str) -> ResponseReturnValue:
    return _asked_for_password(token)


@bp.post("/reset/<token>")
@guard.public("the link proves that who follows it may")
def reset(token: str) -> ResponseReturnValue:
    """Signs nobody in: a second factor is still asked for."""
    person = links.check_reset(session(), token, now())
    about = person.name, people.shown_email(context().vault, person) or ""
    session().rollback()  # whoever waits for a turn to hash holds no connection that pages need
    try:
        kept = passwords.kept(request.form.get("password", ""), *about)
        guard.act_as_nobody(lambda writing, by: links.reset(writing, by, token, kept))
    except Invalid as error:
        return _asked_for_password(token, 422, wrong=said(error))
    return htmx.render("links/password_set.html")


def _asked_for_password(token: str, status: int = 200, **given: str) -> Response:
    person = links.check_reset(session(), token, now())
    return htmx.render(
        "links/new_password.html",
        status,
        token=token,
        name=person.name,
        email=people.email_of(context().vault, person),
        min_password=MIN_PASSWORD,
        **given,
    )
