"""The audit trail for those who may read it: in words, filtered, and as a file to keep elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from flask import Response, abort, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import audit, rollups, windows
from devflow.access import Action
from devflow.audit import Act, Actor, Filter
from devflow.context import Context
from devflow.errors import Invalid
from devflow.models import AuditEntry, Person, Workspace
from devflow.web import csv_lines, guard, htmx
from devflow.web.current import calendar, context, now, session
from devflow.web.pages import acts, bp, ranges
from devflow.web.session import viewer

PER_PAGE: Final = 50
FILTERS: Final = ("actor", "subject", "act", "from", "to", "refused")
COLUMNS: Final = (
    "id",
    "time",
    "actor",
    "actor_name",
    "act",
    "subject",
    "subject_name",
    "person",
    "person_name",
    "refused",
    "detail",
)


@bp.get("/audit")
@guard.needs(Action.READ_AUDIT)
def audit_trail() -> ResponseReturnValue:
    """Reading the trail leaves no entry, but reading what it has of one other person does: their receipt."""
    which, before = _filter(request.args), _number(request.args, "before")
    whose = which.actor or which.subject
    if before is None and whose is not None and whose != viewer().public_id:
        guard.act(lambda writing, by: _note_reading(writing, by, whose))
    found = audit.entries(session(), which, before, PER_PAGE + 1)
    to_come = rollups.wanted(session())
    chosen = {name: request.args[name] for name in FILTERS if request.args.get(name)}
    return htmx.render(
        "audit/page.html",
        entries=acts.tell(session(), found[:PER_PAGE]),
        older=found[PER_PAGE - 1].id if len(found) > PER_PAGE else None,
        is_newest=before is None,
        chosen=chosen,
        people=session().execute(
            select(Person.public_id, Person.name).where(Person.erased_at.is_(None)).order_by(Person.name)
        ),
        acts=sorted(Act),
        workspace=session().get_one(Workspace, 1),
        next_zone=None if to_come is None else to_come.zone.key,
        next_limit_s=None if to_come is None else to_come.idle_limit_ms // 1_000,
    )


def _note_reading(writing: Session, by: Actor, whose: UUID) -> None:
    if writing.scalar(select(Person.id).where(Person.public_id == whose)) is not None:
        audit.record(writing, by, Act.TRAIL_READ, whose)


@bp.get("/audit/export.<form>")
@guard.needs(Action.READ_AUDIT)
def export_audit(form: str) -> ResponseReturnValue:
    """All entries that the filters leave, oldest first; the export's own entry is the newest of them."""
    if form not in _FORMS:
        abort(404)
    which = _filter(request.args)
    guard.act(lambda writing, by: audit.record(writing, by, Act.TRAIL_EXPORTED, form=form))
    with context().database.reading() as reading:  # not the request's, which may be of before the act
        last = audit.head(reading).number
    kind, lines = _FORMS[form]
    day = windows.day_of(now(), calendar().zone)
    return Response(
        _pages(context(), which, last, lines),
        content_type=f"{kind}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="devflow-audit-{day}.{form}"'},
    )


Lines = Callable[[Session, Sequence[AuditEntry], bool], str]


def _pages(found: Context, which: Filter, last: int, lines: Lines) -> Iterator[str]:
    """The file, a page a transaction: a slow reader holds no view of the database open."""
    after, is_first = 0, True
    while after < last or is_first:
        with found.database.reading() as reading:
            entries = audit.entries_between(reading, which, after, last)
            text = lines(reading, entries, is_first)
            after, is_first = entries[-1].id if entries else last, False
        yield text


def _csv(reading: Session, entries: Sequence[AuditEntry], is_first: bool) -> str:
    called = acts.names(reading, entries)
    lines = [csv_lines.line(COLUMNS)] if is_first else []
    for each in entries:
        row = (
            each.id,
            datetime.fromtimestamp(each.at / 1_000, UTC).isoformat(timespec="milliseconds"),
            each.actor or "",
            "" if each.actor is None else called.people.get(each.actor, ""),
            each.act,
            each.subject or "",
            "" if each.subject is None else called.of(each.subject, ""),
            each.person or "",
            "" if each.person is None else called.people.get(each.person, ""),
            "yes" if each.is_refused else "no",
            each.detail,
        )
        lines.append(csv_lines.line(row))
    return "".join(lines)


def _jsonl(_reading: Session, entries: Sequence[AuditEntry], _is_first: bool) -> str:
    """As stored, hash included: all that the hash covers, letter for letter."""
    return "".join(msgspec.json.encode(_plain(entry)).decode() + "\n" for entry in entries)


def _plain(entry: AuditEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": entry.at,
        "actor": entry.actor,
        "act": entry.act,
        "subject": entry.subject,
        "person": entry.person,
        "isRefused": entry.is_refused,
        "detail": entry.detail,
        "hash": entry.hash.hex(),
    }


_FORMS: Final[dict[str, tuple[str, Lines]]] = {
    "csv": ("text/csv", _csv),
    "jsonl": ("application/x-ndjson", _jsonl),
}


def _filter(query: Mapping[str, str]) -> Filter:
    """Raise Invalid naming what was expected and what came."""
    zone = calendar().zone
    first, last = (ranges.day(query, name) if query.get(name) else None for name in ("from", "to"))
    act = query.get("act") or None
    if act is not None and act not in set(Act):
        raise Invalid(f"expected act to be one of {', '.join(sorted(Act))}, got {act[:40]!r}")
    return Filter(
        actor=_id(query, "actor"),
        subject=_id(query, "subject"),
        act=act,
        since_ms=None if first is None else windows.day_window(first, zone).start_ms,
        until_ms=None if last is None else windows.day_window(last, zone).end_ms,
        refused_only=bool(query.get("refused")),
    )


def _id(query: Mapping[str, str], name: str) -> UUID | None:
    given = query.get(name)
    try:
        return UUID(given) if given else None
    except ValueError as error:
        raise Invalid(f"expected {name} to be an id, got {str(given)[:40]!r}") from error


def _number(query: Mapping[str, str], name: str) -> int | None:
    given = query.get(name)
    if not given:
        return None
    if not (given.isascii() and given.isdecimal() and len(given) <= 18):
        raise Invalid(f"expected {name} to be a number, got {given[:40]!r}")
    return int(given)
