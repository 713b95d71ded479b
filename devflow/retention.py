"""Retention: how long events are kept, and deleting those that are older. The numbers counted from them stay.

Events go by whole months of the workspace's zone. Counting an hour anew takes all events up to
an idle limit around it, so an upload is taken only if no hour that it touches can need one that was
deleted: what is older than ``horizon`` is refused as expired.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Select, delete, exists, func, select, true
from sqlalchemy.orm import Session

from devflow import access, audit, db, partitions, rollups, windows
from devflow.access import Action
from devflow.audit import Act, Actor
from devflow.db import Database
from devflow.errors import Invalid
from devflow.models import Event, Project, Workspace
from devflow.rollups import Calendar
from devflow.windows import Grain, Window

DEFAULT_DAYS: Final = 365
MAX_DAYS: Final = 3_650
CHUNK: Final = 2_000
_WORKSPACE: Final = Workspace.__table__.c
_KEPT: Final = select(
    _WORKSPACE.retention_days, _WORKSPACE.events_since, _WORKSPACE.timezone, _WORKSPACE.idle_limit_ms
)
_DAY_MS: Final = 24 * windows.HOUR_MS


class Held(NamedTuple):
    """What holds until the transaction ends: since when events are taken, and how they are counted."""

    horizon: int
    calendar: Calendar


@dataclass(frozen=True, slots=True)
class Going:
    """Events of one project in one month, named by its first day, that are older than the cut."""

    project: str
    month: date
    events: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What a number of days would delete: events before ``first_kept``, None if all are kept."""

    days: int | None
    first_kept: date | None
    going: list[Going]

    @property
    def events(self) -> int:
        return sum(each.events for each in self.going)


def checked_days(given: int | None) -> int | None:
    """The number of days; None is for ever. Raise Invalid for one that is out of bounds."""
    if given is not None and not 1 <= given <= MAX_DAYS:
        raise Invalid("expected 1 to %(most)s days, or for ever, got %(n)s", most=MAX_DAYS, n=given)
    return given


def cut(now_ms: int, days: int, calendar: Calendar) -> int:
    """The start of a month: events before it are older than ``days``, whatever of them is still needed."""
    oldest = max(0, now_ms - days * _DAY_MS - _margin(calendar))
    return max(0, windows.window(Grain.MONTH, oldest, calendar.zone).start_ms)


def hold(session: Session, now_ms: int) -> Held:
    """What is older than the horizon is not stored, and not given to anybody else, any more.

    Until the transaction ends nothing more is deleted, and no other calendar comes into force.
    Comes before every other lock.
    """
    db.lock(session, db.Lock.RETENTION, shared=True)
    return _held(session, now_ms)


def taken_from(session: Session, now_ms: int) -> date | None:
    """The day before which all is refused as expired, None if nothing is."""
    horizon, calendar = _held(session, now_ms)
    return windows.day_of(horizon, calendar.zone) if horizon else None


def _held(session: Session, now_ms: int) -> Held:
    kept = session.execute(_KEPT).one()
    calendar = Calendar(ZoneInfo(kept.timezone), kept.idle_limit_ms)
    by_age = 0 if kept.retention_days is None else cut(now_ms, kept.retention_days, calendar)
    since = max(kept.events_since, by_age)
    return Held(since + _margin(calendar) if since else 0, calendar)


def _margin(calendar: Calendar) -> int:
    """How long after the last deleted event an upload is safe.

    It changes hours from an idle limit before it on, the first of which began up to an hour
    earlier; that one is counted from events of another idle limit before.
    """
    return 2 * calendar.idle_limit_ms + windows.HOUR_MS


def days(session: Session) -> int | None:
    """How long events are kept, None for ever."""
    return session.scalars(select(Workspace.retention_days)).one()


def change(session: Session, by: Actor, days: int | None) -> None:
    """Keep events for ``days``, None for ever, from the next run on. The caller commits.

    Raise Unauthorized without the permission, Invalid for a number that is out of bounds.
    """
    access.require(by.who(), Action.MANAGE_RETENTION)
    checked_days(days)
    workspace = session.get_one(Workspace, 1, with_for_update=True, populate_existing=True)
    before = workspace.retention_days
    if days != before:
        workspace.retention_days = days
        audit.record(session, by, Act.RETENTION_CHANGED, before=before, after=days)


