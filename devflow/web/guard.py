"""The door of every view: it declares what it does, and is entered only by who may.

A view behind ``needs`` gets the thing its address names, fetched through the scope, in the place
of the id. A view without ``needs`` or ``public`` stops the start of the server.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

from flask import Flask, g, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from devflow import access
from devflow.access import Action, NotAllowed, NotYours
from devflow.accounts import sessions
from devflow.audit import Actor
from devflow.errors import NotFound, Unauthorized
from devflow.models import Person
from devflow.web import refusals
from devflow.web import session as browser
from devflow.web.api import bearer
from devflow.web.current import context, now, session

View = Callable[..., Any]
T = TypeVar("T")
_ARGUMENT: Final = re.compile(r"<uuid:(\w+)_id>")


def needs(action: Action, *, in_the_act: bool = False) -> Callable[[View], View]:
    """Let in who may do ``action``, if it has a scope to the thing that ``<uuid:SCOPE_id>`` names.

    Pages ask strangers to sign in, programs are answered 401; what is not theirs is 404, and what
    ``access`` refuses to somebody known, here or in the view, is noted in the trail. With
    ``in_the_act`` only the signature of the token is looked at here, and all else in ``act``,
    which the view has to call: for uploads, where each statement counts.
    """

    def declare(view: View) -> View:
        @functools.wraps(view)
        def guarded(**arguments: Any) -> ResponseReturnValue:
            g.action, g.has_acted = action, False
            if in_the_act:
                bearer.claims()
                person = None
            elif (person := _program() if _is_program() else browser.signed_in()) is None:
                return browser.ask_to_sign_in()
            try:
                if person is not None:
                    arguments = _admitted(session(), person, action, arguments)
                answer: ResponseReturnValue = view(**arguments)
            except (NotAllowed, NotYours) as refusal:
                refusals.note(person or _program(), refusal.action, refusal.subject)
                raise
            if person is None and not g.has_acted:
                raise AssertionError(f"expected the view of {request.path} to act")
            return answer

        guarded.action = action  # type: ignore[attr-defined]
        return guarded

    return declare


def public(why: str) -> Callable[[View], View]:
    """Let everybody in, for the reason given."""

    def declare(view: View) -> View:
        view.public = why  # type: ignore[attr-defined]
        return view

    return declare


def act(work: Callable[[Session, Actor], T]) -> T:
    """Run ``work`` in a transaction, as who asks; that they still may is checked in it."""

    def checked(writing: Session) -> T:
        person = _program(writing) if _is_program() else browser.caller(writing)
        if person is None:
            raise Unauthorized("expected somebody who is signed in: this session has just ended")
        _admitted(writing, person, g.action, dict(request.view_args or {}))
        g.has_acted = True
        return work(writing, Actor(person, now(), context().vault))

    return context().database.transact(checked)


def act_as_nobody(work: Callable[[Session, Actor], T]) -> T:
    """Run ``work`` in a transaction for a stranger; what they bring has to prove itself."""
    return context().database.transact(lambda writing: work(writing, Actor(None, now(), context().vault)))


def admission() -> Callable[[Session], bool]:
    """Whether the browser that asks would still be let in here: to be asked when the request is over."""
    the_context, token, action = context(), browser.token(), g.action
    arguments = dict(request.view_args or {})

    def is_admitted(reading: Session) -> bool:
        found = sessions.find(reading, token, the_context.now())
        if found is None:
            return False
        try:
            _admitted(reading, found.person, action, dict(arguments))
        except (Unauthorized, NotFound):
            return False
        return True

    return is_admitted


def check(app: Flask) -> None:
    """Raise RuntimeError naming every route that does not declare what it does, and to what."""
    wrong = [
        f"{rule.rule} ({rule.endpoint}): {flaw}"
        for rule in app.url_map.iter_rules()
        if (flaw := _flaw(rule.rule, app.view_functions[rule.endpoint])) is not None
    ]
    if wrong:
        raise RuntimeError("expected every route to declare its action; " + "; ".join(wrong))


def _flaw(rule: str, view: Any) -> str | None:
    action: Action | None = getattr(view, "action", None)
    if action is None:
        return None if getattr(view, "public", "") else "no action"
    if action.scope in access.SCOPES and action.scope not in _ARGUMENT.findall(rule):
        return f"{action} needs <uuid:{action.scope}_id> in the address"
    return None


def _program(writing: Session | None = None) -> Person:
    found = bearer.current(writing or session())
    bearer.arrived(found, writing)
    return found.person


def _is_program() -> bool:
    """Whether a program asks, by bearer token; the doors for them take no cookies, and pages no tokens."""
    return request.blueprint == "api"


def _admitted(reading: Session, person: Person, action: Action, arguments: dict[str, Any]) -> dict[str, Any]:
    """The view's arguments, with the thing in the place of its id; raise Unauthorized or NotFound."""
    if action.scope not in access.SCOPES:
        access.require(person, action)
        return arguments
    public_id = arguments.pop(f"{action.scope}_id")
    kind: Any = access.SCOPES[action.scope]
    return {**arguments, action.scope: access.fetch(reading, person, action, kind, public_id)}
