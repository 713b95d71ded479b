"""One person's days, as far as the one who looks may see them; whose they are is told who looked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from flask import Response, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import or_, select

from devflow import access, activity, receipts, windows
from devflow.access import Action
from devflow.activity import PersonActivity, PersonDay, ProjectPart, Timeline, Week
from devflow.errors import Invalid
from devflow.live import Watched
from devflow.models import Cell, Person, Project
from devflow.web import charts, guard, live
from devflow.web.charts import Chart, Point
from devflow.web.current import calendar, now, once, session
from devflow.web.pages import bp, filters, labels, ranges
from devflow.web.pages.filters import Filter
from devflow.web.session import viewer
from devflow.web.tables import Order, Table
from devflow.windows import Grain
from devflow.wire import EventType

DAYS: Final = Table[PersonDay](
    "days",
    {
        "day": lambda row: row.date.isoformat(),
        "projects": lambda row: ", ".join(part.project.name for part in row.projects),
        "active_s": lambda row: row.numbers.active_s,
        "commits": lambda row: row.numbers.commits,
        "insertions": lambda row: row.numbers.insertions,
        "deletions": lambda row: row.numbers.deletions,
        "files": lambda row: row.numbers.files_changed,
        "events": lambda row: row.numbers.events,
    },
)
PROJECTS: Final = Table[ProjectPart](
    "projects",
    {
        "project": lambda row: row.project.name,
        "active_s": lambda row: row.numbers.active_s,
        "commits": lambda row: row.numbers.commits,
        "insertions": lambda row: row.numbers.insertions,
        "deletions": lambda row: row.numbers.deletions,
        "files": lambda row: row.numbers.files_changed,
        "events": lambda row: row.numbers.events,
    },
)


@dataclass(frozen=True, slots=True)
class Charts:
    commits: Chart
    active: Chart


@dataclass(frozen=True, slots=True)
class Asked:
    """The days and the work that the address names."""

    chosen: ranges.Range
    project: UUID | None
    kind: EventType | None


@dataclass(frozen=True, slots=True)
class Look:
    """What ``viewer`` gets to see of ``subject``, up to the day ``last``."""

    subject: Person
    viewer: Person
    asked: Asked
    shown: PersonActivity
    last: date

    @property
    def is_own(self) -> bool:
        return self.subject.id == self.viewer.id

    def timeline(self) -> Timeline:
        return activity.timeline(
            session(), self.subject, self.shown, self.last, calendar().zone, self.asked.kind
        )


@bp.get("/people/<uuid:person_id>")
@guard.needs(Action.VIEW_PERSON)
def person(person: Person) -> ResponseReturnValue:
    here = url_for("pages.person", person_id=person.public_id)
    if person.id == viewer().id:
        return _show_own(here)
    look = look_at(person, viewer())
    _leave_receipt(look)
    return show(look, here)


def look_at(subject: Person, viewer: Person) -> Look:
    """Read what the viewer is to be shown of what the address names."""
    return _look(subject, viewer, _asked(subject.id == viewer.id), windows.day_of(now(), calendar().zone))


def _asked(is_own: bool) -> Asked:
    """Raise Invalid for what cannot be asked. Of others, what they did is told, not by which events."""
    kind = filters.event_type(request.args)
    if kind is not None and not is_own:
        raise Invalid(f"expected {filters.TYPE} on the own page alone, got {kind}")
    chosen = ranges.parse(request.args, windows.day_of(now(), calendar().zone))
    return Asked(chosen, filters.project_id(request.args), kind)


def _look(subject: Person, viewer: Person, asked: Asked, today: date) -> Look:
    shown = activity.person(
        session(),
        subject,
        viewer,
        asked.chosen.first,
        asked.chosen.last,
        calendar().zone,
        project_id=asked.project,
        kind=asked.kind,
    )
    # The period that is not over yet ends, as far as anybody knows, today.
    return Look(subject, viewer, asked, shown, last=min(shown.last, max(today, asked.chosen.last)))


def _leave_receipt(look: Look) -> None:
    """Nothing is shown before this is committed, be it a page, a fragment, a table or only its head."""
    guard.act(
        lambda writing, by: receipts.note_view(
            writing,
            by,
            writing.get_one(Person, look.subject.id),
            look.shown.first,
            look.last,
            page="person",
        )
    )


def _show_own(here: str) -> Response:
    """The own page, which follows what happens."""
    subject, today = viewer(), windows.day_of(now(), calendar().zone)
    asked, days_order, projects_order = _asked(is_own=True), DAYS.order(), PROJECTS.order()
    person_id = subject.id
    open_ids, watched = _own_projects(subject)

    def read() -> Look:
        # Also in the thread that draws for open pages, where nobody is signed in.
        again = session().get_one(Person, person_id)
        return _look(again, again, asked, today)

    def look() -> Look:
        return once(asked, read)

    found = look()
    return live.page(
        "person/page.html",
        key=(person_id, subject.name, open_ids, str(asked), str(days_order), str(projects_order)),
        watched=watched,
        panels=lambda: _panels(look, days_order, projects_order),
        exports=_exports(found, days_order, projects_order),
        **_around(found, here, is_preview=False),
    )


def _own_projects(subject: Person) -> tuple[tuple[int, ...], Watched]:
    """The ids of projects open to the person; and these with those where there is work of theirs."""
    mine = access.visible(subject, Action.VIEW_PROJECT, Project).with_only_columns(Project.id)
    worked = select(Cell.project_id).where(Cell.person_id == subject.id, Cell.grain == Grain.DAY)
    rows = session().execute(
        select(Project, Project.id.in_(mine)).where(or_(Project.id.in_(mine), Project.id.in_(worked)))
    )
    found = [(project, is_open) for project, is_open in rows]
    open_ids = tuple(sorted(project.id for project, is_open in found if is_open))
    return open_ids, Watched.of([project for project, _ in found], (), now())


def show(look: Look, here: str, *, is_preview: bool = False) -> Response:
    """The page at the address ``here``; a preview is shown to the subject, through the viewer's eyes."""
    days_order, projects_order = DAYS.order(), PROJECTS.order()
    return live.still(
        "person/page.html",
        panels=lambda: _panels(lambda: look, days_order, projects_order),
        exports=_exports(look, days_order, projects_order),
        **_around(look, here, is_preview=is_preview),
    )


