"""The ways from page to page that the viewer may go."""

from __future__ import annotations

from dataclasses import dataclass

from flask import request, url_for

from devflow import access
from devflow.access import Action
from devflow.models import Person
from devflow.web.i18n import gettext


@dataclass(frozen=True, slots=True)
class Way:
    address: str
    text: str
    is_here: bool


def main(person: Person) -> list[Way]:
    """What stands in the head of every page."""
    ways = [_way("overview", gettext("Overview"), "project", "project_members")]
    ways.append(_way("teams", gettext("Teams"), "team"))
    for endpoint, text, action, below in (
        ("people", gettext("People"), Action.MANAGE_PEOPLE, ("person_account",)),
        ("devices", gettext("Devices"), Action.MANAGE_DEVICES, ()),
        ("keys", gettext("Keys"), Action.MANAGE_KEYS, ()),
        ("retention", gettext("Retention"), Action.MANAGE_RETENTION, ()),
        ("audit_trail", gettext("Audit"), Action.READ_AUDIT, ()),
    ):
        if access.may(person, action):
            ways.append(_way(endpoint, text, *below))
    return ways


def own() -> list[Way]:
    """What stands at the head of the pages about oneself."""
    return [
        _way("me", gettext("My data"), "as_seen_by", "my_receipts"),
        _way("own_account", gettext("Account")),
        _way("security", gettext("Security"), "new_second_factor"),
        _way("my_devices", gettext("Devices")),
    ]


def _way(endpoint: str, text: str, *below: str) -> Way:
    names = {f"pages.{name}" for name in (endpoint, *below)}
    return Way(url_for(f"pages.{endpoint}"), text, request.endpoint in names)
