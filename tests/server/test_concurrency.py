"""Uploads and refreshes at the same time: no event is lost to a race, none counted twice."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import func, select

from devflow import wire
from devflow.models import Event
from tests.server.test_rollups import recounted, stored
from tests.world import MINUTE_MS, NOW_MS, STRANGER, Member, World, commit, saved


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
        assert stored(session) == recounted(session, world.calendar)
