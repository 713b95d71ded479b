"""Settings that a person's PCs have in common: the last change wins, and it is nobody else's."""

from __future__ import annotations

import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from devflow import own_data, shared_settings, wire
from devflow.accounts import devices
from devflow.audit import Act
from devflow.errors import Invalid
from devflow.models import AuditEntry, Device, Role
from tests.build import NOW_MS, Member, World


def change(key: str, value: Any, at_ms: int = NOW_MS) -> wire.SettingChange:
    made: wire.SettingChange = msgspec.convert(
        {"key": key, "value": value, "changedAt": at_ms}, wire.SettingChange
    )
    return made


def put(world: World, member: Member, *changes: wire.SettingChange) -> wire.SharedSettings:
    with world.database.writing() as session:
        device = session.get_one(Device, member.device)
        return shared_settings.change(session, world.by(session, member), device, changes)


def read(world: World, member: Member, known: str = "") -> wire.SharedSettings:
    with world.reading() as session:
        return shared_settings.read(session, world.by(session, member).who(), known)


def values(world: World, member: Member) -> dict[str, Any]:
    return {one.key: one.value for one in read(world, member).settings or ()}


def test_the_other_pc_learns_what_was_changed_where_and_when(world: World) -> None:
    desk = world.person("Ada")
    lap = world.second_device(desk)
    put(world, desk, change("syncInterval", 60, 5))
    told = put(world, lap, change("syncMode", "batch", 6), change("alertFailureRate", 0.25, 7))
    assert told == read(world, desk)
    assert [(one.key, one.value, one.changed_at, one.device_id) for one in told.settings or ()] == [
        ("alertFailureRate", 0.25, 7, lap.device_id),
        ("syncInterval", 60, 5, desk.device_id),
        ("syncMode", "batch", 6, lap.device_id),
    ]


def test_settings_are_the_persons_alone(world: World) -> None:
    ada, bob, boss = world.person("Ada"), world.person("Bob"), world.person("Eve", Role.ADMIN)
    world.team("both", {ada: Role.MANAGER, bob: Role.DEVELOPER})
    put(world, bob, change("syncInterval", 60))
    assert values(world, bob) == {"syncInterval": 60}
    assert values(world, ada) == values(world, boss) == {}
    put(world, ada, change("syncInterval", 90))
    assert values(world, bob) == {"syncInterval": 60}


def test_the_later_change_wins_whichever_comes_first_and_the_larger_id_a_tie(world: World) -> None:
    one = world.person("Ada")
    pcs = sorted([one, world.second_device(one)], key=lambda pc: pc.device_id)
    for number, (first, second) in enumerate(itertools.permutations([(pcs[0], 10), (pcs[1], 10)], 2)):
        key = ("alertQueue", "alertOffline")[number]
        for pc, value in (first, second):
            put(world, pc, change(key, 100 + pcs.index(pc), value))
        assert values(world, one)[key] == 101
    put(world, pcs[0], change("alertQueue", 7, 9))
    assert values(world, one)["alertQueue"] == 101, "older"
    put(world, pcs[0], change("alertQueue", None, 11))
    assert values(world, one)["alertQueue"] is None, "to be as it comes is a value, too"


def test_the_same_change_again_changes_nothing_and_leaves_no_trace(world: World) -> None:
    desk = world.person("Ada")
    first = put(world, desk, change("syncOnStart", value=False))
    assert put(world, desk, change("syncOnStart", value=False)) == first
    assert put(world, desk) == first
    with world.reading() as session:
        entries = session.scalars(select(AuditEntry).filter_by(act=Act.SETTINGS_SHARED)).all()
    assert [(one.subject, msgspec.json.decode(one.detail)) for one in entries] == [
        (desk.device_id, {"settings": ["syncOnStart"]})
    ]


def test_what_is_known_is_not_told_again(world: World) -> None:
    desk = world.person("Ada")
    nothing = read(world, desk)
    assert nothing.settings == []
    assert read(world, desk, nothing.version) == wire.SharedSettings(version=nothing.version, settings=None)
    told = put(world, desk, change("syncInterval", 60))
    assert told.version != nothing.version
    assert read(world, desk, told.version).settings is None
    with world.database.writing() as session:
        devices.rename(session, world.by(session, desk), desk.device_id, "another name")
    assert read(world, desk, told.version).settings is not None, "the name of the PC is told"


