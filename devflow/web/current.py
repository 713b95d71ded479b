"""What a view may ask for: the context, the request's session, and the clock."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar, cast

from flask import Flask, current_app, g
from sqlalchemy.orm import Session

from devflow import rollups
from devflow.context import Context
from devflow.rollups import Calendar

T = TypeVar("T")


def init_app(app: Flask) -> None:
    @app.teardown_request
    def close_session(_error: BaseException | None = None) -> None:
        opened = g.pop("reading", None)
        g.pop("calendar", None)
        g.pop("once", None)
        if opened is not None:
            opened.__exit__(None, None, None)


def context() -> Context:
    return cast(Context, current_app.extensions["devflow"])


def session() -> Session:
    """The request's one view of the database, to read with; opened when first asked for.

    What writes takes a transaction of its own: ``context().database``.
    """
    if "session" not in g:
        g.reading = context().database.reading()
        g.session = g.reading.__enter__()
    return cast(Session, g.session)


def calendar() -> Calendar:
    """What all numbers that ``session`` sees are cut by."""
    if "calendar" not in g:
        g.calendar = rollups.in_force(session())
    return cast(Calendar, g.calendar)


def now() -> int:
    """Unix milliseconds UTC."""
    return context().now()


def once(key: Hashable, read: Callable[[], T]) -> T:
    """What ``read`` returns, read once for the request; a drawing of an open page is one of its own."""
    found = g.setdefault("once", {})
    if key not in found:
        found[key] = read()
    return cast(T, found[key])
