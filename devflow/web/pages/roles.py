"""Roles and states by the names that people read."""

from __future__ import annotations

from datetime import date

from devflow import windows
from devflow.accounts.directory import State
from devflow.models import Role
from devflow.web.current import context
from devflow.web.i18n import gettext
from devflow.web.pages import bp


@bp.app_template_filter("role")
def role_name(role: Role) -> str:
    match role:
        case Role.DEVELOPER:
            return gettext("Developer")
        case Role.LEAD:
            return gettext("Lead")
        case Role.MANAGER:
            return gettext("Manager")
        case Role.ADMIN:
            return gettext("Administrator")


@bp.app_template_filter("state")
def state_name(state: State) -> str:
    match state:
        case State.ACTIVE:
            return gettext("active")
        case State.DEACTIVATED:
            return gettext("deactivated")
        case State.LEAVING:
            return gettext("asked to be deleted")


@bp.app_template_filter("day_of")
def day_of(timestamp_ms: int) -> date:
    """The day, in the workspace's time zone, that the instant lies in."""
    return windows.day_of(timestamp_ms, context().calendar.zone)
