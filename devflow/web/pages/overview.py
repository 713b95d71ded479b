"""The first page: how the last days went, in all projects the viewer may see."""

from __future__ import annotations

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from devflow import access, activity, projects, windows
from devflow.access import Action
from devflow.errors import Invalid
from devflow.web import charts, guard, htmx
from devflow.web.charts import Point
from devflow.web.current import calendar, context, now, session
from devflow.web.pages import bp, labels
from devflow.web.session import viewer


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
        return _show(422, name=name, wrong=str(error))
    return redirect(url_for("pages.project", project_id=project_id))


def _show(status: int = 200, *, name: str = "", wrong: str | None = None) -> Response:
    zone = calendar().zone
    server = context().server(calendar())
    found = activity.overview(session(), viewer(), now(), context().cache, server)
    points = [
        Point(labels.commits(day.date, day.date, day.numbers), day.numbers.commits) for day in found.days
    ]
    return htmx.render(
        "overview/page.html",
        status,
        retarget="main" if found.is_fresh and htmx.target() == "fresh" else None,
        today=windows.day_of(now(), zone),
        found=found,
        chart=charts.chart(points, labels.axis([(day.date, day.date) for day in found.days]), charts.counts),
        sparks={
            row.project.id: charts.spark([day.numbers.commits for day in row.days]) for row in found.projects
        },
        may_create=access.may(viewer(), Action.CREATE_PROJECTS),
        name=name,
        wrong=wrong,
    )
