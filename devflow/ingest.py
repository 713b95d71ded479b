"""Acceptance: judge each event of a batch alone, store the new ones, count them, answer for all.

An event is acknowledged only by a transaction that has stored it or found it stored. Sending
anything twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import exists, insert, or_, select, update
from sqlalchemy.orm import Session

from devflow import access, audit, db, retention, rollups, wire
from devflow.access import Action
from devflow.accounts import people
from devflow.audit import Act, Actor
from devflow.crypto import Vault
from devflow.errors import Invalid, Unauthorized
from devflow.models import Device, Event, File, Person, PersonAuthor, Project
from devflow.rollups import NOBODY, TYPE_NUMBER, Calendar, Touched
from devflow.wire import ErrorCode, Received, Refusal


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends, and from which PC: out of the token, not out of the batch."""

    by: Actor
    device: Device

    @property
    def person(self) -> Person:
        return self.by.who()

    @property
    def vault(self) -> Vault:
        return self.by.vault


def accept(session: Session, sender: Sender, batch: wire.Batch, calendar: Calendar) -> wire.BatchResult:
    """Take a batch. Every id sent stands in exactly one list of the answer; the caller commits first."""
    received, refusals = _judge(batch, sender)
    projects = _projects(session, sender.person, received)
    received, unknown = _split(received, lambda event: event.project_id in projects)
    refusals += [_refuse(i, e, ErrorCode.PROJECT, _NO_PROJECT, retryable=True) for i, e in unknown]

    horizon = retention.horizon(session, sender.by.now_ms, calendar)
    _lock_person(session, sender.person)
    db.lock(session, db.Lock.NOBODYS_CELLS, {projects[event.project_id].id for _, event in received})
    stored = _stored(session, [event.id for _, event in received])
    known, new = _split(received, lambda event: event.id in stored)
    contents = {event_id: _content(sender.vault, row) for event_id, row in stored.items()}
    known, damaged = _split(known, lambda event: contents[event.id] is not None)
    refusals += [_refuse(i, e, ErrorCode.DAMAGED, _DAMAGED, retryable=True) for i, e in damaged]
    same, other = _split(known, lambda e: _is_same(stored[e.id], contents[e.id], e, projects))
    refusals += [_refuse(i, e, ErrorCode.CONFLICT, _CONFLICT) for i, e in other]
    new, expired = _split(new, lambda event: event.timestamp >= horizon)
    refusals += [_refuse(i, e, ErrorCode.EXPIRED, _EXPIRED) for i, e in expired]

    authors = set(session.scalars(select(PersonAuthor.author_key).filter_by(person_id=sender.person.id)))
    rows = _rows(session, [event for _, event in new], sender, projects, authors)
    touched = _insert(session, rows) + _claim(session, same, stored, sender.person, authors, horizon)
    rollups.recount(session, touched, calendar)
    session.execute(update(Device).where(Device.id == sender.device.id).values(last_seen_at=sender.by.now_ms))
    if other:
        audit.record(
            session,
            sender.by,
            Act.EVENTS_CONFLICT,
            sender.device.public_id,
            is_refused=True,
            count=len(other),
            events=[event.id for _, event in other[:_CONFLICTS_NAMED]],
        )
    return wire.BatchResult(
        success=not refusals,
        synced_ids=list(dict.fromkeys(str(event.id) for _, event in same + new)),
        errors=sorted(refusals, key=lambda refusal: refusal.index),
    )


DATA: Final = "events.data"
PATH: Final = "files.path"
_Indexed = tuple[int, Received]
_NO_PROJECT: Final = (
    "expected a project that you send to; there is none with this id that you are a member of"
)
_DAMAGED: Final = "this event is stored, but can no longer be read; keep yours until the server's is restored"
_CONFLICT: Final = "an event with this id and other content is stored already; it was not changed"
_EXPIRED: Final = "this event is older than this server keeps events; it was not stored"
_CONFLICTS_NAMED: Final = 20


def _judge(batch: wire.Batch, sender: Sender) -> tuple[list[_Indexed], list[Refusal]]:
    """What can be judged without the database, each event for itself."""
    received: list[_Indexed] = []
    refusals: list[Refusal] = []
    for index, raw in enumerate(batch.events):
        try:
            event = wire.receive(raw)
        except Invalid as error:
            refusals.append(
                Refusal(
                    id=wire.claimed_id(raw),
                    index=index,
                    code=ErrorCode.INVALID,
                    message=str(error),
                    retryable=False,
                )
            )
            continue
        if event.device_id != sender.device.public_id:
            refusals.append(_refuse(index, event, ErrorCode.DEVICE, "expected the device that is signed in"))
        elif event.user_id != sender.person.public_id:
            refusals.append(_refuse(index, event, ErrorCode.PERSON, "expected the person who is signed in"))
        else:
            received.append((index, event))
    return _without_contradictions(received, refusals)