def _around(look: Look, here: str, *, is_preview: bool) -> dict[str, Any]:
    """What stands around the panels."""
    return {
        "subject": look.subject,
        "viewer": look.viewer,
        "is_own": look.is_own,
        "is_preview": is_preview,
        "here": here,
        "chosen": look.asked.chosen,
        "shown": look.shown,
        "last": look.last,
        "filters": _filters(look),
    }


def _filters(look: Look) -> list[Filter]:
    found = [filters.of_projects(look.shown.choices, look.asked.project)]
    return [*found, filters.of_types(look.asked.kind)] if look.is_own else found


def _exports(look: Look, days: Order, projects: Order) -> Mapping[str, Callable[[], Response]]:
    return {
        "days": lambda: DAYS.csv(DAYS.sorted(look.timeline().days, days)),
        "projects": lambda: PROJECTS.csv(PROJECTS.sorted(look.shown.projects, projects)),
    }


def _panels(look: Callable[[], Look], days: Order, projects: Order) -> live.Draw:
    def plain() -> Mapping[str, Any]:
        found = look()
        chosen, shown = found.asked.chosen, found.shown
        return {
            "subject": found.subject,
            "viewer": found.viewer,
            "is_own": found.is_own,
            "kind": found.asked.kind,
            "shown": shown,
            "last": found.last,
            "is_widened": chosen.first is not None
            and (shown.first, found.last) != (chosen.first, chosen.last),
            "latest": ranges.up_to(shown.last_day),
        }

    def by_day() -> Mapping[str, Any]:
        timeline = look().timeline()
        return {
            **plain(),
            "timeline": timeline,
            "weeks": _in_order(timeline, days),
            "table": DAYS,
            "order": days,
        }

    return {
        "heading": plain,
        "fresh": plain,
        "totals": plain,
        "trend": lambda: {**plain(), "charts": _charts(look().shown)},
        "days": by_day,
        "projects": lambda: {
            **plain(),
            "rows": PROJECTS.sorted(look().shown.projects, projects),
            "table": PROJECTS,
            "order": projects,
        },
    }


def _in_order(timeline: Timeline, order: Order) -> list[Week | dict[str, Any]]:
    """In weeks, or in another order all in one that has no name."""
    if order.column is None:
        return list(timeline.weeks)
    return [{"first": None, "days": DAYS.sorted(timeline.days, order)}]


def _charts(shown: PersonActivity) -> Charts:
    names = labels.axis([(period.first, period.last) for period in shown.periods])
    commits = [
        Point(labels.commits(each.first, each.last, each.numbers), each.numbers.commits)
        for each in shown.periods
    ]
    active = [
        Point(labels.active(each.first, each.last, each.numbers), each.numbers.active_s)
        for each in shown.periods
    ]
    return Charts(
        commits=charts.chart(commits, names, charts.counts), active=charts.chart(active, names, charts.times)
    )
