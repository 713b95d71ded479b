"""Builders of test data: a workspace with people, projects and the events their PCs sent."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4, uuid5
from zoneinfo import ZoneInfo

from msgspec import Raw
from sqlalchemy import select

from devflow import accounts, ingest, jobs, wire, workspace
from devflow.config import Settings
from devflow.context import Context
from devflow.ingest import Sender
from devflow.models import Device, Membership, Person, Project, Role
from devflow.wire import EventData, FileChange

PASSWORD: Final = "correct horse battery"
NOW: Final = int(datetime(2026, 11, 19, 15, 30, tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1_000)
"""A Thursday afternoon, the time on every test's clock."""
MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
_local_ids = itertools.count(1)


def context(
    folder: Path, *, database_url: str = "", now_ms: int = NOW, timezone: str = "Europe/Berlin"
) -> tuple[Context, str | None]:
    """A prepared workspace with a stopped clock, and the token of its set-up link."""
    settings = Settings(data_dir=str(folder), database_url=database_url, timezone=timezone)
    token = workspace.prepare(settings, now_ms)
    return Context.open(settings, lambda: now_ms), token


def person(context: Context, name: str, role: Role = Role.DEVELOPER) -> UUID:
    """A person ``name@example.org`` whose password is PASSWORD; return the public id."""
    with context.database.writing() as session:
        return accounts.create_person(
            session,
            name=name.title(),
            email=f"{name}@example.org",
            password=PASSWORD,
            role=role,
            now_ms=context.now(),
        ).public_id


def project(context: Context, name: str, members: Iterable[UUID] = ()) -> UUID:
    """A project of these people; return the public id."""
    with context.database.writing() as session:
        found = Project(public_id=uuid5(UUID(int=0), name), name=name, created_at=context.now())
        session.add(found)
        session.flush()
        for member in session.scalars(select(Person).where(Person.public_id.in_(list(members)))):
            session.add(Membership(project_id=found.id, person_id=member.id))
        return found.public_id


@dataclass(frozen=True, slots=True)
class Act:
    """What happened at an instant."""

    timestamp: int
    data: EventData


def saved(timestamp: int, path: str = "src/app.py", size_bytes: int = 100) -> Act:
    return Act(timestamp, wire.FileSaved(path=path, size_bytes=size_bytes))


def commit(
    timestamp: int,
    author: str = "ada@example.org",
    files: Sequence[tuple[str, int, int]] = (("src/app.py", 10, 2),),
    salt: str = "",
) -> Act:
    """A commit by the address ``author``; each file is (path, insertions, deletions)."""
    sha = hashlib.sha1(f"{timestamp}{author}{files}{salt}".encode(), usedforsecurity=False).hexdigest()
    key = wire.author_key(author)
    return Act(
        timestamp,
        wire.Commit(
            sha=sha,
            parents=[],
            author=key,
            committer=key,
            committed_at=timestamp,
            insertions=sum(inserted for _, inserted, _ in files),
            deletions=sum(deleted for _, _, deleted in files),
            files_changed=len(files),
            files=[
                FileChange(path=path, insertions=inserted, deletions=deleted)
                for path, inserted, deleted in files
            ],
        ),
    )


def send(
    context: Context, sender: UUID, project: UUID, acts: Iterable[Act], *, refresh: bool = True
) -> wire.BatchResult:
    """Upload the acts as the person's PC does, a batch at a time; return the last answer, all accepted."""
    acts = list(acts)
    result = wire.BatchResult(success=True, synced_ids=[], errors=[])
    for start in range(0, len(acts), wire.MAX_BATCH_EVENTS):
        with context.database.writing() as session:
            who = session.scalars(select(Person).where(Person.public_id == sender)).one()
            device = accounts.enrol(session, who, uuid5(sender, "pc"), "pc", context.now())
            batch = _batch(acts[start : start + wire.MAX_BATCH_EVENTS], who, device, project)
            result = ingest.accept(session, Sender(who, device), batch, context.calendar, context.now())
        assert result.success, result.errors[:3]
    if refresh:
        jobs.refresh(context)
    return result


def _batch(acts: Iterable[Act], who: Person, device: Device, project: UUID) -> wire.Batch:
    events = [
        wire.SyncEvent(
            id=str(_id(act.data)),
            timestamp=act.timestamp,
            device_id=device.public_id,
            user_id=who.public_id,
            project_id=project,
            local_id=next(_local_ids),
            event_type=wire.TYPE_OF[type(act.data)],
            event_data=Raw(wire.encode(act.data)),
        )
        for act in acts
    ]
    return wire.Batch(events=[Raw(wire.encode(event)) for event in events], device_id=device.public_id)


def _id(data: EventData) -> UUID:
    sha = getattr(data, "sha", None)
    return uuid4() if sha is None else wire.fact_id(wire.TYPE_OF[type(data)], sha)
