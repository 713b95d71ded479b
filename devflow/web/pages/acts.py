"""The audit trail in words: a sentence for each act, names for the ids in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from markupsafe import Markup, escape
from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow.audit import Act
from devflow.models import AuditEntry, Device, Person, Project, Team
from devflow.web import i18n
from devflow.web.i18n import gettext

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
            return gettext("The server, or somebody unknown,")
        return self.people.get(actor) or gettext("A former member")

    def what(self, subject: UUID | None, act: str) -> str:
        if subject is None:
            return gettext("the workspace") if act == Act.REFUSED else "\N{EM DASH}"
        former = gettext("a former member") if act.startswith("person.") else str(subject)
        return self.of(subject, former)

    def of(self, public_id: UUID, unknown: str) -> str:
        """The name of the person or thing, else ``unknown``."""
        return self.people.get(public_id) or self.things.get(public_id) or unknown


def names(session: Session, entries: Iterable[AuditEntry]) -> Names:
    """A statement for each kind of thing, however many entries there are."""
    ids = {found for entry in entries for found in (entry.actor, entry.subject) if found is not None}
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
    return [Told(entry, _filled(entry, called), _details(entry.detail)) for entry in entries]


def _filled(entry: AuditEntry, called: Names) -> Markup:
    who, it = called.who(entry.actor), called.what(entry.subject, entry.act)
    return escape(sentence(entry.act)) % {
        "who": Markup("<strong>{}</strong>").format(who),
        "it": Markup("<strong>{}</strong>").format(it),
    }


def sentence(act: str) -> str:
    """What was done, with ``%(who)s`` and ``%(it)s`` where the names go."""
    try:
        return _sentence(Act(act))
    except ValueError:  # an act of a newer or an older server
        return gettext("%(who)s: an act that this version has no words for, to %(it)s")


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
            return gettext("%(who)s told which commit addresses are theirs")
        case Act.PERSON_MADE:
            return gettext("%(who)s made the account of %(it)s")
        case Act.DEVICE_ENROLLED:
            return gettext("%(who)s connected the PC %(it)s")
        case Act.TOKENS_ISSUED:
            return gettext("%(who)s signed a program in, on the PC %(it)s")
        case Act.TOKENS_RENEWED:
            return gettext("A program of %(who)s renewed its tokens, on the PC %(it)s")
        case Act.TOKEN_REUSED:
            return gettext("A used token of %(who)s was shown again, on the PC %(it)s: its log-in was ended")
        case Act.REFUSED:
            return gettext("%(who)s asked for %(it)s")
        case Act.TRAIL_READ:
            return gettext("%(who)s read what the trail has of %(it)s")
        case Act.TRAIL_EXPORTED:
            return gettext("%(who)s exported the audit trail")
        case Act.RETENTION_CHANGED:
            return gettext("%(who)s changed how long events are kept")
        case Act.EVENTS_EXPIRED:
            return gettext("%(who)s deleted events that were older than events are kept")


def _details(detail: str) -> list[tuple[str, str]]:
    """The entry's own words and counts; of a list its length."""
    found: dict[str, Any] = json.loads(detail)
    return [(word.replace("_", " "), _shown(value)) for word, value in found.items()]


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
