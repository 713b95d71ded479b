"""Hours that are kept say what counting each event says, whatever happened since, and spare the counting."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from devflow import wire
from devflow.windows import Grain
from devflow_agent import archiving, salvaging
from devflow_agent.analyse import activity, hours
from devflow_agent.analyse.activity import Activity, Question
from devflow_agent.analyse.counting import Rules
from devflow_agent.config import Home
from devflow_agent.local_calendar import Calendar
from devflow_agent.store import Observation, Store, connect
from tests.agent.archived import KEYS, filled, settle_some
from tests.agent.recorded import add_project, saves

MINUTE, HOUR, DAY = 60_000, 3_600_000, wire.DAY_MS
NOW_MS = 1_790_000_000_000
UTC = Calendar(ZoneInfo("UTC"))
CALENDARS = [
    Calendar(ZoneInfo(zone), limit * MINUTE)
    for zone in ("UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe")
    for limit in (15, 90)
]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep hours of few events, too."""
    monkeypatch.setattr(hours, "WORTH_KEEPING", 0)
    monkeypatch.setattr(hours, "DENSE", 0)


def recount(store: Store, asked: Question) -> Activity:
    """The obvious way: every event of the range, with nothing that was kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hours, "WORTH_KEEPING", float("inf"))
        return activity.count(store, asked)


def question(chance: random.Random, store: Store, days: int) -> Question:
    until = NOW_MS - chance.randrange(3) * DAY
    by = chance.choice(list(Grain))
    return Question(
        by=by,
        since_ms=until - chance.randrange(1, 3 if by is Grain.HOUR else days) * DAY,
        until_ms=until,
        calendar=chance.choice(CALENDARS),
        author_keys=tuple(chance.sample(KEYS, chance.randrange(3))),
        project_id=chance.choice([None, *(project.id for project in store.projects())]),
    )


def week(now_ms: int = NOW_MS) -> Question:
    return Question(Grain.DAY, now_ms - 7 * DAY, now_ms, UTC, ())


# How a store changes


def comes(store: Store, chance: random.Random) -> None:
    """Some together, some minutes apart, anywhere in the days: most are late."""
    at = NOW_MS - chance.randrange(20 * DAY)
    seen = []
    for number in range(chance.randrange(1, 12)):
        at += chance.choice((0, 1, 5 * MINUTE, 15 * MINUTE, 15 * MINUTE + 1, 70 * MINUTE))
        seen.append(Observation.own(at, wire.FileSaved(path=f"{chance.randrange(9)}.py", size_bytes=number)))
    store.add(chance.choice(store.projects()).id, seen)


def comes_again(store: Store, chance: random.Random) -> None:
    """What is known already, and nothing is new."""
    events = store.events(limit=1_000)
    for event in chance.sample(events, 5):
        data = wire.decode(event.data_json.encode(), wire.DATA[event.event_type])
        assert store.add(event.project_id, [Observation(event.id, event.timestamp_ms, data)]) == 0


def is_archived(store: Store, chance: random.Random) -> None:
    settle_some(store, chance)
    archiving.run(store, NOW_MS, older_than_ms=chance.choice((1, 5, 10)) * DAY)


def is_deleted(store: Store, chance: random.Random) -> None:
    """No command does this; what else would is believed at once, too."""
    with store.write() as connection:
        numbers = [row[0] for row in connection.execute("SELECT local_id FROM main.events")]
        gone = chance.sample(numbers, min(5, len(numbers)))
        connection.executemany("DELETE FROM main.events WHERE local_id = ?", [(one,) for one in gone])


CHANGES: list[Callable[[Store, random.Random], None]] = [comes, comes_again, is_archived, is_deleted]


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("seed", range(8))
def test_what_is_kept_adds_up_to_what_counting_gives(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    store = filled(path, chance, events=400, days=20)
    for _ in range(25):
        for _ in range(4):
            asked = question(chance, store, days=25)
            assert activity.count(store, asked) == recount(store, asked)
        chance.choice(CHANGES)(store, chance)
    with store.read() as connection:
        assert connection.execute("SELECT count(*) FROM counted_hours").fetchone()[0] > 50


@pytest.mark.usefixtures("always")
def test_hours_of_two_zones_that_start_together_and_end_apart_are_two(store: Store) -> None:
    # On Lord Howe the clock goes forward by half an hour at 15:30 UTC, and the next hour has thirty minutes.
    start = round(datetime.fromisoformat("2026-10-03T15:30+00:00").timestamp() * 1_000)
    store.add(add_project(store, "shop").id, saves(1, start + 5 * MINUTE) + saves(2, start + 40 * MINUTE))
    seen = [
        [part.numbers.events for part in activity.count(store, asked).parts]
        for zone in ("Asia/Kolkata", "Australia/Lord_Howe", "Asia/Kolkata")
        for asked in [Question(Grain.HOUR, start, start + HOUR, Calendar(ZoneInfo(zone)), ())]
    ]
    assert seen == [[3], [1, 2], [3]]


@pytest.mark.usefixtures("always")
def test_who_writes_an_older_count_is_not_believed(store: Store) -> None:
    project = add_project(store, "shop")
    store.add(project.id, saves(5, NOW_MS - HOUR))
    rules = Rules(frozenset(), UTC.idle_limit_ms)
    with store.read() as connection:
        _, older = hours.count(connection, week().windows(), UTC.zone, rules)
    store.add(project.id, saves(2, NOW_MS - HOUR))
    assert activity.count(store, week()).total.events == 7
    hours.keep(store, older, rules)
    assert activity.count(store, week()).total.events == 7


@pytest.mark.usefixtures("always")
def test_a_count_that_the_disk_has_changed_is_not_believed(store: Store) -> None:
    store.add(add_project(store, "shop").id, saves(5, NOW_MS - HOUR))
    before = activity.count(store, week())
    with store.write() as connection:
        (kept,) = connection.execute("SELECT max(numbers) FROM counted_hours").fetchone()
        assert 5 in kept
        connection.execute("UPDATE counted_hours SET numbers = ?", (kept.replace(b"\x05", b"\x06"),))
    assert activity.count(store, week()) == before


@pytest.mark.usefixtures("always")
def test_while_somebody_writes_the_answer_is_the_same_and_waits_for_nobody(store: Store) -> None:
    store.add(add_project(store, "shop").id, saves(5, NOW_MS - HOUR))
    with closing(connect(store.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        found: list[Activity] = []
        asking = threading.Thread(target=lambda: found.append(activity.count(store, week())), daemon=True)
        asking.start()
        asking.join(20)  # the usual wait for a lock is 30
        assert [one.total.events for one in found] == [5]
        other.execute("ROLLBACK")
    assert activity.count(store, week()) == found[0]


@pytest.mark.usefixtures("always")
def test_a_salvaged_store_counts_the_same(path: Path) -> None:
    home = Home(path.parent)
    store = filled(path, random.Random(1), days=7)
    before = activity.count(store, week())
    del store
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE event_counts SET count = count + 1")
    salvaging.salvage(home, NOW_MS)
    again = home.store()
    assert activity.count(again, week()) == activity.count(again, week()) == before
    again.add(again.projects()[0].id, saves(1, NOW_MS - HOUR))
    assert activity.count(again, week()).total.events == before.total.events + 1


# How much work it is


def steps(store: Store, asked: Question) -> int:
    """How many thousands of SQLite's steps it takes to count."""
    taken = 0

    def step() -> int:
        nonlocal taken
        taken += 1
        return 0

    with store.read() as connection:
        connection.set_progress_handler(step, 1_000)
    activity.count(store, asked)
    with store.read() as connection:
        connection.set_progress_handler(None, 0)
    return taken


