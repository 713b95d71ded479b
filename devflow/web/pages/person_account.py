"""One person's account, for who manages people: role, access, password, second factor, deletion."""

from __future__ import annotations

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from devflow import access
from devflow.access import Action
from devflow.accounts import directory, erasure, links
from devflow.accounts import people as accounts
from devflow.errors import Invalid
from devflow.models import Person
from devflow.web import guard, htmx
from devflow.web.current import context, session
from devflow.web.i18n import gettext, said
from devflow.web.pages import bp
from devflow.web.pages.people import chosen_role, one_time_address
from devflow.web.session import viewer


@bp.get("/people/<uuid:person_id>/account")
@guard.needs(Action.MANAGE_PERSON)
def person_account(person: Person) -> ResponseReturnValue:
    return _show(person)


@bp.post("/people/<uuid:person_id>/account/role")
@guard.needs(Action.MANAGE_PERSON)
def change_role(person: Person) -> ResponseReturnValue:
    try:
        role = chosen_role("role")
        guard.act(lambda writing, by: accounts.change_role(writing, by, person.public_id, role))
    except Invalid as error:
        return _show(person, 422, wrong=said(error), wrong_at="role")
    return _back(person)


@bp.post("/people/<uuid:person_id>/account/deactivate")
@guard.needs(Action.MANAGE_PERSON)
def deactivate(person: Person) -> ResponseReturnValue:
    try:
        guard.act(lambda writing, by: accounts.deactivate(writing, by, person.public_id))
    except Invalid as error:
        return _show(person, 422, wrong=said(error), wrong_at="access")
    return _back(person)


@bp.post("/people/<uuid:person_id>/account/reactivate")
@guard.needs(Action.MANAGE_PERSON)
def reactivate(person: Person) -> ResponseReturnValue:
    try:
        guard.act(lambda writing, by: accounts.reactivate(writing, by, person.public_id))
    except Invalid as error:
        return _show(person, 422, wrong=said(error), wrong_at="access")
    return _back(person)


@bp.post("/people/<uuid:person_id>/account/reset-link")
@guard.needs(Action.MANAGE_PERSON)
def make_reset_link(person: Person) -> ResponseReturnValue:
    """The answer is the one time that the link is shown: only its hash is kept."""
    try:
        token = guard.act(lambda writing, by: links.make_reset(writing, by, person.public_id))
    except Invalid as error:
        return _show(person, 422, wrong=said(error), wrong_at="password")
    return _show(person, link=one_time_address("pages.new_password", token))


@bp.post("/people/<uuid:person_id>/account/second-factor/off")
@guard.needs(Action.MANAGE_PERSON)
def drop_second_factor(person: Person) -> ResponseReturnValue:
    try:
        guard.act(lambda writing, by: accounts.drop_second_factor(writing, by, person.public_id))
    except Invalid as error:
        return _show(person, 422, wrong=said(error), wrong_at="password")
    return _back(person)


@bp.post("/people/<uuid:person_id>/account/delete")
@guard.needs(Action.MANAGE_PERSON)
def delete_person(person: Person) -> ResponseReturnValue:
    if " ".join(request.form.get("name", "").split()) != person.name:
        wrong = gettext("To delete this account, type the name as it stands above.")
        return _show(person, 422, wrong=wrong, wrong_at="delete")
    try:
        guard.act(lambda writing, by: erasure.confirm(writing, by, person.public_id))
    except Invalid as error:
        return _show(person, 422, wrong=said(error), wrong_at="delete")
    while guard.act_as_nobody(erasure.advance):
        pass
    session().rollback()
    context().database.empty_log()
    return redirect(url_for("pages.people"))


def _show(
    person: Person,
    status: int = 200,
    *,
    link: str | None = None,
    wrong: str | None = None,
    wrong_at: str | None = None,
) -> Response:
    session().rollback()  # what an act has changed is not in the view that the request began with
    entry = directory.entry(session(), viewer(), context().vault, person)
    return htmx.render(
        "person_account/page.html",
        status,
        entry=entry,
        person=person,
        is_own=person.id == viewer().id,
        roles=access.WORKSPACE_ROLES,
        link=link,
        reset_hours=links.RESET_MS // 3_600_000,
        wrong=wrong,
        wrong_at=wrong_at,
    )


def _back(person: Person) -> ResponseReturnValue:
    return redirect(url_for("pages.person_account", person_id=person.public_id))
