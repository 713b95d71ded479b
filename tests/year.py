"""A year of twenty people in three teams on eight projects, as their PCs would have sent it.

What there is on a staged server, and on it work as it is: on weekdays, with mornings, holidays, weeks
off and late commits; from several PCs a person, one of them silent for a month; of authors whom nobody
knows. The same days and lines for the same seed; ids and keys are drawn anew.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo
from pathlib import Path
from typing import Final

import msgspec

from devflow import windows, wire
from devflow.accounts import devices
from devflow.context import Context
from devflow.models import Device, Project, ProjectMember, Role
from devflow.partitions import Partitions
from devflow.wire import EventData
from tests import build
from tests.build import Member, World
from tests.staged import Scene, Staged, stage

DAYS: Final = 365
MOBILE: Final = "Gil Hal Ivy Jun Kim Lea Max"
SEARCH: Final = "Nia Oda Pia Quy Rex Sue Tom"
"""Fourteen beside the six of the stage, and the names of their teams."""
STAGED: Final = "Ada Bob Dan Eve Fay"
PROJECTS: Final = {
    "checkout": MOBILE,
    "mobile-app": MOBILE,
    "search": SEARCH,
    "infrastructure": f"{MOBILE} {SEARCH} {STAGED}",
}
"""With who is in them: four beside the stage's three with events and the one without."""
ALSO_ON_THE_STAGE: Final = {"atlas-api": "Dan Eve Fay Nia Oda", "billing": "Dan Gil", "design-system": "Hal"}
# Of Germany as a whole, in the year before the tests' day.
HOLIDAYS: Final = frozenset(
    {
        *(date(2025, 12, day) for day in (25, 26)),
        *(
            date(2026, month, day)
            for month, day in ((1, 1), (4, 3), (4, 6), (5, 1), (5, 14), (5, 25), (10, 3))
        ),
    }
)
SATURDAY: Final = 5
PART_DAYS: Final = 28
"""What comes in at once."""
FOLDERS: Final = ("src", "src/api", "tests", "docs")
KEPT: Final = "staged.json"
Deed = tuple[int, EventData]


@dataclass(frozen=True, slots=True)
class Habits:
    """How one person works: the hour their days start, how late they end, the weeks they are off."""

    who: Member
    zone: tzinfo
    pcs: list[Member]
    projects: Sequence[Project]
    starts: float
    hours: float
    is_late: bool
    off: frozenset[int]


def fill(context: Context, days: int = DAYS, seed: int = 7) -> Staged:
    """Fill a prepared workspace: the stage, with so many days of twenty people's work.

    Signed in are, beside the stage's, Gil, a developer, and Hal, who leads a team.
    """
    chance = random.Random(seed)
    return stage(context, work=lambda world, scene: _work(world, scene, chance, days))


def keep(staged: Staged, folder: Path) -> None:
    """Write down beside the database what leads to its pages."""
    (folder / KEPT).write_bytes(msgspec.json.encode(staged))


def kept(folder: Path) -> Staged:
    return msgspec.json.decode((folder / KEPT).read_bytes(), type=Staged)


def _work(world: World, scene: Scene, chance: random.Random, days: int) -> dict[str, Member]:
    """What came in, part by part; returns who is to be signed in, too."""
    scene.people.update((name, world.person(name)) for name in f"{MOBILE} {SEARCH}".split())
    members = _projects(world, scene)
    for team, names, lead in (("Mobile", MOBILE, "Hal"), ("Search", SEARCH, "Sue")):
        roles = {scene.people[each]: Role.DEVELOPER for each in names.split()}
        world.team(team, roles | {scene.people[lead]: Role.LEAD})
    everybody = [_habits(world, chance, scene.people[name], members[name]) for name in sorted(members)]
    silent = world.second_device(scene.people["Tom"])
    everybody[-1].pcs.append(silent)
    today_ms, world.partitions = world.now_ms, Partitions()
    for first in range(days - 1, -1, -PART_DAYS):
        last = max(first - PART_DAYS + 1, 0)
        world.now_ms = today_ms - last * build.DAY_MS + (build.DAY_MS if last else 0)
        for habits in everybody:
            pcs = [pc for pc in habits.pcs if last or pc is not silent]
            _report(world, chance, habits, pcs, range(first, last - 1, -1))
    _report_strangers(world, chance, everybody[0], days)
    world.refresh()
    _say_how_sync_is_doing(world, chance, [pc for each in everybody for pc in each.pcs], silent)
    return {name: scene.people[name] for name in ("Gil", "Hal")}


def _projects(world: World, scene: Scene) -> dict[str, list[Project]]:
    """By name of who works, where they do."""
    found: dict[str, list[Project]] = {name: list(scene.projects) for name in ("Ada", "Bob")}
    for title, names in PROJECTS.items():
        members = [scene.people[name] for name in names.split()]
        project = world.project(title, *members, roles={scene.people["Ada"]: Role.MANAGER})
        for name in names.split():
            found.setdefault(name, []).append(project)
    for project in scene.projects:
        joining = ALSO_ON_THE_STAGE[project.name].split()
        with world.database.writing() as session:
            session.add_all(
                ProjectMember(project_id=project.id, person_id=scene.people[name].id, role=Role.DEVELOPER)
                for name in joining
            )
        for name in joining:
            found[name].append(project)
    return found


