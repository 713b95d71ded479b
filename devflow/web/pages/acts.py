"""The trail in words: one sentence for each act, told of others on its page and to oneself on receipts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from markupsafe import Markup, escape
from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow.audit import Act
from devflow.models import AuditEntry, Device, Person, Project, Role, Team
from devflow.receipts import Receipt, Who
from devflow.web import i18n
from devflow.web.i18n import gettext
from devflow.web.pages import bp, words

_KINDS: Final[tuple[type[Any], ...]] = (Project, Team, Device)


@dataclass(frozen=True, slots=True)
class Told:
    """An entry as the trail's page shows it; ``details`` are pairs of a word and what it is."""

    entry: AuditEntry
    sentence: Markup
    details: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Names:
    """What the people and things of some entries are called today. Erased ones are called nothing."""

    people: dict[UUID, str]
    things: dict[UUID, str]

    def who(self, actor: UUID | None) -> str:
        if actor is None:
            return _nobody()
        return self.people.get(actor) or gettext("A former member")

    def whom(self, entry: AuditEntry) -> str:
        """The person it was done to."""
        person = entry.person if entry.subject is None or entry.person is not None else entry.subject
        if person is None:
            return gettext("somebody unknown")
        return self.people.get(person) or gettext("a former member")

    def what(self, subject: UUID | None, act: str) -> str:
        if subject is None:
            return gettext("the workspace") if act == Act.REFUSED else "\N{EM DASH}"
        return self.of(subject, str(subject))

    def of(self, public_id: UUID, unknown: str) -> str:
        """The name of the person or thing, else ``unknown``."""
        return self.people.get(public_id) or self.things.get(public_id) or unknown


def names(session: Session, entries: Iterable[AuditEntry]) -> Names:
    """A statement for each kind of thing, however many entries there are."""
    ids = {
        found for each in entries for found in (each.actor, each.subject, each.person) if found is not None
    }
    people = session.execute(
        select(Person.public_id, Person.name).where(Person.public_id.in_(ids), Person.erased_at.is_(None))
    )
    by_person = {row.public_id: row.name for row in people}
    things: dict[UUID, str] = {}
    for kind in _KINDS:
        rows = session.execute(select(kind.public_id, kind.name).where(kind.public_id.in_(ids)))
        things.update({row.public_id: row.name for row in rows})
    return Names(by_person, things)


def tell(session: Session, entries: Sequence[AuditEntry]) -> list[Told]:
    called = names(session, entries)
    return [_told(entry, called) for entry in entries]


def _told(entry: AuditEntry, called: Names) -> Told:
    detail, whom = json.loads(entry.detail), _strong(called.whom(entry))
    filled = escape(sentence(entry.act)) % {
        "who": _strong(called.who(entry.actor)),
        "it": _strong(called.what(entry.subject, entry.act)),
        "whom": whom,
        "whose": escape(gettext("%(name)s's")) % {"name": whom},
        "role": _role(detail),
    }
    return Told(entry, filled, _details(detail))


def _strong(name: str) -> Markup:
    return Markup("<strong>{}</strong>").format(name)


@bp.app_template_filter("receipt")
def receipt(found: Receipt) -> str:
    """The same sentence to the person it was done to."""
    text = sentence(found.act) % {
        "who": _by(found.by),
        "it": found.device or found.place or _unseen(found.act),
        "whom": gettext("you"),
        "whose": gettext("your"),
        "role": _role(found.detail),
    }
    if found.act == Act.PERSON_VIEWED:
        first, last = (date.fromisoformat(found.detail[end]) for end in ("from", "to"))
        text = gettext("%(what)s, %(span)s", what=text, span=i18n.span(first, last))
    return text


def _by(by: str | Who) -> str:
    match by:
        case Who.SERVER:
            return _nobody()
        case Who.FORMER_MEMBER:
            return gettext("A former member")
        case _:
            return by


def _nobody() -> str:
    return gettext("The server, or somebody unknown,")


def _unseen(act: str) -> str:
    """What stands for a place that the person sees no more; else it is the person."""
    is_place = act.startswith(("team.", "project."))
    return gettext("(you are no longer in it)") if is_place else gettext("you")


def _role(detail: dict[str, Any]) -> str:
    """The role that was given; an entry without one is of no act that gives any."""
    held = detail.get("role") or detail.get("now")
    return words.role(Role(held)) if held in set(Role) else "\N{EM DASH}"


