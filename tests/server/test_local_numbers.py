"""The agent's numbers are the server's: one history of one person with one device, counted on both sides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyroaring import BitMap
from sqlalchemy import delete, select

from devflow import rollups, wire
from devflow.models import Cell, Event, Mark, Project
from devflow.rollups import NOBODY
from devflow.windows import Grain
from devflow_agent.analyse import activity, hours
from devflow_agent.analyse.activity import Numbers, Part, Question
from devflow_agent.local_calendar import Calendar
from devflow_agent.store import Observation, Store
from tests.build import DAY_MS, HOUR_MS, MINUTE_MS, STRANGER, Member, World, commit, merge, more_files, saved

pytestmark = pytest.mark.parametrize(
    "backend", ["sqlite"]
)  # that both databases count alike, test_rollups shows

# An evening before the clocks change in the night: by an hour, and on Lord Howe by half of one.
EVENINGS: Final = [
    ("Europe/Berlin", "2026-03-28T22:30"),
    ("Europe/Berlin", "2026-10-24T22:30"),
    ("America/New_York", "2026-03-07T22:30"),
    ("America/New_York", "2026-10-31T22:30"),
    ("Australia/Lord_Howe", "2026-04-04T22:30"),
    ("Australia/Lord_Howe", "2026-10-03T22:30"),
    ("Asia/Kolkata", "2026-12-31T22:30"),
]
LIMIT_MS: Final = 15 * MINUTE_MS
GAP: Final = (
    st.sampled_from([0, 1, LIMIT_MS - 1, LIMIT_MS, LIMIT_MS + 1, 40 * MINUTE_MS, 3 * HOUR_MS])
    | st.integers(0, 20 * MINUTE_MS)
    | st.integers(0, 3 * DAY_MS)
)
KINDS: Final = (
    "saved",
    "created",
    "deleted",
    "renamed",
    "own commit",
    "stranger's commit",
    "own merge",
    "stranger's merge",
    "own files",
    "stranger's files",
    "own tag",
    "light tag",
    "branch",
)


@dataclass(frozen=True)
class Deed:
    """``project`` is 0 or 1, ``gap_ms`` the time since the deed before."""

    id: UUID
    gap_ms: int
    project: int
    kind: str
    path: str


DEEDS: Final = st.lists(
    st.builds(
        Deed,
        st.uuids(version=4),
        GAP,
        st.integers(0, 1),
        st.sampled_from(KINDS),
        st.sampled_from(["a.py", "b.py", "c.py"]),
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda deed: deed.id,
)
# The later of two within a millisecond, by id and not by when it was recorded, has the gap after both.
TIE: Final = [
    Deed(UUID("f0000000-0000-4000-8000-000000000000"), 0, 0, "saved", "a.py"),
    Deed(UUID("10000000-0000-4000-8000-000000000000"), 0, 1, "saved", "a.py"),
    Deed(UUID("20000000-0000-4000-8000-000000000000"), 5 * MINUTE_MS, 1, "saved", "a.py"),
]


@pytest.mark.parametrize("keeps_from", [0, hours.WORTH_KEEPING])
@pytest.mark.parametrize(("zone", "evening"), EVENINGS)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(deeds=DEEDS, idle_limit_ms=st.sampled_from([LIMIT_MS, LIMIT_MS + 1, 90 * MINUTE_MS]), data=st.data())
@example(deeds=TIE, idle_limit_ms=LIMIT_MS, data=None)
def test_numbers_of_the_agent_are_those_of_the_server_by_every_window_and_project(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keeps_from: int,
    zone: str,
    evening: str,
    deeds: list[Deed],
    idle_limit_ms: int,
    data: st.DataObject | None,
) -> None:
    monkeypatch.setattr(hours, "WORTH_KEEPING", keeps_from)
    monkeypatch.setattr(hours, "DENSE", min(keeps_from, hours.DENSE))
    calendar = Calendar(ZoneInfo(zone), idle_limit_ms)
    both = Both.begun(world, tmp_path, calendar)
    start_ms = round(datetime.fromisoformat(evening).replace(tzinfo=calendar.zone).timestamp() * 1_000)
    times = [start_ms + passed for passed in accumulate(deed.gap_ms for deed in deeds)]
    done = list(zip(deeds, times, strict=True))
    both.record(done if data is None else data.draw(st.permutations(done)))
    for grain in Grain:
        cells = both.cells(grain)
        assert both.local(grain, times, project=None) == together(cells, both.ada)
        for number, project in enumerate(both.projects):
            own = {key: cell for key, cell in cells.items() if key[0] == project.id}
            assert both.local(grain, times, project=number) == together(own, both.ada)


def test_a_range_of_several_windows_counts_a_file_once_as_the_larger_window_does(
    world: World, tmp_path: Path
) -> None:
    both = Both.begun(world, tmp_path, Calendar(ZoneInfo("UTC")))
    monday = round(datetime.fromisoformat("2026-11-16T12:00+00:00").timestamp() * 1_000)
    deeds = [Deed(UUID(int=day + 1, version=4), 0, 0, "saved", "a.py") for day in range(3)]
    deeds += [Deed(UUID(int=9, version=4), 0, 0, "stranger's commit", "a.py")]
    times = [monday + day * DAY_MS for day in range(4)]
    both.record(list(zip(deeds, times, strict=True)))
    days = activity.count(both.store, both.question(Grain.DAY, times, None))
    (week,) = together(both.cells(Grain.WEEK), both.ada).values()
    assert [part.numbers.files for part in days.parts] == [1, 1, 1, 0]
    assert days.total == week
    assert (week.files, week.files_by_others) == (1, 1)


@dataclass
class Plain:
    """A cell of the server as plain numbers."""

    events: int = 0
    commits: int = 0
    insertions: int = 0
    deletions: int = 0
    active_ms: int = 0
    files: set[int] = field(default_factory=set)


Key = tuple[int, int, int]
"""Project, person, window start."""


def together(cells: dict[Key, Plain], ada: Member) -> dict[int, Numbers]:
    """By window start what the server has as hers, and what it has as nobody's."""
    own: dict[int, Plain] = defaultdict(Plain)
    nobodys: dict[int, Plain] = defaultdict(Plain)
    for (_, person_id, start_ms), cell in cells.items():
        assert person_id in (ada.id, NOBODY)
        one = (own if person_id == ada.id else nobodys)[start_ms]
        one.events += cell.events
        one.commits += cell.commits
        one.insertions += cell.insertions
        one.deletions += cell.deletions
        one.active_ms += cell.active_ms
        one.files |= cell.files
    return {
        start_ms: Numbers(
            events=own[start_ms].events,
            commits=own[start_ms].commits,
            insertions=own[start_ms].insertions,
            deletions=own[start_ms].deletions,
            files=len(own[start_ms].files),
            active_ms=own[start_ms].active_ms,
            events_by_others=nobodys[start_ms].events,
            commits_by_others=nobodys[start_ms].commits,
            files_by_others=len(nobodys[start_ms].files - own[start_ms].files),
        )
        for start_ms in {*own, *nobodys}
    }


