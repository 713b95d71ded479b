"""Which days and windows a question is about: named ranges and dates as windows of the workspace's zone.

A range that moves with time, such as 24h, is made explicit here, before anything is looked up or kept.
"""

from __future__ import annotations

import binascii
import functools
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from devflow import windows
from devflow.errors import Invalid
from devflow.windows import Grain, Window

NAMED_DAYS: Final = {"7d": 7, "30d": 30, "90d": 90, "1y": 365}
LAST_DAY: Final = "24h"
EARLIEST: Final = date(1970, 1, 1)
LATEST: Final = date(9998, 12, 31)
MOST_DAYS: Final = {
    "hour": 92,
    "day": 3_660,
    "week": 36_525,
    "month": 36_525,
    "person": 36_525,
    "type": 366,
    "language": 366,
    "team": 366,
}
"""Of one question, by what it groups by: a few thousand rows at most."""
BY_TIME: Final = frozenset(Grain)
"""Groups that are windows."""


@dataclass(frozen=True, slots=True)
class Range:
    """``first`` to ``last``, both included, and of their hours only those in ``shown``."""

    first: date
    last: date
    shown: Window


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """What a cursor says: of which span it is, and after which row it goes on."""

    start_ms: int
    end_ms: int
    after: str


def resolve(time_range: str, group_by: str, now_ms: int, zone: ZoneInfo) -> Range:
    """Raise Invalid for dates that are none, or for more days than are told at once."""
    if time_range == LAST_DAY:
        return _last_day(group_by, now_ms, zone)
    if time_range in NAMED_DAYS:
        today = windows.day_of(now_ms, zone)
        first, last = today - timedelta(days=NAMED_DAYS[time_range] - 1), today
    else:
        first, last = (parse_day(text) for text in time_range.split(".."))
    return between(first, last, group_by, zone)


def between(first: date, last: date, group_by: str, zone: ZoneInfo) -> Range:
    """These days, both included; raise Invalid for none, and for too many to tell ``group_by``."""
    _check(first, last, group_by)
    return Range(first, last, _days(first, last, zone))


def _check(first: date, last: date, group_by: str) -> None:
    most, days = MOST_DAYS[group_by], (last - first).days + 1
    if days < 1:
        raise Invalid(f"expected a range that ends no earlier than it begins, got {first}..{last}")
    if days > most:
        raise Invalid(f"expected at most {most} days by {group_by}, got {days}: ask for a shorter range")


def parse_day(text: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or not EARLIEST <= found <= LATEST:
        raise Invalid(f"expected a date such as 2026-01-31, from {EARLIEST.year} on, got {text[:40]!r}")
    return found


def _last_day(group_by: str, now_ms: int, zone: ZoneInfo) -> Range:
    """24 hours that end with the one under way; in larger windows, the days that hold them."""
    hour = windows.window(Grain.HOUR, now_ms, zone)
    start = hour.start_ms
    for _ in range(23):
        start = windows.window(Grain.HOUR, start - 1, zone).start_ms
    first, last = windows.day_of(start, zone), windows.day_of(now_ms, zone)
    shown = Window(start, hour.end_ms) if group_by == "hour" else _days(first, last, zone)
    return Range(first, last, shown)


def _days(first: date, last: date, zone: ZoneInfo) -> Window:
    return Window(windows.day_window(first, zone).start_ms, windows.day_window(last, zone).end_ms)


@functools.lru_cache(maxsize=64)
def spans(grain: Grain, first: date, last: date, zone: ZoneInfo) -> tuple[Window, ...]:
    """The whole windows of ``grain`` that hold the days."""
    days = _days(first, last, zone)
    return tuple(windows.spans_of(grain, days.start_ms, days.end_ms - 1, zone))


def covered(group_by: str, days: Range, zone: ZoneInfo) -> tuple[tuple[Grain, Window], ...]:
    """Which windows to read: one row's each, or as few as can be where a range is one."""
    if group_by not in BY_TIME:
        return cover(days.first, days.last, zone)
    found = spans(Grain(group_by), days.first, days.last, zone)
    return ((Grain(group_by), Window(found[0].start_ms, found[-1].end_ms)),)


@functools.lru_cache(maxsize=64)
def cover(first: date, last: date, zone: ZoneInfo) -> tuple[tuple[Grain, Window], ...]:
    """The days in as few windows as can be: whole months, and days before and after them."""
    days = _days(first, last, zone)
    months = [
        month
        for month in spans(Grain.MONTH, first, last, zone)
        if days.start_ms <= month.start_ms and month.end_ms <= days.end_ms
    ]
    if not months:
        return ((Grain.DAY, days),)
    whole = Window(months[0].start_ms, months[-1].end_ms)
    edges = (Window(days.start_ms, whole.start_ms), Window(whole.end_ms, days.end_ms))
    return ((Grain.MONTH, whole), *((Grain.DAY, edge) for edge in edges if edge.start_ms < edge.end_ms))


def cursor(shown: Window, after: str) -> str:
    """Where the next page begins; the span stands in it, so that all pages are of the same one."""
    place = msgspec.json.encode(_Place(shown.start_ms, shown.end_ms, after))
    return urlsafe_b64encode(place).decode().rstrip("=")


def resume(given: str, group_by: str, zone: ZoneInfo) -> tuple[Range, str]:
    """The range of a cursor, and after which row it goes on; raise Invalid for what is no cursor of ours.

    It is not signed: whoever makes one up asks what they could have asked by dates.
    """
    try:
        padded = given + "=" * (-len(given) % 4)
        place = msgspec.json.decode(urlsafe_b64decode(padded), type=_Place)
    except (binascii.Error, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Invalid("expected a cursor as an answer gave it in next, got another text") from error
    earliest, latest = windows.day_window(EARLIEST, zone).start_ms, windows.day_window(LATEST, zone).end_ms
    if not earliest <= place.start_ms < place.end_ms <= latest:
        raise Invalid("expected a cursor as an answer gave it in next, got one of no span")
    first, last = (windows.day_of(at, zone) for at in (place.start_ms, place.end_ms - 1))
    _check(first, last, group_by)
    return Range(first, last, Window(place.start_ms, place.end_ms)), place.after
