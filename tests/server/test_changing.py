"""Another calendar: counted beside the one in force, through uploads and deaths, and then in its place."""

from __future__ import annotations

import random
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select

from devflow import jobs, projects, retention, rollups, wire, workspace
from devflow.audit import Act
from devflow.context import Context
from devflow.models import AuditEntry, Cell, Event, NextCell, NextDay, Project, Role, Workspace
from devflow.rollups import Calendar, changing
from devflow.rollups.verifying import verify
from devflow.windows import Grain
from tests import build
from tests.build import DAY_MS, MINUTE_MS, NOW_MS, STRANGER, Member, World, commit, merge, saved
from tests.server.test_rollups import interrupted, recounted, stored

OLD: Final = Calendar(ZoneInfo("UTC"), 15 * MINUTE_MS)
NEW: Final = Calendar(ZoneInfo("Australia/Lord_Howe"), 40 * MINUTE_MS)


class History:
    """People who go on working on several PCs and projects, over a clock change of the new zone."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.chance = world, random.Random(seed)
        people = [world.person("Ada", Role.ADMIN), world.person("Ben")]
        self.devices = [*people, world.second_device(people[0])]
        self.projects = [world.project(name, *people) for name in ("one", "two", "three")]

    def upload(self, count: int = 4) -> None:
        member = self.chance.choice(self.devices)
        self.world.send(member, *(self._event(member) for _ in range(count)))

    def _event(self, member: Member) -> wire.SyncEvent:
        deeds: list[wire.EventData] = [
            saved("a.py"),
            commit(member.author, "c.py"),
            commit(STRANGER),
            merge(),
        ]
        deed = self.chance.choice(deeds)
        at = NOW_MS - 48 * DAY_MS + self.chance.randrange(6 * 24 * 60) * MINUTE_MS // 4
        return self.world.event(member, self.chance.choice(self.projects), deed, at)


def want(world: World, calendar: Calendar) -> bool:
    return world.database.transact(lambda session: rollups.want(session, world.by(session), calendar))


def step(world: World) -> bool:
    """One step of the job; True once nothing is under way."""
    if world.database.transact(rollups.advance):
        return False
    return world.database.transact(lambda session: rollups.switch(session, world.by(session)))


def assert_right(world: World, calendar: Calendar) -> None:
    """Every cell is what a recount by this calendar gives, and no other one is named."""
    world.refresh()
    with world.reading() as session:
        assert rollups.in_force(session) == calendar
        assert stored(session) == recounted(session, calendar, world.vault)


def test_pages_are_right_at_every_moment_whatever_dies_and_arrives_in_between(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changing, "DAYS", 3)
    history = History(world, 1)
    for _ in range(8):
        history.upload()
    assert not want(world, NEW)
    for rounds in range(300):
        is_done = False
        with interrupted(world, history.chance.randrange(100)):
            is_done = step(world)
        if is_done:
            break
        if rounds % 6 == 0 and rounds < 60:
            history.upload()
        if rounds % 12 == 0:
            assert_right(world, OLD)
    assert is_done and rounds > 20
    assert_right(world, NEW)
    history.upload()
    assert_right(world, NEW)
    assert list(verify(world.database)) == []
    assert_nothing_is_left(world)


def assert_nothing_is_left(world: World) -> None:
    """Of the change, once the job has cleared up."""
    while world.database.transact(rollups.advance):
        pass
    with world.reading() as session:
        for table in (NextCell, NextDay):
            assert session.scalar(select(func.count()).select_from(table)) == 0


def test_a_death_in_the_switch_leaves_all_as_it_was(world: World) -> None:
    history = History(world, 2)
    history.upload(10)
    world.refresh()
    want(world, NEW)
    while world.database.transact(rollups.advance):
        pass
    history.upload()  # what came last is counted in the switch itself
    for after in range(60):
        with interrupted(world, after):
            if step(world):
                break
        assert_right(world, OLD)
        world.database.transact(rollups.advance)
    else:
        pytest.fail("the switch never ended")
    assert after > 5
    assert_right(world, NEW)


def test_a_page_that_began_before_the_switch_ends_by_the_calendar_before(world: World) -> None:
    history = History(world, 3)
    history.upload(10)
    assert_right(world, OLD)
    with world.reading() as page:
        assert rollups.in_force(page) == OLD
        world.adopt(NEW)
        assert stored(page) == recounted(page, OLD, world.vault)
    assert_right(world, NEW)


def test_uploads_refreshes_and_the_change_at_once_lose_nothing(world: World) -> None:
    history = History(world, 4)
    history.upload(10)
    want(world, NEW)

    def change() -> bool:
        return any(step(world) for _ in range(300))

    with ThreadPoolExecutor(5) as pool:
        changed = pool.submit(change)
        work: list[Future[None]] = []
        for _ in range(15):
            work += [pool.submit(history.upload), pool.submit(history.upload), pool.submit(world.refresh)]
    for done in work:
        done.result()
    assert changed.result()
    assert_right(world, NEW)
    assert list(verify(world.database)) == []


def test_another_wish_on_the_way_begins_anew_and_the_old_calendar_ends_it(world: World) -> None:
    history = History(world, 5)
    history.upload(10)
    world.refresh()
    want(world, NEW)
    for _ in range(5):
        step(world)
    other = Calendar(ZoneInfo("America/New_York"), MINUTE_MS)
    assert not want(world, other)
    assert_right(world, OLD)
    world.adopt(other)
    assert_right(world, other)
    want(world, NEW)
    step(world)
    assert want(world, other)
    with world.reading() as session:
        assert rollups.wanted(session) is None
    assert_right(world, other)
    assert_nothing_is_left(world)


def test_a_project_deleted_on_the_way_is_gone_in_the_end(world: World) -> None:
    history = History(world, 6)
    history.upload(20)
    world.refresh()
    want(world, NEW)
    for _ in range(4):
        step(world)
    gone = history.projects[1]
    ada = history.devices[0]
    world.database.transact(
        lambda session: projects.delete(session, world.by(session, ada), gone.public_id, gone.name)
    )
    while world.database.transact(lambda session: projects.purge(session, world.by(session))):
        step(world)
    world.adopt(NEW)
    with world.reading() as session:
        assert session.scalar(select(func.count()).where(Event.project_id == gone.id)) == 0
        assert session.scalar(select(func.count()).where(Cell.project_id == gone.id)) == 0
    assert_right(world, NEW)


def test_events_wait_to_be_deleted_until_the_change_is_over(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    world.report(ada, one, (NOW_MS - 200 * DAY_MS, saved()), (NOW_MS, saved()))
    world.refresh()
    with world.database.writing() as session:
        session.get_one(Workspace, 1).retention_days = 30

    def expire() -> int:
        with world.reading() as session:
            by = world.by(session)
        return retention.run(world.database, by)

    want(world, NEW)
    assert expire() == 0
    world.adopt(NEW)
    assert expire() == 1
    assert list(verify(world.database)) == []


def test_a_start_with_other_settings_serves_by_the_calendar_before_until_the_job_is_done(
    tmp_path: Path, database_url: str
) -> None:
    first, _ = build.context(tmp_path, database_url=database_url)
    world = World.of(first)
    ada = world.person("Ada")
    one = world.project("one", ada)
    world.report(ada, one, (NOW_MS, saved()))
    world.refresh()
    generation = _generation(world, one)
    first.database.close()
    settings = replace(first.settings, timezone="Asia/Kathmandu")
    workspace.prepare(settings, NOW_MS + 1)
    context = Context.open(settings, lambda: NOW_MS + 2)
    world = World.of(context)
    assert world.calendar.zone.key == "Europe/Berlin"
    while not jobs.change_calendar(context):
        pass
    assert world.calendar.zone.key == "Asia/Kathmandu"
    assert _generation(world, one) > generation
    with world.reading() as session:
        day = session.scalar(select(Cell.start).where(Cell.grain == Grain.DAY))
        (entry,) = session.scalars(select(AuditEntry).filter_by(act=Act.CALENDAR_CHANGED))
    assert entry.actor is None
    assert day == NOW_MS - (NOW_MS + (5 * 60 + 45) * MINUTE_MS) % DAY_MS
    assert not jobs.change_calendar(context)
    context.database.close()


def _generation(world: World, project: Project) -> int:
    with world.reading() as session:
        return session.get_one(Project, project.id).generation
