"""The entrance of pages and programs: passwords and codes, throttled, and refusals written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar
from uuid import UUID

from flask import Response, request
from sqlalchemy.orm import Session

from devflow import audit
from devflow.accounts import known_browsers, passwords, people, sign_in, throttle
from devflow.accounts.people import Newcomer
from devflow.accounts.sign_in import Candidate, Visitor
from devflow.accounts.throttle import Bucket
from devflow.audit import Act, Actor
from devflow.errors import CodeNeeded, Limited, Unauthorized
from devflow.web import guard
from devflow.web import session as browser
from devflow.web.current import context, session
from devflow.web.i18n import gettext

T = TypeVar("T")
KNOWN: Final = "known"
"""The cookie of a browser that has signed in before."""


class Acting(Protocol):
    """What ``guard.act`` is."""

    def __call__(self, work: Callable[[Session, Actor], T]) -> T: ...


def by_password(email: str, password: str) -> Candidate:
    """Whose address and password these are; raise Unauthorized or Limited."""
    found = sign_in.candidate(session(), context().vault, email)
    buckets = sign_in.password_buckets(context().vault, found, _visitor())
    with _throttled(buckets, Act.SIGN_IN_REFUSED, found.public_id, "password"):
        found.check(password)
    return found


@contextmanager
def by_code(person: UUID, *more: Bucket) -> Iterator[None]:
    """Around the use of a code at sign-in: raise Limited, or count a CodeNeeded, in ``more`` too."""
    buckets = sign_in.code_buckets(context().vault, person, _visitor())
    with _throttled((*more, *buckets), Act.SIGN_IN_REFUSED, person, "code", CodeNeeded):
        yield


@contextmanager
def confirmed(password: str) -> Iterator[Acting]:
    """Give ``guard.act`` to who proves by password not to be just somebody at an open browser.

    Raise Limited, or Unauthorized for a wrong password; what is Unauthorized inside counts too.
    """
    person, bucket = browser.viewer(), throttle.confirmation(browser.current_session().public_id)
    public_id, stored = person.public_id, person.password_hash

    def act(work: Callable[[Session, Actor], T]) -> T:
        return guard.act(lambda writing, by: work(writing, _still(by, stored)))

    with _throttled((bucket,), Act.CONFIRMATION_REFUSED, public_id, "confirmation"):
        with passwords.hashing:
            is_right = passwords.verify(stored, password)
        if not is_right:
            raise Unauthorized(gettext("This is not your current password."))
        yield act


def newcomer() -> Newcomer:
    """The account that the form is about, before the transaction that makes it; raise Invalid.

    Whoever asks has shown that they may have one: a password is not hashed for strangers.
    """
    form = request.form
    session().rollback()  # whoever waits for a turn holds no connection that pages need
    return people.newcomer(
        name=form.get("name", ""), email=form.get("email", ""), password=form.get("password", "")
    )


def code_awaited(person: UUID) -> None:
    """Write down that somebody knows the password and showed no code."""
    guard.act_as_nobody(lambda writing, by: audit.record(writing, by, Act.CODE_AWAITED, person))


def remember(response: Response, person: UUID) -> Response:
    """Make the browser, which has just signed in, a known one."""
    cookie = known_browsers.cookie(context().vault, person)
    browser.set_cookie(response, KNOWN, cookie, known_browsers.LIFETIME_S)
    return response


def _visitor() -> Visitor:
    return Visitor(request.remote_addr, request.cookies.get(browser.cookie_name(KNOWN), ""))


def _still(by: Actor, password_hash: str) -> Actor:
    """The same actor, whose password has not changed since it was verified."""
    if by.who().password_hash != password_hash:
        raise Unauthorized(gettext("This is not your current password."))
    return by


@contextmanager
def _throttled(
    buckets: tuple[Bucket, ...],
    act: Act,
    person: UUID | None,
    why: str,
    failure: type[Unauthorized] = Unauthorized,
) -> Iterator[None]:
    """Let one attempt through, if any; a refusal is in the trail when this raises it."""
    session().rollback()  # whoever waits for a turn holds no connection that pages need
    try:
        with context().throttle.attempt(*buckets, failure=failure):
            yield
    except Limited:
        if context().throttle.is_news(*buckets):
            _record(act, person, "limit")
        raise
    except failure:
        _record(act, person, why)
        raise


def _record(act: Act, person: UUID | None, why: str) -> None:
    def work(writing: Session, by: Actor) -> None:
        audit.record(writing, by, act, person, is_refused=True, why=why)

    guard.act_as_nobody(work)
