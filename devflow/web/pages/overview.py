"""Where one lands: what moved, and who, today and this week in all projects that the viewer may see."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from devflow import access, activity, projects, windows
from devflow.access import Action
from devflow.accounts import devices
from devflow.activity import NOTHING, Numbers, Overview, PersonWeek, ProjectRow, Seen
from devflow.errors import Invalid
from devflow.live import Watched
from devflow.models import Project, Team
from devflow.web import addresses, charts, guard, live
from devflow.web.charts import Point
from devflow.web.current import calendar, context, now, session
from devflow.web.i18n import said
from devflow.web.pages import bp, labels, looks
from devflow.web.session import viewer
from devflow.web.tables import Table

PROJECTS: Final = Table[ProjectRow](
    "projects",
    {
        "project": lambda row: row.project.name,
        "commits": lambda row: row.numbers.commits,
        "insertions": lambda row: row.numbers.insertions,
        "deletions": lambda row: row.numbers.deletions,
        "files": lambda row: row.numbers.files_changed,
        "active_s": lambda row: row.numbers.active_s,
        "last_active": lambda row: None if row.last_active is None else row.last_active.isoformat(),
    },
)


@bp.get("/")
@guard.needs(Action.USE_OWN)
def overview() -> ResponseReturnValue:
    return _show()


@bp.post("/projects")
@guard.needs(Action.CREATE_PROJECTS)
def create_project() -> ResponseReturnValue:
    name = request.form.get("name", "")
    try:
        project_id = guard.act(lambda writing, by: projects.create(writing, by, name).public_id)
    except Invalid as error:
        return _show(422, name=name, wrong=said(error))
    return redirect(url_for("pages.project", project_id=project_id))


@dataclass(frozen=True, slots=True)
class Look:
    """What decides what is shown: which projects, whose members are counted, who of them is named."""

    projects: tuple[int, ...]
    members: tuple[int, ...]
    named: tuple[Seen, ...]
    order: str


@dataclass(frozen=True, slots=True)
class Mover:
    """A person of the table of who moved; ``week`` is None for nothing at all in two months."""

    person: Seen
    week: PersonWeek | None


def _numbers(row: Mover) -> Numbers:
    return NOTHING if row.week is None else row.week.week


PEOPLE: Final = Table[Mover](
    "people",
    {
        "person": lambda row: row.person.name,
        "commits": lambda row: _numbers(row).commits,
        "insertions": lambda row: _numbers(row).insertions,
        "deletions": lambda row: _numbers(row).deletions,
        "files": lambda row: _numbers(row).files_changed,
        "active_s": lambda row: _numbers(row).active_s,
        "active_s_before": lambda row: 0 if row.week is None else row.week.week_before.active_s,
        "last_active": lambda row: (
            row.week.last_active.isoformat()
            if row.week is not None and row.week.last_active is not None
            else None
        ),
    },
)


def _show(status: int = 200, *, name: str = "", wrong: str | None = None) -> Response:
    visible = session().scalars(access.visible(viewer(), Action.VIEW_PROJECT, Project)).all()
    team = _team()
    look = _look(tuple(sorted(project.id for project in visible)), team)
    today = windows.day_of(now(), calendar().zone)
    looks.leave(look.named, today - timedelta(days=today.weekday() + 7), today, "overview")
    return live.page(
        "overview/page.html",
        key=(look.projects, look.members, look.named, look.order),
        watched=Watched.of(visible, (), now()),
        panels=lambda: _panels(look),
        exports={
            "projects": lambda: PROJECTS.csv(
                PROJECTS.sorted(_found(look.projects).projects, PROJECTS.order())
            ),
            "people": lambda: PEOPLE.csv(PEOPLE.sorted(_movers(_found(look.projects), look), PEOPLE.order())),
        },
        status=status,
        today=today,
        has_projects=bool(look.projects),
        has_pc=not live.is_whole() or devices.has_one_in_use(session(), viewer()),
        # Who is shown no people has none to choose from.
        teams=_teams() if look.named or team else [],
        team=team,
        may_create=access.may(viewer(), Action.CREATE_PROJECTS),
        name=name,
        wrong=wrong,
    )


def _look(project_ids: tuple[int, ...], team: Team | None) -> Look:
    members, seen = activity.of_projects(session(), viewer(), project_ids, team)
    # Who may see nobody else by name shares the page with all who may not.
    named = tuple(seen) if any(each.id != viewer().id for each in seen) else ()
    order = f"{PROJECTS.name}:{PROJECTS.order()} {PEOPLE.name}:{PEOPLE.order()}"
    return Look(project_ids, tuple(members), named, order)


def _team() -> Team | None:
    """The team that the address names; raise Invalid for no id, NotFound for none that the viewer may see."""
    team_id = addresses.public_id("team")
    return None if team_id is None else access.fetch(session(), viewer(), Action.VIEW_TEAM, Team, team_id)


def _teams() -> Sequence[Team]:
    return session().scalars(access.visible(viewer(), Action.VIEW_TEAM, Team).order_by(Team.name)).all()


def _found(ids: Sequence[int]) -> Overview:
    asked = select(Project).where(Project.id.in_(ids), Project.deleted_at.is_(None)).order_by(Project.name)
    shown = session().scalars(asked).all()
    return activity.overview(session(), shown, now(), context().cache, context().server(calendar()))


def _panels(look: Look) -> live.Draw:
    """What everybody sees alike who may see these projects and these people."""

    @functools.cache
    def found() -> Overview:
        return _found(look.projects)

    def plain() -> Mapping[str, Any]:
        return {"found": found()}

    if not look.projects:
        return {}
    return {
        "fresh": plain,
        "week": lambda: {"found": found(), "yesterday": found().days[-2].date},
        "trend": lambda: {"found": found(), "chart": _chart(found())},
        "people": lambda: {
            "rows": PEOPLE.sorted(_movers(found(), look), PEOPLE.order()),
            "table": PEOPLE,
            "order": PEOPLE.order(),
            "members": len(look.members),
            "moved": sum(_has_moved(found(), person_id) for person_id in look.members),
            "today": found().days[-1].date,
        },
        "projects": lambda: {
            "rows": PROJECTS.sorted(found().projects, PROJECTS.order()),
            "table": PROJECTS,
            "order": PROJECTS.order(),
            "sparks": {
                row.project.id: charts.spark([day.numbers.commits for day in row.days])
                for row in found().projects
            },
        },
    }


def _movers(found: Overview, look: Look) -> list[Mover]:
    """Who did most comes first, unless another order is asked for."""
    rows = [Mover(person, found.people.get(person.id)) for person in look.named]
    return sorted(rows, key=lambda row: -(_numbers(row).active_s or 0))


def _has_moved(found: Overview, person_id: int) -> bool:
    person = found.people.get(person_id)
    return person is not None and not person.week.is_empty


def _chart(found: Overview) -> charts.Chart:
    points = [
        Point(labels.commits(day.date, day.date, day.numbers), day.numbers.commits) for day in found.days
    ]
    return charts.chart(points, labels.axis([(day.date, day.date) for day in found.days]), charts.counts)