@dataclass
class Both:
    """Ada's PC, and the server it reports to."""

    world: World
    ada: Member
    projects: list[Project]
    store: Store
    local_ids: list[UUID]
    calendar: Calendar

    @classmethod
    def begun(cls, world: World, folder: Path, calendar: Calendar) -> Both:
        """Ada and two projects, made once for all examples; nothing is recorded yet."""
        if not hasattr(world, "both"):
            ada = world.person("Ada")
            projects = [world.project(name, ada) for name in ("one", "two")]
            store = Store(folder / "agent" / "devflow.db")
            local = [
                store.add_project(each.name, folder / each.name, folder / each.name / ".git", 0)
                for each in projects
            ]
            world.both = cls(world, ada, projects, store, [each.id for each in local], calendar)  # type: ignore[attr-defined]
        both: Both = world.both  # type: ignore[attr-defined]
        with world.database.writing() as session:
            for table in (Cell, Mark, Event):
                session.execute(delete(table))
        with both.store.write() as connection:
            connection.execute("DELETE FROM events")
        assert isinstance(calendar.zone, ZoneInfo)
        both.calendar, world.calendar = calendar, rollups.Calendar(calendar.zone, calendar.idle_limit_ms)
        return both

    def record(self, done: Sequence[tuple[Deed, int]]) -> None:
        """On the PC in this order, and on the server by two uploads."""
        sent = []
        for deed, at_ms in done:
            data = self._data(deed)
            self.store.add(self.local_ids[deed.project], [Observation(deed.id, at_ms, data)])
            sent.append(self.world.event(self.ada, self.projects[deed.project], data, at_ms, deed.id))
        for part in (sent[: len(sent) // 2], sent[len(sent) // 2 :]):
            assert self.world.send(self.ada, *part).success
        self.world.refresh()

    def _data(self, deed: Deed) -> wire.EventData:
        author = STRANGER if deed.kind.startswith("stranger's") else self.ada.author
        match deed.kind.rpartition(" ")[2]:
            case "created":
                return wire.FileCreated(path=deed.path, size_bytes=1)
            case "deleted":
                return wire.FileDeleted(path=deed.path)
            case "renamed":
                return wire.FileRenamed(path=deed.path, old_path="b.py")
            case "commit":
                return commit(author, deed.path, "d.py", insertions=5, deletions=2)
            case "merge":
                return merge(author)
            case "files":
                return more_files(author, deed.path, "e.py")
            case "tag":
                tagger = author if deed.kind.startswith("own") else None
                return wire.TagCreated(tag="v1", sha="0" * 40, author=tagger)
            case "branch":
                return wire.BranchSwitched(branch="main", previous=None)
            case _:
                return saved(deed.path)

    def cells(self, grain: Grain) -> dict[Key, Plain]:
        with self.world.reading() as session:
            return {
                (cell.project_id, cell.person_id, cell.start): Plain(
                    cell.events,
                    cell.commits,
                    cell.insertions,
                    cell.deletions,
                    cell.active_ms,
                    set(BitMap.deserialize(cell.files)),
                )
                for cell in session.scalars(select(Cell).filter_by(grain=grain))
            }

    def question(self, grain: Grain, times: Sequence[int], project: int | None) -> Question:
        project_id = None if project is None else self.local_ids[project]
        return Question(grain, min(times), max(times) + 1, self.calendar, (self.ada.author,), project_id)

    def local(self, grain: Grain, times: Sequence[int], project: int | None) -> dict[int, Numbers]:
        """The PC's own, by window start, without windows in which nothing happened."""
        found: list[Part] = activity.count(self.store, self.question(grain, times, project)).parts
        return {part.start_ms: part.numbers for part in found if not part.numbers.are_empty}
