"""Where one lands: the week and the last days of all projects the viewer may see."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from devflow import access, activity, projects, windows
from devflow.access import Action
from devflow.activity import Overview, ProjectRow
from devflow.errors import Invalid
from devflow.live import Watched
from devflow.models import Project
from devflow.web import charts, guard, live
from devflow.web.charts import Point
from devflow.web.current import calendar, context, now, session
from devflow.web.i18n import said
from devflow.web.pages import bp, labels
from devflow.web.session import viewer
from devflow.web.tables import Order, Table

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


def _show(status: int = 200, *, name: str = "", wrong: str | None = None) -> Response:
    visible = session().scalars(access.visible(viewer(), Action.VIEW_PROJECT, Project)).all()
    ids = tuple(sorted(project.id for project in visible))
    order = PROJECTS.order()
    return live.page(
        "overview/page.html",
        key=(*ids, str(order)),
        watched=Watched.of(visible, (), now()),
        panels=lambda: _panels(ids, order),
        exports={"projects": lambda: PROJECTS.csv(PROJECTS.sorted(_found(ids).projects, order))},
        status=status,
        today=windows.day_of(now(), calendar().zone),
        has_projects=bool(ids),
        may_create=access.may(viewer(), Action.CREATE_PROJECTS),
        name=name,
        wrong=wrong,
    )


def _found(ids: Sequence[int]) -> Overview:
    asked = select(Project).where(Project.id.in_(ids), Project.deleted_at.is_(None)).order_by(Project.name)
    shown = session().scalars(asked).all()
    return activity.overview(session(), shown, now(), context().cache, context().server(calendar()))


def _panels(ids: Sequence[int], order: Order) -> live.Draw:
    """What everybody sees alike who may see these projects."""

    @functools.cache
    def found() -> Overview:
        return _found(ids)

    def plain() -> Mapping[str, Any]:
        return {"found": found()}

    if not ids:
        return {}
    return {
        "fresh": plain,
        "week": plain,
        "trend": lambda: {"found": found(), "chart": _chart(found())},
        "projects": lambda: {
            "rows": PROJECTS.sorted(found().projects, order),
            "table": PROJECTS,
            "order": order,
            "sparks": {
                row.project.id: charts.spark([day.numbers.commits for day in row.days])
                for row in found().projects
            },
        },
    }


def _chart(found: Overview) -> charts.Chart:
    points = [
        Point(labels.commits(day.date, day.date, day.numbers), day.numbers.commits) for day in found.days
    ]
    return charts.chart(points, labels.axis([(day.date, day.date) for day in found.days]), charts.counts)