def _habits(world: World, chance: random.Random, who: Member, projects: Sequence[Project]) -> Habits:
    has_two = chance.random() < 0.3
    return Habits(
        who=who,
        zone=world.calendar.zone,
        pcs=[who, world.second_device(who)] if has_two else [who],
        projects=chance.sample(projects, min(len(projects), 3)),
        starts=chance.uniform(7.5, 10.5),
        hours=chance.uniform(6, 9),
        is_late=chance.random() < 0.25,
        off=frozenset(chance.sample(range(1, 53), 5)),
    )


def _report(
    world: World, chance: random.Random, habits: Habits, pcs: Sequence[Member], days_ago: Sequence[int]
) -> None:
    """From each PC and for each project at once, as if it had been offline; most days are of one of each."""
    found: dict[tuple[int, int], list[Deed]] = {}
    for ago in days_ago:
        day = windows.day_of(build.NOW_MS, habits.zone) - timedelta(days=ago)
        if _is_worked_on(chance, habits, day):
            midnight = windows.day_window(day, habits.zone).start_ms
            pc, main, other = (
                chance.randrange(len(each)) for each in (pcs, habits.projects, habits.projects)
            )
            for number, deed in enumerate(_deeds(chance, habits, midnight)):
                found.setdefault((pc, other if number % 8 == 7 else main), []).append(deed)
    for (pc, project), deeds in found.items():
        world.report(pcs[pc], habits.projects[project], *deeds)


def _is_worked_on(chance: random.Random, habits: Habits, day: date) -> bool:
    if day in HOLIDAYS or day.isocalendar().week in habits.off:
        return False
    return chance.random() < (0.06 if day.weekday() >= SATURDAY else 0.93)


def _deeds(chance: random.Random, habits: Habits, midnight: int) -> Iterator[Deed]:
    """One day's until now: stretches of work with breaks between, and now and then one late at night."""
    at = midnight + int((habits.starts + chance.gauss(0, 0.5)) * build.HOUR_MS)
    ends = at + int(habits.hours * build.HOUR_MS)
    yield from _up_to_now(at, _beginning(chance))
    while at < ends:
        for _ in range(chance.randrange(1, 4)):
            at += chance.randrange(20, 600) * 1_000
            yield from _up_to_now(at, build.saved(_path(chance), chance.randrange(200, 40_000)))
        if chance.random() < 0.4:
            at += 60_000
            yield from _up_to_now(at, _commit(chance, habits.who.author))
        at += chance.randrange(15, 90) * build.MINUTE_MS
    if habits.is_late and chance.random() < 0.15:
        late = midnight + int(chance.uniform(21.5, 23.5) * build.HOUR_MS)
        yield from _up_to_now(late, _commit(chance, habits.who.author))


def _up_to_now(at: int, data: EventData) -> Iterator[Deed]:
    if at <= build.NOW_MS:
        yield at, data


def _beginning(chance: random.Random) -> EventData:
    branch = f"{chance.choice(('fix', 'feature', 'chore'))}/{chance.randrange(100, 999)}"
    return chance.choice(
        (
            wire.BranchSwitched(branch=branch, previous="main"),
            wire.BranchCreated(branch=branch, sha="a" * 40),
            wire.FileCreated(path=_path(chance), size_bytes=0),
        )
    )


def _commit(chance: random.Random, author: str) -> wire.Commit:
    lines = int(chance.lognormvariate(3, 1.1))
    paths = {_path(chance) for _ in range(chance.randrange(1, 5))}
    return build.commit(
        author, *sorted(paths), insertions=lines, deletions=int(lines * chance.random() * 0.8)
    )


def _path(chance: random.Random) -> str:
    """A few files are changed often, most seldom."""
    return f"{chance.choice(FOLDERS)}/part{int(chance.paretovariate(1.1)) % 60}.py"


def _report_strangers(world: World, chance: random.Random, habits: Habits, days: int) -> None:
    """Commits of somebody who reports to no server, as a pull brings them."""
    ago = sorted(chance.sample(range(1, days), min(40, days - 1)), reverse=True)
    deeds = [(build.NOW_MS - each * build.DAY_MS, _commit(chance, build.STRANGER)) for each in ago]
    world.report(habits.who, habits.projects[0], *deeds)


def _say_how_sync_is_doing(
    world: World, chance: random.Random, pcs: Sequence[Member], silent: Member
) -> None:
    with world.database.writing() as session:
        for pc in pcs:
            report = wire.Report(
                queue=2_300 if pc is silent else chance.randrange(3),
                success=400 if pc is silent else chance.randrange(970, 1_001),
                latency=chance.randrange(30, 300),
                interval=30,
                batch=500,
                start=1,
            )
            device = session.get_one(Device, pc.device)
            devices.note(device, wire.report_header(report), device.last_seen_at or 0)
