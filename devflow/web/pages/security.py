"""The security of the own account: password, second factor, and the browsers that are signed in."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from devflow.access import Action
from devflow.accounts import passwords, people, second_factor, sessions
from devflow.accounts.passwords import MIN_PASSWORD
from devflow.audit import Actor
from devflow.errors import CodeNeeded, Invalid, Limited, Unauthorized
from devflow.web import entrance, errors, guard, htmx
from devflow.web import session as browser
from devflow.web.current import context, now, session
from devflow.web.i18n import gettext, said
from devflow.web.pages import bp
from devflow.web.session import viewer


@bp.get("/me/security")
@guard.needs(Action.USE_OWN)
def security() -> ResponseReturnValue:
    return _show()


@bp.post("/me/security/password")
@guard.needs(Action.USE_OWN)
def change_password() -> ResponseReturnValue:
    form = request.form
    new, about = form.get("new", ""), (viewer().name, people.email_of(context().vault, viewer()))
    try:
        with entrance.confirmed(form.get("current", "")) as act:
            kept = passwords.kept(new, *about)
            token = act(
                lambda writing, by: people.change_password(
                    writing, by, kept, browser.token(), end_programs="end_programs" in form
                )
            )
    except (Invalid, Unauthorized, Limited) as error:
        return _refuse(error, "password")
    return browser.keep(_back(), token)


@bp.get("/me/security/second-factor")
@guard.needs(Action.USE_OWN)
def new_second_factor() -> ResponseReturnValue:
    return _show_offer()


@bp.post("/me/security/second-factor")
@guard.needs(Action.USE_OWN)
def offer_second_factor() -> ResponseReturnValue:
    guard.act(second_factor.offer)
    return redirect(url_for("pages.new_second_factor"))


@bp.post("/me/security/second-factor/on")
@guard.needs(Action.USE_OWN)
def switch_on_second_factor() -> ResponseReturnValue:
    def work(writing: Session, by: Actor) -> tuple[list[str], str]:
        codes = second_factor.switch_on(writing, by, request.form.get("code", ""))
        return codes, sessions.keep_only(writing, by, browser.token())

    try:
        with entrance.confirmed(request.form.get("current", "")) as act:
            codes, token = act(work)
    except (Unauthorized, Limited) as error:
        status, wrong = _said(error)
        return _told(_show_offer(status, wrong=wrong), error)
    return browser.keep(htmx.render("security/codes.html", codes=codes, is_first=True), token)


@bp.post("/me/security/second-factor/off")
@guard.needs(Action.USE_OWN)
def switch_off_second_factor() -> ResponseReturnValue:
    def work(writing: Session, by: Actor) -> str:
        second_factor.switch_off(writing, by, request.form.get("code", ""))
        return sessions.keep_only(writing, by, browser.token())

    try:
        with entrance.confirmed(request.form.get("current", "")) as act:
            token = act(work)
    except (Unauthorized, Limited) as error:
        return _refuse(error, "off")
    return browser.keep(_back(), token)


@bp.post("/me/security/recovery-codes")
@guard.needs(Action.USE_OWN)
def renew_recovery_codes() -> ResponseReturnValue:
    def work(writing: Session, by: Actor) -> tuple[list[str], str]:
        codes = second_factor.renew_recovery_codes(writing, by, request.form.get("code", ""))
        return codes, sessions.keep_only(writing, by, browser.token())

    try:
        with entrance.confirmed(request.form.get("current", "")) as act:
            codes, token = act(work)
    except (Invalid, Unauthorized, Limited) as error:
        return _refuse(error, "codes")
    return browser.keep(htmx.render("security/codes.html", codes=codes, is_first=False), token)


@bp.post("/me/security/sessions/<uuid:session_id>/end")
@guard.needs(Action.USE_OWN)
def end_session(session_id: UUID) -> ResponseReturnValue:
    guard.act(lambda writing, by: sessions.end_one(writing, by, session_id))
    return _back()


@bp.post("/me/security/sessions/end-others")
@guard.needs(Action.USE_OWN)
def end_other_sessions() -> ResponseReturnValue:
    guard.act(lambda writing, by: sessions.end_others(writing, by, browser.token()))
    return _back()


def _show(status: int = 200, **wrong: Any) -> Response:
    return htmx.render(
        "security/page.html",
        status,
        min_password=MIN_PASSWORD,
        email=people.email_of(context().vault, viewer()),
        since=second_factor.since(session(), viewer()),
        codes_left=second_factor.recovery_codes_left(session(), viewer()),
        sessions=sessions.open_ones(session(), viewer(), now()),
        this=browser.current_session(),
        **wrong,
    )


def _show_offer(status: int = 200, *, wrong: str | None = None) -> Response:
    secret = second_factor.offered(session(), context().vault, viewer())
    import segno  # 3 MB, for a page that a person opens once

    drawn = segno.make(second_factor.uri(context().vault, viewer(), secret), error="m", micro=False)
    return htmx.render(
        "security/second_factor.html",
        status,
        # A colour of its own on white, also at night: that is what cameras read.
        picture=drawn.svg_data_uri(scale=4, border=4, dark="#000", light="#fff", omitsize=True),
        secret=" ".join(secret[start : start + 4] for start in range(0, len(secret), 4)),
        email=people.email_of(context().vault, viewer()),
        wrong=wrong,
    )


def _refuse(error: Invalid | Unauthorized | Limited, form: str) -> Response:
    """The page with what went wrong at the form that went wrong."""
    status, wrong = _said(error)
    return _told(_show(status, wrong=wrong, wrong_form=form), error)


def _said(error: Invalid | Unauthorized | Limited) -> tuple[int, str]:
    match error:
        case Limited():
            return 429, errors.wait(error)
        case CodeNeeded():
            return 422, gettext("That code is wrong, or was used already.")
        case _:
            return 422, said(error)


def _told(response: Response, error: Exception) -> Response:
    return errors.told_to_wait(response, error) if isinstance(error, Limited) else response


def _back() -> Response:
    return redirect(url_for("pages.security"))  # type: ignore[return-value]
