"""Active time, which agent and server count alike, against gaps counted one by one by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from devflow.active_time import IDLE_LIMIT_MS, active_ms
from devflow.windows import Finder, Window

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Moment(NamedTuple):
    timestamp: int
    project_id: str = "shop"


def counted(moments: Sequence[Moment], spans: Sequence[Window]) -> dict[tuple[str, int], int]:
    return active_ms(moments, Finder(spans), IDLE_LIMIT_MS)


def alone(times: Sequence[int], edges: Sequence[int]) -> list[int]:
    """Of one project, by the windows between the edges."""
    spans = [Window(*each) for each in pairwise(edges)]
    found = counted([Moment(one) for one in times], spans)
    return [found.get(("shop", span.start_ms), 0) for span in spans]


def test_a_gap_counts_in_full_up_to_the_idle_limit_and_not_at_all_beyond() -> None:
    assert alone([0, 15 * MINUTE], [0, HOUR]) == [15 * MINUTE]
    assert alone([0, 15 * MINUTE + 1], [0, HOUR]) == [0]
    assert alone([0, 10 * MINUTE, 20 * MINUTE, 50 * MINUTE], [0, HOUR]) == [20 * MINUTE]
    assert alone([5], [0, HOUR]) == alone([], [0, HOUR]) == [0]


def test_a_gap_is_cut_at_window_edges() -> None:
    assert alone([55 * MINUTE, 65 * MINUTE], [0, HOUR, 2 * HOUR]) == [5 * MINUTE, 5 * MINUTE]
    assert alone([-5 * MINUTE, 5 * MINUTE], [0, HOUR]) == [5 * MINUTE], "it began before the first window"
    assert alone([55 * MINUTE, 65 * MINUTE], [0, HOUR]) == [5 * MINUTE], "and may end after the last"


def test_what_lies_between_windows_that_do_not_touch_is_left_out() -> None:
    apart = [Window(0, 2 * MINUTE), Window(8 * MINUTE, 9 * MINUTE)]
    assert counted([Moment(0), Moment(10 * MINUTE)], apart) == {
        ("shop", 0): 2 * MINUTE,
        ("shop", 8 * MINUTE): MINUTE,
    }


def test_a_gap_belongs_to_what_its_earlier_moment_belongs_to() -> None:
    moments = [
        Moment(0, "shop"),
        Moment(10 * MINUTE, "till"),
        Moment(12 * MINUTE, "shop"),
        Moment(40 * MINUTE, "shop"),
    ]
    assert counted(moments, [Window(0, HOUR)]) == {("shop", 0): 10 * MINUTE, ("till", 0): 2 * MINUTE}


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

    gaps = [(a, b) for a, b in pairwise(times) if b - a <= IDLE_LIMIT_MS]
    expected = [sum(overlap(a, b, low, high) for a, b in gaps) for low, high in pairwise(edges)]
    assert alone(times, edges) == expected
