"""Windows against the calendar on the wall, written out by hand where clocks change."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devflow import windows, wire
from devflow.windows import HOUR_MS, MINUTE_MS, Grain, Window, window

ZONES = [
    ZoneInfo(key)
    for key in ("UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/Havana", "Asia/Seoul")
]


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000


@pytest.mark.parametrize("zone", ZONES, ids=lambda zone: zone.key)
@given(at=st.integers(0, wire.MAX_TIMESTAMP_MS))
def test_every_instant_lies_in_one_window_of_each_grain(zone: ZoneInfo, at: int) -> None:
    for grain in Grain:
        found = window(grain, at, zone)
        assert found.start_ms <= at < found.end_ms
        assert window(grain, found.start_ms, zone) == window(grain, found.end_ms - 1, zone) == found


@pytest.mark.parametrize("zone", ZONES, ids=lambda zone: zone.key)
@given(at=st.integers(utc("1990-01-01"), utc("2035-01-01")))
def test_smaller_windows_fill_the_larger_ones_without_gap(zone: ZoneInfo, at: int) -> None:
    for smaller, larger in ((Grain.HOUR, Grain.DAY), (Grain.DAY, Grain.WEEK), (Grain.DAY, Grain.MONTH)):
        whole = window(larger, at, zone)
        parts = windows.spans_of(smaller, whole.start_ms, whole.end_ms - 1, zone)
        assert (parts[0].start_ms, parts[-1].end_ms) == (whole.start_ms, whole.end_ms)
        assert all(before.end_ms == after.start_ms for before, after in pairwise(parts))


def test_a_day_is_23_hours_long_in_spring_and_25_in_autumn() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    spring = window(Grain.DAY, utc("2026-03-29T12:00"), berlin)
    autumn = window(Grain.DAY, utc("2026-10-25T12:00"), berlin)
    assert spring == Window(utc("2026-03-28T23:00"), utc("2026-03-29T22:00"))
    assert autumn == Window(utc("2026-10-24T22:00"), utc("2026-10-25T23:00"))


def test_the_hour_that_a_clock_shows_twice_is_two_windows() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert window(Grain.HOUR, utc("2026-10-25T00:30"), berlin).start_ms == utc("2026-10-25T00:00")
    assert window(Grain.HOUR, utc("2026-10-25T01:30"), berlin).start_ms == utc("2026-10-25T01:00")


def test_hours_begin_on_the_half_hour_where_the_zone_does() -> None:
    assert window(Grain.HOUR, utc("2026-01-01T00:00"), ZoneInfo("Asia/Kolkata")) == Window(
        utc("2025-12-31T23:30"), utc("2026-01-01T00:30")
    )


def test_a_clock_that_moves_half_an_hour_makes_a_half_hour_window() -> None:
    lord_howe = ZoneInfo("Australia/Lord_Howe")  # 4 October 2026: 02:00 becomes 02:30
    first = window(Grain.HOUR, utc("2026-10-03T15:40"), lord_howe)
    assert first == Window(utc("2026-10-03T15:30"), utc("2026-10-03T16:00"))
    assert first.end_ms - first.start_ms == 30 * MINUTE_MS


def test_a_day_without_midnight_begins_when_the_clock_has_jumped() -> None:
    havana = ZoneInfo("America/Havana")  # 8 March 2026: 00:00 becomes 01:00
    day = window(Grain.DAY, utc("2026-03-08T12:00"), havana)
    assert day == Window(utc("2026-03-08T05:00"), utc("2026-03-09T04:00"))
    assert day.end_ms - day.start_ms == 23 * HOUR_MS


def test_weeks_begin_on_monday_also_across_the_turn_of_the_year() -> None:
    assert window(Grain.WEEK, utc("2027-01-01T12:00"), ZoneInfo("UTC")) == Window(
        utc("2026-12-28T00:00"), utc("2027-01-04T00:00")
    )


def test_february_has_its_own_length() -> None:
    assert window(Grain.MONTH, utc("2028-02-29T12:00"), ZoneInfo("UTC")) == Window(
        utc("2028-02-01T00:00"), utc("2028-03-01T00:00")
    )
