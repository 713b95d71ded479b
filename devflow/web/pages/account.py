"""The way in and out: the first account, signing in by password and code, signing out."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from devflow.access import Action
from devflow.accounts import links, second_factor, sessions, throttle
from devflow.accounts import sign_in as signing_in
from devflow.accounts.passwords import MIN_PASSWORD
from devflow.accounts.people import Newcomer
from devflow.accounts.sessions import SignedIn
from devflow.accounts.sign_in import Candidate
from devflow.audit import Actor
from devflow.errors import CodeNeeded, Invalid, Limited, Unauthorized
from devflow.models import Person
from devflow.web import addresses, entrance, errors, guard, htmx
from devflow.web import session as browser
from devflow.web.current import context, now, session
from devflow.web.i18n import gettext, said
from devflow.web.pages import bp


@bp.get("/setup/<token>")
@guard.public("the link proves that who follows it may")
def setup(token: str) -> ResponseReturnValue:
    links.check_setup(session(), token)
    return htmx.render("account/setup.html", token=token, min_password=MIN_PASSWORD)


@bp.post("/setup/<token>")
@guard.public("the link proves that who follows it may")
def set_up(token: str) -> ResponseReturnValue:
    links.check_setup(session(), token)

    def work(writing: Session, by: Actor, who: Newcomer) -> tuple[UUID, str]:
        person = links.set_up(writing, by, token, who)
        return person.public_id, _begin(writing, by, person)

    try:
        who = entrance.newcomer()
        person, session_token = guard.act_as_nobody(lambda writing, by: work(writing, by, who))
    except Invalid as error:
        return htmx.render(
            "account/setup.html",
            422,
            token=token,
            min_password=MIN_PASSWORD,
            name=request.form.get("name", ""),
            email=request.form.get("email", ""),
            wrong=said(error),
        )
    return _enter(person, session_token, url_for("pages.start"))


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
        found = entrance.by_password(email, request.form.get("password", ""))
        needs_code, session_token = guard.act_as_nobody(lambda writing, by: _let_in(writing, by, found))
    except Unauthorized:
        wrong = gettext("That e-mail address and password do not belong together.")
        return htmx.render("account/sign_in.html", 422, email=email, wrong=wrong)
    except Limited as error:
        answer = htmx.render("account/sign_in.html", 429, email=email, wrong=errors.wait(error))
        return errors.told_to_wait(answer, error)
    if needs_code:
        address = url_for("pages.code", next=request.args.get("next"))
        return browser.keep(_to(address), session_token, sessions.CODE_MS)
    return _enter(found.who(), session_token, _next())


def _let_in(writing: Session, by: Actor, found: Candidate) -> tuple[bool, str]:
    """Whether a code is still to come, and the new session's token."""
    person = signing_in.let_in(writing, found)
    needs_code = second_factor.is_on(writing, person)
    return needs_code, _begin(writing, by, person, needs_code=needs_code)


@bp.get("/sign-in/code")
@guard.public("the session that the password gave says whose code is asked for")
def code() -> ResponseReturnValue:
    if _awaited() is None:
        return _to(url_for("pages.sign_in", next=request.args.get("next")))
    return htmx.render("account/code.html")


@bp.post("/sign-in/code")
@guard.public("the session that the password gave says whose code is asked for")
def check_code() -> ResponseReturnValue:
    awaited = _awaited()
    if awaited is None:
        return _to(url_for("pages.sign_in", next=request.args.get("next")))
    person, tries = awaited.person.public_id, throttle.pending(awaited.session.public_id)
    try:
        with entrance.by_code(person, tries):
            session_token = guard.act_as_nobody(_let_in_by_code)
    except CodeNeeded:
        if context().throttle.is_full(tries):
            return _start_again()
        wrong = gettext("That code is wrong, or was used already.")
        return htmx.render("account/code.html", 422, wrong=wrong)
    except Unauthorized:
        return _to(url_for("pages.sign_in", next=request.args.get("next")))
    except Limited as error:
        answer = htmx.render("account/code.html", 429, wrong=errors.wait(error))
        return errors.told_to_wait(answer, error)
    return _enter(person, session_token, _next())


def _let_in_by_code(writing: Session, by: Actor) -> str:
    """The new session's token; raise CodeNeeded for a wrong code."""
    awaited = sessions.find(writing, browser.token(), by.now_ms, needs_code=True)
    if awaited is None:
        raise Unauthorized("expected a password before the code: this session has just ended")
    as_person = Actor(awaited.person, by.now_ms, by.vault)
    second_factor.check(writing, as_person, awaited.person, request.form.get("code", ""))
    return _begin(writing, by, awaited.person)


def _start_again() -> Response:
    """After too many wrong codes: the right password is asked for anew."""
    guard.act_as_nobody(lambda writing, by: sessions.end(writing, by, browser.token()))
    wrong = gettext("Too many wrong codes. Start again with your password.")
    return browser.forget(htmx.render("account/sign_in.html", 422, wrong=wrong))


def _awaited() -> SignedIn | None:
    """Who has shown the password in this browser, and a code not yet."""
    return sessions.find(session(), browser.token(), now(), needs_code=True)


@bp.post("/sign-out")
@guard.needs(Action.USE_OWN)
def sign_out() -> ResponseReturnValue:
    guard.act(lambda writing, by: sessions.end(writing, by, browser.token()))
    return browser.forget(_to(url_for("pages.sign_in")))


def _begin(writing: Session, by: Actor, person: Person, *, needs_code: bool = False) -> str:
    """A new session; the one that the browser had, which somebody else may have planted, ends."""
    sessions.end(writing, by, browser.token())
    return sessions.begin(writing, by, person, request.user_agent.string, needs_code=needs_code)


def _enter(person: UUID, session_token: str, address: str) -> ResponseReturnValue:
    return entrance.remember(browser.keep(_to(address), session_token), person)


def _to(address: str) -> Response:
    return cast(Response, redirect(address))


def _next() -> str:
    """Where the person wanted to go, if that is on this site."""
    return addresses.own_path(request.args.get("next", "")) or url_for("pages.overview")