def _without_contradictions(
    received: list[_Indexed], refusals: list[Refusal]
) -> tuple[list[_Indexed], list[Refusal]]:
    """One id, one verdict: an id that came twice with different content is refused each time."""
    first: dict[UUID, Received] = {}
    refused = {refusal.id for refusal in refusals}
    torn = {e.id for _, e in received if first.setdefault(e.id, e) != e or str(e.id) in refused}
    kept, contradicting = _split(received, lambda event: event.id not in torn)
    twice = "this id came more than once in the batch, with different content"
    return kept, refusals + [_refuse(i, e, ErrorCode.CONFLICT, twice) for i, e in contradicting]


def _refuse(
    index: int, event: Received, code: ErrorCode, message: str, *, retryable: bool = False
) -> Refusal:
    return Refusal(id=str(event.id), index=index, code=code, message=message, retryable=retryable)


def _projects(session: Session, person: Person, received: Sequence[_Indexed]) -> dict[UUID, Project]:
    """The projects named that the person may send to."""
    named = {event.project_id for _, event in received}
    allowed = access.visible(person, Action.SEND_EVENTS, Project).where(Project.public_id.in_(named))
    return {project.public_id: project for project in session.scalars(allowed)}


def _lock_person(session: Session, person: Person) -> None:
    """Until the transaction ends nobody else changes the person's cells, or what their PCs have sent.

    Comes after ``retention.horizon``, before ``NOBODYS_CELLS`` of the projects. Together with rows
    being touched in a fixed order (ids of files and events, marks, projects) this keeps
    transactions from waiting for each other in a circle.
    """
    session.refresh(person, with_for_update={"key_share": True})
    if person.deactivated_at is not None:  # while this waited; whoever is erased is deactivated first
        raise Unauthorized("this account was deactivated: nothing is taken from it")


def _stored(session: Session, ids: Iterable[UUID]) -> dict[UUID, Any]:
    """The rows that already have one of the ids."""
    rows = session.execute(
        select(
            Event.seq,
            Event.event_id,
            Event.timestamp,
            Event.project_id,
            Event.event_type,
            Event.data,
            Event.person_id,
            Event.author_key,
        ).where(Event.event_id.in_([event_id.bytes for event_id in ids]))
    )
    return {UUID(bytes=row.event_id): row for row in rows}


def _content(vault: Vault, row: Any) -> bytes | None:
    """What the stored row says: nothing if it was erased, None if it cannot be read."""
    return vault.open_or_none(DATA, row.event_id, row.data) if row.data else b""


def _is_same(row: Any, content: bytes | None, event: Received, projects: dict[UUID, Project]) -> bool:
    """Whether the stored row says what the event says; who saw it, and in which order, may differ."""
    if not content:  # erased at somebody's wish: nothing is left that could contradict
        return True
    return (row.timestamp, row.project_id, row.event_type) == (
        event.timestamp,
        projects[event.project_id].id,
        TYPE_NUMBER[event.event_type],
    ) and content == event.data_json


def _rows(
    session: Session,
    events: Sequence[Received],
    sender: Sender,
    projects: dict[UUID, Project],
    authors: set[bytes],
) -> list[dict[str, Any]]:
    """Rows of ``events``, each id once."""
    unique = {event.id: event for event in events}
    paths = {(projects[e.project_id].id, path) for e in unique.values() for path in wire.paths_of(e.data)}
    file_ids = _file_ids(session, sender.vault, paths)
    rows = []
    for event in unique.values():
        project_id = projects[event.project_id].id
        author = wire.author_of(event.data)
        author_key = None if author is None else people.author_key(sender.vault, bytes.fromhex(author))
        is_own = not wire.names_author(event.data) or author_key in authors
        insertions, deletions = _lines(event.data)
        rows.append(
            {
                "event_id": event.id.bytes,
                "timestamp": event.timestamp,
                "project_id": project_id,
                "device_id": sender.device.id,
                "local_id": event.local_id,
                "event_type": TYPE_NUMBER[event.event_type],
                "data": sender.vault.seal(DATA, event.id.bytes, event.data_json),
                "received_at": sender.by.now_ms,
                "person_id": sender.person.id if is_own else None,
                "author_key": author_key,
                "insertions": insertions,
                "deletions": deletions,
                "files": rollups.pack_files(file_ids[project_id, path] for path in wire.paths_of(event.data)),
            }
        )
    return rows


def _lines(data: wire.EventData) -> tuple[int, int]:
    return (data.insertions, data.deletions) if isinstance(data, wire.Commit) else (0, 0)


def _insert(session: Session, rows: Sequence[dict[str, Any]]) -> list[Touched]:
    if rows:
        session.execute(insert(Event), sorted(rows, key=lambda row: row["event_id"]))
    return [Touched(row["person_id"] or NOBODY, row["project_id"], row["timestamp"]) for row in rows]


