"""Three PCs and the real server's core: whatever passes whatever, all end with the values of one order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from devflow import shared_settings, wire
from devflow.db import Database
from devflow.errors import Offline
from devflow.models import Device
from devflow_agent import outbox, settings, sharing
from devflow_agent.settings import Settings
from devflow_agent.store import Store
from tests.build import NOW_MS, Member, World

VALUES: Final[dict[str, list[Any]]] = {
    "sync_interval_s": [10, 60, 300, None],
    "sync_mode": ["auto", "live", "batch", None],
    "sync_on_start": [True, False, None],
    "alert_queue_size": [7, 8, 9],
    "alert_failure_rate": [0.25, 1, None],
}
NAMES: Final = {field: name for name, field in sharing.FIELDS.items()}
Change = tuple[int, str, Any]


@dataclass
class Clock:
    now_ms: int = NOW_MS


@dataclass
class Pc:
    """A PC whose clock is off by ``skew_ms``; answers of the server are lost to it as ``loses`` says."""

    world: World
    member: Member
    store: Store
    clock: Clock
    skew_ms: int
    loses: Callable[[], bool]
    made: dict[str, set[Change]]
    taken: list[str] = field(default_factory=list)

    def choose(self, field: str, value: Any) -> None:
        at_ms = self.clock.now_ms + self.skew_ms
        if value is None:
            settings.keep(self.store, {}, [field], at_ms=at_ms)
        else:
            settings.keep(self.store, {field: value}, at_ms=at_ms)

    def agree(self) -> None:
        this = sharing.This("the server/Ada", self.store.device_id())
        sharing.agree(self.store, self, this, self.clock.now_ms + self.skew_ms)

    def shared_settings(self, known: str) -> wire.SharedSettings:
        self._lose()
        with self.world.reading() as session:
            person = self.world.by(session, self.member).who()
            return self._answer(shared_settings.read(session, person, known))

    def change_settings(self, changes: wire.ChangeSettings) -> wire.SharedSettings:
        self._lose()
        asked = wire.decode(wire.encode(changes), wire.ChangeSettings)
        with self.world.database.writing() as session:
            device, by = session.get_one(Device, self.member.device), self.world.by(session, self.member)
            told = shared_settings.change(session, by, device, asked.settings)
        for one in asked.settings:
            change = one.changed_at, str(self.member.device_id), one.value
            self.made.setdefault(one.key, set()).add(change)
        return self._answer(told)

    def _answer(self, told: wire.SharedSettings) -> wire.SharedSettings:
        self._lose()
        return wire.decode(wire.encode(told), wire.SharedSettings)

    def _lose(self) -> None:
        if self.loses():
            raise Offline("lost on the way")

    def values(self) -> dict[str, Any]:
        stored = self.store.settings()
        Settings.load(self.store)
        return {NAMES[field]: stored.get(field) for field in VALUES}


@dataclass
class Pcs:
    clock: Clock
    world: World
    pcs: list[Pc]
    made: dict[str, set[Change]]
    is_lossy: bool = True

    def winners(self) -> dict[str, Any]:
        """By the order of all that ever reached the server."""
        nothing = {(0, "", None)}
        return {
            name: max(self.made.get(name, nothing), key=lambda one: one[:2])[2]
            for name in (NAMES[field] for field in VALUES)
        }

    def settle(self) -> None:
        """Two rounds of everybody, with nothing lost: one to tell, one to hear."""
        self.is_lossy = False
        for pc in self.pcs * 2:
            self.clock.now_ms += 1
            self.world.now_ms = self.clock.now_ms
            pc.agree()
        self.is_lossy = True


def make(folder: Path, world: World, skews_ms: list[int], rng: random.Random) -> Pcs:
    clock, made = Clock(), dict[str, set[Change]]()
    first = world.person("Ada")
    members = [first, *(world.second_device(first) for _ in skews_ms[1:])]
    pcs = Pcs(clock, world, [], made)
    for number, (member, skew_ms) in enumerate(zip(members, skews_ms, strict=True)):
        store = Store(folder / f"pc {number}.db")
        store.set_settings(device_id=str(member.device_id))
        loses = lambda: pcs.is_lossy and rng.random() < 0.2  # noqa: E731
        pcs.pcs.append(Pc(world, member, store, clock, skew_ms, loses, made))
        if abs(skew_ms) >= wire.CLOCK_TOLERANCE_MS:
            outbox.note_clock_skew(store, skew_ms)  # as an upload finds out
    return pcs


@pytest.fixture
def world(sqlite_template: Path, tmp_path: Path) -> Iterator[World]:
    file = tmp_path / "devflow.db"
    file.write_bytes(sqlite_template.read_bytes())
    with ExitStack() as stack:
        database = Database(f"sqlite:///{file}")
        stack.callback(database.close)
        yield World.on(database)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_changed_and_lost_in_whatever_order_all_end_with_the_last_changes(
    world: World, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    skews_ms = [0, rng.choice([-1, 1]) * rng.randint(0, 299_000), rng.choice([-1, 1]) * 2 * 86_400_000]
    pcs = make(tmp_path, world, skews_ms, rng)
    for pc in pcs.pcs:
        for field_name in rng.sample(list(VALUES), 2):  # chosen before anything was shared
            pc.choose(field_name, rng.choice(VALUES[field_name]))
        settings.keep(pc.store, {settings.SHARES: True}, at_ms=0)
    for _ in range(80):
        pcs.clock.now_ms += rng.choice([0, 1, 5_000])
        world.now_ms = pcs.clock.now_ms
        pc = rng.choice(pcs.pcs)
        if rng.random() < 0.5:
            field_name = rng.choice(list(VALUES))
            pc.choose(field_name, rng.choice(VALUES[field_name]))
        else:
            try:
                pc.agree()
            except Offline:
                pc.taken.append("lost")
    assert any(pc.taken for pc in pcs.pcs), "something was lost on the way"
    pcs.settle()
    expected = pcs.winners()
    assert [pc.values() for pc in pcs.pcs] == [expected] * 3
    assert all(pc.store.setting(settings.CHANGED_AT) == {} for pc in pcs.pcs)

    slow = min(pcs.pcs, key=lambda pc: pc.skew_ms)
    value = 600 if expected["syncInterval"] != 600 else 900
    slow.choose("sync_interval_s", value)
    pcs.settle()
    assert {pc.values()["syncInterval"] for pc in pcs.pcs} == {value}, "what was seen before gives way"


def test_who_shares_nothing_is_not_changed_by_those_who_do(world: World, tmp_path: Path) -> None:
    pcs = make(tmp_path, world, [0, 0, 0], random.Random(1))
    pcs.is_lossy = False
    for pc in pcs.pcs[:2]:
        settings.keep(pc.store, {settings.SHARES: True})
    pcs.pcs[2].choose("sync_interval_s", 300)
    pcs.pcs[0].choose("sync_interval_s", 60)
    for pc in [*pcs.pcs[:2], *pcs.pcs[:2]]:
        pc.agree()
    assert [pc.values()["syncInterval"] for pc in pcs.pcs] == [60, 60, 300]
