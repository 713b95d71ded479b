"""Our own words - roles, states, permissions, kinds of events - in the reader's language."""

from __future__ import annotations

from typing import Final

from devflow import pseudonyms
from devflow.access import Action
from devflow.accounts.directory import State
from devflow.models import Role
from devflow.own_feed import ARROW, Entry
from devflow.web.i18n import gettext, ngettext
from devflow.web.pages import bp
from devflow.wire import EventType


@bp.app_template_filter("role")
def role(held: Role) -> str:
    match held:
        case Role.DEVELOPER:
            return gettext("Developer")
        case Role.LEAD:
            return gettext("Lead")
        case Role.MANAGER:
            return gettext("Manager")
        case Role.ADMIN:
            return gettext("Administrator")


@bp.app_template_filter("state")
def state(of: State) -> str:
    match of:
        case State.ACTIVE:
            return gettext("active")
        case State.DEACTIVATED:
            return gettext("deactivated")
        case State.LEAVING:
            return gettext("asked to be deleted")


def action(allowed: Action) -> str:
    """What somebody may do, after "may"."""
    match allowed:
        case Action.USE_OWN:
            return gettext("use your account")
        case Action.SYNC:
            return gettext("connect your PCs")
        case Action.CREATE_PROJECTS:
            return gettext("make projects")
        case Action.CREATE_TEAMS:
            return gettext("make teams")
        case Action.MANAGE_PEOPLE:
            return gettext("invite people and manage accounts")
        case Action.MANAGE_DEVICES:
            return gettext("manage everybody's PCs")
        case Action.MANAGE_KEYS:
            return gettext("manage the server's keys")
        case Action.MANAGE_RETENTION:
            return gettext("set how long events are kept")
        case Action.READ_AUDIT:
            return gettext("read the audit trail")
        case Action.VIEW_PROJECT:
            return gettext("see a project's totals")
        case Action.SEND_EVENTS:
            return gettext("send events to a project")
        case Action.MANAGE_PROJECT:
            return gettext("manage a project and its members")
        case Action.DELETE_PROJECT:
            return gettext("delete a project")
        case Action.VIEW_TEAM:
            return gettext("see a team's totals")
        case Action.MANAGE_TEAM:
            return gettext("manage a team and its members")
        case Action.VIEW_PERSON:
            return gettext("see the days of its members, leaving a receipt")
        case Action.ASSIGN_PERSON:
            return gettext("put people into teams and projects")
        case Action.MANAGE_PERSON:
            return gettext("manage a person's account")
        case Action.REVOKE_DEVICE:
            return gettext("cut off anybody's PC")


@bp.app_template_filter("ref_act")
def ref_act(kind: EventType) -> str:
    """What was done to a branch or a tag."""
    match kind:
        case EventType.BRANCH_SWITCHED:
            return gettext("switched to")
        case EventType.BRANCH_CREATED:
            return gettext("branch created")
        case EventType.BRANCH_DELETED:
            return gettext("branch deleted")
        case EventType.TAG_CREATED:
            return gettext("tag created")
        case other:
            raise AssertionError(f"expected a kind of branches or tags, got {other}")


@bp.app_template_filter("file_name")
def file_name(path: str) -> str:
    """A path, or in words that its developer shares numbers only."""
    if not pseudonyms.is_one(path):
        return path
    ending = pseudonyms.ending_of(path)
    if ending:
        return gettext("a file not named (%(begins)s…, .%(ending)s)", begins=path[:_BEGINS], ending=ending)
    return gettext("a file not named (%(begins)s…)", begins=path[:_BEGINS])


@bp.app_template_filter("ref_name")
def ref_name(name: str, kind: EventType) -> str:
    """The name of a branch or a tag, or in words that its developer shares numbers only."""
    if not pseudonyms.is_one(name):
        return name
    if kind == EventType.TAG_CREATED:
        return gettext("a tag not named (%(begins)s…)", begins=name[:_BEGINS])
    return gettext("a branch not named (%(begins)s…)", begins=name[:_BEGINS])


@bp.app_template_filter("entry_about")
def entry_about(entry: Entry) -> str | None:
    """What an event of one's own is about, as ``Entry.about`` tells."""
    if entry.about is None:
        return None
    if entry.kind in _OF_REFS:
        return ref_name(entry.about, entry.kind)
    return ARROW.join(map(file_name, entry.about.split(ARROW)))


@bp.app_template_test("not_named")
def is_not_named(name: str | None) -> bool:
    return name is not None and pseudonyms.is_one(name)


_BEGINS: Final = 5
"""Characters of a pseudonym: enough to tell the few on a page apart."""
_OF_REFS: Final = frozenset(
    {
        EventType.BRANCH_SWITCHED,
        EventType.BRANCH_CREATED,
        EventType.BRANCH_DELETED,
        EventType.TAG_CREATED,
    }
)


@bp.app_template_filter("event_type")
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


@bp.app_template_filter("did")
def did(kind: EventType) -> str:
    """One event of the kind."""
    match kind:
        case EventType.FILE_SAVED:
            return gettext("File saved")
        case EventType.FILE_CREATED:
            return gettext("File created")
        case EventType.FILE_DELETED:
            return gettext("File deleted")
        case EventType.FILE_RENAMED:
            return gettext("File renamed")
        case EventType.COMMIT:
            return gettext("Commit")
        case EventType.MERGE:
            return gettext("Merge")
        case EventType.COMMIT_FILES:
            return gettext("Further files of a large commit")
        case EventType.BRANCH_SWITCHED:
            return gettext("Branch switched")
        case EventType.BRANCH_CREATED:
            return gettext("Branch created")
        case EventType.BRANCH_DELETED:
            return gettext("Branch deleted")
        case EventType.TAG_CREATED:
            return gettext("Tag created")


def many(kind: EventType, count: int, shown: str) -> str:
    """So many events of the kind, in a sentence."""
    match kind:
        case EventType.FILE_SAVED:
            return ngettext("%(n)s save", "%(n)s saves", count, n=shown)
        case EventType.FILE_CREATED:
            return ngettext("%(n)s new file", "%(n)s new files", count, n=shown)
        case EventType.FILE_DELETED:
            return ngettext("%(n)s deleted file", "%(n)s deleted files", count, n=shown)
        case EventType.FILE_RENAMED:
            return ngettext("%(n)s renamed file", "%(n)s renamed files", count, n=shown)
        case EventType.COMMIT:
            return ngettext("%(n)s commit", "%(n)s commits", count, n=shown)
        case EventType.MERGE:
            return ngettext("%(n)s merge", "%(n)s merges", count, n=shown)
        case EventType.COMMIT_FILES:
            return ngettext("%(n)s part of a large commit", "%(n)s parts of large commits", count, n=shown)
        case EventType.BRANCH_SWITCHED:
            return ngettext("%(n)s switch of branch", "%(n)s switches of branch", count, n=shown)
        case EventType.BRANCH_CREATED:
            return ngettext("%(n)s new branch", "%(n)s new branches", count, n=shown)
        case EventType.BRANCH_DELETED:
            return ngettext("%(n)s deleted branch", "%(n)s deleted branches", count, n=shown)
        case EventType.TAG_CREATED:
            return ngettext("%(n)s tag", "%(n)s tags", count, n=shown)
