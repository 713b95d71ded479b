"""Errors of pages: what happened and what to do, on a page of the same look."""

from __future__ import annotations

import logging
from typing import Final

from flask import Flask, Response
from gunicorn.http.errors import ParseException
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from devflow.access import NotAllowed, NotYours
from devflow.crypto import Damaged
from devflow.errors import DevflowError, Invalid, Limited, NotFound, TooLarge, Unauthorized
from devflow.web import api, htmx, request_ids
from devflow.web.addresses import is_for_programs
from devflow.web.i18n import gettext, is_known, is_source, ngettext, said

FAULT: Final = 500
log = logging.getLogger(__name__)
_SECONDS_BELOW_S: Final = 90
_MINUTES_BELOW: Final = 90


def init_app(app: Flask) -> None:
    app.register_error_handler(Invalid, lambda error: tell(400, error))
    app.register_error_handler(Unauthorized, lambda error: tell(403, error))
    app.register_error_handler(NotFound, lambda error: tell(404, error))
    # Their words, of permissions and ids, are for programs.
    app.register_error_handler(NotAllowed, lambda error: show(403, str(error), is_for_people=False))
    app.register_error_handler(NotYours, lambda error: show(404, str(error), is_for_people=False))
    app.register_error_handler(TooLarge, lambda error: tell(413, error))
    app.register_error_handler(Limited, lambda error: told_to_wait(show(429, wait(error)), error))
    app.register_error_handler(Damaged, damaged)
    app.register_error_handler(SQLAlchemyError, lambda error: http_error(api.unavailable(error)))
    app.register_error_handler(HTTPException, http_error)
    # Found while the body was read, when the request had already begun.
    app.register_error_handler(ParseException, _broken)


def _broken(_error: ParseException) -> Response:
    return show(400, "the chunks of the body are broken", is_foreign=not is_source())


def wait(error: Limited) -> str:
    """The error as a sentence that says until when."""
    minutes = -(-error.retry_after_s // 60)
    if error.retry_after_s <= _SECONDS_BELOW_S:
        time = ngettext("%(n)s second", "%(n)s seconds", error.retry_after_s, n=error.retry_after_s)
    elif minutes <= _MINUTES_BELOW:
        time = ngettext("%(n)s minute", "%(n)s minutes", minutes, n=minutes)
    else:
        hours = -(-minutes // 60)
        time = ngettext("%(n)s hour", "%(n)s hours", hours, n=hours)
    return gettext("Too many wrong attempts. Try again in %(time)s.", time=time)


def told_to_wait(response: Response, error: Limited) -> Response:
    response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def damaged(error: Damaged) -> Response:
    log.error("%s failed: %s", request_ids.asked(), error)
    return show(FAULT, gettext("Something that is stored here cannot be read. The server's log says what."))


def http_error(error: HTTPException) -> Response:
    status = error.code or FAULT
    # Werkzeug's own words say less than ours do; those given to abort() say more.
    why = error.description if error.description != type(error).description else None
    return api.keep_headers(show(status, why, error.name, is_foreign=not is_source()), error)


def tell(status: int, error: DevflowError) -> Response:
    """The error in the reader's language; in English below, in small print, if it has no words there."""
    return show(status, said(error), is_foreign=not is_known(error))


def show(
    status: int, detail: str | None, name: str = "", *, is_for_people: bool = True, is_foreign: bool = False
) -> Response:
    """The error's page, or a fragment for htmx, or a problem for programs."""
    title, advice = _words(status, name)
    if is_for_programs():
        return api.name_the_server(api.problem(status, name or title, detail or advice))
    return htmx.render(
        "errors/page.html",
        status,
        code=status,
        title=title,
        detail=detail if is_for_people and not is_foreign else None,
        foreign=detail if is_for_people and is_foreign else None,
        advice=advice,
        # After a fault the database may be what failed: ask it nothing more.
        is_fault=status >= FAULT,
    )


def _words(status: int, name: str) -> tuple[str, str]:
    """What happened, and what to do about it."""
    match status:
        case 400:
            return gettext("That did not make sense"), gettext("Check the address or what was entered.")
        case 403:
            return gettext("Not allowed"), gettext("Ask an administrator if you need this.")
        case 404:
            return (
                gettext("Nothing here"),
                gettext(
                    "It is not there, or not shared with you. Check the address, or start at the overview."
                ),
            )
        case 405:
            return gettext("That does not work here"), gettext("Go back, and use the page's own buttons.")
        case 413:
            return gettext("Too much at once"), gettext("Send less.")
        case 421:
            return gettext("Not under this name"), gettext("Use the address that this server is set up for.")
        case 429:
            return gettext("Too often"), gettext("Wait some minutes, then try again.")
        case 503:
            return gettext("Not just now"), gettext("Wait some seconds, then try again.")
        case status if status >= FAULT:
            return (
                gettext("Something broke on the server"),
                gettext("Nothing you did. Try again; if it stays, the server's log has the reason."),
            )
        case _:
            return (is_source() and name) or gettext("That did not work"), gettext("Go back and try again.")
