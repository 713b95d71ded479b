"""Focus and after-hours of a team: our own formulas, told of no single person.

Focus time is active time in clock hours of which a person was active for 45 minutes at least.
After-hours is active time before 8 and from 19 o'clock on, and all of Saturdays and Sundays. Both are of
those days only on which three members at least were active: what is finer than a day must be nobody's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from devflow import windows
from devflow.activity import periods
from devflow.models import Cell
from devflow.windows import MINUTE_MS, SECOND_MS, Grain

FOCUS_MINUTES: Final = 45
WORK_BEGINS: Final = 8
WORK_ENDS: Final = 19
PEOPLE: Final = 3
"""The fewest who must have been active on a day whose hours are told."""
MOST_DAYS: Final = 92
"""Hours are many; of a longer range its last days are looked at."""
_SATURDAY: Final = 5


class Hour(NamedTuple):
    """How long a person was active, in all projects, in the hour that starts then."""

    start: int
    person_id: int
    active_ms: int


class Counted(Struct, frozen=True, array_like=True):
    active_ms: int
    focus_ms: int
    after_hours_ms: int
    days: int
    days_left_out: int


@dataclass(frozen=True, slots=True)
class Focus:
    """Of the days ``first`` to ``last``: ``days`` are told together, ``days_left_out`` had too few people.

    Of no day there is nothing to be told: then all three times are None.
    """

    first: date
    last: date
    active_s: int | None
    focus_s: int | None
    after_hours_s: int | None
    days: int
    days_left_out: int


def count(
    session: Session,
    people: Sequence[int],
    projects: Sequence[int],
    first: date,
    last: date,
    zone: ZoneInfo,
) -> Counted:
    """One statement. Hours are never behind what was accepted."""
    span = periods.window_of([_first(first, last), last], zone)
    rows = session.execute(
        select(Cell.start, Cell.person_id, func.sum(Cell.active_ms))
        .where(
            Cell.project_id.in_(projects),
            Cell.grain == Grain.HOUR,
            Cell.start >= span.start_ms,
            Cell.start < span.end_ms,
            Cell.person_id.in_(people),
            Cell.active_ms > 0,
        )
        .group_by(Cell.start, Cell.person_id)
    )
    # PostgreSQL's sums are decimals.
    return counted((Hour(start, person_id, int(active_ms)) for start, person_id, active_ms in rows), zone)


def counted(hours: Iterable[Hour], zone: ZoneInfo) -> Counted:
    days: dict[date, list[Hour]] = {}
    for hour in hours:
        days.setdefault(windows.day_of(hour.start, zone), []).append(hour)
    told = [day for day in days.values() if len({hour.person_id for hour in day}) >= PEOPLE]
    shown = [hour for day in told for hour in day]
    return Counted(
        active_ms=sum(hour.active_ms for hour in shown),
        focus_ms=sum(hour.active_ms for hour in shown if hour.active_ms >= FOCUS_MINUTES * MINUTE_MS),
        after_hours_ms=sum(hour.active_ms for hour in shown if is_after_hours(hour.start, zone)),
        days=len(told),
        days_left_out=len(days) - len(told),
    )


def is_after_hours(start_ms: int, zone: ZoneInfo) -> bool:
    """Whether the hour that starts then is one of the evening, the night or the weekend."""
    local = datetime.fromtimestamp(start_ms // SECOND_MS, zone)
    return local.weekday() >= _SATURDAY or not WORK_BEGINS <= local.hour < WORK_ENDS


def told(found: Counted, first: date, last: date) -> Focus:
    times = (found.active_ms, found.focus_ms, found.after_hours_ms)
    active_s, focus_s, after_hours_s = (each // SECOND_MS if found.days else None for each in times)
    return Focus(
        first=_first(first, last),
        last=last,
        active_s=active_s,
        focus_s=focus_s,
        after_hours_s=after_hours_s,
        days=found.days,
        days_left_out=found.days_left_out,
    )


def _first(first: date, last: date) -> date:
    """The first day that is looked at."""
    return first if (last - first).days < MOST_DAYS else last - timedelta(days=MOST_DAYS - 1)
