"""Who is signed in to the browser: Flask-Login on top of sessions that the server keeps."""

from __future__ import annotations

from typing import cast

from flask import Flask, Response, redirect, request, url_for
from flask_login import LoginManager, UserMixin, current_user
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as WerkzeugResponse

from devflow import outage
from devflow.accounts import sessions
from devflow.accounts.sessions import SignedIn
from devflow.models import BrowserSession, Person
from devflow.web import current, htmx
from devflow.web.current import context, now


class User(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    """The signed-in person for the length of a request."""

    def __init__(self, found: SignedIn) -> None:
        self.found = found


def init_app(app: Flask) -> None:
    # No context processor: it would load the person for every template, the page of a fault too.
    manager = LoginManager(app, add_context_processor=False)
    manager.session_protection = None  # of Flask's own session, which is not used
    manager.request_loader(_load)
    app.add_template_global(signed_in, "signed_in")


def cookie_name(name: str = "devflow") -> str:
    """``__Host-`` where it can be: no other host of the domain, and no plain http, can set such a cookie."""
    return f"__Host-{name}" if is_https() else name


def is_https() -> bool:
    return context().settings.is_https


def set_cookie(response: WerkzeugResponse, name: str, value: str, max_age_s: int) -> None:
    response.set_cookie(
        cookie_name(name),
        value,
        max_age=max_age_s,
        secure=is_https(),
        httponly=True,
        samesite="Lax",
        path="/",
    )


def token() -> str:
    """What the browser has to show for itself, empty if nothing."""
    return request.cookies.get(cookie_name(), "")


def keep(response: Response, session_token: str, lifetime_ms: int = sessions.LIFETIME_MS) -> Response:
    """Hand a new session to the browser, in the place of the one it had."""
    set_cookie(response, "devflow", session_token, lifetime_ms // 1_000)
    return response


def forget(response: Response) -> Response:
    """Take the session back, and what the browser may have kept of its pages; it stays a known one."""
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    response.delete_cookie(cookie_name(), secure=is_https(), httponly=True, samesite="Lax", path="/")
    return response


def viewer() -> Person:
    """The signed-in person, in the request's session; only behind ``needs``."""
    return cast(User, current_user).found.person


def current_session() -> BrowserSession:
    """The session of this browser, in the request's session; only behind ``needs``."""
    return cast(User, current_user).found.session


def signed_in() -> Person | None:
    """The signed-in person, None for a stranger."""
    return viewer() if current_user.is_authenticated else None


def caller(writing: Session) -> Person | None:
    """The signed-in person, looked for anew in this transaction."""
    found = sessions.find(writing, token(), now())
    return None if found is None else found.person


def ask_to_sign_in() -> Response | WerkzeugResponse:
    """Send a stranger to sign in, and back here then."""
    address = url_for(
        "pages.sign_in", next=request.full_path.rstrip("?") if request.method == "GET" else None
    )
    if htmx.target() is not None:
        return htmx.redirect(address, 401)
    return redirect(address)


def _load(_request: object) -> User | None:
    if not token():
        return None
    found = sessions.find(current.session(), token(), now())
    if found is None:
        return None
    if sessions.is_due(found, now()):
        _touch(found)
    return User(found)


def _touch(found: SignedIn) -> None:
    """Note that the browser was here, if the database takes it: a full disk keeps nobody from reading."""
    try:
        context().database.transact(lambda writing: sessions.touch(writing, found, now()))
    except SQLAlchemyError as error:
        if outage.of(error) is None:
            raise
