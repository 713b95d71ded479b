"""What the server keeps about a person, told to that person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from devflow import access, audit, receipts, shared_settings, wire
from devflow.access import Action
from devflow.accounts import people
from devflow.accounts.devices import reported
from devflow.audit import Act, Actor
from devflow.crypto import Vault
from devflow.export import TYPE_OF
from devflow.models import (
    BrowserSession,
    Device,
    Event,
    Person,
    PersonAuthor,
    Project,
    ProjectMember,
    Role,
    SecondFactor,
    Team,
    TeamMember,
)
from devflow.wire import EventType


@dataclass(frozen=True, slots=True)
class Stored:
    """How much there is. Lists are of (what, events), most first.

    A device of None is any PC of somebody else, which reported work of the person. ``oldest_ms``
    and ``newest_ms`` are when the events happened, None without any.
    """

    events: int
    by_type: list[tuple[EventType, int]]
    by_device: list[tuple[str | None, int]]
    by_project: list[tuple[str, int]]
    oldest_ms: int | None
    newest_ms: int | None
    authors: int
    sessions: int
    devices: int


@dataclass(frozen=True, slots=True)
class Held:
    """A role and what it allows; ``place`` is the team or project it is held in, None for the workspace."""

    place: Team | Project | None
    role: Role
    allows: list[Action]


@dataclass(frozen=True, slots=True)
class Watcher:
    """Somebody who may see the person's days, and by which teams."""

    person: Person
    teams: list[str]


def stored(session: Session, person: Person) -> Stored:
    """Six statements; the first reads all events of the person, which no page but this one does."""
    counts = session.execute(_counts(person)).all()
    own = select(Device.id, Device.name).where(Device.person_id == person.id)
    devices = dict(session.execute(own).all())
    named = select(Project.id, Project.name).where(Project.id.in_({row.project_id for row in counts}))
    projects = dict(session.execute(named).all())
    return Stored(
        events=sum(row.events for row in counts),
        by_type=_most_first((TYPE_OF[row.event_type], row.events) for row in counts),
        by_device=_most_first((devices.get(row.device_id), row.events) for row in counts),
        by_project=_most_first((projects[row.project_id], row.events) for row in counts),
        oldest_ms=min((row.oldest for row in counts), default=None),
        newest_ms=max((row.newest for row in counts), default=None),
        authors=_count(session, PersonAuthor, person),
        sessions=_count(session, BrowserSession, person),
        devices=len(devices),
    )


def _counts(person: Person) -> Select[Any, Any, Any, Any, Any, Any]:
    devices = select(Device.id).where(Device.person_id == person.id)
    return (
        select(
            Event.event_type,
            Event.device_id,
            Event.project_id,
            func.count().label("events"),
            func.min(Event.timestamp).label("oldest"),
            func.max(Event.timestamp).label("newest"),
        )
        .where(or_(Event.person_id == person.id, Event.device_id.in_(devices)))
        .group_by(Event.event_type, Event.device_id, Event.project_id)
    )


def _most_first(counts: Iterable[tuple[Any, int]]) -> list[tuple[Any, int]]:
    total: Counter[Any] = Counter()
    for what, events in counts:
        total[what] += events
    return sorted(total.items(), key=lambda item: (-item[1], str(item[0])))


def _count(session: Session, kind: type[PersonAuthor] | type[BrowserSession], person: Person) -> int:
    return session.scalar(select(func.count()).select_from(kind).where(kind.person_id == person.id)) or 0


def roles(session: Session, person: Person) -> list[Held]:
    """The workspace's role first, then those in teams and in projects, by name."""
    teams = (
        select(Team, TeamMember.role)
        .join(TeamMember, TeamMember.team_id == Team.id)
        .where(TeamMember.person_id == person.id)
        .order_by(Team.name)
    )
    projects = (
        select(Project, ProjectMember.role)
        .join(ProjectMember, ProjectMember.project_id == Project.id)
        .where(ProjectMember.person_id == person.id)
        .order_by(Project.name)
    )
    return [
        Held(None, Role(person.role), _in_order(access.allowed(Role(person.role), None))),
        *(_held(team, role) for team, role in session.execute(teams)),
        *(_held(project, role) for project, role in session.execute(projects)),
    ]


