"""The workspace's keys: which there are, what waits to be sealed anew, and a button for a new one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from devflow import crypto, keys, windows
from devflow.access import Action
from devflow.errors import Invalid
from devflow.keys import Listed, Purpose
from devflow.web import guard, htmx
from devflow.web.current import calendar, context, session
from devflow.web.i18n import day, gettext, ngettext, number, said
from devflow.web.pages import bp


@dataclass(frozen=True, slots=True)
class Row:
    key: Listed
    purpose: str
    made: date
    state: str


@bp.get("/keys", endpoint="keys")
@guard.needs(Action.MANAGE_KEYS)
def page() -> ResponseReturnValue:
    return _show()


@bp.post("/keys")
@guard.needs(Action.MANAGE_KEYS)
def rotate_key() -> ResponseReturnValue:
    wanted = request.form.get("purpose", "")
    try:
        if wanted not in keys.ROTATING:
            raise Invalid("expected a kind of key that can be replaced, got %(given)r", given=wanted[:20])
        guard.act(lambda writing, by: keys.rotate(writing, by, Purpose(wanted)))
    except Invalid as error:
        return _show(422, wrong=said(error))
    return redirect(url_for("pages.keys"))


def _show(status: int = 200, *, wrong: str | None = None) -> Response:
    return htmx.render(
        "keys/page.html",
        status,
        rows=[Row(key, _purpose(key), _day(key.created_at), _state(key)) for key in keys.listed(session())],
        buttons=[
            (Purpose.FIELDS, gettext("Replace the key of sealed fields")),
            (Purpose.TOKENS, gettext("Replace the key of tokens")),
        ],
        damaged=context().resealing.damaged,
        iterations=keys.iterations(session()),
        floor=crypto.KDF_ITERATIONS,
        is_in_file=not context().settings.secret_key,
        origin=keys.origin(context().settings),
        wrong=wrong,
    )


def _purpose(key: Listed) -> str:
    match key.purpose:
        case Purpose.FIELDS:
            return gettext("Sealed fields")
        case Purpose.TOKENS:
            return gettext("Access tokens")
        case Purpose.HASHES:
            return gettext("Keyed hashes")


def _state(key: Listed) -> str:
    if key.retired_at is None:
        return gettext("in use, for good") if key.purpose is Purpose.HASHES else gettext("in use")
    if key.purpose is Purpose.TOKENS:
        last = _day(key.retired_at + keys.TOKENS_GOOD_FOR_MS)
        return gettext("retired; its tokens are good until %(day)s", day=day(last))
    return _waiting()


def _waiting() -> str:
    """What keeps a retired key of fields from being deleted, as far as this process knows."""
    resealing = context().resealing
    if left := resealing.left(session(), context().vault):
        return ngettext(
            "retired; at most one row is still to be sealed anew",
            "retired; at most %(n)s rows are still to be sealed anew",
            left,
            n=number(left),
        )
    if resealing.damaged:
        return gettext("retired; kept for the rows that are damaged")
    return gettext("retired; all rows are sealed anew, and it is deleted within three hours")


def _day(at_ms: int) -> date:
    return windows.day_of(at_ms, calendar().zone)
