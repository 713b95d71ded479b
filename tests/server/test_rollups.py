"""Cells against a slow and obvious recount of the events, and against what a hand counts."""

from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyroaring import BitMap
from sqlalchemy import delete, select
from sqlalchemy import event as hook
from sqlalchemy.orm import Session

from devflow import rollups, wire
from devflow.crypto import Vault
from devflow.ingest.rows import DATA
from devflow.models import Cell, Event, Mark, Project, Slice
from devflow.rollups import NOBODY, Calendar
from devflow.rollups.verifying import verify
from devflow.windows import Grain, window
from tests import slicing
from tests.build import DAY_MS, MINUTE_MS, NOW_MS, STRANGER, Member, World, commit, merge, more_files, saved

Key = tuple[int, str, int, int]


@dataclass
class Plain:
    """A cell as plain numbers."""

    events: int = 0
    commits: int = 0
    insertions: int = 0
    deletions: int = 0
    active_ms: int = 0
    files: set[int] = field(default_factory=set)


def stored(session: Session, *grains: Grain) -> dict[Key, Plain]:
    cells = session.scalars(select(Cell).where(Cell.grain.in_(grains or tuple(Grain))))
    return {
        (cell.project_id, cell.grain, cell.start, cell.person_id): Plain(
            cell.events,
            cell.commits,
            cell.insertions,
            cell.deletions,
            cell.active_ms,
            set(BitMap.deserialize(cell.files)),
        )
        for cell in cells
    }


def recounted(session: Session, calendar: Calendar, vault: Vault) -> dict[Key, Plain]:
    """Every cell straight from the events that are stored."""
    return recounted_from(session.scalars(select(Event)), calendar, vault)


def recounted_from(events: Iterable[Event], calendar: Calendar, vault: Vault) -> dict[Key, Plain]:
    """Every cell straight from the definitions, an event and a gap at a time."""
    cells: dict[Key, Plain] = defaultdict(Plain)
    people: dict[int, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: (event.timestamp, event.event_id)):
        person_id = event.person_id or NOBODY
        people[person_id].append(event)
        for grain in Grain:
            start = window(grain, event.timestamp, calendar.zone).start_ms
            cell = cells[event.project_id, grain, start, person_id]
            cell.events += 1
            cell.commits += b'"parents":' in vault.open(DATA, event.event_id, event.data)
            cell.insertions += event.insertions
            cell.deletions += event.deletions
            cell.files |= set(rollups.unpack_files(event.files))
    for person_id, own in people.items():
        if person_id == NOBODY:
            continue
        for earlier, later in pairwise(own):
            if later.timestamp - earlier.timestamp > calendar.idle_limit_ms:
                continue
            for grain in Grain:
                at = earlier.timestamp
                while at < later.timestamp:
                    span = window(grain, at, calendar.zone)
                    until = min(span.end_ms, later.timestamp)
                    cells[earlier.project_id, grain, span.start_ms, person_id].active_ms += until - at
                    at = until
    return dict(cells)


# Anywhere, close together, and around where hours and days begin, where many fall into one millisecond.
SPREAD = (
    st.integers(0, 3 * 86_400_000)
    | st.integers(0, 90 * MINUTE_MS)
    | st.builds(lambda hour, step: (60 * hour + 5 * step) * MINUTE_MS, st.integers(0, 6), st.integers(7, 13))
)
DEED = st.tuples(
    st.integers(0, 2),  # who
    st.booleans(),  # on the second device
    st.integers(0, 1),  # project
    SPREAD,  # when
    st.sampled_from(["saved", "own commit", "strangers commit", "other's commit", "merge", "more files"]),
    st.sampled_from(["a.py", "b.py", "c.py"]),
)


STARTS: Final = {  # a clock change lies in the three days after it, where there is one
    "Europe/Berlin": datetime(2026, 10, 23, 20, 10, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2026, 10, 2, 4, 10, tzinfo=UTC),  # by half an hour
    "Asia/Kathmandu": datetime(2026, 10, 23, 20, 10, tzinfo=UTC),  # 5:45 ahead
}