def _held(place: Team | Project, role: str) -> Held:
    return Held(place, Role(role), _in_order(access.allowed(Role(role), type(place))))


def _in_order(actions: Iterable[Action]) -> list[Action]:
    order = list(Action)
    return sorted(actions, key=order.index)


def watchers(session: Session, person: Person) -> list[Watcher]:
    """Who may see the person's days right now, by name."""
    found: dict[int, Watcher] = {}
    for watcher, team in session.execute(access.watchers(person)):
        found.setdefault(watcher.id, Watcher(watcher, [])).teams.append(team.name)
    return list(found.values())


class _Part(Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what ``account`` is made of; times are Unix milliseconds UTC."""


class OwnDevice(_Part, frozen=True):
    id: UUID
    name: str
    created_at: int
    last_seen_at: int | None
    clock_skew_ms: int | None
    report: wire.Report | None
    reported_at: int | None
    revoked_at: int | None


class OwnSession(_Part, frozen=True):
    id: UUID
    browser: str
    created_at: int
    seen_at: int


class Membership(_Part, frozen=True):
    kind: str
    id: UUID
    name: str
    role: str


class OwnSetting(_Part, frozen=True):
    """What the PCs have in common, and where it was chosen."""

    key: str
    value: bool | int | float | str | None
    changed_at: int
    device: str


class ReceiptPart(_Part, frozen=True):
    at: int
    act: str
    by: str
    is_refused: bool
    device: str | None
    place: str | None
    detail: dict[str, Any]


class Account(_Part, frozen=True):
    """All that is kept of the person beside events. Passwords and authors are kept as hashes alone."""

    id: UUID
    name: str
    email: str
    role: str
    created_at: int
    authors: int
    has_second_factor: bool
    devices: list[OwnDevice]
    settings: list[OwnSetting]
    sessions: list[OwnSession]
    memberships: list[Membership]
    receipts: list[ReceiptPart]


def export_account(session: Session, by: Actor) -> Account:
    """The person's account as it stands, and the audit's word that it was exported. The caller commits."""
    person = by.who()
    account = _account(session, by.vault, person)
    audit.record(session, by, Act.DATA_EXPORTED, person.public_id, form="account")
    return account


def _account(session: Session, vault: Vault, person: Person) -> Account:
    devices = session.scalars(select(Device).where(Device.person_id == person.id).order_by(Device.id))
    browsers = session.scalars(
        select(BrowserSession).where(BrowserSession.person_id == person.id).order_by(BrowserSession.id)
    )
    return Account(
        id=person.public_id,
        name=person.name,
        email=people.email_of(vault, person),
        role=person.role,
        created_at=person.created_at,
        authors=_count(session, PersonAuthor, person),
        has_second_factor=session.get(SecondFactor, person.id) is not None,
        devices=[
            OwnDevice(
                id=device.public_id,
                name=device.name,
                created_at=device.created_at,
                last_seen_at=device.last_seen_at,
                clock_skew_ms=device.clock_skew_ms,
                report=reported(device),
                reported_at=device.reported_at,
                revoked_at=device.revoked_at,
            )
            for device in devices
        ],
        settings=[
            OwnSetting(key=one.key, value=one.value, changed_at=one.changed_at, device=one.device_name)
            for one in shared_settings.read(session, person).settings or ()
        ],
        sessions=[
            OwnSession(id=row.public_id, browser=row.browser, created_at=row.created_at, seen_at=row.seen_at)
            for row in browsers
        ],
        memberships=[
            Membership(
                kind="team" if isinstance(held.place, Team) else "project",
                id=held.place.public_id,
                name=held.place.name,
                role=held.role,
            )
            for held in roles(session, person)
            if held.place is not None
        ],
        receipts=[
            ReceiptPart(
                at=receipt.at_ms,
                act=receipt.act,
                by=receipt.by,
                is_refused=receipt.is_refused,
                device=receipt.device,
                place=receipt.place,
                detail=receipt.detail,
            )
            for receipt in receipts.read(session, person)
        ],
    )
