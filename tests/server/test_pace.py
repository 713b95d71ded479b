"""Pace: an hour's worth at once, then only as fast as it comes back, and nobody kept without need."""

from __future__ import annotations

from uuid import uuid4

import pytest

from devflow.errors import Limited
from devflow.pace import HOUR_MS, Pace
from tests.build import MINUTE_MS, NOW_MS

KEY = uuid4()


def test_an_hours_worth_may_be_taken_at_once_and_comes_back_within_the_hour() -> None:
    pace = Pace(60, "things")
    pace.take(KEY, 60, NOW_MS)
    with pytest.raises(Limited, match="more than 60 things an hour: go on in 60 s") as told:
        pace.take(KEY, 1, NOW_MS)
    assert told.value.retry_after_s == 60
    pace.take(KEY, 1, NOW_MS + MINUTE_MS)
    with pytest.raises(Limited):
        pace.take(KEY, 1, NOW_MS + MINUTE_MS)
    pace.take(KEY, 60, NOW_MS + MINUTE_MS + HOUR_MS)


def test_who_waits_as_long_as_told_is_let_through() -> None:
    pace = Pace(2_000_000, "events")
    now = NOW_MS
    for _ in range(2_000):
        pace.take(KEY, 1_000, now)
    for _ in range(5):
        with pytest.raises(Limited) as told:
            pace.take(KEY, 1_000, now)
        now += told.value.retry_after_s * 1_000
        pace.take(KEY, 1_000, now)


def test_one_key_takes_nothing_from_another_and_zero_is_no_limit() -> None:
    pace, free = Pace(1, "things"), Pace(0, "things")
    pace.take(KEY, 1, NOW_MS)
    pace.take(uuid4(), 1, NOW_MS)
    for _ in range(10):
        free.take(KEY, 1_000_000, NOW_MS)
    assert len(free) == 0


def test_a_clock_that_is_set_back_holds_nobody() -> None:
    pace = Pace(60, "things")
    pace.take(KEY, 60, NOW_MS)
    pace.take(KEY, 60, NOW_MS - 1_000 * HOUR_MS)


def test_only_who_came_within_the_hour_is_kept() -> None:
    pace = Pace(60, "things")
    most = 0
    for hour in range(5):
        for number in range(3_000):
            pace.take(uuid4(), 60, NOW_MS + 2 * hour * HOUR_MS + number)
            most = max(most, len(pace))
    assert most < 8_000
