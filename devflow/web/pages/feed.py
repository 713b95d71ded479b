"""The feed: what one did, event by event, for oneself alone; and what others did, by project and day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final
from uuid import UUID

from flask import Response, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from devflow import access, own_feed, windows
from devflow.access import Action
from devflow.errors import Invalid, NotFound
from devflow.live import Watched
from devflow.models import Project
from devflow.own_feed import Day, Entry
from devflow.web import guard, i18n, live
from devflow.web.current import calendar, context, now, session
from devflow.web.i18n import gettext
from devflow.web.pages import bp, words
from devflow.web.session import viewer
from devflow.web.tables import Order, Table
from devflow.wire import EventType

DAYS: Final = 30
"""How far back the own events go."""
OTHERS_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Row:
    entry: Entry
    project: Project


@dataclass(frozen=True, slots=True)
class OtherRow:
    """``said`` is what was done, in words."""

    project: Project
    day: Day
    said: str


ENTRIES: Final = Table[Row](
    "events",
    {
        "time": lambda row: i18n.iso(row.entry.at_ms),
        "type": lambda row: row.entry.kind.value,
        "project": lambda row: row.project.name,
        "about": lambda row: words.entry_about(row.entry),
        "insertions": lambda row: row.entry.insertions,
        "deletions": lambda row: row.entry.deletions,
        "id": lambda row: str(row.entry.id),
    },
)


@bp.get("/feed")
@guard.needs(Action.USE_OWN)
def feed() -> ResponseReturnValue:
    mine = session().scalars(
        access.visible(viewer(), Action.VIEW_PROJECT, Project).order_by(Project.name, Project.id)
    )
    visible = mine.all()
    shown, kind, order = _shown(visible), _kind(), ENTRIES.order()
    person_id, ids = viewer().id, tuple(sorted(project.id for project in shown))

    def export() -> Response:
        return ENTRIES.csv(ENTRIES.sorted(_rows(person_id, ids, kind), order))

    return live.page(
        "feed/page.html",
        key=(person_id, ids, kind, str(order)),
        watched=Watched.of(shown, (), now()),
        panels=lambda: _panels(person_id, ids, kind, order),
        exports={"events": export},
        projects=visible,
        chosen=shown[0] if request.args.get("project") else None,
        kind=kind,
        kinds=[(each.value, words.event_type(each)) for each in EventType],
        days=DAYS,
    )


def _shown(visible: Sequence[Project]) -> Sequence[Project]:
    """Those of the filter; raise NotFound for one that is not there to be seen."""
    given = request.args.get("project")
    if not given:
        return visible
    try:
        wanted = UUID(given)
    except ValueError:
        raise Invalid(f"expected project to be the id of one, got {given[:40]!r}") from None
    found = [each for each in visible if each.public_id == wanted]
    if not found:
        raise NotFound(f"there is no project {wanted} that you have access to")
    return found


def _kind() -> EventType | None:
    given = request.args.get("type")
    if not given:
        return None
    try:
        return EventType(given)
    except ValueError:
        raise Invalid(f"expected type to be one of {', '.join(EventType)}, got {given[:40]!r}") from None


def _panels(person_id: int, ids: Sequence[int], kind: EventType | None, order: Order) -> live.Draw:
    def own() -> Mapping[str, Any]:
        found = ENTRIES.sorted(_rows(person_id, ids, kind), order)
        return {"rows": found, "table": ENTRIES, "order": order, "most": own_feed.MOST, "days": DAYS}

    if not ids:
        return {}
    return {"own": own, "others": lambda: {"rows": _others(person_id, ids, kind), "days": OTHERS_DAYS}}


def _projects(ids: Sequence[int]) -> dict[int, Project]:
    asked = select(Project).where(Project.id.in_(ids), Project.deleted_at.is_(None))
    return {project.id: project for project in session().scalars(asked)}


def _rows(person_id: int, ids: Sequence[int], kind: EventType | None) -> list[Row]:
    shown = _projects(ids)
    found = own_feed.entries(session(), context().vault, person_id, list(shown), kind, _days(DAYS)[-1][1])
    return [Row(entry, shown[entry.project_id]) for entry in found]


def _others(person_id: int, ids: Sequence[int], kind: EventType | None) -> list[OtherRow]:
    shown = _projects(ids)
    days = [day for day, _ in _days(OTHERS_DAYS)]
    found = own_feed.days_of_others(session(), person_id, list(shown), kind, days, calendar())
    return [OtherRow(shown[day.project_id], day, _said(day)) for day in found]


def _days(count: int) -> list[tuple[date, int]]:
    """The last days and when each began, today first."""
    zone = calendar().zone
    today = windows.day_of(now(), zone)
    days = [today - timedelta(days=number) for number in range(count)]
    return [(day, windows.day_window(day, zone).start_ms) for day in days]


def _said(day: Day) -> str:
    kinds = sorted(day.events, key=lambda kind: (kind is not EventType.COMMIT, list(EventType).index(kind)))
    parts = [words.many(kind, day.events[kind], i18n.number(day.events[kind])) for kind in kinds]
    done = ", ".join(parts)
    if day.people == 0:
        return gettext("%(done)s by people who do not report to this server", done=done)
    return i18n.ngettext(
        "%(done)s by %(n)s person",
        "%(done)s by %(n)s people",
        day.people,
        done=done,
        n=i18n.number(day.people),
    )
