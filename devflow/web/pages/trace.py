"""What became of one event of one's own: whether it is here, what it says, and where it counts."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from flask import Response, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from devflow import own_events, own_feed, rollups, windows, wire
from devflow.access import Action
from devflow.audit import Actor
from devflow.errors import Invalid, NotFound
from devflow.models import AuditEntry, Device, Project
from devflow.own_feed import Entry
from devflow.web import guard, htmx
from devflow.web.current import calendar, context, now, session
from devflow.web.pages import bp, ranges
from devflow.web.session import viewer
from devflow.windows import Grain
from devflow.wire import Counted


@dataclass(frozen=True, slots=True)
class Found:
    """``project`` is None once it was deleted, ``device`` where a colleague's PC reported it."""

    trace: wire.Trace
    entry: Entry
    project: Project | None
    device: Device | None
    hour_ms: int
    is_commit: bool


@bp.get("/trace")
@guard.needs(Action.USE_OWN)
def trace() -> ResponseReturnValue:
    given = request.args.get("id", "").strip().lower()
    if not given:
        return _answer(given)
    event_id = _event_id(given)
    refused = own_feed.refusals(session(), viewer(), event_id)
    try:
        found = _find(event_id)
    except NotFound:
        # With what stands in the address alone: whose it is, if anybody's, must make no difference.
        return _answer(given, 404, is_missing=True, asks_for_day=_asks_for_day(), refused=refused)
    return _answer(given, found=found, refused=refused)


def _event_id(given: str) -> UUID:
    """Raise Invalid for what no event has as its id."""
    try:
        return UUID(given)
    except ValueError:
        raise Invalid(f"expected id to be that of an event, a UUID, got {given[:60]!r}") from None


def _find(event_id: UUID) -> Found:
    """Raise NotFound for what is not the viewer's own, as for what is not there."""
    by, database = Actor(viewer(), now(), context().vault), context().database
    at_ms = own_feed.time_of(session(), viewer(), event_id, _span(), has_index=not database.is_sqlite)
    if at_ms is None:
        raise NotFound(f"there is no event {event_id} of yours")
    traced = own_events.trace(session(), by, event_id, at_ms)
    if traced.device_id is None and traced.counted is not Counted.YOU:
        raise NotFound(f"there is no event {event_id} of yours")
    return Found(
        traced,
        own_feed.contents(session(), context().vault, event_id, at_ms),
        session().scalar(
            select(Project).where(Project.public_id == traced.project_id, Project.deleted_at.is_(None))
        ),
        session().scalar(select(Device).where(Device.public_id == traced.device_id)),
        windows.window(Grain.HOUR, at_ms, calendar().zone).start_ms,
        rollups.TYPE_NUMBER[traced.event_type] in rollups.COMMITS,
    )


def _span() -> tuple[int, int] | None:
    """The day in the address, in milliseconds; raise Invalid for what is none."""
    if not request.args.get("day"):
        return None
    day = windows.day_window(ranges.day(request.args, "day"), calendar().zone)
    return day.start_ms, day.end_ms


def _asks_for_day() -> bool:
    """Whether the day would help: ids have no index on SQLite."""
    return context().database.is_sqlite and _span() is None


def _answer(
    given: str,
    status: int = 200,
    *,
    found: Found | None = None,
    is_missing: bool = False,
    asks_for_day: bool = False,
    refused: list[AuditEntry] | None = None,
) -> Response:
    return htmx.render(
        "trace/page.html",
        status,
        given=given,
        day=request.args.get("day", ""),
        found=found,
        is_missing=is_missing,
        asks_for_day=asks_for_day,
        looked_at=own_feed.LOOKED_AT,
        refused=refused or [],
    )
