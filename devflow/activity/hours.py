"""At which hours of which weekdays a project is worked on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct
from sqlalchemy import String, cast, func, select
from sqlalchemy.orm import Session

from devflow.activity import periods, shared, sums
from devflow.cache import Cache, Place, Server
from devflow.models import Cell, Project
from devflow.rollups import NOBODY
from devflow.windows import SECOND_MS, Grain

HOURS: Final = 24
_BETWEEN: Final = ","
_FORM: Final = 1


class Hours(Struct, frozen=True, array_like=True):
    """Active seconds by weekday, from Monday, and hour, of ``shown`` of the days from ``first`` on.

    ``hidden`` days had work, but of too few people to tell of their hours.
    """

    first: date
    last: date
    seconds: list[list[int]]
    shown: int
    hidden: int


def hours(session: Session, project: Project, first: date, last: date, cache: Cache, server: Server) -> Hours:
    """One statement, or none if the project has not changed since; the last days of a range that is long."""
    first = max(first, last - timedelta(days=shared.MOST_DAYS_BY_HOUR - 1))
    place = Place(
        f"project:{project.public_id}:hours:{first}..{last}:{server}:form:{_FORM}",
        project.id,
        project.generation,
        costly=False,
    )
    return cache.get(
        session, place, Hours, lambda: _count(session, project, first, last, server.calendar.zone)
    )


def _count(session: Session, project: Project, first: date, last: date, zone: ZoneInfo) -> Hours:
    span = periods.window_of([first, last], zone)
    # One row for an hour, with the ids of all who worked in it: many rows take longer to make than to read.
    people = func.aggregate_strings(cast(Cell.person_id, String), _BETWEEN)
    rows = session.execute(
        select(Cell.start, people, func.sum(Cell.active_ms))
        .where(Cell.project_id == project.id, sums.within(Grain.HOUR, span), Cell.person_id != NOBODY)
        .group_by(Cell.start)
    )
    days = _by_day(rows, zone)
    shown = [spent for known, spent in days.values() if not shared.is_too_few(len(known))]
    milliseconds = [[0] * HOURS for _ in range(7)]
    for spent in shown:
        for (weekday, hour), active_ms in spent.items():
            milliseconds[weekday][hour] += active_ms
    return Hours(
        first,
        last,
        [[each // SECOND_MS for each in of_day] for of_day in milliseconds],
        len(shown),
        len(days) - len(shown),
    )


_Spent = dict[tuple[int, int], int]


def _by_day(rows: Iterable[Any], zone: ZoneInfo) -> dict[date, tuple[set[str], _Spent]]:
    """Who worked on each day, and the milliseconds by weekday and hour."""
    days: dict[date, tuple[set[str], _Spent]] = {}
    for start, people, active_ms in rows:
        local = datetime.fromtimestamp(start // SECOND_MS, zone)
        known, spent = days.setdefault(local.date(), (set(), {}))
        known.update(people.split(_BETWEEN))
        at = local.weekday(), local.hour
        spent[at] = spent.get(at, 0) + int(active_ms)  # PostgreSQL's sums are decimals
    return days
