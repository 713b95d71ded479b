"""Uploads and refreshes at the same time: no event is lost to a race, none counted twice."""

from __future__ import annotations

import random
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from devflow import projects, wire
from devflow.errors import Invalid
from devflow.ingest import authors
from devflow.models import Event, Role
from tests.build import MINUTE_MS, NOW_MS, STRANGER, Member, World, commit, saved
from tests.crowd import assert_counted_once, work_for
from tests.server.test_rollups import recounted, stored


def test_uploads_from_all_sides_and_refreshes_between_them_equal_a_recount(world: World) -> None:
    people = [world.person(name) for name in ("Ada", "Ben")]
    devices = people + [world.second_device(member) for member in people]
    projects = [world.project(name, *people) for name in ("one", "two", "three")]
    chance = random.Random(7)

    def events(member: Member) -> list[wire.SyncEvent]:
        deeds: list[wire.EventData] = [saved("a.py"), commit(member.author, "b.py"), commit(STRANGER, "c.py")]
        return [
            world.event(member, chance.choice(projects), deed, NOW_MS + chance.randrange(120) * MINUTE_MS)
            for deed in deeds
        ]

    batches = [(member, events(member)) for _ in range(15) for member in devices]
    with ThreadPoolExecutor(6) as pool:
        uploads = [pool.submit(world.send, member, *batch) for member, batch in batches]
        refreshes = [pool.submit(world.refresh) for _ in range(30)]
    for refresh in refreshes:
        refresh.result()
    assert all(upload.result().success for upload in uploads)
    world.refresh()
    with world.reading() as session:
        assert session.scalar(select(func.count()).select_from(Event)) == 3 * len(batches)
        assert stored(session) == recounted(session, world.calendar, world.vault)


def add_authors(world: World, member: Member, *keys: str) -> None:
    def work(session: Session) -> None:
        authors.add(session, world.by(session, member), map(bytes.fromhex, keys))

    world.database.transact(work)


def test_addresses_told_and_commits_claimed_during_uploads_equal_a_recount(world: World) -> None:
    ada, ben = people = [world.person(name) for name in ("Ada", "Ben")]
    devices = people + [world.second_device(member) for member in people]
    projects = [world.project(name, *people) for name in ("one", "two")]
    keys = {
        member.id: [wire.author_key(f"{member.id}.{n}@home.example") for n in range(8)] for member in people
    }
    chance = random.Random(11)
    # A commit has one time and one project, whoever saw it.
    commits = [
        (
            projects[n % 2],
            commit(chance.choice(keys[chance.choice(people).id]), "a.py"),
            NOW_MS + n * MINUTE_MS,
        )
        for n in range(40)
    ]

    def upload(member: Member) -> list[wire.SyncEvent]:
        seen = [world.event(member, *known) for known in chance.sample(commits, 4)]
        own = world.event(
            member, chance.choice(projects), saved("b.py"), NOW_MS + chance.randrange(60) * MINUTE_MS
        )
        return [*seen, own]

    uploads = [(member, upload(member)) for member in chance.choices(devices, k=40)]
    work: list[Future[Any]] = []
    with ThreadPoolExecutor(8) as pool:
        work += [pool.submit(world.send, member, *events) for member, events in uploads]
        for n in range(8):
            work += [pool.submit(add_authors, world, member, keys[member.id][n]) for member in (ada, ben)]
            work += [pool.submit(world.refresh) for _ in range(4)]
    for done in work:
        done.result()
    world.refresh()
    with world.reading() as session:
        assert stored(session) == recounted(session, world.calendar, world.vault)


@pytest.mark.parametrize("backend", ["postgres"])  # on SQLite one waits before it has begun
def test_of_two_people_who_tell_the_same_address_at_once_one_is_refused(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    key = wire.author_key("shared@example.org")
    with ThreadPoolExecutor(1) as pool:
        with world.database.writing() as session:
            authors.add(session, world.by(session, ada), [bytes.fromhex(key)])
            told = pool.submit(add_authors, world, ben, key)
            wait_for_a_lock(world)
        with pytest.raises(Invalid, match="another person"):
            told.result()


@pytest.mark.parametrize("backend", ["postgres"])
def test_of_two_projects_of_one_name_at_once_the_second_is_refused_in_words(world: World) -> None:
    ada = world.person("Ada", Role.MANAGER)

    def create(session: Session) -> None:
        projects.create(session, world.by(session, ada), "one")

    with ThreadPoolExecutor(1) as pool:
        with world.database.writing() as session:
            create(session)
            second = pool.submit(world.database.transact, create)
            wait_for_a_lock(world)
        with pytest.raises(Invalid, match="no project has yet"):
            second.result()


def wait_for_a_lock(world: World) -> None:
    """Until some transaction waits for another."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    deadline = time.monotonic() + 10
    while True:
        with world.reading() as session:
            if session.scalar(waiting):
                return
        assert time.monotonic() < deadline, "nobody waited"


def test_four_uploaders_and_two_refreshers_at_once_count_each_event_once(world: World) -> None:
    """A moment of what ``make soak`` does for a minute."""
    acknowledged = work_for(world, 1.5)
    assert acknowledged > 10
    assert_counted_once(world, acknowledged)
