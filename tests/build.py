"""Builders of people, projects and what their PCs saw, so that a test says only what matters to it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from msgspec import Raw
from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import accounts, ingest, rollups, wire, workspace
from devflow.config import Settings
from devflow.context import Context
from devflow.db import Database
from devflow.models import Device, Membership, Person, Project, Role
from devflow.rollups import Calendar

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
NOW_MS: Final = int(datetime(2026, 11, 19, 15, 30, tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1_000)
"""A Thursday afternoon, the time on every test's clock."""
PASSWORD: Final = "correct horse battery"
STRANGER: Final = wire.author_key("stranger@example.net")
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
    now_ms: int = NOW_MS

    @classmethod
    def of(cls, context: Context) -> World:
        return cls(context.database, context.calendar, context.now())

    def person(self, name: str, role: Role = Role.DEVELOPER) -> Member:
        """A person with a PC, whose address is the name in lower case and whose password is PASSWORD."""
        with self.database.writing() as session:
            accounts.create_person(
                session,
                name=name,
                email=f"{name.lower()}@example.org",
                password=PASSWORD,
                role=role,
                now_ms=self.now_ms,
            )
        return self.member(name)

    def member(self, name: str) -> Member:
        """The person of this name, who gets a PC if there was none."""
        with self.database.writing() as session:
            person = session.scalars(select(Person).filter_by(name=name)).one()
            device = session.scalars(select(Device).filter_by(person_id=person.id)).first()
            return _member(person, device or accounts.enrol(session, person, uuid4(), "a PC", self.now_ms))

    def second_device(self, member: Member) -> Member:
        with self.database.writing() as session:
            person = session.get_one(Person, member.id)
            return _member(person, accounts.enrol(session, person, uuid4(), "another PC", self.now_ms))

    def project(self, name: str, *members: Member) -> Project:
        with self.database.writing() as session:
            session.expire_on_commit = False
            project = Project(public_id=uuid4(), name=name, created_at=self.now_ms)
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
            local_id=next(_numbers),
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
        return ingest.accept(session, sender, batch, self.calendar, self.now_ms)

    def report(self, member: Member, project: Project, *deeds: tuple[int, wire.EventData]) -> None:
        """Send what the PC saw, each with its time in Unix milliseconds, in as many batches as needed."""
        for start in range(0, len(deeds), wire.MAX_BATCH_EVENTS):
            part = deeds[start : start + wire.MAX_BATCH_EVENTS]
            result = self.send(member, *(self.event(member, project, data, at) for at, data in part))
            assert result.success, result.errors[:3]

    def refresh(self) -> None:
        """Derive all marked days, as the job does."""
        while self.database.transact(lambda session: rollups.refresh(session, self.calendar.zone)):
            pass

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with self.database.reading() as session:
            yield session


def context(folder: Path, *, database_url: str = "", now_ms: int = NOW_MS) -> tuple[Context, str | None]:
    """A prepared workspace in Berlin with a stopped clock, and the token of its set-up link."""
    settings = Settings(data_dir=str(folder), database_url=database_url, timezone="Europe/Berlin")
    token = workspace.prepare(settings, now_ms)
    return Context.open(settings, lambda: now_ms), token


def saved(path: str = "src/app.py", size_bytes: int = 100) -> wire.FileSaved:
    return wire.FileSaved(path=path, size_bytes=size_bytes)


def commit(
    author: str = STRANGER, *paths: str, insertions: int = 1, deletions: int = 0, sha: str | None = None
) -> wire.Commit:
    """A commit by an author key that no other one has; counts are of the whole commit."""
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


def merge(author: str = STRANGER) -> wire.Merge:
    """A merge of two parents that no other one has."""
    return wire.Merge(
        sha=f"{next(_numbers):040x}",
        parents=["e" * 40, "f" * 40],
        author=author,
        committer=author,
        committed_at=NOW_MS,
    )


def more_files(author: str, *paths: str) -> wire.CommitFiles:
    """The second part of a commit that no other one has."""
    changes = [wire.FileChange(path=path, insertions=1, deletions=0) for path in paths]
    return wire.CommitFiles(sha=f"{next(_numbers):040x}", author=author, part=2, files=changes)


def _member(person: Person, device: Device) -> Member:
    return Member(person.id, device.id, person.public_id, device.public_id, person.email)


def _fact_id(data: wire.EventData) -> UUID | None:
    match data:
        case wire.Commit(sha=sha) | wire.Merge(sha=sha):
            return wire.fact_id(wire.EventType.COMMIT, sha)
        case _:
            return None
