"""Where a lead may want to help: who may be stuck, whose load is far from the others', who is alone.

Rules of thumb of ours on days alone, each told with the numbers it follows from; they ask, and judge nobody.
Of too little nothing is said.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import windows
from devflow.activity import periods, sums
from devflow.models import Cell, Person, Project
from devflow.rollups import NOBODY
from devflow.windows import SECOND_MS, Grain

LOOK_DAYS: Final = 30
"""Back from today: as far as anything here looks."""
LOAD_DAYS: Final = 14
STUCK_DAYS: Final = 3
STUCK_S: Final = 4 * 3_600
HIGH: Final = 1.5
LOW: Final = 0.5
LOAD_PEOPLE: Final = 3
"""Fewer have no middle to be far from."""
LOAD_MEDIAN_S: Final = 2 * 3_600
CARRIED_SHARE: Final = 0.8
CARRIED_S: Final = 10 * 3_600
"""Of a project with less time than this it says nothing that one did most of it."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """Somebody's last active days, without a commit on them; the last one before, if there was one."""

    person: Person
    days: list[date]
    active_s: int
    last_commit: date | None


@dataclass(frozen=True, slots=True)
class Load:
    """Active time, how many times the median it is, and the project that took most of it."""

    person: Person
    active_s: int
    times: float
    mostly: Project
    mostly_s: int


@dataclass(frozen=True, slots=True)
class Loads:
    """Those far from the median of the ``people`` who were active; ``unseen`` are members who were not."""

    median_s: int
    people: int
    high: list[Load]
    low: list[Load]
    unseen: list[Person]


@dataclass(frozen=True, slots=True)
class Carried:
    """A project that one person did nearly all of.

    ``active_s`` is of everybody known here, ``own_s`` of the person; how long it took to make
    ``unknown_commits`` nobody knows.
    """

    project: Project
    person: Person
    own_s: int
    active_s: int
    unknown_commits: int


@dataclass(frozen=True, slots=True)
class Helping:
    """``stuck_of`` members, and ``carried_of`` projects, had enough to tell; of loads None is too little.

    Nothing is said while days are still being counted: then ``is_fresh`` is False, and all is empty.
    """

    first: date
    load_first: date
    last: date
    is_fresh: bool
    stuck: list[Stuck]
    stuck_of: int
    loads: Loads | None
    carried: list[Carried]
    carried_of: int


class Done(NamedTuple):
    """What a person did in a project on a day; ``person_id`` 0 is nobody known here."""

    project_id: int
    day: date
    person_id: int
    commits: int
    active_ms: int


def helping(
    session: Session, members: Sequence[Person], projects: Sequence[Project], today: date, zone: ZoneInfo
) -> Helping:
    """Two statements. Of work, what lies in the projects; whether its people may be seen is asked before."""
    first = today - timedelta(days=LOOK_DAYS - 1)
    is_fresh = sums.is_fresh(session, projects)
    done = _read(session, projects, first, today, zone) if is_fresh else []
    return found(members, projects, done, today, is_fresh=is_fresh)


def _read(
    session: Session, projects: Sequence[Project], first: date, last: date, zone: ZoneInfo
) -> list[Done]:
    rows = session.execute(
        select(Cell.project_id, Cell.start, Cell.person_id, Cell.commits, Cell.active_ms).where(
            Cell.project_id.in_([project.id for project in projects]),
            sums.within(Grain.DAY, periods.window_of([first, last], zone)),
        )
    )
    return [
        Done(project_id, windows.day_of(start, zone), person_id, commits, active_ms)
        for project_id, start, person_id, commits, active_ms in rows
    ]


def found(
    members: Sequence[Person],
    projects: Sequence[Project],
    done: Sequence[Done],
    today: date,
    *,
    is_fresh: bool = True,
) -> Helping:
    """What follows from the work of the last ``LOOK_DAYS``."""
    known = [member for member in members if member.deactivated_at is None and member.erased_at is None]
    load_first = today - timedelta(days=LOAD_DAYS - 1)
    by_person = _grouped(done, lambda each: each.person_id)
    by_project = _grouped(done, lambda each: each.project_id)
    looks = [
        (member, days, own)
        for member in known
        if (own := by_person.get(member.id)) and len(days := _last_days(own, load_first)) == STUCK_DAYS
    ]
    enough = [project for project in projects if _active_s(by_project.get(project.id, ())) >= CARRIED_S]
    return Helping(
        first=today - timedelta(days=LOOK_DAYS - 1),
        load_first=load_first,
        last=today,
        is_fresh=is_fresh,
        stuck=[look for parts in looks if (look := _stuck(*parts)) is not None],
        stuck_of=len(looks),
        loads=_loads(known, projects, [each for each in done if each.day >= load_first]),
        carried=[
            carried
            for project in enough
            if (carried := _carried(known, project, by_project[project.id])) is not None
        ],
        carried_of=len(enough),
    )


def _grouped(done: Sequence[Done], key: Callable[[Done], int]) -> dict[int, list[Done]]:
    found: dict[int, list[Done]] = {}
    for each in done:
        found.setdefault(key(each), []).append(each)
    return found


def _last_days(own: Sequence[Done], first: date) -> list[date]:
    """The last days from ``first`` on with active time, the oldest of them first."""
    return sorted({each.day for each in own if each.day >= first and each.active_ms})[-STUCK_DAYS:]


def _stuck(member: Person, days: list[date], own: Sequence[Done]) -> Stuck | None:
    # From the first of them to now: a commit on a day without active time is one, too.
    since = [each for each in own if each.day >= days[0]]
    active_s = _active_s(since)
    if active_s < STUCK_S or any(each.commits for each in since):
        return None
    return Stuck(member, days, active_s, max((each.day for each in own if each.commits), default=None))


def _loads(members: Sequence[Person], projects: Sequence[Project], recent: Sequence[Done]) -> Loads | None:
    by_person: dict[int, Counter[int]] = {}
    for each in recent:
        if each.active_ms:
            by_person.setdefault(each.person_id, Counter())[each.project_id] += each.active_ms
    seen = [member for member in members if member.id in by_person]
    if len(seen) < LOAD_PEOPLE:
        return None
    median_s = int(statistics.median(by_person[member.id].total() // SECOND_MS for member in seen))
    if median_s < LOAD_MEDIAN_S:
        return None
    names = {project.id: project for project in projects}

    def load(member: Person) -> Load:
        own = by_person[member.id]
        project_id, mostly_ms = own.most_common(1)[0]
        active_s = own.total() // SECOND_MS
        return Load(member, active_s, active_s / median_s, names[project_id], mostly_ms // SECOND_MS)

    loads = sorted(map(load, seen), key=lambda each: -each.active_s)
    return Loads(
        median_s=median_s,
        people=len(seen),
        high=[each for each in loads if each.times > HIGH],
        low=[each for each in loads if each.times < LOW],
        unseen=[member for member in members if member.id not in by_person],
    )


def _carried(members: Sequence[Person], project: Project, work: Sequence[Done]) -> Carried | None:
    """Whose the project is, if it is one of the members'; with such a share it is one at most."""
    active_s, by_person = _active_s(work), _grouped(work, lambda each: each.person_id)
    unknown = sum(each.commits for each in by_person.get(NOBODY, ()))
    for member in members:
        own_s = _active_s(by_person.get(member.id, ()))
        if own_s >= CARRIED_SHARE * active_s:
            return Carried(project, member, own_s, active_s, unknown)
    return None


def _active_s(done: Sequence[Done]) -> int:
    return sum(each.active_ms for each in done) // SECOND_MS