def preview(session: Session, days: int | None, now_ms: int) -> Preview:
    """What keeping events for ``days`` would delete; deletes nothing. Three statements."""
    if days is None:
        return Preview(None, None, [])
    calendar = rollups.in_force(session)
    end = cut(now_ms, days, calendar)
    oldest = select(func.min(Event.timestamp)).where(Event.project_id == Project.id).scalar_subquery()
    first = session.scalar(select(func.min(oldest)).select_from(Project))
    first_kept = windows.day_of(end, calendar.zone)
    if first is None or first >= end:
        return Preview(days, first_kept, [])
    months = windows.spans_of(Grain.MONTH, first, end - 1, calendar.zone)
    return Preview(days, first_kept, _counted(session, months, end, calendar))


def _counted(session: Session, months: list[Window], end: int, calendar: Calendar) -> list[Going]:
    spans = db.ranges([(month.start_ms, min(month.end_ms, end)) for month in months])
    # Counted apart for each project and month, which reads an index through and sorts nothing.
    events = (
        select(func.count())
        .where(
            Event.project_id == Project.id,
            Event.timestamp >= spans.c.low,
            Event.timestamp < spans.c.high,
        )
        .scalar_subquery()
    )
    found = session.execute(
        select(Project.name, spans.c.low, events.label("events"))
        .join(spans, true())
        .order_by(spans.c.low, Project.name)
    )
    return [
        Going(row.name, windows.day_of(row.low, calendar.zone), row.events) for row in found if row.events
    ]


def run(database: Database, by: Actor) -> int:
    """Delete what is older than events are kept, whole partitions first, then ``CHUNK`` a transaction.

    Return how many there were. A run that was interrupted is made up for by the next one.
    """
    with database.reading() as session:
        if not _projects_before(session, _end(session, by.now_ms, rollups.in_force(session))):
            return 0
    end, project_ids = database.transact(lambda session: begin(session, by))
    total = partitions.drop_before(database, end) if project_ids else 0
    for project_id in project_ids:
        while deleted := database.transact(partial(delete_some, project_id=project_id, end=end)):
            total += deleted
    return total


def begin(session: Session, by: Actor) -> tuple[int, list[int]]:
    """Close what is older than events are kept, and say so in the trail; return until when, and of whom.

    The caller commits, and only then deletes: by then every upload that could have counted on these
    events has ended, and later ones know of the cut.
    """
    db.lock(session, db.Lock.RETENTION)
    calendar = rollups.in_force(session)
    end = _end(session, by.now_ms, calendar)
    if rollups.wanted(session) is not None:  # counts these events too, and is soon over
        return end, []
    found = session.execute(
        select(Project.id, Project.public_id, func.count().label("events"))
        .join(Event, Event.project_id == Project.id)
        .where(Event.timestamp < end)
        .group_by(Project.id, Project.public_id)
        .order_by(Project.id)
    ).all()
    if not found:
        return end, []
    workspace = session.get_one(Workspace, 1, with_for_update=True, populate_existing=True)
    workspace.events_since = max(workspace.events_since, end)
    counts: dict[str, int] = {str(row.public_id): row.events for row in found}
    audit.record(
        session,
        by,
        Act.EVENTS_EXPIRED,
        older_than=windows.day_of(end, calendar.zone),
        events=sum(counts.values()),
        projects=counts,
    )
    return end, [row.id for row in found]


def delete_some(session: Session, project_id: int, end: int, limit: int = CHUNK) -> int:
    """Delete up to ``limit`` of the project's events before ``end``; return how many. The caller commits."""
    oldest = _before(project_id, end).order_by(Event.timestamp).limit(limit)
    seqs = session.scalars(oldest).all()
    if seqs:
        session.execute(delete(Event).where(Event.seq.in_(sorted(seqs))))
    return len(seqs)


def _before(project_id: int, end: int) -> Select[int]:
    return select(Event.seq).where(Event.project_id == project_id, Event.timestamp < end)


def _end(session: Session, now_ms: int, calendar: Calendar) -> int:
    """Events before this go, 0 for none."""
    kept = days(session)
    return 0 if kept is None else cut(now_ms, kept, calendar)


def _projects_before(session: Session, end: int) -> bool:
    """Whether any project has an event before ``end``: a look at the start of an index for each."""
    old = exists().where(Event.project_id == Project.id, Event.timestamp < end)
    return session.scalar(select(Project.id).where(old).limit(1)) is not None
