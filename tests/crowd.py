"""PCs that upload without a pause, and refreshers between them: each event has to be counted once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from sqlalchemy import func, select

from devflow import wire
from devflow.models import Cell, Event, Project
from devflow.rollups.verifying import verify
from devflow.windows import Grain
from tests.build import MINUTE_MS, NOW_MS, STRANGER, Member, World, commit, saved

UPLOADERS: Final = 4
REFRESHERS: Final = 2


def work_for(world: World, seconds: float) -> int:
    """Let four PCs of two people upload for so long, and two refreshers derive; return how many events.

    What they send overlaps in time and place, some batches come again, and of commits each PC
    sends what the others have sent.
    """
    people = [world.person("Ada"), world.person("Ben")]
    devices = [*people, *map(world.second_device, people)]
    projects = [world.project(name, *people) for name in ("one", "two")]
    history = [commit(STRANGER, f"{n % 7}.py") for n in range(2_000)]
    deadline = time.monotonic() + seconds

    def keep(work: Callable[[], object]) -> None:
        while time.monotonic() < deadline:
            work()

    with ThreadPoolExecutor(UPLOADERS + REFRESHERS) as pool:
        pcs = [Pc(world, device, projects, history, random.Random(n)) for n, device in enumerate(devices)]
        work = [pool.submit(keep, pc.upload) for pc in pcs]
        work += [pool.submit(partial(keep, world.refresh)) for _ in range(REFRESHERS)]
    for done in work:
        done.result()
    world.refresh()
    return len(set().union(*(pc.acknowledged for pc in pcs)))


class Pc:
    """One that sends."""

    def __init__(
        self,
        world: World,
        device: Member,
        projects: list[Project],
        history: list[wire.Commit],
        chance: random.Random,
    ) -> None:
        self._world, self._device, self._projects = world, device, projects
        self._history, self._chance = history, chance
        self._last: list[wire.SyncEvent] = []
        self._commits: dict[int, wire.SyncEvent] = {}
        self.acknowledged: set[str] = set()

    def upload(self) -> None:
        """A batch, or the one before once more."""
        if not self._last or self._chance.random() < 0.8:
            self._last = [self._new() for _ in range(self._chance.randint(1, 20))]
        result = self._world.send(self._device, *self._last)
        assert result.success, result.errors[:3]
        self.acknowledged |= set(result.synced_ids)

    def _new(self) -> wire.SyncEvent:
        if self._chance.random() < 0.3:
            return self._seen(self._chance.randrange(len(self._history)))
        at = NOW_MS + self._chance.randrange(2_000 * MINUTE_MS)
        return self._world.event(self._device, self._chance.choice(self._projects), saved("a.py"), at)

    def _seen(self, number: int) -> wire.SyncEvent:
        """A commit, which has one time and one project whoever saw it, and of one PC is one event."""
        if number not in self._commits:
            project, at = self._projects[number % 2], NOW_MS + number * MINUTE_MS
            self._commits[number] = self._world.event(self._device, project, self._history[number], at)
        return self._commits[number]


def assert_counted_once(world: World, acknowledged: int) -> None:
    with world.reading() as session:
        assert session.scalar(select(func.count()).select_from(Event)) == acknowledged
        for grain in (Grain.HOUR, Grain.DAY, Grain.WEEK, Grain.MONTH):
            assert session.scalar(select(func.sum(Cell.events)).where(Cell.grain == grain)) == acknowledged
    assert list(verify(world.database)) == []