def _claim(
    session: Session,
    same: Sequence[_Indexed],
    stored: dict[UUID, Any],
    person: Person,
    authors: set[bytes],
    horizon: int,
) -> list[Touched]:
    """Give the person the own commits that somebody else's PC reported before theirs did.

    Only the author's own upload does so: that a colleague's PC has seen your work is no
    consent of yours to be counted. What is older than ``horizon`` cannot be counted anew.
    """
    rows = [stored[event.id] for _, event in same if event.timestamp >= horizon]
    own = [row for row in rows if row.person_id is None and row.author_key in authors]
    if not own:
        return []
    session.execute(update(Event).where(Event.seq.in_([row.seq for row in own])).values(person_id=person.id))
    return [
        touched
        for row in own
        for touched in (
            Touched(NOBODY, row.project_id, row.timestamp),
            Touched(person.id, row.project_id, row.timestamp),
        )
    ]


def add_authors(session: Session, by: Actor, wire_keys: Iterable[bytes], calendar: Calendar) -> None:
    """From now on these author keys are the person, also in what the own PCs have already sent.

    Raise Invalid if a key is somebody else's. The caller commits.
    """
    person = by.who()
    keys = {people.author_key(by.vault, key) for key in wire_keys}
    horizon = retention.horizon(session, by.now_ms, calendar)
    _lock_person(session, person)
    known = select(PersonAuthor.author_key).where(PersonAuthor.author_key.in_(keys))
    is_new = bool(keys - set(session.scalars(known)))
    db.insert_new(
        session,
        PersonAuthor,
        [{"author_key": key, "person_id": person.id} for key in sorted(keys)],
        unique=["author_key"],
    )
    # Looked for now, when whoever adds the same key at the same time has been waited for.
    others = PersonAuthor.author_key.in_(keys) & (PersonAuthor.person_id != person.id)
    if session.scalar(select(exists().where(others))):
        raise Invalid("expected author addresses of your own, got one that another person here has")
    _claim_sent(session, person, keys, calendar, horizon)
    if is_new:
        audit.record(session, by, Act.AUTHORS_TOLD, person.public_id)


def _claim_sent(session: Session, person: Person, keys: set[bytes], calendar: Calendar, horizon: int) -> None:
    devices = select(Device.id).where(Device.person_id == person.id)
    unclaimed = (
        Event.device_id.in_(devices)
        & Event.author_key.in_(keys)
        & Event.person_id.is_(None)
        & (Event.timestamp >= horizon)
    )
    project_ids = session.scalars(select(Event.project_id).where(unclaimed).distinct())
    db.lock(session, db.Lock.NOBODYS_CELLS, project_ids)
    events = session.execute(select(Event.project_id, Event.timestamp).where(unclaimed)).all()
    session.execute(update(Event).where(unclaimed).values(person_id=person.id))
    rollups.recount(
        session,
        [Touched(who, e.project_id, e.timestamp) for e in events for who in (NOBODY, person.id)],
        calendar,
    )


def _file_ids(session: Session, vault: Vault, paths: set[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """The File id of every (project id, path); new ones are made."""
    keys = {pair: file_key(vault, *pair) for pair in paths}
    ids = _find_files(session, keys)
    missing = sorted(keys.keys() - ids.keys())
    db.insert_new(
        session,
        File,
        [
            {
                "project_id": project_id,
                "path_key": keys[project_id, path],
                "path": vault.seal(PATH, keys[project_id, path], path.encode()),
            }
            for project_id, path in missing
        ],
        unique=["project_id", "path_key"],
    )
    return ids | _find_files(session, {pair: keys[pair] for pair in missing})


def file_key(vault: Vault, project_id: int, path: str) -> bytes:
    """What a path is found by; another one in each project, so that files of two cannot be matched."""
    return vault.key_of(PATH, project_id.to_bytes(8, "big") + path.encode())


def _find_files(session: Session, keys: dict[tuple[int, str], bytes]) -> dict[tuple[int, str], int]:
    pair_of = {key: pair for pair, key in keys.items()}
    found: dict[tuple[int, str], int] = {}
    for chunk in _chunks(sorted(pair_of), 10_000):
        by_project: dict[int, list[bytes]] = {}
        for key in chunk:
            by_project.setdefault(pair_of[key][0], []).append(key)
        rows = session.execute(
            select(File.id, File.path_key).where(
                or_(
                    *(
                        (File.project_id == project_id) & File.path_key.in_(wanted)
                        for project_id, wanted in by_project.items()
                    )
                )
            )
        )
        found.update({pair_of[row.path_key]: row.id for row in rows})
    return found


def _chunks(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _split(events: Sequence[_Indexed], test: Any) -> tuple[list[_Indexed], list[_Indexed]]:
    """Those that pass the test, and those that do not."""
    passed: list[_Indexed] = []
    failed: list[_Indexed] = []
    for indexed in events:
        (passed if test(indexed[1]) else failed).append(indexed)
    return passed, failed
