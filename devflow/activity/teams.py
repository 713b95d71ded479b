"""A team over a range of days: what its members did in some projects, together, by project and one by one.

Nothing here depends on who asks; who is shown what of it is for the caller to say.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, TypeVar

from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from devflow import windows
from devflow.activity import focus, periods, sums
from devflow.activity.focus import Focus
from devflow.activity.periods import Step
from devflow.activity.sums import Count, Numbers, Part
from devflow.cache import Cache, Place, Server
from devflow.models import Cell, Person, Project
from devflow.windows import Grain

K = TypeVar("K")
SPREAD_OF: Final = 4
"""Of fewer people the least, the middle and the most would nearly name each of them."""
_FORM: Final = 1
"""Of what is kept; a release that counts or writes summaries otherwise has another number."""


@dataclass(frozen=True, slots=True)
class TeamPeriod:
    """One bar: its days, both included, and what the members did in them."""

    first: date
    last: date
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class TeamProject:
    """The members' part of a project; ``people`` is how many of them had one, ``last_active`` in all time."""

    project: Project
    numbers: Numbers
    people: int
    last_active: date


@dataclass(frozen=True, slots=True)
class Spread:
    """Active time of single members, in seconds: the least, the median and the most of so many."""

    least_s: int
    median_s: int
    most_s: int
    people: int


@dataclass(frozen=True, slots=True)
class TeamActivity:
    """A team over a range, in ``periods`` of one ``step``.

    All periods are whole: ``first`` to ``last`` can be wider than what was asked for. ``people`` are
    those of the members with work in the range, by id. ``spread`` is None of too few members.
    ``first_day`` and ``last_day`` are of the whole history, None while there is none.
    """

    step: Step
    first: date
    last: date
    total: Numbers
    periods: list[TeamPeriod]
    projects: list[TeamProject]
    people: dict[int, Numbers]
    spread: Spread | None
    focus: Focus
    first_day: date | None
    last_day: date | None
    is_fresh: bool


class _Of(Struct, frozen=True, array_like=True):
    """What was counted of a project, or of a person, by its id; ``people`` is of a project."""

    id: int
    count: Count
    people: int


class _Summary(Struct, frozen=True, array_like=True):
    """What is kept of a team and a range."""

    total: Count
    periods: list[Count]
    projects: list[_Of]
    people: list[_Of]
    focus: focus.Counted


class _Reach(Struct, frozen=True, array_like=True):
    """The first and the last day of the members' work in a project, by their starts."""

    project_id: int
    low: int
    high: int


def team(
    session: Session,
    members: Sequence[Person],
    projects: Sequence[Project],
    first: date | None,
    last: date,
    cache: Cache,
    server: Server,
) -> TeamActivity:
    """Four statements, however many members, projects and days; one if nothing has changed since.

    Without ``first`` it begins with the first day of the members' work in the projects.
    """
    zone, people = server.calendar.zone, sorted(member.id for member in members)
    kept = _Kept(session, people, projects, cache, server)
    reaches = {each.project_id: each for each in kept.get("reach", list[_Reach], kept.reaches)}
    days = [windows.day_of(at, zone) for each in reaches.values() for at in (each.low, each.high)]
    if first is None:
        first = min([*days, last])
    step = periods.step_for(first, last)
    spans = periods.spans_of(step, first, last)
    question = f"activity:{first}..{last}"
    counted = kept.get(question, _Summary, lambda: kept.summary(step, spans, first, last))
    by_id = {project.id: project for project in projects}
    return TeamActivity(
        step=step,
        first=spans[0][0],
        last=spans[-1][1],
        total=counted.total.numbers(),
        periods=[
            TeamPeriod(*span, count.numbers()) for span, count in zip(spans, counted.periods, strict=True)
        ],
        projects=[
            TeamProject(
                by_id[each.id],
                each.count.numbers(),
                each.people,
                windows.day_of(reaches[each.id].high, zone),
            )
            for each in counted.projects
        ],
        people={each.id: each.count.numbers() for each in counted.people},
        spread=_spread(members, counted.people),
        focus=focus.told(counted.focus, first, last),
        first_day=min(days, default=None),
        last_day=max(days, default=None),
        is_fresh=sums.is_fresh(session, projects),
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """Whose work in which projects, counted only if nobody has asked since it changed."""

    session: Session
    people: Sequence[int]
    projects: Sequence[Project]
    cache: Cache
    server: Server

    def get(self, question: str, kind: type[K], count: Callable[[], K]) -> K:
        if not self.projects:
            return count()
        # Of several projects, so that all their generations stand in the question; one is for the place.
        of = ",".join(f"{project.id}:{project.generation}" for project in self.projects)
        whose = ",".join(map(str, self.people))
        words = f"people:{whose}:projects:{of}:{question}:{self.server}:form:{_FORM}"
        place = Place(words, self.projects[0].id, self.projects[0].generation, costly=False)
        return self.cache.get(self.session, place, kind, count)

    def reaches(self) -> list[_Reach]:
        rows = self.session.execute(
            select(Cell.project_id, func.min(Cell.start).label("low"), func.max(Cell.start).label("high"))
            .where(
                Cell.project_id.in_([project.id for project in self.projects]),
                Cell.grain == Grain.DAY,
                Cell.person_id.in_(self.people),
            )
            .group_by(Cell.project_id)
        )
        return [_Reach(row.project_id, row.low, row.high) for row in rows]

    def summary(self, step: Step, spans: Sequence[tuple[date, date]], first: date, last: date) -> _Summary:
        zone = self.server.calendar.zone
        ids = [project.id for project in self.projects]
        window = periods.window_of([spans[0][0], spans[-1][1]], zone)
        parts = sums.read(
            self.session,
            [(periods.GRAIN[step], window)],
            Cell.project_id.in_(ids),
            Cell.person_id.in_(self.people),
        )
        by_project = _grouped(parts, lambda part: part.project_id)
        return _Summary(
            total=sums.counted(parts),
            periods=periods.by_span(parts, spans, zone, sums.counted),
            projects=[
                _Of(project_id, sums.counted(of), len({part.person_id for part in of}))
                for project_id in ids
                if (of := by_project.get(project_id))
            ],
            people=[
                _Of(person_id, sums.counted(of), 1)
                for person_id, of in sorted(_grouped(parts, lambda part: part.person_id).items())
            ],
            focus=focus.count(self.session, self.people, ids, first, last, zone),
        )


def _grouped(parts: Iterable[Part], key: Callable[[Part], int]) -> dict[int, list[Part]]:
    found: dict[int, list[Part]] = {}
    for part in parts:
        found.setdefault(key(part), []).append(part)
    return found


def _spread(members: Sequence[Person], worked: Sequence[_Of]) -> Spread | None:
    """Of the members whose accounts are in use; who did nothing counts as well."""
    active = {each.id: each.count.active_ms // windows.SECOND_MS for each in worked}
    loads = sorted(active.get(member.id, 0) for member in members if member.deactivated_at is None)
    if len(loads) < SPREAD_OF:
        return None
    return Spread(loads[0], int(statistics.median(loads)), loads[-1], len(loads))