def test_a_change_of_the_future_is_refused_with_all_beside_it(world: World) -> None:
    desk = world.person("Ada")
    late = NOW_MS + wire.CLOCK_TOLERANCE_MS
    put(world, desk, change("syncInterval", 60, late))
    with pytest.raises(Invalid, match="got one 6 minutes ahead of the server's clock: set the clock"):
        put(world, desk, change("syncMode", "live"), change("syncInterval", 90, late + 60_000))
    assert values(world, desk) == {"syncInterval": 60}


def test_any_order_of_arrival_ends_in_the_values_of_one_order(world: World) -> None:
    rng = random.Random(22)
    one = world.person("Ada")
    pcs = [one, world.second_device(one), world.second_device(one)]
    for _ in range(12):
        key = rng.choice(["alertQueue", "alertOffline"])
        latest = max((each.changed_at for each in read(world, one).settings or ()), default=0)
        made = [
            (rng.choice(pcs), change(key, rng.randint(60, 999), latest + rng.randint(1, 4))) for _ in range(9)
        ]
        # One PC makes no two changes of a setting at a time.
        unique = {(pc.device_id, each.changed_at): (pc, each) for pc, each in made}
        arriving = [*unique.values(), *rng.sample(list(unique.values()), 2)]
        rng.shuffle(arriving)
        for pc, each in arriving:
            put(world, pc, each)
        winner = max(unique.values(), key=lambda item: (item[1].changed_at, item[0].device_id))[1]
        assert values(world, one)[key] == winner.value


def test_two_pcs_at_once_lose_nothing(world: World) -> None:
    one = world.person("Ada")
    pcs = [one, world.second_device(one)]
    together = threading.Barrier(2)

    def changing(number: int) -> None:
        together.wait(20)
        for at_ms in range(1, 9):
            put(world, pcs[number], change("alertQueue", 10 * at_ms + number, 2 * at_ms + number))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(changing, range(2)))
    assert values(world, one) == {"alertQueue": 81}


def test_they_are_in_the_export_of_the_account(world: World) -> None:
    desk = world.person("Ada")
    put(world, desk, change("syncMode", "live", 5))
    with world.database.writing() as session:
        account = own_data.export_account(session, world.by(session, desk))
    (setting,) = account.settings
    assert (setting.key, setting.value, setting.changed_at) == ("syncMode", "live", 5)
    assert setting.device == account.devices[0].name


WRONG = [
    {"key": "syncEnabled", "value": True, "changedAt": 1},
    {"key": "endpoint", "value": "https://evil.example", "changedAt": 1},
    {"key": "proxy", "value": "http://evil.example:1", "changedAt": 1},
    {"key": "batchSize", "value": 1, "changedAt": 1},
    {"key": "syncInterval", "value": 9, "changedAt": 1},
    {"key": "syncInterval", "value": 86_401, "changedAt": 1},
    {"key": "syncInterval", "value": True, "changedAt": 1},
    {"key": "syncInterval", "value": "60", "changedAt": 1},
    {"key": "syncInterval", "value": [60], "changedAt": 1},
    {"key": "syncMode", "value": "<script>", "changedAt": 1},
    {"key": "syncOnStart", "value": 1, "changedAt": 1},
    {"key": "alertFailureRate", "value": 0, "changedAt": 1},
    {"key": "alertFailureRate", "value": 1.01, "changedAt": 1},
    {"key": "alertQueue", "value": 10**30, "changedAt": 1},
    {"key": "alertOffline", "value": 59, "changedAt": 1},
    {"key": "syncMode", "value": "live", "changedAt": -1},
    {"key": "syncMode", "value": "live", "changedAt": 2**63},
    {"key": "syncMode", "value": "live"},
    {"key": "syncMode", "changedAt": 1},
    {"key": "syncMode", "value": "live", "changedAt": 1, "deviceId": "another"},
    {"key": None, "value": "live", "changedAt": 1},
    {"value": "live", "changedAt": 1},
    "syncMode",
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_what_is_no_change_is_refused(wrong: Any) -> None:
    body = msgspec.json.encode({"settings": [{"key": "syncMode", "value": "live", "changedAt": 1}, wrong]})
    with pytest.raises(Invalid):
        wire.decode(body, wire.ChangeSettings)


def test_more_changes_than_there_can_be_are_refused() -> None:
    one = {"key": "syncMode", "value": "live", "changedAt": 1}
    with pytest.raises(Invalid):
        wire.decode(msgspec.json.encode({"settings": [one] * 101}), wire.ChangeSettings)
