"""Our own words - roles, permissions, acts, kinds of events - in the reader's language."""

from __future__ import annotations

from datetime import date

from devflow.access import Action
from devflow.audit import Act
from devflow.models import Role
from devflow.receipts import Receipt, Who
from devflow.web import i18n
from devflow.web.i18n import gettext
from devflow.wire import EventType


def role(held: Role) -> str:
    match held:
        case Role.DEVELOPER:
            return gettext("developer")
        case Role.LEAD:
            return gettext("lead")
        case Role.MANAGER:
            return gettext("manager")
        case Role.ADMIN:
            return gettext("admin")


def action(allowed: Action) -> str:
    """What somebody may do, after "may"; an action without words goes by its own name."""
    words = {
        Action.USE_OWN: gettext("use your account"),
        Action.SYNC: gettext("connect your PCs"),
        Action.CREATE_PROJECTS: gettext("make projects"),
        Action.CREATE_TEAMS: gettext("make teams"),
        Action.MANAGE_PEOPLE: gettext("invite people and manage accounts"),
        Action.MANAGE_DEVICES: gettext("manage everybody's PCs"),
        Action.MANAGE_KEYS: gettext("manage the server's keys"),
        Action.MANAGE_RETENTION: gettext("set how long events are kept"),
        Action.READ_AUDIT: gettext("read the audit trail"),
        Action.VIEW_PROJECT: gettext("see a project's totals"),
        Action.SEND_EVENTS: gettext("send events to a project"),
        Action.MANAGE_PROJECT: gettext("manage a project and its members"),
        Action.VIEW_TEAM: gettext("see a team's totals"),
        Action.MANAGE_TEAM: gettext("manage a team and its members"),
        Action.VIEW_PERSON: gettext("see the days of its members, leaving a receipt"),
        Action.ASSIGN_PERSON: gettext("put people into teams and projects"),
        Action.MANAGE_PERSON: gettext("manage a person's account"),
        Action.REVOKE_DEVICE: gettext("cut off anybody's PC"),
    }
    return words.get(allowed) or _plain(allowed)


def event_type(kind: EventType) -> str:
    match kind:
        case EventType.FILE_SAVED:
            return gettext("Files saved")
        case EventType.FILE_CREATED:
            return gettext("Files created")
        case EventType.FILE_DELETED:
            return gettext("Files deleted")
        case EventType.FILE_RENAMED:
            return gettext("Files renamed")
        case EventType.COMMIT:
            return gettext("Commits")
        case EventType.MERGE:
            return gettext("Merges")
        case EventType.COMMIT_FILES:
            return gettext("Further files of large commits")
        case EventType.BRANCH_SWITCHED:
            return gettext("Branches switched")
        case EventType.BRANCH_CREATED:
            return gettext("Branches created")
        case EventType.BRANCH_DELETED:
            return gettext("Branches deleted")
        case EventType.TAG_CREATED:
            return gettext("Tags created")


def receipt(found: Receipt) -> str:
    """What was done, as a sentence to the person it was done to."""
    text = _sentence(found, actor(found.by))
    return gettext("%(what)s It was refused.", what=text) if found.is_refused else text


def actor(by: str | Who) -> str:
    match by:
        case Who.SERVER:
            return gettext("The server")
        case Who.FORMER_MEMBER:
            return gettext("A former member")
        case _:
            return by


def _sentence(found: Receipt, who: str) -> str:
    match found.act:
        case Act.PERSON_VIEWED:
            first, last = (date.fromisoformat(found.detail[end]) for end in ("from", "to"))
            return gettext("%(who)s looked at your days, %(span)s.", who=who, span=i18n.span(first, last))
        case Act.DATA_EXPORTED:
            return gettext("%(who)s exported your data.", who=who)
        case Act.PERSON_MADE:
            return gettext("%(who)s made your account.", who=who)
        case Act.TOKEN_REUSED:
            return gettext("A token of your PC %(device)s was used a second time.", device=found.device)
        case _ if found.device is not None:
            return gettext(
                "%(who)s: %(act)s (your PC %(device)s).", who=who, act=_plain(found.act), device=found.device
            )
        case _:
            return gettext("%(who)s: %(act)s (your account).", who=who, act=_plain(found.act))


def _plain(name: str) -> str:
    """``person.role_changed`` as "role changed"."""
    return name.replace(":", ".").rpartition(".")[2].replace("_", " ")