def a_week_of(store: Store, events: int) -> None:
    project = add_project(store, "shop")
    for first in range(0, events, 1_000):
        part = [
            Observation.own(
                NOW_MS - 7 * DAY + (first + number) * 7 * DAY // events,
                wire.FileSaved(path=f"{number % 300}.py", size_bytes=1),
            )
            for number in range(1_000)
        ]
        store.add(project.id, part)


def test_of_a_week_with_very_many_events_only_hours_that_changed_are_counted_anew(store: Store) -> None:
    a_week_of(store, 20_000)
    first = steps(store, week())
    assert steps(store, week()) < first / 50
    project = store.projects()[0]
    store.add(project.id, saves(1, NOW_MS - MINUTE))
    assert steps(store, week()) < first / 15
    store.add(project.id, saves(1, NOW_MS - 3 * DAY))
    assert steps(store, week()) < first / 15, "late"
    assert activity.count(store, week()) == recount(store, week())


def test_few_events_are_counted_and_nothing_is_kept(store: Store) -> None:
    a_week_of(store, 5_000)
    activity.count(store, week())
    with store.read() as connection:
        assert connection.execute("SELECT count(*) FROM counted_hours").fetchone()[0] == 0


def test_what_runs_in_the_background_counts_ahead(store: Store) -> None:
    a_week_of(store, 12_000)
    activity.count_ahead(store, week())
    first = steps(store, week())
    with store.write() as connection:
        connection.execute("DELETE FROM counted_hours")
    assert first < steps(store, week()) / 20
