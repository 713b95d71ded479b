"""Everybody with an account, and the invitations that are open; for those who manage people."""

from __future__ import annotations

from typing import TypeVar
from uuid import UUID

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from devflow import access
from devflow.access import Action
from devflow.accounts import directory, links
from devflow.accounts.links import Offer
from devflow.errors import Invalid
from devflow.models import Project, Role, Team
from devflow.web import guard, htmx
from devflow.web.current import context, now, session
from devflow.web.i18n import said
from devflow.web.pages import bp
from devflow.web.session import viewer

Place = TypeVar("Place", Team, Project)


@bp.get("/people")
@guard.needs(Action.MANAGE_PEOPLE)
def people() -> ResponseReturnValue:
    return _show()


@bp.post("/people/invitations")
@guard.needs(Action.MANAGE_PEOPLE)
def invite() -> ResponseReturnValue:
    """The answer is the one time that the link is shown: only its hash is kept."""
    try:
        offer = _offer()
        token = guard.act(lambda writing, by: links.invite(writing, by, offer))
    except Invalid as error:
        return _show(422, wrong=said(error))
    return _show(link=one_time_address("pages.invitation", token))


@bp.post("/people/invitations/<uuid:invitation_id>/withdraw")
@guard.needs(Action.MANAGE_PEOPLE)
def withdraw(invitation_id: UUID) -> ResponseReturnValue:
    guard.act(lambda writing, by: links.withdraw(writing, by, invitation_id))
    return redirect(url_for("pages.people"))


def one_time_address(endpoint: str, token: str) -> str:
    """The link as it is handed on: at the address that people use."""
    return context().settings.public_url.rstrip("/") + url_for(endpoint, token=token)


def chosen_role(field: str) -> Role:
    """The role in a field of the form; raise Invalid for no role."""
    given = request.form.get(field, "")
    try:
        return Role(given)
    except ValueError as error:
        raise Invalid("expected a role, got %(given)r", given=given[:20]) from error


def _offer() -> Offer:
    return Offer(
        role=chosen_role("role"),
        team_id=_chosen_id("team"),
        team_role=chosen_role("team_role"),
        project_id=_chosen_id("project"),
        project_role=chosen_role("project_role"),
    )


def _chosen_id(field: str) -> UUID | None:
    given = request.form.get(field, "")
    try:
        return UUID(given) if given else None
    except ValueError as error:
        raise Invalid(f"expected one of the {field}s listed, got {given[:40]!r}") from error


def _show(status: int = 200, *, link: str | None = None, wrong: str | None = None) -> Response:
    session().rollback()  # what an act has changed is not in the view that the request began with
    return htmx.render(
        "people/page.html",
        status,
        entries=directory.everybody(session(), viewer(), context().vault),
        invitations=links.invitations(session(), viewer(), now()),
        invite_days=links.INVITE_MS // 86_400_000,
        link=link,
        wrong=wrong,
        given=request.form,
        teams=_places(Action.MANAGE_TEAM, Team),
        projects=_places(Action.MANAGE_PROJECT, Project),
        roles=access.WORKSPACE_ROLES,
        member_roles=access.MEMBER_ROLES,
    )


def _places(action: Action, kind: type[Place]) -> list[tuple[UUID, str]]:
    """The id and name of each team or project that the viewer may add people to."""
    found = session().scalars(access.visible(viewer(), action, kind).order_by(kind.name))
    return [(each.public_id, each.name) for each in found]
