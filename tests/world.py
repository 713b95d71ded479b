"""Builders of people, projects and events, so that a test says only what matters to it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from msgspec import Raw
from sqlalchemy.orm import Session

from devflow import accounts, ingest, rollups, wire
from devflow.db import Database
from devflow.models import Device, Membership, Person, Project, Role
from devflow.rollups import Calendar

NOW_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
PASSWORD = "correct horse battery"
STRANGER = wire.author_key("stranger@example.net")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Member:
    """A person with a PC, by the ids of both."""

    id: int
    device: int
    public_id: UUID
    device_id: UUID
    email: str

    @property
    def author(self) -> str:
        return wire.author_key(self.email)


@dataclass
class World:
    """A workspace of people and projects on a real database; nothing in it but what a test asked for."""

    database: Database
    calendar: Calendar = field(default_factory=lambda: Calendar(ZoneInfo("UTC"), 15 * MINUTE_MS))
    local_ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def person(self, name: str, role: Role = Role.DEVELOPER) -> Member:
        email = f"{name.lower()}@example.org"
        with self.database.writing() as session:
            person = accounts.create_person(
                session, name=name, email=email, password=PASSWORD, role=role, now_ms=NOW_MS
            )
            device = accounts.enrol(session, person, uuid4(), f"{name}'s PC", NOW_MS)
            return Member(person.id, device.id, person.public_id, device.public_id, email)

    def second_device(self, member: Member) -> Member:
        with self.database.writing() as session:
            person = session.get_one(Person, member.id)
            device = accounts.enrol(session, person, uuid4(), "another PC", NOW_MS)
            return Member(member.id, device.id, member.public_id, device.public_id, member.email)

    def project(self, name: str, *members: Member) -> Project:
        with self.database.writing() as session:
            session.expire_on_commit = False
            project = Project(public_id=uuid4(), name=name, created_at=NOW_MS)
            session.add(project)
            session.flush()
            session.add_all(Membership(project_id=project.id, person_id=member.id) for member in members)
            return project

    def event(
        self, member: Member, project: Project, data: wire.EventData, at: int, event_id: UUID | None = None
    ) -> wire.SyncEvent:
        """An event as the member's agent would send it; ``at`` in Unix milliseconds."""
        return wire.SyncEvent(
            id=str(event_id or _fact_id(data) or uuid4()),
            timestamp=at,
            device_id=member.device_id,
            user_id=member.public_id,
            project_id=project.public_id,
            local_id=next(self.local_ids),
            event_type=wire.TYPE_OF[type(data)],
            event_data=Raw(wire.encode(data)),
        )

    def send(self, member: Member, *events: wire.SyncEvent | bytes) -> wire.BatchResult:
        """What the server answers to these events, or raw bytes in their place, as one batch."""
        return self.database.transact(lambda session: self.accept(session, member, events))

    def accept(
        self, session: Session, member: Member, events: Sequence[wire.SyncEvent | bytes]
    ) -> wire.BatchResult:
        sender = ingest.Sender(session.get_one(Person, member.id), session.get_one(Device, member.device))
        raw = [Raw(event if isinstance(event, bytes) else wire.encode(event)) for event in events]
        batch = wire.decode_batch(wire.encode(wire.Batch(events=raw, device_id=member.device_id)))
        return ingest.accept(session, sender, batch, self.calendar, NOW_MS)

    def refresh(self) -> None:
        """Derive all marked days, as the job does."""
        while self.database.transact(lambda session: rollups.refresh(session, self.calendar.zone)):
            pass

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with self.database.reading() as session:
            yield session


def saved(path: str = "src/app.py", size_bytes: int = 100) -> wire.FileSaved:
    return wire.FileSaved(path=path, size_bytes=size_bytes)


def commit(
    author: str = STRANGER, *paths: str, insertions: int = 1, deletions: int = 0, sha: str | None = None
) -> wire.Commit:
    """A commit of one parent that no other one has; counts are of the whole commit."""
    return wire.Commit(
        sha=sha or f"{next(_numbers):040x}",
        parents=["f" * 40],
        author=author,
        committer=author,
        committed_at=NOW_MS,
        insertions=insertions,
        deletions=deletions,
        files_changed=len(paths),
        files=[wire.FileChange(path=path, insertions=1, deletions=0) for path in paths],
    )


def _fact_id(data: wire.EventData) -> UUID | None:
    match data:
        case wire.Commit(sha=sha) | wire.Merge(sha=sha):
            return wire.fact_id(wire.EventType.COMMIT, sha)
        case _:
            return None
