"""Who is signed in to the browser, by Flask-Login."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast
from uuid import UUID

import flask_login
from flask import Flask, redirect, request, url_for
from flask import session as cookie
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from sqlalchemy import select
from werkzeug.wrappers import Response as WerkzeugResponse

from devflow.models import Person
from devflow.web import current, htmx

View = TypeVar("View", bound=Callable[..., ResponseReturnValue])


class SignedIn(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    """The signed-in person for the length of a request; the id in the cookie ends with the token version."""

    def __init__(self, person: Person) -> None:
        self.person = person

    def get_id(self) -> str:
        return f"{self.person.public_id}:{self.person.token_version}"


def init_app(app: Flask) -> None:
    # No context processor: it would load the person for every template, the page of a fault too.
    manager = LoginManager(app, add_context_processor=False)
    manager.session_protection = None  # binds to address and browser name, which change on the way to work
    manager.user_loader(_load)
    manager.unauthorized_handler(_ask_to_sign_in)
    app.add_template_global(signed_in, "signed_in")


def login_required(view: View) -> View:
    """Ask a stranger to sign in, and come back then."""
    return cast(View, flask_login.login_required(view))


def sign_in(person: Person) -> None:
    """Begin a new session; nothing of the one before it, which somebody else may have planted, stays."""
    cookie.clear()
    login_user(SignedIn(person))


def sign_out() -> None:
    logout_user()
    cookie.clear()


def viewer() -> Person:
    """The signed-in person, in the request's session; only behind ``login_required``."""
    return cast(SignedIn, current_user).person


def signed_in() -> Person | None:
    """The signed-in person, None for a stranger."""
    return viewer() if current_user.is_authenticated else None


def _load(cookie_id: str) -> SignedIn | None:
    public_id, _, version = cookie_id.partition(":")
    person = current.session().scalar(select(Person).where(Person.public_id == UUID(public_id)))
    if person is None or str(person.token_version) != version:
        return None
    return SignedIn(person)


def _ask_to_sign_in() -> WerkzeugResponse:
    address = url_for(
        "pages.sign_in", next=request.full_path.rstrip("?") if request.method == "GET" else None
    )
    if htmx.target() is not None:
        return htmx.redirect(address, 401)
    return redirect(address)
