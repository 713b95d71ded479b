"""``/metrics`` and its like under ``/projects`` and ``/teams``: numbers for people's own programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from flask import Response
from sqlalchemy.orm import Session

from devflow import access, receipts, windows
from devflow.access import Action
from devflow.audit import Actor
from devflow.metrics import aggregate as aggregates
from devflow.metrics import kept, ranges, status
from devflow.metrics import team as teams
from devflow.metrics.aggregate import Seen
from devflow.metrics.answers import Aggregate, AskActivity, AskAggregate, AskStatus, Status, TeamActivity
from devflow.metrics.ranges import Range
from devflow.models import Person, Project, Team
from devflow.web import guard
from devflow.web.api import bearer, bp, numbered
from devflow.web.api.operation import operation
from devflow.web.current import calendar, context, now, session
from devflow.windows import Grain

_DAYS: Final = 30
"""Of a team's activity, unless others are asked for."""


@bp.get("/projects/<uuid:project_id>/status")
@guard.needs(Action.VIEW_PROJECT)
@operation("Ask what goes on in a project", answer=Status, is_table=True)
def project_status(project: Project, asked: AskStatus) -> Response:
    """A table has the three windows."""
    viewer, zone = _viewer(), calendar().zone
    moment, sync = status.moment(now(), zone), status.sync(session(), project, now())
    tag = numbered.tag(viewer, project.public_id, project.generation, project.name, moment, sync)
    if (unchanged := numbered.unchanged(tag)) is not None:
        return unchanged
    found = status.of(session(), project, viewer, moment, sync, zone)
    return numbered.answer(found, [found.now, found.today, found.week], tag)


@bp.get("/teams/<uuid:team_id>/activity")
@guard.needs(Action.VIEW_TEAM)
@operation("Ask what a team did by day", answer=TeamActivity, is_table=True, is_zipped=True)
def team_activity(team: Team, asked: AskActivity) -> Response:
    """Without ``since`` the 30 days until ``until``, which is today unless given; 366 at most.

    Whoever among the members the caller may see is named, and told of it: with ``people=false`` nobody
    is. A table has days, and then people.
    """
    viewer, zone = _viewer(), calendar().zone
    days, begun = _days(asked), windows.window(Grain.DAY, now(), zone).end_ms
    scope = teams.scope(session(), viewer, team)
    with_people = [each for each in scope.members if each.may_view] if asked.people else []
    _leave_receipts(viewer, [each.person.public_id for each in with_people], days, "team activity")
    tag = numbered.tag(
        viewer,
        (team.public_id, team.name, asked.people),
        [(each.person.public_id, each.person.name, each.may_view) for each in scope.members],
        sorted(scope.generations.items()),
        (days.first, days.last, min(begun, days.shown.end_ms)),
    )
    if (unchanged := numbered.unchanged(tag)) is not None:
        return unchanged
    found = teams.activity(session(), scope, days, begun, zone, with_people=asked.people)
    return numbered.answer(found, [*found.days, *(found.people or [])], tag)


@bp.get("/metrics/aggregate")
@guard.needs(Action.USE_OWN)
@operation(
    "Ask for one number of a project by windows, people, event types or languages",
    {404: "There is no such project, or it is not yours to know of."},
    answer=Aggregate,
    is_table=True,
    is_zipped=True,
)
def aggregate(asked: AskAggregate) -> Response:
    """Needs the right `project:view` on the project.

    ``timeRange`` ends today, or is given by its first and last day as `2026-10-01..2026-10-31`. By person,
    those are named whom the caller may see, and each is told of it; all others are one row. By
    hour nothing is told of days on which just one person beside the caller worked; types and languages
    in which just one did are one row.
    """
    viewer, zone = _viewer(), calendar().zone
    project = access.fetch(session(), viewer, Action.VIEW_PROJECT, Project, asked.project_id)
    question = aggregates.read(asked, project, now(), zone)
    people = aggregates.seen(session(), viewer, project) if asked.group_by == "person" else []
    tag = numbered.tag(
        viewer,
        (project.public_id, project.generation, *question.parts()),
        [(each.public_id, each.name, each.is_member) for each in people],
    )
    if not _shows_others(viewer, people) and (unchanged := numbered.unchanged(tag)) is not None:
        return unchanged
    server = context().server(calendar())
    counted = kept.read(session(), context().cache, server, project, question.question)
    found = aggregates.answer(question, counted, viewer, people, zone)
    _leave_receipts(viewer, _named(found, people), question.range, "metrics", project)
    return numbered.unchanged(tag) or numbered.answer(found, found.rows, tag, found.next)


def _viewer() -> Person:
    return bearer.current(session()).person


def _shows_others(viewer: Person, people: Sequence[Seen]) -> bool:
    return any(each.id != viewer.id for each in people)


def _named(found: Aggregate, people: Sequence[Seen]) -> list[UUID]:
    groups = {row.group for row in found.rows}
    return [each.public_id for each in people if str(each.public_id) in groups]


def _days(asked: AskActivity) -> Range:
    """Raise Invalid for dates that are none."""
    zone = calendar().zone
    last = windows.day_of(now(), zone) if asked.until is None else ranges.parse_day(asked.until)
    first = last - timedelta(days=_DAYS - 1) if asked.since is None else ranges.parse_day(asked.since)
    return ranges.between(first, last, "team", zone)


def _leave_receipts(
    viewer: Person, shown: Sequence[UUID], days: Range, page: str, project: Project | None = None
) -> None:
    """Nothing of others is told before this is committed, not even that it is as before."""
    others = [each for each in shown if each != viewer.public_id]
    if not others:
        return

    def work(writing: Session, by: Actor) -> None:
        if project is not None:  # it is not in the address, where ``guard`` would look again
            access.fetch(writing, by.who(), Action.VIEW_PROJECT, Project, project.public_id)
        receipts.note_views(writing, by, others, days.first, days.last, page)

    guard.act(work)