@pytest.mark.parametrize("zone", STARTS)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    deeds=st.lists(DEED, min_size=1, max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=4),
    data=st.data(),
)
def test_cells_equal_a_recount_whatever_comes_late_twice_or_in_any_order(
    world: World,
    zone: str,
    deeds: list[tuple[int, bool, int, int, str, str]],
    cuts: list[int],
    data: st.DataObject,
) -> None:
    _clear(world)
    world.calendar = Calendar(ZoneInfo(zone), 15 * MINUTE_MS)
    start_ms = int(STARTS[zone].timestamp()) * 1_000
    members, seconds, projects = _cast(world)
    batches: dict[Member, list[wire.SyncEvent]] = defaultdict(list)
    for who, second, project, when, kind, path in deeds:
        member = (seconds if second else members)[who]
        deed = _deed(kind, path, members, who)
        batches[member].append(world.event(member, projects[project], deed, start_ms + when))
    uploads = [(member, part) for member, events in batches.items() for part in _parts(events, cuts)]
    uploads += data.draw(st.lists(st.sampled_from(uploads), max_size=3))
    for member, events in data.draw(st.permutations(uploads)):
        world.send(member, *events)
        match data.draw(st.sampled_from(["on", "refresh", "interrupt"])):
            case "refresh":
                world.refresh()
            case "interrupt":
                with interrupted(world, data.draw(st.integers(0, 16))):
                    world.refresh()
    world.refresh()
    with world.reading() as session:
        assert stored(session) == recounted(session, world.calendar, world.vault)
        assert slicing.stored(session) == slicing.recounted(session, world.calendar)
        assert session.scalar(select(Mark)) is None
    if zone == "Australia/Lord_Howe":  # one is enough
        assert list(verify(world.database)) == []


@contextlib.contextmanager
def interrupted(world: World, after: int) -> Iterator[None]:
    """Let what writes die before the statement of this number, if it has so many."""
    left = itertools.count(after, -1)

    def die(*_: object) -> None:
        if next(left) == 0:
            raise ZeroDivisionError

    hook.listen(world.database.engine, "before_cursor_execute", die)
    with contextlib.suppress(ZeroDivisionError):
        yield
    hook.remove(world.database.engine, "before_cursor_execute", die)


def _cast(world: World) -> tuple[list[Member], list[Member], list[Project]]:
    """Three people with two devices each and two projects, made once for all examples."""
    if not hasattr(world, "cast"):
        members = [world.person(name) for name in ("Ada", "Ben", "Cleo")]
        seconds = [world.second_device(member) for member in members]
        projects = [world.project(name, *members) for name in ("one", "two")]
        world.cast = members, seconds, projects  # type: ignore[attr-defined]
    return world.cast  # type: ignore[attr-defined,no-any-return]


def _clear(world: World) -> None:
    with world.database.writing() as session:
        for table in (Cell, Slice, Mark, Event):
            session.execute(delete(table))


def _deed(kind: str, path: str, members: list[Member], who: int) -> wire.EventData:
    match kind:
        case "saved":
            return saved(path)
        case "own commit":
            return commit(members[who].author, path, "z.css", insertions=3, deletions=1)
        case "other's commit":
            return commit(members[(who + 1) % 3].author, path, insertions=5)
        case "merge":
            return merge(members[who].author)
        case "more files":
            return more_files(members[who].author, path)
        case _:
            return commit(STRANGER, path, insertions=7)


def _parts(events: list[wire.SyncEvent], cuts: list[int]) -> list[list[wire.SyncEvent]]:
    edges = sorted({0, *(cut for cut in cuts if cut < len(events)), len(events)})
    return [events[low:high] for low, high in pairwise(edges)]


# Made by hand; whole tables are in test_by_hand.py


def active(world: World, grain: Grain, member: Member, project: Project | None = None) -> dict[int, int]:
    """Active seconds by window start."""
    with world.reading() as session:
        found: dict[int, int] = defaultdict(int)
        for cell in session.scalars(select(Cell).filter_by(person_id=member.id, grain=grain)):
            if project is None or cell.project_id == project.id:
                found[cell.start] += cell.active_ms // 1_000
    return dict(found)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


