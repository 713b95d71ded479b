"""My data: what the server keeps about the one who asks, who may see it, and who did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from flask import current_app, request, url_for
from flask.typing import ResponseReturnValue

from devflow import own_data, receipts
from devflow.access import Action
from devflow.accounts import people
from devflow.errors import Invalid, NotFound
from devflow.models import Project, Team
from devflow.own_data import Held
from devflow.web import guard, htmx
from devflow.web.current import context, session
from devflow.web.i18n import gettext
from devflow.web.pages import bp, words
from devflow.web.pages.person import look_at, show
from devflow.web.session import viewer

FEW_RECEIPTS: Final = 8
PAGE_RECEIPTS: Final = 50
_MAX_ID: Final = 2**63


@dataclass(frozen=True, slots=True)
class RoleRow:
    """A role in words; ``kind`` is that of the place, None for the server."""

    place: str
    kind: str | None
    role: str
    may: str


@bp.get("/me")
@guard.needs(Action.USE_OWN)
def me() -> ResponseReturnValue:
    found = receipts.read(session(), viewer(), limit=FEW_RECEIPTS + 1)
    stored = own_data.stored(session(), viewer())
    return htmx.render(
        "me/page.html",
        person=viewer(),
        email=people.email_of(context().vault, viewer()),
        stored=stored,
        by_kind=[(words.event_type(kind), events) for kind, events in stored.by_type],
        by_device=[
            (gettext("PCs of colleagues") if name is None else name, events)
            for name, events in stored.by_device
        ],
        roles=[_row(held) for held in own_data.roles(session(), viewer())],
        watchers=own_data.watchers(session(), viewer()),
        receipts=found[:FEW_RECEIPTS],
        has_more=len(found) > FEW_RECEIPTS,
        security=_address("pages.security"),
        devices=_address("pages.my_devices"),
    )


def _row(held: Held) -> RoleRow:
    may = "; ".join(map(words.action, held.allows))
    match held.place:
        case Team(name=name):
            return RoleRow(name, gettext("team"), words.role(held.role), may)
        case Project(name=name):
            return RoleRow(name, gettext("project"), words.role(held.role), may)
        case _:
            return RoleRow(gettext("This server"), None, words.role(held.role), may)


@bp.get("/me/receipts")
@guard.needs(Action.USE_OWN)
def my_receipts() -> ResponseReturnValue:
    found = receipts.read(session(), viewer(), limit=PAGE_RECEIPTS + 1, before=_before())
    return htmx.render(
        "me/receipts.html",
        receipts=found[:PAGE_RECEIPTS],
        older=found[PAGE_RECEIPTS - 1].id if len(found) > PAGE_RECEIPTS else None,
        is_newest=_before() is None,
    )


@bp.get("/me/as-seen-by/<uuid:viewer_id>")
@guard.needs(Action.USE_OWN)
def as_seen_by(viewer_id: UUID) -> ResponseReturnValue:
    """The page that somebody who may see me gets of me, made by the code that makes theirs."""
    for watcher in own_data.watchers(session(), viewer()):
        if watcher.person.public_id == viewer_id:
            here = url_for("pages.as_seen_by", viewer_id=viewer_id)
            return show(look_at(viewer(), watcher.person), here, is_preview=True)
    raise NotFound("there is no such person who can see your days")


def _before() -> int | None:
    given = request.args.get("before")
    if given is None:
        return None
    if not (given.isascii() and given.isdecimal() and int(given) < _MAX_ID):
        raise Invalid(f"expected before as the number of a receipt, got {given[:40]!r}")
    return int(given)


def _address(endpoint: str) -> str | None:
    """Where the page is, None if this server has none."""
    return url_for(endpoint) if endpoint in current_app.view_functions else None
