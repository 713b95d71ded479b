"""Digests: what the server has of a device's events, day by day, so that a loss is found on either side.

A digest that agrees proves a day whole; one that does not proves nothing, and the agent names the
day's ids. So it need not be exact who reported which fact first, nothing is kept for it, and an
upload pays nothing: digests are made when they are asked for, from an index that is there anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import BigInteger, LargeBinary, column, or_, select, values
from sqlalchemy.orm import Session

from devflow import retention, wire
from devflow.errors import Invalid
from devflow.models import Device, Event, Project
from devflow.rollups import TYPE_NUMBER
from devflow.wire import Digests, EventName

_LAST_DAY: Final = wire.MAX_TIMESTAMP_MS // wire.DAY_MS
_FACTS: Final = frozenset(TYPE_NUMBER[kind] for kind in wire.FACTS)


def of_days(session: Session, device: Device, project: Project, days: range, now_ms: int) -> Digests:
    """What is stored in the project of these days since 1970: by the device, and facts by anybody."""
    most = wire.MAX_DIGEST_DAYS
    if not 0 <= days.start <= _LAST_DAY or not days.start < days.stop <= days.start + most:
        raise Invalid(f"expected 1 to {most} days since 1970, got {days.start} until {days.stop}")
    end = days.stop * wire.DAY_MS
    since = min(max(days.start * wire.DAY_MS, retention.hold(session, now_ms).horizon), end)
    return Digests(since=since, tallies=wire.tallies(_events(session, device, project, since, end)))


def _events(
    session: Session, device: Device, project: Project, since: int, end: int
) -> Iterator[tuple[int, bool, bytes]]:
    rows = session.execute(
        select(Event.timestamp, Event.event_type, Event.event_id).where(
            Event.project_id == project.id,
            Event.timestamp >= since,
            Event.timestamp < end,
            or_(Event.device_id == device.id, Event.event_type.in_(_FACTS)),
        )
    )
    for part in rows.partitions(5_000):
        yield from ((row[0] // wire.DAY_MS, row[1] in _FACTS, row[2]) for row in part)


def missing(session: Session, asked: Sequence[EventName], now_ms: int) -> list[str]:
    """The ids that are stored nowhere, in the order asked, without those too old to be taken again."""
    horizon = retention.hold(session, now_ms).horizon
    wanted = {UUID(event.id).bytes: event for event in asked if event.timestamp >= horizon}
    if not wanted:
        return []
    # With the time, which leads to the event in every index and partition there may be.
    pairs = values(column("at", BigInteger), column("id", LargeBinary), name="asked").data(
        [(event.timestamp, event_id) for event_id, event in wanted.items()]
    )
    named = pairs.cte("named")
    # Which partitions there are to look into, the planner does not see from pairs.
    times = [event.timestamp for event in wanted.values()]
    here = (
        select(Event.event_id)
        .join(named, (Event.timestamp == named.c.at) & (Event.event_id == named.c.id))
        .where(Event.timestamp.between(min(times), max(times)))
    )
    stored = set(session.scalars(here))
    return [event.id for event_id, event in wanted.items() if event_id not in stored]
