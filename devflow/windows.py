"""Hours, days, weeks and months of a time zone, as half-open spans of Unix milliseconds.

Agent and server cut time by this. A day is what a calendar on the wall calls a day: 23 or 25 hours
long when clocks change, and weeks start on Monday. An hour is the longest span in which the wall
clock shows the same hour with the same offset, so the hour that a clock shows twice is two windows,
days are made of whole hours, and zones that are half an hour off, or change by half an hour, need
no special care.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Final

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
_QUARTER_MS: Final = 15 * MINUTE_MS
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Grain(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """``start_ms <= t < end_ms``."""

    start_ms: int
    end_ms: int


def window(grain: Grain, timestamp_ms: int, zone: tzinfo) -> Window:
    """The window of ``grain`` that holds the instant."""
    local = _local(timestamp_ms, zone)
    match grain:
        case Grain.HOUR:
            return _hour(timestamp_ms, local, zone)
        case Grain.DAY:
            return _days(local.date(), 1, zone)
        case Grain.WEEK:
            return _days(local.date() - timedelta(days=local.weekday()), 7, zone)
        case Grain.MONTH:
            first = local.date().replace(day=1)
            return _days(first, ((first + timedelta(days=31)).replace(day=1) - first).days, zone)


class Hours:
    """The hours of a zone, each worked out once: to find those of many instants that lie close together."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._found: dict[int, Window] = {}  # by quarter of an hour, in which it was looked for first

    def __call__(self, timestamp: int) -> Window:
        found = self._found.get(timestamp // _QUARTER_MS)
        if found is None or not found.start_ms <= timestamp < found.end_ms:
            found = self._found[timestamp // _QUARTER_MS] = window(Grain.HOUR, timestamp, self._zone)
        return found

    def next(self, timestamp: int) -> Window:
        return self(self(timestamp).end_ms)


class Finder:
    """Which of the windows, in order, holds an instant."""

    def __init__(self, spans: Sequence[Window]) -> None:
        self._spans = spans
        self._starts = [span.start_ms for span in spans]

    def __call__(self, timestamp: int) -> Window | None:
        index = bisect_right(self._starts, timestamp) - 1
        return self._spans[index] if index >= 0 and timestamp < self._spans[index].end_ms else None

    def next(self, timestamp: int) -> Window | None:
        index = bisect_right(self._starts, timestamp)
        return self._spans[index] if index < len(self._spans) else None


def label(grain: Grain, start_ms: int, zone: tzinfo) -> str:
    """The name of the window that starts then. An hour's has the offset, since a clock can show it twice."""
    local = _local(start_ms, zone)
    match grain:
        case Grain.HOUR:
            return local.isoformat(timespec="minutes")
        case Grain.DAY:
            return local.date().isoformat()
        case Grain.WEEK:
            return f"{local:%G-W%V}"
        case Grain.MONTH:
            return f"{local:%Y-%m}"


def day_of(timestamp_ms: int, zone: tzinfo) -> date:
    """The local date at an instant."""
    return _local(timestamp_ms, zone).date()


def day_window(day: date, zone: tzinfo) -> Window:
    return _days(day, 1, zone)


def spans_of(grain: Grain, low_ms: int, high_ms: int, zone: tzinfo) -> list[Window]:
    """The windows that hold the instants ``low_ms`` to ``high_ms``, both included, in order."""
    found = [window(grain, max(low_ms, 0), zone)]
    while found[-1].end_ms <= high_ms:
        found.append(window(grain, found[-1].end_ms, zone))
    return found


def _local(timestamp_ms: int, zone: tzinfo) -> datetime:
    # From whole seconds: a float of the milliseconds is rounded, here and there into the next hour.
    return (_EPOCH + timedelta(seconds=timestamp_ms // SECOND_MS)).astimezone(zone)


def _hour(timestamp_ms: int, local: datetime, zone: tzinfo) -> Window:
    offset = local.utcoffset()

    def offset_at(second: int) -> timedelta | None:
        return _local(second * SECOND_MS, zone).utcoffset()

    at = timestamp_ms // SECOND_MS
    start = at - local.minute * 60 - local.second
    end = start + HOUR_MS // SECOND_MS
    if offset_at(start) != offset:
        start += bisect_left(range(start, at), True, key=lambda second: offset_at(second) == offset)
    if offset_at(end - 1) != offset:
        end = at + bisect_left(range(at, end), True, key=lambda second: offset_at(second) != offset)
    return Window(start * SECOND_MS, end * SECOND_MS)


def _days(first: date, count: int, zone: tzinfo) -> Window:
    return Window(_midnight(first, zone), _midnight(first + timedelta(days=count), zone))


@lru_cache(maxsize=4_096)  # of a few years, which all that is shown is cut by again and again
def _midnight(day: date, zone: tzinfo) -> int:
    """The first instant of the day; fold=0 takes the earlier of two midnights, and a gap's end for none."""
    start = datetime(day.year, day.month, day.day, tzinfo=zone)
    return (start - _EPOCH) // timedelta(milliseconds=1)
