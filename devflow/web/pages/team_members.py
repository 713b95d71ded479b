"""The members of a team and as what, with the forms that change them, its name, or end it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from devflow import access, groups, teams
from devflow.access import Action
from devflow.audit import Actor
from devflow.errors import Invalid
from devflow.models import Team
from devflow.web import guard, htmx
from devflow.web.current import session
from devflow.web.i18n import said
from devflow.web.pages import bp, members
from devflow.web.session import viewer


@bp.get("/teams/<uuid:team_id>/members", endpoint="team_members")
@guard.needs(Action.VIEW_TEAM)
def show(team: Team) -> ResponseReturnValue:
    return _show(team)


@bp.post("/teams/<uuid:team_id>/members")
@guard.needs(Action.MANAGE_TEAM)
def add_team_member(team: Team) -> ResponseReturnValue:
    def work(writing: Session, by: Actor) -> None:
        groups.add(writing, by, Team, team.public_id, members.chosen(), members.chosen_role())

    return _change(team, "add", work)


@bp.post("/teams/<uuid:team_id>/members/<uuid:member_id>/role")
@guard.needs(Action.MANAGE_TEAM)
def change_team_member(team: Team, member_id: UUID) -> ResponseReturnValue:
    def work(writing: Session, by: Actor) -> None:
        groups.change_role(writing, by, Team, team.public_id, member_id, members.chosen_role())

    return _change(team, "role", work)


@bp.post("/teams/<uuid:team_id>/members/<uuid:member_id>/remove")
@guard.needs(Action.MANAGE_TEAM)
def remove_team_member(team: Team, member_id: UUID) -> ResponseReturnValue:
    guard.act(lambda writing, by: groups.remove(writing, by, Team, team.public_id, member_id))
    return redirect(_back(team, is_gone=member_id == viewer().public_id))


@bp.post("/teams/<uuid:team_id>/leave")
@guard.needs(Action.VIEW_TEAM)
def leave_team(team: Team) -> ResponseReturnValue:
    guard.act(lambda writing, by: groups.leave(writing, by, Team, team.public_id))
    return redirect(_back(team, is_gone=True))


@bp.post("/teams/<uuid:team_id>/name")
@guard.needs(Action.MANAGE_TEAM)
def rename_team(team: Team) -> ResponseReturnValue:
    name = request.form.get("name", "")
    return _change(
        team, "name", lambda writing, by: groups.rename(writing, by, Team, team.public_id, name), name=name
    )


@bp.post("/teams/<uuid:team_id>/delete")
@guard.needs(Action.MANAGE_TEAM)
def delete_team(team: Team) -> ResponseReturnValue:
    typed = request.form.get("typed", "")
    try:
        guard.act(lambda writing, by: teams.delete(writing, by, team.public_id, typed))
    except Invalid as error:
        return _show(team, 422, wrong={"delete": said(error)})
    return redirect(url_for("pages.teams"))


def _change(
    team: Team, form: str, work: Callable[[Session, Actor], None], *, name: str | None = None
) -> ResponseReturnValue:
    """Do the work and show the members again, or say in the form what is wrong."""
    try:
        guard.act(work)
    except Invalid as error:
        return _show(team, 422, wrong={form: said(error)}, name=name)
    return redirect(_back(team, is_gone=False))


def _back(team: Team, *, is_gone: bool) -> str:
    """The team's members, or the list for somebody whose team it is no more."""
    return url_for("pages.teams") if is_gone else url_for("pages.team_members", team_id=team.public_id)


def _show(
    team: Team, status: int = 200, *, wrong: dict[str, str] | None = None, name: str | None = None
) -> Response:
    may_manage = access.may_on(session(), viewer(), Action.MANAGE_TEAM, team)
    return htmx.render(
        "team_members/page.html",
        status,
        team=team,
        wrong=wrong or {},
        name=team.name if name is None else name,
        **members.shown(team, may_manage=may_manage),
    )
