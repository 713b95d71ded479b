"""Tables worked out by hand: what somebody saved, and every cell that has to come of it.

Each can be checked with a calendar and a finger. Work ends after 15 minutes without an event. A
line of what was saved is the time as the wall clock showed it, with its distance from UTC, and on
which PC. A line of a table is the kind of window, the local time at which it begins, the events
in it and the minutes of work. Weeks begin on Monday.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from devflow.models import Cell
from devflow.rollups import Calendar
from devflow.windows import Grain
from tests.build import MINUTE_MS, World, saved

CASES: Final = {
    # Time is measured between events: one alone has none.
    "a single event": (
        "Europe/Berlin",
        "2026-03-02 10:07 +0100  PC",
        """
        hour   2026-03-02 10:00 +0100   1   0
        day    2026-03-02 00:00 +0100   1   0
        week   2026-03-02 00:00 +0100   1   0
        month  2026-03-01 00:00 +0100   1   0
        """,
    ),
    # 10:00 to 10:15 is exactly the limit and counts; 10:15 to 10:31 is longer and does not.
    "a gap of exactly the limit, and a longer one": (
        "Europe/Berlin",
        """
        2026-03-02 10:00 +0100  PC
        2026-03-02 10:15 +0100  PC
        2026-03-02 10:31 +0100  PC
        """,
        """
        hour   2026-03-02 10:00 +0100   3  15
        day    2026-03-02 00:00 +0100   3  15
        week   2026-03-02 00:00 +0100   3  15
        month  2026-03-01 00:00 +0100   3  15
        """,
    ),
    # Alone the PC has 10 minutes and the laptop 12. One person can work only once at a time: 10:00 to 10:14.
    "two devices at once": (
        "Europe/Berlin",
        """
        2026-03-02 10:00 +0100  PC
        2026-03-02 10:10 +0100  PC
        2026-03-02 10:02 +0100  laptop
        2026-03-02 10:10 +0100  laptop
        2026-03-02 10:14 +0100  laptop
        """,
        """
        hour   2026-03-02 10:00 +0100   5  14
        day    2026-03-02 00:00 +0100   5  14
        week   2026-03-02 00:00 +0100   5  14
        month  2026-03-01 00:00 +0100   5  14
        """,
    ),
    # From Sunday to Monday, and so from one week to the next: 10 minutes before midnight, 2 after it.
    "a session across midnight": (
        "Europe/Berlin",
        """
        2026-03-08 23:50 +0100  PC
        2026-03-09 00:02 +0100  PC
        """,
        """
        hour   2026-03-08 23:00 +0100   1  10
        hour   2026-03-09 00:00 +0100   1   2
        day    2026-03-08 00:00 +0100   1  10
        day    2026-03-09 00:00 +0100   1   2
        week   2026-03-02 00:00 +0100   1  10
        week   2026-03-09 00:00 +0100   1   2
        month  2026-03-01 00:00 +0100   2  12
        """,
    ),
    # Nepal is 5 h 45 min ahead: its midnight is 18:15 in UTC.
    "a session across midnight where hours begin at a quarter past": (
        "Asia/Kathmandu",
        """
        2026-06-30 23:50 +0545  PC
        2026-07-01 00:02 +0545  PC
        """,
        """
        hour   2026-06-30 23:00 +0545   1  10
        hour   2026-07-01 00:00 +0545   1   2
        day    2026-06-30 00:00 +0545   1  10
        day    2026-07-01 00:00 +0545   1   2
        week   2026-06-29 00:00 +0545   2  12
        month  2026-06-01 00:00 +0545   1  10
        month  2026-07-01 00:00 +0545   1   2
        """,
    ),
    # At 02:00 it is 03:00 at once. Between the events lie ten minutes, not seventy.
    "spring in Berlin": (
        "Europe/Berlin",
        """
        2026-03-29 01:55 +0100  PC
        2026-03-29 03:05 +0200  PC
        """,
        """
        hour   2026-03-29 01:00 +0100   1   5
        hour   2026-03-29 03:00 +0200   1   5
        day    2026-03-29 00:00 +0100   2  10
        week   2026-03-23 00:00 +0100   2  10
        month  2026-03-01 00:00 +0100   2  10
        """,
    ),
    # At 03:00 it is 02:00 again: that hour is there twice, and is two windows.
    "autumn in Berlin": (
        "Europe/Berlin",
        """
        2026-10-25 02:55 +0200  PC
        2026-10-25 02:05 +0100  PC
        """,
        """
        hour   2026-10-25 02:00 +0200   1   5
        hour   2026-10-25 02:00 +0100   1   5
        day    2026-10-25 00:00 +0200   2  10
        week   2026-10-19 00:00 +0200   2  10
        month  2026-10-01 00:00 +0200   2  10
        """,
    ),
    "spring in New York": (
        "America/New_York",
        """
        2026-03-08 01:50 -0500  PC
        2026-03-08 03:02 -0400  PC
        """,
        """
        hour   2026-03-08 01:00 -0500   1  10
        hour   2026-03-08 03:00 -0400   1   2
        day    2026-03-08 00:00 -0500   2  12
        week   2026-03-02 00:00 -0500   2  12
        month  2026-03-01 00:00 -0500   2  12
        """,
    ),
    # The first of November is the Sunday of a week that began in October.
    "autumn in New York": (
        "America/New_York",
        """
        2026-11-01 01:56 -0400  PC
        2026-11-01 01:08 -0500  PC
        """,
        """
        hour   2026-11-01 01:00 -0400   1   4
        hour   2026-11-01 01:00 -0500   1   8
        day    2026-11-01 00:00 -0400   2  12
        week   2026-10-26 00:00 -0400   2  12
        month  2026-11-01 00:00 -0400   2  12
        """,
    ),
    # On Lord Howe Island clocks move by half an hour: at 02:00 it is 02:30, so that hour has 30 minutes.
    "spring on Lord Howe Island": (
        "Australia/Lord_Howe",
        """
        2026-10-04 01:55 +1030  PC
        2026-10-04 02:37 +1100  PC
        """,
        """
        hour   2026-10-04 01:00 +1030   1   5
        hour   2026-10-04 02:30 +1100   1   7
        day    2026-10-04 00:00 +1030   2  12
        week   2026-09-28 00:00 +1030   2  12
        month  2026-10-01 00:00 +1030   2  12
        """,
    ),
    # At 02:00 it is 01:30 again: the hour from 01:00 is whole, and then its second half comes once more.
    "autumn on Lord Howe Island": (
        "Australia/Lord_Howe",
        """
        2026-04-05 01:50 +1100  PC
        2026-04-05 01:34 +1030  PC
        """,
        """
        hour   2026-04-05 01:00 +1100   1  10
        hour   2026-04-05 01:30 +1030   1   4
        day    2026-04-05 00:00 +1100   2  14
        week   2026-03-30 00:00 +1100   2  14
        month  2026-04-01 00:00 +1100   2  14
        """,
    ),
    # New Year's Eve is a Thursday: the session is cut at midnight, and its week is one week of two years.
    # The Sunday after is still in that week, the Monday in the next.
    "a year's end, and a week of two years": (
        "Europe/Berlin",
        """
        2026-12-31 23:55 +0100  PC
        2027-01-01 00:06 +0100  PC
        2027-01-03 12:00 +0100  PC
        2027-01-04 12:00 +0100  PC
        """,
        """
        hour   2026-12-31 23:00 +0100   1   5
        hour   2027-01-01 00:00 +0100   1   6
        hour   2027-01-03 12:00 +0100   1   0
        hour   2027-01-04 12:00 +0100   1   0
        day    2026-12-31 00:00 +0100   1   5
        day    2027-01-01 00:00 +0100   1   6
        day    2027-01-03 00:00 +0100   1   0
        day    2027-01-04 00:00 +0100   1   0
        week   2026-12-28 00:00 +0100   3  11
        week   2027-01-04 00:00 +0100   1   0
        month  2026-12-01 00:00 +0100   1   5
        month  2027-01-01 00:00 +0100   3   6
        """,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_counted_is_what_a_hand_counts(world: World, case: str) -> None:
    zone_name, did, table = CASES[case]
    world.calendar = Calendar(ZoneInfo(zone_name), 15 * MINUTE_MS)
    ada = world.person("Ada")
    devices = {"PC": ada, "laptop": world.second_device(ada)}
    one = world.project("one", ada)
    for line in did.strip().splitlines():
        day, time, offset, device = line.split()
        at = datetime.strptime(f"{day} {time} {offset}", "%Y-%m-%d %H:%M %z")
        member = devices[device]
        world.send(member, world.event(member, one, saved(), int(at.timestamp()) * 1_000))
        world.refresh()
    assert cells(world) == [" ".join(line.split()) for line in table.strip().splitlines()]


def cells(world: World) -> list[str]:
    """All that are stored, as a table has them."""
    with world.reading() as session:
        found = session.scalars(select(Cell)).all()
    return [_line(cell, world.calendar.zone) for cell in sorted(found, key=_place)]


def _place(cell: Cell) -> tuple[int, int]:
    return list(Grain).index(Grain(cell.grain)), cell.start


def _line(cell: Cell, zone: ZoneInfo) -> str:
    start = datetime.fromtimestamp(cell.start // 1_000, UTC).astimezone(zone)
    minutes, rest_ms = divmod(cell.active_ms, MINUTE_MS)
    assert rest_ms == 0
    return f"{cell.grain} {start:%Y-%m-%d %H:%M %z} {cell.events} {minutes}"
