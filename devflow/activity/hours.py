"""At which hours of which weekdays a project is worked on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import windows
from devflow.activity import periods, shared, sums
from devflow.cache import Cache, Place, Server
from devflow.models import Cell, Project
from devflow.rollups import NOBODY
from devflow.windows import SECOND_MS, Grain

HOURS: Final = 24
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
    rows = session.execute(
        select(Cell.start, Cell.person_id, Cell.active_ms).where(
            Cell.project_id == project.id, sums.within(Grain.HOUR, span), Cell.person_id != NOBODY
        )
    )
    days = _by_day(rows, zone)
    shown = [at for people, at in days.values() if not shared.are_too_few(people)]
    milliseconds = [[0] * HOURS for _ in range(7)]
    for at in shown:
        for (weekday, hour), active_ms in at.items():
            milliseconds[weekday][hour] += active_ms
    return Hours(
        first,
        last,
        [[each // SECOND_MS for each in of_day] for of_day in milliseconds],
        len(shown),
        len(days) - len(shown),
    )


_At = dict[tuple[int, int], int]


def _by_day(rows: Iterable[Any], zone: ZoneInfo) -> dict[date, tuple[set[int], _At]]:
    """Who worked on each day, and the milliseconds by weekday and hour."""
    days: dict[date, tuple[set[int], _At]] = {}
    places: dict[int, tuple[date, tuple[int, int]]] = {}
    for start, person_id, active_ms in rows:
        if start not in places:
            local = datetime.fromtimestamp(start / SECOND_MS, zone)
            places[start] = windows.day_of(start, zone), (local.weekday(), local.hour)
        day, at = places[start]
        people, spent = days.setdefault(day, (set(), {}))
        people.add(person_id)
        spent[at] = spent.get(at, 0) + active_ms
    return days
