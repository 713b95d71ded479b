"""Builders of people, projects and what their PCs saw, so that a test says only what matters to it."""

from __future__ import annotations

import functools
import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from msgspec import Raw
from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import audit, keys, rollups, wire, workspace
from devflow.accounts import devices, passwords, people
from devflow.audit import Actor
from devflow.config import Settings
from devflow.context import Context
from devflow.crypto import Vault
from devflow.db import Database
from devflow.factory import create_app
from devflow.ingest import Intake
from devflow.ingest.sender import Sender
from devflow.models import (
    Device,
    Person,
    Project,
    ProjectMember,
    Role,
    Team,
    TeamMember,
    Workspace,
)
from devflow.partitions import Partitions, month_of
from devflow.rollups import Calendar
from devflow.rollups.slicing import Slicer

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
NOW_MS: Final = int(datetime(2026, 11, 19, 15, 30, tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1_000)
"""A Thursday afternoon, the time on every test's clock."""
PASSWORD: Final = "correct horse battery"
SECRET: Final = "kV3m9-Qx7_tB2wLr8sYd4NzHf6Jc1pGa"
STRANGER: Final = wire.author_key("stranger@example.net")
_numbers = itertools.count(1)


@functools.cache
def kept_password() -> str:
    """PASSWORD as it is kept, hashed once for all: people of tests need no salts of their own."""
    return passwords.kept(PASSWORD)


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
    vault: Vault
    now_ms: int = NOW_MS
    partitions: Partitions | None = None
    """None to look for them at each upload, since a test may take them away."""

    def __post_init__(self) -> None:
        self._intake = Intake.of(self.database)

    @property
    def intake(self) -> Intake:
        return replace(self._intake, partitions=self.partitions or Partitions())

    @property
    def calendar(self) -> Calendar:
        """The one in force; set it only while nothing was counted."""
        with self.reading() as session:
            return rollups.in_force(session)

    @calendar.setter
    def calendar(self, calendar: Calendar) -> None:
        with self.database.writing() as session:
            workspace = session.get_one(Workspace, 1)
            workspace.timezone, workspace.idle_limit_ms = calendar.zone.key, calendar.idle_limit_ms

    @classmethod
    def of(cls, context: Context) -> World:
        return cls(context.database, context.vault, context.now())

    @classmethod
    def on(cls, database: Database) -> World:
        """On a migrated database without a workspace, whose secret is drawn out in one round."""
        with database.writing() as session:
            made = Workspace(
                id=1,
                server_id=uuid4(),
                timezone="UTC",
                idle_limit_ms=15 * MINUTE_MS,
                kdf_salt=b"salt",
                kdf_iterations=1,
                audit_count=0,
                audit_head=b"",
                audit_seal=b"",
                retention_days=None,
                events_since=0,
            )
            session.add(made)
            session.flush()
            vault = keys.make(session, made, SECRET.encode(), NOW_MS)
            audit.begin(made, vault)
        return cls(database, vault)

    def by(self, session: Session, member: Member | None = None) -> Actor:
        """The member, or nobody known, acting now."""
        person = None if member is None else session.get_one(Person, member.id)
        return Actor(person, self.now_ms, self.vault)

    def person(self, name: str, role: Role = Role.DEVELOPER) -> Member:
        """A person with a PC, whose address is the name in lower case and whose password is PASSWORD."""
        who = people.Newcomer(name, f"{name.lower()}@example.org", kept_password())
        with self.database.writing() as session:
            people.create(session, self.by(session), who, role)
        return self.member(name)

    def member(self, name: str) -> Member:
        """The person of this name, who gets a PC if there was none."""
        with self.database.writing() as session:
            person = session.scalars(select(Person).filter_by(name=name)).one()
            device = session.scalars(select(Device).filter_by(person_id=person.id)).first()
            return self._member(person, device or self._enrol(session, person, "a PC"))

    def second_device(self, member: Member) -> Member:
        with self.database.writing() as session:
            person = session.get_one(Person, member.id)
            return self._member(person, self._enrol(session, person, "another PC"))

    def _enrol(self, session: Session, person: Person, name: str) -> Device:
        return devices.enrol(session, Actor(person, self.now_ms, self.vault), person, uuid4(), name)

    def _member(self, person: Person, device: Device) -> Member:
        email = people.email_of(self.vault, person)
        return Member(person.id, device.id, person.public_id, device.public_id, email)

    def project(self, name: str, *members: Member, roles: Mapping[Member, Role] | None = None) -> Project:
        with self.database.writing() as session:
            session.expire_on_commit = False
            project = Project(public_id=uuid4(), name=name, created_at=self.now_ms)
            session.add(project)
            session.flush()
            session.add_all(
                ProjectMember(
                    project_id=project.id,
                    person_id=member.id,
                    role=(roles or {}).get(member, Role.DEVELOPER),
                )
                for member in members
            )
            return project

    def team(self, name: str, members: Mapping[Member, Role]) -> Team:
        with self.database.writing() as session:
            session.expire_on_commit = False
            team = Team(public_id=uuid4(), name=name, created_at=self.now_ms)
            session.add(team)
            session.flush()
            session.add_all(
                TeamMember(team_id=team.id, person_id=member.id, role=role)
                for member, role in members.items()
            )
            return team

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
        sender = Sender(self.by(session, member), session.get_one(Device, member.device))
        raw = [Raw(event if isinstance(event, bytes) else wire.encode(event)) for event in events]
        batch = wire.decode_batch(wire.encode(wire.Batch(events=raw, device_id=member.device_id)))
        self.intake.prepare(self.database, batch, self.now_ms)
        return self.intake.accept(session, sender, batch)

    def report(self, member: Member, project: Project, *deeds: tuple[int, wire.EventData]) -> None:
        """Send what the PC saw, each with its time in Unix milliseconds, in as many batches as needed."""
        for start in range(0, len(deeds), wire.MAX_BATCH_EVENTS):
            part = deeds[start : start + wire.MAX_BATCH_EVENTS]
            result = self.send(member, *(self.event(member, project, data, at) for at, data in part))
            assert result.success, result.errors[:3]

    def make_partitions(self, *timestamps: int) -> None:
        """Where events of these times go on PostgreSQL, for who inserts them by hand."""
        Partitions().ensure(self.database, {month_of(each) for each in timestamps}, self.now_ms)

    def refresh(self) -> None:
        """Derive all marked days, as the jobs do."""
        while self.database.transact(rollups.refresh):
            pass
        Slicer(self.database).go_on()

    def adopt(self, calendar: Calendar) -> bool:
        """Count all by this calendar, as after a start with other settings; False if it was so already."""
        before = self.calendar
        self.database.transact(lambda session: rollups.want(session, self.by(session), calendar))
        while self.database.transact(rollups.advance) or not self._switch():
            self.refresh()
        self.refresh()  # of slices
        return before != calendar

    def _switch(self) -> bool:
        """Whether nothing is left to be switched."""
        with self.reading() as session:
            if rollups.wanted(session) is None:
                return True
        return self.database.transact(lambda session: rollups.switch(session, self.by(session)))

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with self.database.reading() as session:
            yield session


def context(folder: Path, *, database_url: str = "", now_ms: int = NOW_MS) -> tuple[Context, str | None]:
    """A prepared workspace in Berlin with a stopped clock, and the token of its set-up link."""
    settings = _in_berlin(folder, database_url)
    if database_url or now_ms != NOW_MS or folder.exists():
        token = workspace.prepare(settings, now_ms)
    else:
        prepared, token = _prepared()
        shutil.copytree(prepared.name, folder)
    return Context.open(settings, lambda: now_ms), token


def copied(folder: Path) -> Context:
    """The workspace of a folder that is a copy of a prepared one's."""
    return Context.open(_in_berlin(folder), lambda: NOW_MS)


def _in_berlin(folder: Path, database_url: str = "") -> Settings:
    return Settings(
        data_dir=str(folder),
        database_url=database_url,
        agent_dir=str(folder / "agent"),  # not what somebody has built in this checkout
        timezone="Europe/Berlin",
    )


@functools.cache
def _prepared() -> tuple[TemporaryDirectory[str], str | None]:
    """The data folder of a workspace as new as can be: to draw its keys takes as long as many a test."""
    folder = TemporaryDirectory()
    return folder, workspace.prepare(Settings(data_dir=folder.name, timezone="Europe/Berlin"), NOW_MS)


class Compiled(BytecodeCache):
    """Templates as they were compiled, by their source: half of what it takes to make an app."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if (kept := self._kept.get((bucket.key, bucket.checksum))) is not None:
            bucket.bytecode_from_string(kept)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key, bucket.checksum] = bucket.bytecode_to_string()


_COMPILED: Final = Compiled()


def app(context: Context) -> Flask:
    """The real app, without compiling templates that another test has compiled already."""
    return create_app(context, _COMPILED)


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


def _fact_id(data: wire.EventData) -> UUID | None:
    match data:
        case wire.Commit(sha=sha) | wire.Merge(sha=sha):
            return wire.fact_id(wire.EventType.COMMIT, sha)
        case _:
            return None
