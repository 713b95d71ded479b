"""The ways from page to page that the viewer may go, and which of them leads to where one is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flask import request, url_for

from devflow import access
from devflow.access import Action
from devflow.models import Person, Project, Team
from devflow.web.i18n import gettext
from devflow.web.session import viewer


@dataclass(frozen=True, slots=True)
class Way:
    """``current`` is what ``aria-current`` says: this very page, one below it, or neither."""

    address: str
    text: str
    current: Literal["page", "true"] | None


def main(person: Person) -> list[Way]:
    """What stands in the head of every page."""
    ways = [_way("overview", gettext("Overview"), "/projects")]
    ways.append(_way("feed", gettext("Feed"), "/trace"))
    ways.append(_way("teams", gettext("Teams"), "/teams", is_above=_is_of_another()))
    for endpoint, text, action in (
        ("people", gettext("People"), Action.MANAGE_PEOPLE),
        ("devices", gettext("PCs"), Action.MANAGE_DEVICES),
        ("keys", gettext("Keys"), Action.MANAGE_KEYS),
        ("retention", gettext("Retention"), Action.MANAGE_RETENTION),
        ("audit_trail", gettext("Audit"), Action.READ_AUDIT),
    ):
        if access.may(person, action):
            address = url_for(f"pages.{endpoint}")
            ways.append(_way(endpoint, text, *([] if request.endpoint == "pages.person" else [address])))
    return ways


def own() -> list[Way]:
    """What stands above the pages about oneself."""
    return [
        _way("me", gettext("My data"), "/me/as-seen-by", "/me/receipts", is_above=_is_of_oneself()),
        _way("own_account", gettext("Account"), "/me/account"),
        _way("security", gettext("Security"), "/me/security"),
        _way("my_devices", gettext("PCs"), "/me/devices", "/pair"),
        _way("start", gettext("First steps"), "/start", "/agent"),
    ]


def is_own() -> bool:
    """Whether the page is one of those about oneself."""
    return any(way.current for way in own())


def project(project: Project) -> list[Way]:
    """What stands above the pages of one project."""
    return _group(
        url_for("pages.project", project_id=project.public_id),
        url_for("pages.project_members", project_id=project.public_id),
    )


def team(team: Team) -> list[Way]:
    """What stands above the pages of one team."""
    return _group(
        url_for("pages.team", team_id=team.public_id),
        url_for("pages.team_members", team_id=team.public_id),
    )


def _group(activity: str, members: str) -> list[Way]:
    return [
        _to(activity, gettext("Activity")),
        # Whatever else there is to a project or a team is done on the page of its members.
        _to(members, gettext("Members"), is_above=request.path != activity),
    ]


def _way(endpoint: str, text: str, *below: str, is_above: bool = False) -> Way:
    return _to(url_for(f"pages.{endpoint}"), text, *below, is_above=is_above)


def _to(address: str, text: str, *below: str, is_above: bool = False) -> Way:
    """``below`` are paths: it is above all that they begin."""
    if request.path == address:
        return Way(address, text, "page")
    is_above = is_above or any(f"{request.path}/".startswith(f"{root}/") for root in below)
    return Way(address, text, "true" if is_above else None)


def _is_of_another() -> bool:
    return request.endpoint == "pages.person" and not _is_of_oneself()


def _is_of_oneself() -> bool:
    named = (request.view_args or {}).get("person_id")
    return request.endpoint == "pages.person" and named == viewer().public_id