def send_saves(world: World, member: Member, project: Project, *times: str) -> None:
    world.send(member, *(world.event(member, project, saved(), at(time)) for time in times))
    world.refresh()


def test_a_gap_of_exactly_the_limit_counts_and_one_millisecond_more_does_not(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    send_saves(world, ada, one, "2026-03-02T10:00", "2026-03-02T10:15")
    assert active(world, Grain.DAY, ada) == {at("2026-03-02"): 900}
    send_saves(world, ada, one, "2026-03-02T10:30:00.001")
    assert active(world, Grain.DAY, ada) == {at("2026-03-02"): 900}


def test_two_devices_at_once_count_once(world: World) -> None:
    ada = world.person("Ada")
    laptop = world.second_device(ada)
    one = world.project("one", ada)
    send_saves(world, ada, one, "2026-03-02T10:00", "2026-03-02T10:10")
    send_saves(world, laptop, one, "2026-03-02T10:00", "2026-03-02T10:05", "2026-03-02T10:10")
    assert active(world, Grain.DAY, ada) == {at("2026-03-02"): 600}


def test_a_gap_belongs_to_the_project_of_its_earlier_event(world: World) -> None:
    ada = world.person("Ada")
    one, two = world.project("one", ada), world.project("two", ada)
    send_saves(world, ada, one, "2026-03-02T10:00", "2026-03-02T10:12")
    assert active(world, Grain.DAY, ada, one) == {at("2026-03-02"): 720}
    send_saves(world, ada, two, "2026-03-02T10:04")
    assert active(world, Grain.DAY, ada, one) == {at("2026-03-02"): 240}
    assert active(world, Grain.DAY, ada, two) == {at("2026-03-02"): 480}


def test_an_hour_that_loses_all_it_had_goes_from_its_day_too(world: World) -> None:
    ada = world.person("Ada")
    one, two = world.project("one", ada), world.project("two", ada)
    send_saves(world, ada, one, "2026-03-01T23:50")
    send_saves(world, ada, two, "2026-03-02T00:04")
    assert active(world, Grain.DAY, ada, one) == {at("2026-03-01"): 600, at("2026-03-02"): 240}
    send_saves(world, ada, two, "2026-03-01T23:55")
    for grain in (Grain.HOUR, Grain.DAY):
        assert sum(active(world, grain, ada, one).values()) == 300
    assert active(world, Grain.DAY, ada, two) == {at("2026-03-01"): 300, at("2026-03-02"): 240}


def test_a_merge_is_a_commit_without_lines_and_a_further_part_is_no_commit(world: World) -> None:
    ada = world.person("Ada")
    deeds: list[wire.EventData] = [
        commit(ada.author, "a.py", insertions=4),
        merge(ada.author),
        more_files(ada.author, "b.py"),
    ]
    world.report(ada, world.project("one", ada), *((NOW_MS, deed) for deed in deeds))
    with world.reading() as session:
        (cell,) = stored(session, Grain.HOUR).values()
    assert (cell.events, cell.commits, cell.insertions, len(cell.files)) == (3, 2, 4, 2)


def test_a_file_changed_on_two_days_is_one_file_of_the_week(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    for day in ("2026-03-02", "2026-03-03"):
        world.send(
            ada, world.event(ada, one, saved("a.py"), at(day)), world.event(ada, one, saved(day), at(day))
        )
    world.refresh()
    with world.reading() as session:
        cells = stored(session, Grain.DAY, Grain.WEEK)
    assert sorted(len(cell.files) for cell in cells.values()) == [2, 2, 3]


def test_a_file_of_the_same_name_in_another_project_is_another_file(world: World) -> None:
    ada = world.person("Ada")
    for project in (world.project("one", ada), world.project("two", ada)):
        world.send(ada, world.event(ada, project, saved("a.py"), NOW_MS))
    with world.reading() as session:
        files = [file for cell in stored(session, Grain.HOUR).values() for file in cell.files]
    assert len(files) == len(set(files)) == 2


def test_a_refresh_that_fails_midway_changes_nothing_and_is_made_up_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = world.person("Ada")
    world.send(ada, world.event(ada, world.project("one", ada), saved(), NOW_MS))
    with pytest.raises(ZeroDivisionError), world.database.writing() as session:
        rollups.refresh(session)
        raise ZeroDivisionError
    with world.reading() as session:
        assert stored(session, Grain.DAY) == {}
    world.refresh()
    with world.reading() as session:
        assert stored(session) == recounted(session, world.calendar, world.vault)


def test_another_time_zone_or_idle_limit_counts_everything_anew(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    send_saves(world, ada, one, "2026-03-02T23:50", "2026-03-03T00:02", "2026-03-03T00:22")
    world.send(ada, world.event(ada, one, commit(STRANGER, "b.py"), NOW_MS))
    seoul = Calendar(ZoneInfo("Asia/Seoul"), 30 * MINUTE_MS)
    assert world.adopt(seoul)
    assert not world.adopt(seoul)
    with world.reading() as session:
        assert stored(session) == recounted(session, seoul, world.vault)
    assert sum(active(world, Grain.DAY, ada).values()) == 32 * 60


def test_years_with_a_long_idle_limit_are_counted_and_counted_anew(world: World) -> None:
    ada = world.person("Ada")
    one, two = world.project("one", ada), world.project("two", ada)
    for batch in range(2):
        days = range(batch * 700, batch * 700 + 700)
        world.send(ada, *(world.event(ada, one, saved(), NOW_MS + day * 2 * DAY_MS) for day in days))
    world.send(ada, *(world.event(ada, two, commit(STRANGER, "b.py"), NOW_MS + n) for n in range(3)))
    world.adopt(Calendar(ZoneInfo("UTC"), DAY_MS))
    world.send(ada, *(world.event(ada, two, saved(), NOW_MS + day * 4 * DAY_MS + 1) for day in range(300)))
    world.refresh()
    with world.reading() as session:
        assert stored(session) == recounted(session, world.calendar, world.vault)


def test_an_upload_moves_the_generation_of_just_the_projects_it_changed(world: World) -> None:
    ada = world.person("Ada")
    one, two = world.project("one", ada), world.project("two", ada)
    world.send(ada, world.event(ada, one, saved(), NOW_MS))
    generations = _generations(world)
    assert generations[one.public_id] > generations[two.public_id] == 0
    event = world.event(ada, two, saved(), NOW_MS + 2 * 3_600_000)
    world.send(ada, event)
    before = _generations(world)
    world.send(ada, event)
    assert _generations(world) == before
    assert before[one.public_id] == generations[one.public_id]


def _generations(world: World) -> dict[UUID, int]:
    with world.reading() as session:
        return {project.public_id: project.generation for project in session.scalars(select(Project))}


@pytest.mark.parametrize("backend", ["sqlite"])  # it can count its own steps
def test_events_all_over_a_long_history_cost_no_more_than_over_a_short_one(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    short = _steps_of_scattered(world, ada, one, range(500))
    long = _steps_of_scattered(world, ada, one, range(500, 5_000))
    assert long < 2 * short


def _steps_of_scattered(world: World, ada: Member, one: Project, places: range) -> int:
    """Thousands of SQLite's steps that 100 events take which are scattered over what is stored before."""
    world.report(ada, one, *((NOW_MS - (place + 1) * 3_600_000, saved()) for place in places))
    steps = itertools.count()
    with contextlib.closing(world.database.engine.raw_connection()) as connection:
        driver: Any = connection.driver_connection
        driver.set_progress_handler(lambda: next(steps) < 0, 1_000)
    far = len(places) * 36_000
    world.report(ada, one, *((NOW_MS - number * far - 1_000_000, saved()) for number in range(100)))
    driver.set_progress_handler(None, 0)
    return next(steps)
