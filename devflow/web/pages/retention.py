"""How long what is kept: shown, changed, and before a change what it would delete."""

from __future__ import annotations

from typing import Final

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from devflow import retention
from devflow.access import Action
from devflow.accounts import sessions, tokens
from devflow.errors import Invalid
from devflow.web import guard, htmx
from devflow.web.current import now, session
from devflow.web.i18n import said
from devflow.web.pages import bp

FOR_EVER: Final = "forever"
"""Stands in addresses and forms for no number of days."""
_DAY_MS: Final = 86_400_000


@bp.get("/retention", endpoint="retention")
@guard.needs(Action.MANAGE_RETENTION)
def show_retention() -> ResponseReturnValue:
    """With ``days`` in the address, also what keeping events so long would delete."""
    given = request.args.get("days")
    if given is None:
        return _show()
    try:
        return _show(given=given, wanted=_days(given), is_preview=True)
    except Invalid as error:
        return _show(422, given=given, wrong=said(error))


@bp.post("/retention")
@guard.needs(Action.MANAGE_RETENTION)
def change_retention() -> ResponseReturnValue:
    given = request.form.get("days", "")
    try:
        days = _days(given)
        if not request.form.get("sure") and _preview(days).events:
            raise Invalid("expected a tick that says you have seen what will be deleted")
        guard.act(lambda writing, by: retention.change(writing, by, days))
    except Invalid as error:
        wanted = _days(given) if _is_days(given) else None
        return _show(422, given=given, wanted=wanted, is_preview=_is_days(given), wrong=said(error))
    return redirect(url_for("pages.retention"))


def _show(
    status: int = 200,
    *,
    given: str | None = None,
    wanted: int | None = None,
    is_preview: bool = False,
    wrong: str | None = None,
) -> Response:
    days = retention.days(session())
    return htmx.render(
        "retention/page.html",
        status,
        days=days,
        max_days=retention.MAX_DAYS,
        default_days=retention.DEFAULT_DAYS,
        given=given if given not in (None, FOR_EVER) else (days or ""),
        for_ever=FOR_EVER,
        preview=_preview(wanted) if is_preview else None,
        idle_days=sessions.IDLE_MS // _DAY_MS,
        session_days=sessions.LIFETIME_MS // _DAY_MS,
        token_days=tokens.TOKEN_LIFETIME_MS // _DAY_MS,
        refresh_days=tokens.REFRESH_LIFETIME_MS // _DAY_MS,
        wrong=wrong,
    )


def _preview(days: int | None) -> retention.Preview:
    return retention.preview(session(), days, now())


def _days(given: str) -> int | None:
    """Raise Invalid for what is neither a number of days in bounds nor for ever."""
    if given == FOR_EVER:
        return None
    if not (given.isascii() and given.isdecimal() and len(given) <= 9):
        raise Invalid("expected 1 to %(most)s days, got %(given)r", most=retention.MAX_DAYS, given=given[:40])
    return retention.checked_days(int(given))


def _is_days(given: str) -> bool:
    try:
        _days(given)
    except Invalid:
        return False
    return True
