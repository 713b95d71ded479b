"""Acceptance: judge each event of a batch alone, store the new ones, count them, answer for all.

An event is acknowledged only by a transaction that has stored it or found it stored. Sending
anything twice changes nothing. ``judging`` is what takes no database, ``known`` finds what is stored
already, ``rows`` makes what is new ready to store, ``authors`` is about whose commits are whose.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from devflow import access, audit, db, pseudonyms, retention, rollups, wire
from devflow.access import Action
from devflow.audit import Act
from devflow.crypto import Vault
from devflow.db import Database
from devflow.ingest import authors, judging, known, rows
from devflow.ingest.files import Files
from devflow.ingest.judging import Indexed, refuse
from devflow.ingest.known import Known
from devflow.ingest.sender import Sender, lock_person
from devflow.models import Device, Event, Person, Project
from devflow.partitions import Partitions, month_of
from devflow.rollups import TYPE_NUMBER, Calendar
from devflow.wire import ErrorCode, Received, Refusal


@dataclass(frozen=True, slots=True)
class Intake:
    """Where batches come in: which ids there are already, files, and partitions."""

    known: Known
    files: Files
    partitions: Partitions = field(default_factory=Partitions)

    @classmethod
    def of(cls, database: Database) -> Intake:
        return cls(known.on(database), Files(is_alone=database.is_sqlite))

    def prepare(self, database: Database, batch: wire.Batch, now_ms: int) -> None:
        """Get ready to accept the batch; before its transaction, and not in it."""
        self.known.load(database)
        if not database.is_sqlite:
            claimed = map(wire.claimed_time, batch.events)
            self.partitions.ensure(
                database,
                {month_of(timestamp) for timestamp in claimed if timestamp is not None},
                now_ms,
                lambda session: retention.hold(session, now_ms).horizon,
            )

    def accept(self, session: Session, sender: Sender, batch: wire.Batch) -> wire.BatchResult:
        """Take a batch. Every id sent stands in exactly one list of the answer; the caller commits first."""
        received, refusals = judging.judge(batch.events, sender.device.public_id, sender.person.public_id)
        projects = _projects(session, sender.person, {event.project_id for _, event in received})
        received, foreign = _split(received, [event.project_id in projects for _, event in received])
        refusals += [refuse(i, e, ErrorCode.PROJECT, _NO_PROJECT, retryable=True) for i, e in foreign]

        horizon, calendar = retention.hold(session, sender.by.now_ms)
        lock_person(session, sender.person)
        db.lock(session, db.Lock.NOBODYS_CELLS, projects.values())
        stored = self.known.find(session, [event for _, event in received])
        same, contradicting = self._compare(sender.vault, received, stored, projects, refusals)
        unknown, _ = _split(received, [event.id not in stored for _, event in received])
        new, expired = _split(unknown, [event.timestamp >= horizon for _, event in unknown])
        refusals += [refuse(i, e, ErrorCode.EXPIRED, _EXPIRED) for i, e in expired]

        self._store(session, sender, [event for _, event in new], projects, calendar)
        authors.claim(session, sender, [stored[e.id] for _, e in same if e.timestamp >= horizon], calendar)
        _note(session, sender, contradicting)
        return wire.BatchResult(
            success=not refusals,
            synced_ids=list(dict.fromkeys([event.id for _, event in sorted(same + new, key=_PLACE)])),
            errors=sorted(refusals, key=lambda refusal: refusal.index),
        )

    def _compare(
        self,
        vault: Vault,
        received: Sequence[Indexed],
        stored: dict[str, Any],
        projects: dict[str, int],
        refusals: list[Refusal],
    ) -> tuple[list[Indexed], list[UUID]]:
        """Of what is stored already, what says the same; ids of what does not. Refusals are added."""
        same: list[Indexed] = []
        contradicting: list[UUID] = []
        for index, event in received if stored else ():
            row = stored.get(event.id)
            if row is None:
                continue
            content = rows.content(vault, row)
            if content is None:
                refusals.append(refuse(index, event, ErrorCode.DAMAGED, _DAMAGED, retryable=True))
            elif _is_same(row, content, event, projects[event.project_id]):
                same.append((index, event))
            else:
                refusals.append(refuse(index, event, ErrorCode.CONFLICT, _CONFLICT))
                contradicting.append(UUID(event.id))
        return same, contradicting

    def _store(
        self,
        session: Session,
        sender: Sender,
        events: Sequence[Received],
        projects: dict[str, int],
        calendar: Calendar,
    ) -> None:
        if not events:
            return
        made = rows.make(session, sender, events, projects, self.files)
        rollups.count(session, made, calendar)
        try:
            db.insert_many(session, Event.__table__, rows.Row._fields, made)
        except IntegrityError as error:
            if db.sqlstate(error) == _NO_PARTITION:  # one that was there, as after a restore
                self.partitions.forget()
            raise
        self.known.add(session, made)


_HEARD: Final = update(Device).where(Device.__table__.c.id == bindparam("device"))
_NO_PROJECT: Final = (
    "expected a project that you send to; there is none with this id that you are a member of"
)
_DAMAGED: Final = "this event is stored, but can no longer be read; keep yours until the server's is restored"
_CONFLICT: Final = "an event with this id and other content is stored already; it was not changed"
_EXPIRED: Final = "this event is older than this server keeps events; it was not stored"
_NO_PARTITION: Final = "23514"  # check_violation
_CONFLICTS_NAMED: Final = 20


def _projects(session: Session, person: Person, named: Collection[str]) -> dict[str, int]:
    """The numbers of the projects named that the person may send to."""
    allowed = access.visible(person, Action.SEND_EVENTS, Project)
    found = session.connection().execute(allowed.with_only_columns(Project.public_id, Project.id))
    ids = {str(public_id): number for public_id, number in found}
    return {each: ids[each] for each in named if each in ids}


def _is_same(row: Any, content: bytes, event: Received, project_id: int) -> bool:
    """Whether the stored row says what the event says; who saw it, and in which order, may differ."""
    if not content:  # erased at somebody's wish: nothing is left that could contradict
        return True
    kind = wire.TYPE_OF[type(event.event_data)]
    if (row.timestamp, row.project_id, row.event_type) != (event.timestamp, project_id, TYPE_NUMBER[kind]):
        return False
    if content == wire.encode(event.event_data):
        return True
    # Who shares numbers only sends the same event without its names; what came first stays.
    return pseudonyms.tell_the_same(wire.decode(content, wire.DATA[kind]), event.event_data)


def _note(session: Session, sender: Sender, contradicting: Sequence[UUID]) -> None:
    """That the PC was heard, and what it sent that contradicts what is stored."""
    session.connection().execute(_HEARD, {"device": sender.device.id, "last_seen_at": sender.by.now_ms})
    if contradicting:
        audit.record(
            session,
            sender.by,
            Act.EVENTS_CONFLICT,
            sender.device.public_id,
            is_refused=True,
            count=len(contradicting),
            events=contradicting[:_CONFLICTS_NAMED],
        )


_PLACE: Final = operator.itemgetter(0)


def _split(events: list[Indexed], tests: list[bool]) -> tuple[list[Indexed], list[Indexed]]:
    """Those that pass their test, and those that do not."""
    if all(tests):
        return events, []
    return list(compress(events, tests)), list(compress(events, map(operator.not_, tests)))
