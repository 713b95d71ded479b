"""One person's days, newest first, in their weeks: on which projects, how long, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from devflow import windows
from devflow.activity import periods, sums
from devflow.activity.people import PersonActivity, ProjectPart, parts_of
from devflow.activity.sums import Numbers, Part
from devflow.models import Person
from devflow.windows import Grain
from devflow.wire import EventType

MOST_DAYS: Final = 366
"""Of a longer range its last days are told one by one."""


@dataclass(frozen=True, slots=True)
class PersonDay:
    """A day with work; ``projects`` are those it was on, the longest first."""

    date: date
    numbers: Numbers
    projects: list[ProjectPart]


@dataclass(frozen=True, slots=True)
class Week:
    """A calendar week as its Monday, its days with work, and all of these together."""

    first: date
    numbers: Numbers
    days: list[PersonDay]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The days from ``first`` to ``last``, if the range is no longer than is told one by one."""

    first: date
    last: date
    weeks: list[Week]

    @property
    def days(self) -> list[PersonDay]:
        return [day for week in self.weeks for day in week.days]


def timeline(
    session: Session,
    subject: Person,
    shown: PersonActivity,
    last: date,
    zone: ZoneInfo,
    kind: EventType | None = None,
) -> Timeline:
    """The days of what ``shown`` tells together, up to ``last``. One statement."""
    first = max(shown.first, last - timedelta(days=MOST_DAYS - 1))
    window = periods.window_of([first, last], zone)
    parts = parts_of(session, subject, [part.project for part in shown.projects], Grain.DAY, window, kind)
    by_day = {
        windows.day_of(start, zone): list(of)
        for start, of in groupby(sorted(parts, key=lambda part: -part.start), lambda part: part.start)
    }
    return Timeline(
        first,
        last,
        [
            Week(
                monday,
                sums.united(part for day in days for part in by_day[day]),
                [_day(day, by_day[day], shown.projects) for day in days],
            )
            for monday, week in groupby(by_day, _monday)
            if (days := list(week))
        ],
    )


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _day(day: date, parts: Sequence[Part], projects: Sequence[ProjectPart]) -> PersonDay:
    found = [
        ProjectPart(each.project, each.may_open, sums.united(own))
        for each in projects
        if (own := [part for part in parts if part.project_id == each.project.id])
    ]
    return PersonDay(day, sums.united(parts), sorted(found, key=lambda part: -(part.numbers.active_s or 0)))