def sentence(act: str) -> str:
    """What was done, to be filled with names.

    ``who`` did it, ``whom`` and ``whose`` are the person it was done to, ``it`` is the thing, and
    ``role`` the one given. Whoever it was done to is told the same with "you" and "your".
    """
    try:
        return _sentence(Act(act))
    except ValueError:  # an act of a newer or an older server
        return gettext("%(who)s: an act that this version has no words for, to %(it)s")


@bp.app_template_filter("deed")
def deed(act: str) -> str:
    """The sentence with nobody and nothing in it, to choose acts by."""
    gap = "\N{HORIZONTAL ELLIPSIS}"
    text = sentence(act) % dict.fromkeys(("who", "it", "whom", "whose", "role"), gap)
    text = text.strip(f"{gap}: ")
    return text[:1].upper() + text[1:]


def _sentence(act: Act) -> str:
    # A table whose gaps mypy finds.
    match act:
        case Act.WORKSPACE_MADE:
            return gettext("%(who)s made this workspace")
        case Act.SIGNED_IN:
            return gettext("%(who)s signed in")
        case Act.SIGNED_OUT:
            return gettext("%(who)s signed out")
        case Act.PROJECT_MADE:
            return gettext("%(who)s made the project %(it)s")
        case Act.EVENTS_CONFLICT:
            return gettext("%(who)s sent other content under ids already stored, from %(it)s")
        case Act.AUTHORS_TOLD:
            return gettext("%(who)s told which commit addresses are their own")
        case Act.PERSON_MADE:
            return gettext("%(who)s made %(whose)s account")
        case Act.DEVICE_ENROLLED:
            return gettext("%(who)s connected the PC %(it)s")
        case Act.SETTINGS_SHARED:
            return gettext("%(who)s changed settings for all their PCs, on the PC %(it)s")
        case Act.TOKENS_ISSUED:
            return gettext("%(who)s signed a program in, on the PC %(it)s")
        case Act.TOKENS_RENEWED:
            return gettext("A program of %(who)s renewed its tokens, on the PC %(it)s")
        case Act.TOKEN_REUSED:
            return gettext("A used token was shown again, on the PC %(it)s: its log-in was ended")
        case Act.SECRET_CHANGED:
            return gettext("%(who)s sealed the keys under another secret")
        case Act.CALENDAR_CHANGED:
            return gettext("%(who)s counted all numbers anew, by another time zone or idle limit")
        case Act.KEY_ROTATED:
            return gettext("%(who)s made a new key")
        case Act.KEY_DELETED:
            return gettext("%(who)s deleted a key that nothing was sealed with any more")
        case Act.RESTORED:
            return gettext("%(who)s found that a backup was restored: agents send again what it lost")
        case Act.SIGN_IN_REFUSED:
            return gettext("Somebody was not let in as %(whom)s")
        case Act.CODE_AWAITED:
            return gettext("Somebody showed %(whose)s password, and no code yet")
        case Act.CONFIRMATION_REFUSED:
            return gettext("%(who)s gave a wrong password to confirm something")
        case Act.PASSWORD_CHANGED:
            return gettext("%(who)s changed their own password")
        case Act.SECOND_FACTOR_OFFERED:
            return gettext("%(who)s began to set up a second factor")
        case Act.SECOND_FACTOR_ON:
            return gettext("%(who)s switched the second factor on")
        case Act.SECOND_FACTOR_OFF:
            return gettext("%(who)s switched the second factor off")
        case Act.RECOVERY_CODES_MADE:
            return gettext("%(who)s made new recovery codes")
        case Act.RECOVERY_CODE_USED:
            return gettext("%(who)s signed in with a recovery code")
        case Act.SESSION_ENDED:
            return gettext("%(who)s ended a browser session")
        case Act.SESSIONS_ENDED:
            return gettext("%(who)s ended the other browser sessions")
        case Act.PROJECT_RENAMED:
            return gettext("%(who)s renamed the project %(it)s")
        case Act.PROJECT_DELETED:
            return gettext("%(who)s deleted the project %(it)s")
        case Act.PROJECT_PURGED:
            return gettext("%(who)s emptied the deleted project %(it)s")
        case Act.PROJECT_MEMBER_ADDED:
            return gettext("%(who)s added %(whom)s to the project %(it)s as %(role)s")
        case Act.PROJECT_MEMBER_ROLE:
            return gettext("%(who)s made %(whom)s %(role)s in the project %(it)s")
        case Act.PROJECT_MEMBER_REMOVED:
            return gettext("%(who)s removed %(whom)s from the project %(it)s")
        case Act.PROJECT_MEMBER_LEFT:
            return gettext("%(who)s left the project %(it)s")
        case Act.TEAM_MADE:
            return gettext("%(who)s made the team %(it)s")
        case Act.TEAM_RENAMED:
            return gettext("%(who)s renamed the team %(it)s")
        case Act.TEAM_DELETED:
            return gettext("%(who)s deleted the team %(it)s")
        case Act.TEAM_MEMBER_ADDED:
            return gettext("%(who)s added %(whom)s to the team %(it)s as %(role)s")
        case Act.TEAM_MEMBER_ROLE:
            return gettext("%(who)s made %(whom)s %(role)s in the team %(it)s")
        case Act.TEAM_MEMBER_REMOVED:
            return gettext("%(who)s removed %(whom)s from the team %(it)s")
        case Act.TEAM_MEMBER_LEFT:
            return gettext("%(who)s left the team %(it)s")
        case Act.PERSON_RENAMED:
            return gettext("%(who)s changed their own name")
        case Act.ROLE_CHANGED:
            return gettext("%(who)s made %(whom)s %(role)s in the whole workspace")
        case Act.PERSON_DEACTIVATED:
            return gettext("%(who)s deactivated %(whose)s account")
        case Act.PERSON_REACTIVATED:
            return gettext("%(who)s let %(whom)s in again")
        case Act.SECOND_FACTOR_DROPPED:
            return gettext("%(who)s switched %(whose)s second factor off")
        case Act.RESET_MADE:
            return gettext("%(who)s made a link to set %(whose)s password anew")
        case Act.PASSWORD_RESET:
            return gettext("By a link %(whose)s password was set anew")
        case Act.INVITATION_MADE:
            return gettext("%(who)s made an invitation")
        case Act.INVITATION_WITHDRAWN:
            return gettext("%(who)s withdrew an invitation")
        case Act.INVITATION_ACCEPTED:
            return gettext("An invitation was accepted by %(whom)s")
        case Act.DELETION_ASKED:
            return gettext("%(who)s asked to be deleted")
        case Act.DELETION_WITHDRAWN:
            return gettext("%(who)s no longer wants to be deleted")
        case Act.DELETION_CONFIRMED:
            return gettext("%(who)s confirmed %(whose)s deletion")
        case Act.PERSON_ERASED:
            return gettext("%(who)s erased %(whose)s account")
        case Act.PERSON_VIEWED:
            return gettext("%(who)s looked at %(whose)s days")
        case Act.DATA_EXPORTED:
            return gettext("%(who)s exported %(whose)s data")
        case Act.DEVICE_RENAMED:
            return gettext("%(who)s renamed the PC %(it)s")
        case Act.DEVICE_REVOKED:
            return gettext("%(who)s revoked the PC %(it)s")
        case Act.DEVICE_READMITTED:
            return gettext("%(who)s let the revoked PC %(it)s in again")
        case Act.PAIRING_STARTED:
            return gettext("A PC asked to be paired")
        case Act.PAIRING_APPROVED:
            return gettext("%(who)s approved the pairing of the PC %(it)s")
        case Act.PAIRING_DENIED:
            return gettext("%(who)s denied the pairing of a PC")
        case Act.TOKENS_ENDED:
            return gettext("%(who)s signed a program out, on the PC %(it)s")
        case Act.REFUSED:
            return gettext("%(who)s asked for %(it)s")
        case Act.TRAIL_READ:
            return gettext("%(who)s read what the trail has of %(whom)s")
        case Act.TRAIL_EXPORTED:
            return gettext("%(who)s exported the audit trail")
        case Act.RETENTION_CHANGED:
            return gettext("%(who)s changed how long events are kept")
        case Act.EVENTS_EXPIRED:
            return gettext("%(who)s deleted events that were older than events are kept")
        case Act.ROLLUPS_WRONG:
            return gettext("%(who)s found numbers that are not what the events say")
        case Act.ROLLUPS_REPAIRED:
            return gettext("%(who)s put numbers right that were not what the events say")


def _details(detail: dict[str, Any]) -> list[tuple[str, str]]:
    """The entry's own words, counts and instants (``..._at``); of a list its length."""
    return [
        (word.removesuffix("_at").replace("_", " "), i18n.moment(value))
        if word.endswith("_at")
        else (word.replace("_", " "), _shown(value))
        for word, value in detail.items()
    ]


def _shown(value: Any) -> str:
    match value:
        case None:
            return gettext("none")
        case bool():
            return gettext("yes") if value else gettext("no")
        case int():
            return i18n.number(value)
        case list() | dict():
            return i18n.number(len(value))
        case _:
            return str(value)
