"""The teams that the viewer belongs to or manages, and the form for a new one."""

from __future__ import annotations

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from devflow import access, teams
from devflow.access import Action
from devflow.errors import Invalid
from devflow.models import Role
from devflow.web import guard, htmx
from devflow.web.current import session
from devflow.web.i18n import said
from devflow.web.pages import bp
from devflow.web.session import viewer


@bp.get("/teams", endpoint="teams")
@guard.needs(Action.USE_OWN)
def show() -> ResponseReturnValue:
    return _show()


@bp.post("/teams")
@guard.needs(Action.CREATE_TEAMS)
def create_team() -> ResponseReturnValue:
    name, joins = request.form.get("name", ""), "outside" not in request.form
    try:
        team_id = guard.act(lambda writing, by: teams.create(writing, by, name, joins=joins).public_id)
    except Invalid as error:
        return _show(422, name=name, joins=joins, wrong=said(error))
    return redirect(url_for("pages.team_members", team_id=team_id))


def _show(status: int = 200, *, name: str = "", joins: bool = True, wrong: str | None = None) -> Response:
    return htmx.render(
        "teams/page.html",
        status,
        teams=teams.listed(session(), viewer()),
        may_create=access.may(viewer(), Action.CREATE_TEAMS),
        # Whoever manages every team may make one without joining it.
        may_stay_outside=viewer().role == Role.ADMIN,
        name=name,
        joins=joins,
        wrong=wrong,
    )
