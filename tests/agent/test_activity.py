"""The developer's own numbers: active time as a pure function, days in the PC's time zone."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devflow import wire
from devflow_agent.analyse import activity
from devflow_agent.analyse.active_time import IDLE_LIMIT_MS, active_ms
from devflow_agent.plain import plain
from devflow_agent.store import Observation, Store

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
ME, BOB = "a" * 32, "b" * 32


def alone(times: list[int], edges: list[int]) -> list[int]:
    return [window.total() for window in active_ms([(one, "me") for one in times], edges)]


def test_a_gap_counts_in_full_up_to_the_idle_limit_and_not_at_all_beyond() -> None:
    assert alone([0, 15 * MINUTE], [0, HOUR]) == [15 * MINUTE]
    assert alone([0, 15 * MINUTE + 1], [0, HOUR]) == [0]
    assert alone([0, 10 * MINUTE, 20 * MINUTE, 50 * MINUTE], [0, HOUR]) == [20 * MINUTE]
    assert alone([5], [0, HOUR]) == alone([], [0, HOUR]) == [0]


def test_a_gap_is_cut_at_window_edges() -> None:
    assert alone([55 * MINUTE, 65 * MINUTE], [0, HOUR, 2 * HOUR]) == [5 * MINUTE, 5 * MINUTE]
    assert alone([-5 * MINUTE, 5 * MINUTE], [0, HOUR]) == [5 * MINUTE], "it began before the first window"
    assert alone([55 * MINUTE, 65 * MINUTE], [0, HOUR]) == [5 * MINUTE], "and may end after the last"


def test_a_gap_belongs_to_what_its_earlier_moment_belongs_to() -> None:
    moments = [(0, "shop"), (10 * MINUTE, "till"), (12 * MINUTE, "shop"), (40 * MINUTE, "shop")]
    assert active_ms(moments, [0, HOUR]) == [Counter(shop=10 * MINUTE, till=2 * MINUTE)]


TIMES = st.lists(st.integers(0, 3 * DAY), max_size=60).map(sorted)
EDGES = st.lists(st.integers(0, 3 * DAY), min_size=1, max_size=20).map(
    lambda inner: sorted({0, *inner, 3 * DAY})
)


@given(TIMES, EDGES)
def test_small_windows_add_up_to_large_ones(times: list[int], edges: list[int]) -> None:
    assert sum(alone(times, edges)) == sum(alone(times, [edges[0], edges[-1]]))


@given(TIMES, EDGES)
def test_it_is_what_counting_each_gap_by_hand_gives(times: list[int], edges: list[int]) -> None:
    def overlap(start: int, end: int, low: int, high: int) -> int:
        return max(min(end, high) - max(start, low), 0)

    gaps = [(a, b) for a, b in itertools.pairwise(times) if b - a <= IDLE_LIMIT_MS]
    expected = [sum(overlap(a, b, low, high) for a, b in gaps) for low, high in itertools.pairwise(edges)]
    assert alone(times, edges) == expected


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home" / "devflow.db")


def record(store: Store, *observations: Observation, name: str = "shop") -> None:
    project = store.add_project(name, Path("/src") / name, Path("/src") / name / ".git", 0)
    store.add(project.id, observations)


def save(timestamp_ms: int, path: str = "a.py") -> Observation:
    return Observation.own(timestamp_ms, wire.FileSaved(path=path, size_bytes=1))


def commit(timestamp_ms: int, author: str, insertions: int, path: str = "a.py") -> Observation:
    data = wire.Commit(
        sha="0" * 40,
        parents=[],
        author=author,
        committer=author,
        committed_at=timestamp_ms,
        insertions=insertions,
        deletions=1,
        files_changed=1,
        files=[wire.FileChange(path=path, insertions=insertions, deletions=1)],
    )
    return Observation(uuid4(), timestamp_ms, data)


def test_a_day_is_one_of_the_local_calendar_also_when_the_clock_changes(berlin: None, store: Store) -> None:
    midnight = activity.local_midnight(date(2026, 10, 25))
    next_midnight = activity.local_midnight(date(2026, 10, 26))
    assert next_midnight - midnight == 25 * HOUR
    record(
        store,
        save(midnight - 1),
        save(midnight),
        save(next_midnight - 1),
        save(next_midnight + 5 * MINUTE - 1),
    )
    found = activity.last_days(store, 3, now_ms=next_midnight + HOUR, author_keys=())
    assert [(day.date.day, day.numbers.events) for day in found.days] == [(24, 1), (25, 2), (26, 1)]
    assert [day.numbers.active_ms for day in found.days] == [1, 1, 5 * MINUTE - 1]


def test_what_others_did_is_no_active_time_and_none_of_the_own_lines(berlin: None, store: Store) -> None:
    noon = activity.local_midnight(date(2026, 5, 4)) + 12 * HOUR
    record(
        store,
        commit(noon, ME, 5),
        commit(noon + 5 * MINUTE, BOB, 100, path="b.py"),
        save(noon + 10 * MINUTE, "a.py"),
        save(noon + 60 * MINUTE, "c.py"),
        commit(noon + 70 * MINUTE, BOB, 100),
    )
    total = activity.last_days(store, 1, now_ms=noon, author_keys=[ME]).total
    assert (total.events, total.commits, total.commits_by_others) == (5, 1, 2)
    assert (total.insertions, total.deletions, total.files) == (5, 1, 2)
    assert total.active_ms == 10 * MINUTE


def test_a_light_tag_is_nobodys_work(store: Store) -> None:
    tag = wire.TagCreated(tag="v1", sha="0" * 40, author=None)
    record(store, save(DAY), Observation(uuid4(), DAY + MINUTE, tag))
    assert activity.between(store, DAY, 2 * DAY, author_keys=[ME]).total.active_ms == 0


def test_the_projects_of_a_day_add_up_to_the_person(store: Store) -> None:
    record(store, save(DAY), save(DAY + 12 * MINUTE), name="shop")
    record(store, save(DAY + 6 * MINUTE), save(DAY + 20 * MINUTE), name="till")
    whole = activity.between(store, DAY, DAY + HOUR, author_keys=()).total.active_ms
    parts = [
        activity.between(store, DAY, DAY + HOUR, author_keys=(), project_id=project.id).total.active_ms
        for project in store.projects()
    ]
    assert whole == sum(parts) == 20 * MINUTE
    assert parts == [14 * MINUTE, 6 * MINUTE]


def test_the_same_path_in_two_projects_is_two_files(store: Store) -> None:
    record(store, save(DAY), save(DAY + 1), name="shop")
    record(store, save(DAY + 2), name="till")
    assert activity.between(store, DAY, 2 * DAY, author_keys=()).total.files == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("src/größe.py", "src/größe.py"),
        ("日本語/🙂.md", "日本語/🙂.md"),
        ("a\x1b[0mb", r"a\u{1b}[0mb"),
        ("a\nb\tc\r", r"a\u{a}b\u{9}c\u{d}"),
        ("\u202egpj.exe", r"\u{202e}gpj.exe"),
        ("a\u2028b\u200b\ufeff", r"a\u{2028}b\u{200b}\u{feff}"),
        ("\udcff", r"\u{dcff}"),
        ("\U000e0001\ue000", r"\u{e0001}\u{e000}"),
        ("x" * 600, "x" * 499 + "…"),
    ],
)
def test_text_is_shown_with_what_is_unsafe_spelled_out(text: str, shown: str) -> None:
    assert plain(text) == shown
