"""The geometry of charts, worked out by hand for small ones and by properties for all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devflow.web import charts
from devflow.web.charts import HEADROOM, HEIGHT, MAX_LINES, Named, Point


def test_bars_stand_on_the_base_line_and_reach_their_number() -> None:
    chart = charts.chart([Point("a", 10, 4), Point("b", 0), Point("c", 20)], [], charts.counts)
    assert [(line.value, line.y) for line in chart.lines] == [
        (0, 168),
        (5, 128.5),
        (10, 89),
        (15, 49.5),
        (20, 10),
    ]
    (total, own), nothing, (highest,) = (slot.rects for slot in chart.slots)
    assert (total.y, total.height) == (89, 79)
    assert (own.y + own.height, own.height) == (168, 31.6)
    assert nothing == []
    assert (highest.y, highest.height) == (HEADROOM, HEIGHT - HEADROOM)
    assert [slot.x for slot in chart.slots] == ["0.000%", "33.333%", "66.667%"]


def test_what_goes_down_hangs_from_the_base_line_on_the_same_scale() -> None:
    chart = charts.chart([Point("a", 30, down=10)], [], charts.counts)
    up, down = chart.slots[0].rects
    assert (up.kind, down.kind) == ("up", "down")
    assert up.y + up.height == down.y == chart.base_y
    assert up.height == pytest.approx(3 * down.height, abs=0.02)
    assert [line.value for line in chart.lines] == [10, 0, 10, 20, 30]


def test_what_is_not_known_has_no_bar_and_says_so() -> None:
    unknown, zero = charts.chart([Point("a", None), Point("b", 0)], [], charts.counts).slots
    assert (unknown.rects, unknown.is_known) == ([], False)
    assert (zero.rects, zero.is_known) == ([], True)


def test_one_beside_a_thousand_can_be_seen() -> None:
    small, _ = (
        slot.rects[0] for slot in charts.chart([Point("a", 1), Point("b", 1_000)], [], charts.counts).slots
    )
    assert small.height == charts.MIN_BAR


def test_labels_keep_apart_and_the_ends_always_have_theirs() -> None:
    names = [
        Named(0, "first"),
        Named(1, "too near"),
        Named(50, "middle"),
        Named(98, "too near"),
        Named(99, "last"),
    ]
    marks = charts.chart([Point("", 1)] * 100, names, charts.counts).marks
    assert [(mark.text, mark.anchor) for mark in marks] == [
        ("first", "start"),
        ("middle", "middle"),
        ("last", "end"),
    ]


@pytest.mark.parametrize(
    ("top", "step"), [(0, 1), (3, 1), (4, 1), (5, 2), (9, 5), (40, 10), (41, 20), (7_000, 2_000)]
)
def test_steps_of_counts_are_round(top: int, step: int) -> None:
    assert charts.counts(top) == step


@pytest.mark.parametrize(
    ("top", "step"),
    [(0, 60), (600, 300), (3_600, 900), (20_000, 7_200), (172_800, 43_200), (360_000, 180_000)],
)
def test_steps_of_times_are_those_of_a_clock(top: int, step: int) -> None:
    assert charts.times(top) == step


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=130))
def test_every_bar_stays_inside_its_chart(numbers: list[tuple[int, int]]) -> None:
    chart = charts.chart([Point("", up, down=down) for up, down in numbers], [], charts.counts)
    assert 2 <= len(chart.lines) <= MAX_LINES + 2
    for slot in chart.slots:
        for rect in slot.rects:
            assert rect.y >= HEADROOM - 0.02
            assert rect.y + rect.height <= HEIGHT + charts.MIN_BAR + 0.02


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=130))
def test_a_spark_has_a_bar_for_every_day_with_work(values: list[int]) -> None:
    bars = charts.spark(values)
    assert len(bars) == sum(value > 0 for value in values)
    assert all(0 <= bar.y <= charts.SPARK_HEIGHT - charts.MIN_BAR for bar in bars)


def test_a_day_alone_on_its_chart_is_a_bar_and_no_wall() -> None:
    drawn = charts.chart([Point("today", 71)], [Named(0, "Nov 23")], charts.counts)
    (bar,) = drawn.slots[0].rects
    assert float(bar.width.rstrip("%")) <= charts.MAX_BAR_PCT
    assert [(mark.x, mark.anchor) for mark in drawn.marks] == [("50.000%", "middle")]
