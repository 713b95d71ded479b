"""A team of twenty on eight projects for a year, in cells as uploads and refreshes leave them."""

from __future__ import annotations

import random
from typing import Final

from pyroaring import BitMap
from sqlalchemy import insert

from devflow import windows
from devflow.models import Cell, Project, Role
from devflow.windows import HOUR_MS, Grain
from tests.build import DAY_MS, NOW_MS, Member, World

PEOPLE: Final = 20
PROJECTS: Final = 8
DAYS: Final = 365
HOURS: Final = range(9, 17)
_AT_ONCE: Final = 5_000
_FILES: Final = 5_000  # of a project


def fill(world: World, events: int) -> tuple[list[Member], list[Project]]:
    """Each of them works on two projects a day. Pages read cells alone: there is no row for an event."""
    people = [world.person(f"Person{number}") for number in range(PEOPLE)]
    projects = [world.project(f"project{number}", *people) for number in range(PROJECTS)]
    world.team("all", {each: Role.LEAD if each is people[0] else Role.DEVELOPER for each in people})
    drawn, an_hour = random.Random(1), max(1, events // (PEOPLE * DAYS * len(HOURS)))
    rows: dict[tuple[int, Grain, int, int], tuple[list[int], BitMap]] = {}
    for person in people:
        for day in range(DAYS):
            midnight = windows.window(Grain.DAY, NOW_MS - day * DAY_MS, world.calendar.zone).start_ms
            on = drawn.sample(projects, 2)
            for hour in HOURS:
                start, project = midnight + hour * HOUR_MS, on[hour % 2]
                files = BitMap(drawn.sample(range(_FILES), min(an_hour, 30)))
                for grain in Grain:
                    window = windows.window(grain, start, world.calendar.zone).start_ms
                    count, all_files = rows.setdefault(
                        (project.id, grain, window, person.id), ([0], BitMap())
                    )
                    count[0] += an_hour
                    all_files |= files
    values = [
        {
            "project_id": project_id,
            "grain": grain,
            "start": start,
            "person_id": person_id,
            "events": count,
            "commits": count // 10,
            "insertions": count,
            "deletions": count // 3,
            "active_ms": min(HOUR_MS, count * 5_000),
            "files": files.serialize(),
        }
        for (project_id, grain, start, person_id), ([count], files) in rows.items()
    ]
    with world.database.writing() as session:
        for first in range(0, len(values), _AT_ONCE):
            session.execute(insert(Cell), values[first : first + _AT_ONCE])
    return people, projects
