"""Which time zone this PC has, by its name or by what the system itself does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from devflow import windows
from devflow.active_time import IDLE_LIMIT_MS
from devflow.errors import Invalid
from devflow.windows import Grain
from devflow_agent.local_calendar import Calendar, OfTheSystem, named, zone_of_this_pc

BERLIN_BY_RULE = "CET-1CEST,M3.5.0,M10.5.0/3"
HOUR = 3_600_000


@pytest.fixture
def berlin_by_rule(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system that knows when its clocks change, and no name for it."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", BERLIN_BY_RULE)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("environment", "link", "name"),
    [
        ({"TZ": "Europe/Berlin"}, "/usr/share/zoneinfo/Asia/Seoul", "Europe/Berlin"),
        ({"TZ": ":Europe/Berlin"}, None, "Europe/Berlin"),
        ({"TZ": ":/usr/share/zoneinfo/Europe/Berlin"}, None, "Europe/Berlin"),
        ({}, "/usr/share/zoneinfo/Asia/Seoul", "Asia/Seoul"),
        ({}, "../usr/share/zoneinfo/America/Argentina/Ushuaia", "America/Argentina/Ushuaia"),
        ({}, "/var/db/timezone/zoneinfo/Europe/Berlin", "Europe/Berlin"),
    ],
)
def test_the_zone_is_told_by_its_name(
    tmp_path: Path, environment: dict[str, str], link: str | None, name: str
) -> None:
    localtime = tmp_path / "localtime"
    if link is not None:
        localtime.symlink_to(link)
    assert str(zone_of_this_pc(environment, localtime)) == name


@pytest.mark.parametrize(
    "chosen", [BERLIN_BY_RULE, "", "Europe", "nowhere/at all", "../../etc/passwd", "/etc"]
)
def test_where_no_name_is_found_it_is_what_the_system_does(tmp_path: Path, chosen: str) -> None:
    assert isinstance(zone_of_this_pc({"TZ": chosen}, tmp_path / "localtime"), OfTheSystem)
    (tmp_path / "localtime").write_bytes(b"a copy, and no link")
    assert isinstance(zone_of_this_pc({}, tmp_path / "localtime"), OfTheSystem)


def test_the_systems_windows_are_those_of_the_zone_by_its_name(berlin_by_rule: None) -> None:
    system, berlin = OfTheSystem(), ZoneInfo("Europe/Berlin")
    assert str(system) == "CET/CEST"
    for start in ("2026-03-28", "2026-10-24", "2026-07-01"):
        first = windows.day_window(date.fromisoformat(start), berlin).start_ms
        for at in range(first, first + 50 * HOUR, HOUR // 4):
            for grain in Grain:
                found = windows.window(grain, at, system)
                assert found == windows.window(grain, at, berlin)
                assert windows.label(grain, found.start_ms, system) == windows.label(
                    grain, found.start_ms, berlin
                )


def test_a_zone_that_is_none_is_refused() -> None:
    assert named("Asia/Kolkata") == ZoneInfo("Asia/Kolkata")
    with pytest.raises(Invalid, match="expected a time zone such as Europe/Berlin, got 'Mars'"):
        named("Mars")


def test_the_idle_limit_is_what_the_environment_says() -> None:
    assert Calendar.of_this_pc({"TZ": "UTC"}) == Calendar(ZoneInfo("UTC"), IDLE_LIMIT_MS)
    assert Calendar.of_this_pc({"TZ": "UTC", "DEVFLOW_IDLE_LIMIT_S": "60"}).idle_limit_ms == 60_000


@pytest.mark.parametrize("said", ["0", "-1", "86401", "15 min", "1e3", "²", "000000900999"])
def test_an_idle_limit_that_is_none_is_refused(said: str) -> None:
    with pytest.raises(Invalid, match="DEVFLOW_IDLE_LIMIT_S: expected whole seconds from 1 to 86400"):
        Calendar.of_this_pc({"DEVFLOW_IDLE_LIMIT_S": said})
