"""What the pages of a team's and of a project's members share."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import current_app, request

from devflow import groups
from devflow.access import MEMBER_ROLES
from devflow.errors import Invalid
from devflow.models import Project, Team
from devflow.web.current import session
from devflow.web.session import viewer


def shown(group: Team | Project, *, may_manage: bool) -> dict[str, Any]:
    """What the list of members and the forms beside it show to the viewer."""
    found = groups.members(session(), viewer(), group)
    return {
        "members": found,
        "own": next((member for member in found if member.person.id == viewer().id), None),
        "addable": groups.addable(session(), viewer(), group) if may_manage else [],
        "may_manage": may_manage,
        "roles": MEMBER_ROLES,
        "has_person_page": "pages.person" in current_app.view_functions,
    }


def chosen() -> UUID:
    """The person chosen in the form; raise Invalid if nobody is."""
    given = request.form.get("person", "")
    try:
        return UUID(given)
    except ValueError:
        raise Invalid("expected somebody chosen from the list, got %(given)r", given=given[:40]) from None


def chosen_role() -> str:
    return request.form.get("role", "")
