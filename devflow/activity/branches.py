"""What became of a project's branches and tags, by day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import and_, func, select, union_all
from sqlalchemy.orm import Session

from devflow import windows, wire
from devflow.activity import periods, shared
from devflow.crypto import Vault
from devflow.ingest.rows import DATA
from devflow.models import Cell, Event, Project, Slice
from devflow.rollups import NOBODY, TYPE_NUMBER
from devflow.rollups.slices import Dimension
from devflow.windows import Grain, Window
from devflow.wire import EventType

MOST: Final = 20
_READ: Final = 200
"""Events, to make so many rows of: the same branch is switched to again and again."""
_TAG: Final = TYPE_NUMBER[EventType.TAG_CREATED]
_KINDS: Final = {
    TYPE_NUMBER[kind]: kind
    for kind in (EventType.BRANCH_SWITCHED, EventType.BRANCH_CREATED, EventType.BRANCH_DELETED)
} | {_TAG: EventType.TAG_CREATED}


class Ref(NamedTuple):
    """What was done to a branch or tag on a day, and ``times`` how often.

    ``name`` is None for a detached HEAD.
    """

    day: date
    kind: EventType
    name: str | None
    times: int


@dataclass(frozen=True, slots=True)
class Refs:
    """The newest first; ``hidden`` days had some, but too few people worked on them to tell."""

    rows: list[Ref]
    hidden: int


def refs(session: Session, vault: Vault, project: Project, first: date, last: date, zone: ZoneInfo) -> Refs:
    """Two statements, whatever the range: slices tell on which days it is worth to look for events.

    Who switches to a branch says what they are at: it is told of days on which enough people worked for
    nobody to know who it was. A tag is in every clone, and told always.
    """
    first = max(first, last - timedelta(days=shared.MOST_DAYS - 1))
    told, hidden = _told(_counted(session, project, periods.window_of([first, last], zone)))
    found = _events(session, project, told, zone)
    named = Counter(
        (windows.day_of(row.timestamp, zone), kind, name)
        for row in found
        if (opened := _opened(vault, row)) is not None
        for kind, name in [opened]
    )
    # A counter keeps the order in which they came.
    newest = sorted(named, key=lambda each: each[0], reverse=True)
    return Refs([Ref(*each, named[each]) for each in newest[:MOST]], hidden)


class _OfDay(NamedTuple):
    """Events of one kind; ``people`` are those known here who worked on the day, at whatever."""

    day: int
    kind: int
    events: int
    people: int


def _counted(session: Session, project: Project, span: Window) -> list[_OfDay]:
    people = select(func.count()).where(
        Cell.project_id == project.id,
        Cell.grain == Grain.DAY,
        Cell.start == Slice.day,
        Cell.person_id != NOBODY,
    )
    rows = session.execute(
        select(Slice.day, Slice.value, func.sum(Slice.events), people.scalar_subquery())
        .where(
            Slice.project_id == project.id,
            Slice.dimension == Dimension.TYPE,
            Slice.day >= span.start_ms,
            Slice.day < span.end_ms,
            Slice.value.in_(_KINDS),
        )
        .group_by(Slice.day, Slice.value)
        .order_by(Slice.day.desc())
    )
    return [_OfDay(day, kind, int(events), people) for day, kind, events, people in rows if events]


def _told(counted: Iterable[_OfDay]) -> tuple[list[tuple[int, set[int]]], int]:
    """The newest days that have MOST events, with the kinds told of each; and how many days hide some."""
    told: dict[int, set[int]] = {}
    hidden: set[int] = set()
    enough = 0
    for each in counted:
        if each.people < shared.FEWEST and each.kind != _TAG:
            hidden.add(each.day)
        elif enough < MOST or each.day in told:
            told.setdefault(each.day, set()).add(each.kind)
            enough += each.events
    return list(told.items()), len(hidden)


def _events(
    session: Session, project: Project, days: Sequence[tuple[int, set[int]]], zone: ZoneInfo
) -> Sequence[Any]:
    if not days:
        return []
    columns = (Event.timestamp, Event.event_id, Event.event_type, Event.data)
    # A SELECT for each day, as in ``sums.read``.
    each_day = [
        select(*columns).where(
            Event.project_id == project.id,
            Event.event_type.in_(kinds),
            and_(Event.timestamp >= day, Event.timestamp < _end(day, zone)),
        )
        for day, kinds in days
    ]
    found = union_all(*each_day).subquery()
    return session.execute(select(found).order_by(found.c.timestamp.desc()).limit(_READ)).all()


def _end(day_ms: int, zone: ZoneInfo) -> int:
    return windows.window(Grain.DAY, day_ms, zone).end_ms


def _opened(vault: Vault, row: Any) -> tuple[EventType, str | None] | None:
    """What kind it is and the name; None if it was erased or cannot be read."""
    data = vault.open_or_none(DATA, row.event_id, row.data) if row.data else None
    if data is None:
        return None
    kind = _KINDS[row.event_type]
    match msgspec.json.decode(data, type=wire.DATA[kind]):
        case wire.TagCreated(tag=name):
            return kind, name
        case (
            wire.BranchSwitched(branch=name)
            | wire.BranchCreated(branch=name)
            | wire.BranchDeleted(branch=name)
        ):
            return kind, name
        case other:
            raise AssertionError(f"expected a branch or a tag, got {type(other).__name__}")
