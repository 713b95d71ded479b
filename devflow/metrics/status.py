"""A project right now: the hour, the day and the week under way, and whether PCs report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from devflow import windows
from devflow.activity import sums
from devflow.metrics import numbers
from devflow.metrics.answers import Freshness, Numbers, Stage, Status, Sync
from devflow.models import Cell, Device, Mark, Person, Project, ProjectMember
from devflow.rollups import NOBODY
from devflow.windows import HOUR_MS, Grain, Window

HEARD_WITHIN_MS: Final = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Moment:
    """The windows under way."""

    hour: Window
    day: Window
    week: Window


def moment(now_ms: int, zone: ZoneInfo) -> Moment:
    return Moment(*(windows.window(grain, now_ms, zone) for grain in (Grain.HOUR, Grain.DAY, Grain.WEEK)))


def sync(session: Session, project: Project, now_ms: int) -> Sync:
    """No instant of any PC is told: of two members each would learn when the other was there."""
    heard = case((Device.last_seen_at >= now_ms - HEARD_WITHIN_MS, 1), else_=0)
    is_off = case((Device.clock_skew_ms != 0, 1), else_=0)
    found = session.execute(
        select(
            func.count().label("devices"),
            func.count(Device.last_seen_at).label("ever"),
            func.coalesce(func.sum(heard), 0).label("heard"),
            func.coalesce(func.sum(is_off), 0).label("off"),
        )
        .join(Person, Person.id == Device.person_id)
        .join(ProjectMember, ProjectMember.person_id == Person.id)
        .where(
            ProjectMember.project_id == project.id,
            Device.revoked_at.is_(None),
            Person.deactivated_at.is_(None),
        )
    ).one()
    return Sync(
        state="never" if not found.ever else "ok" if found.heard else "silent",
        devices=found.devices,
        heard_within_a_day=int(found.heard),
        clocks_off=int(found.off),
    )


def of(
    session: Session, project: Project, viewer: Person, at: Moment, reported: Sync, zone: ZoneInfo
) -> Status:
    """Two statements."""
    marked = numbers.pending(session, Mark.project_id == project.id, at.week)
    covered = ((Grain.HOUR, at.day), (Grain.DAY, at.day), (Grain.WEEK, at.week))
    parts = sums.read(session, covered, Cell.project_id == project.id)

    def shown(name: str, grain: Grain, window: Window, *, is_pending: bool) -> Numbers:
        within = [part for part in parts if part.grain == grain and part.start == window.start_ms]
        return numbers.of(within, name, window=window, is_pending=is_pending)

    others = {part.person_id for part in parts if part.grain == Grain.HOUR} - {NOBODY, viewer.id}
    return Status(
        project_id=project.public_id,
        name=project.name,
        timezone=zone.key,
        version=project.generation,
        freshness=Freshness(is_fresh=not marked, pending_days=len(marked)),
        stage=Stage(value=None, reason="not_derived"),
        # As by hours (``aggregate``): the clock of somebody's day is nobody else's to look at.
        now=numbers.unknown("now", "one_person", window=at.hour)
        if len(others) == 1
        else shown("now", Grain.HOUR, at.hour, is_pending=False),
        today=shown("today", Grain.DAY, at.day, is_pending=at.day.start_ms in marked),
        week=shown("week", Grain.WEEK, at.week, is_pending=bool(marked)),
        sync=reported,
    )
