"""The members of a project and as what, with the forms that change them, its name, or end it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from devflow import access, groups, projects
from devflow.access import Action
from devflow.audit import Actor
from devflow.errors import Invalid
from devflow.models import Project
from devflow.web import guard, htmx
from devflow.web.current import session
from devflow.web.i18n import said
from devflow.web.pages import bp, members
from devflow.web.session import viewer


@bp.get("/projects/<uuid:project_id>/members", endpoint="project_members")
@guard.needs(Action.VIEW_PROJECT)
def show(project: Project) -> ResponseReturnValue:
    return _show(project)


@bp.post("/projects/<uuid:project_id>/members")
@guard.needs(Action.MANAGE_PROJECT)
def add_project_member(project: Project) -> ResponseReturnValue:
    def work(writing: Session, by: Actor) -> None:
        groups.add(writing, by, Project, project.public_id, members.chosen(), members.chosen_role())

    return _change(project, "add", work)


@bp.post("/projects/<uuid:project_id>/members/<uuid:member_id>/role")
@guard.needs(Action.MANAGE_PROJECT)
def change_project_member(project: Project, member_id: UUID) -> ResponseReturnValue:
    def work(writing: Session, by: Actor) -> None:
        groups.change_role(writing, by, Project, project.public_id, member_id, members.chosen_role())

    return _change(project, "role", work)


@bp.post("/projects/<uuid:project_id>/members/<uuid:member_id>/remove")
@guard.needs(Action.MANAGE_PROJECT)
def remove_project_member(project: Project, member_id: UUID) -> ResponseReturnValue:
    guard.act(lambda writing, by: groups.remove(writing, by, Project, project.public_id, member_id))
    return redirect(_back(project, is_gone=member_id == viewer().public_id))


@bp.post("/projects/<uuid:project_id>/leave")
@guard.needs(Action.VIEW_PROJECT)
def leave_project(project: Project) -> ResponseReturnValue:
    guard.act(lambda writing, by: groups.leave(writing, by, Project, project.public_id))
    return redirect(_back(project, is_gone=True))


@bp.post("/projects/<uuid:project_id>/name")
@guard.needs(Action.MANAGE_PROJECT)
def rename_project(project: Project) -> ResponseReturnValue:
    name = request.form.get("name", "")

    def work(writing: Session, by: Actor) -> None:
        groups.rename(writing, by, Project, project.public_id, name)

    return _change(project, "name", work, name=name)


@bp.post("/projects/<uuid:project_id>/delete")
@guard.needs(Action.DELETE_PROJECT)
def delete_project(project: Project) -> ResponseReturnValue:
    typed = request.form.get("typed", "")
    try:
        guard.act(lambda writing, by: projects.delete(writing, by, project.public_id, typed))
    except Invalid as error:
        return _show(project, 422, wrong={"delete": said(error)})
    return redirect(url_for("pages.overview"))


def _change(
    project: Project, form: str, work: Callable[[Session, Actor], None], *, name: str | None = None
) -> ResponseReturnValue:
    """Do the work and show the members again, or say in the form what is wrong."""
    try:
        guard.act(work)
    except Invalid as error:
        return _show(project, 422, wrong={form: said(error)}, name=name)
    return redirect(_back(project, is_gone=False))


def _back(project: Project, *, is_gone: bool) -> str:
    """The project's members, or the overview for somebody whose project it is no more."""
    if is_gone:
        return url_for("pages.overview")
    return url_for("pages.project_members", project_id=project.public_id)


def _show(
    project: Project, status: int = 200, *, wrong: dict[str, str] | None = None, name: str | None = None
) -> Response:
    may_manage = access.may_on(session(), viewer(), Action.MANAGE_PROJECT, project)
    return htmx.render(
        "project_members/page.html",
        status,
        project=project,
        may_delete=access.may_on(session(), viewer(), Action.DELETE_PROJECT, project),
        wrong=wrong or {},
        name=project.name if name is None else name,
        **members.shown(project, may_manage=may_manage),
    )
