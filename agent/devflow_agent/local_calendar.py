"""By which calendar this PC's numbers are cut: its own time zone, and the idle limit."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final, Self
from zoneinfo import ZoneInfo

from devflow.active_time import IDLE_LIMIT_MS
from devflow.errors import Invalid
from devflow.windows import SECOND_MS

IDLE_LIMIT: Final = "DEVFLOW_IDLE_LIMIT_S"
"""Named as on the server, so that both can be told the same."""
MOST_IDLE_S: Final = 86_400
_LOCALTIME: Final = Path("/etc/localtime")
_DATABASE: Final = "zoneinfo/"


@dataclass(frozen=True, slots=True)
class Calendar:
    """What windows and gaps are cut by."""

    zone: tzinfo
    idle_limit_ms: int = IDLE_LIMIT_MS

    @classmethod
    def of_this_pc(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Raise Invalid if the environment says what is no idle limit."""
        return cls(zone_of_this_pc(environment), _idle_limit_ms(environment))


class OfTheSystem(tzinfo):
    """The zone that the system keeps, where its name is not known: on Windows, or by a bare rule."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        # A naive time is local time to astimezone(), which knows the clock changes.
        return None if dt is None else dt.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, _dt: datetime | None) -> timedelta | None:
        return None

    def tzname(self, dt: datetime | None) -> str | None:
        return None if dt is None else dt.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, dt: datetime) -> datetime:
        local = dt.replace(tzinfo=UTC).astimezone()
        shown = local.replace(tzinfo=self)
        return shown if shown.utcoffset() == local.utcoffset() else shown.replace(fold=1)

    def __str__(self) -> str:
        return "/".join(dict.fromkeys(time.tzname))


def zone_of_this_pc(environment: Mapping[str, str] = os.environ, localtime: Path = _LOCALTIME) -> tzinfo:
    """By its name wherever that can be found out, as the system itself looks for it: TZ, then the link."""
    chosen = environment.get("TZ")
    if chosen is not None:
        name = chosen.removeprefix(":")
    else:
        name = os.fspath(localtime.readlink()) if localtime.is_symlink() else ""
    return _named(name.rpartition(_DATABASE)[2]) or OfTheSystem()


def named(name: str) -> ZoneInfo:
    """The zone of this name; raise Invalid if there is none."""
    if (found := _named(name)) is None:
        raise Invalid(f"expected a time zone such as Europe/Berlin, got {name[:60]!r}")
    return found


def _named(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # not there, no name at all, a folder of the database
        return None


def _idle_limit_ms(environment: Mapping[str, str]) -> int:
    said = environment.get(IDLE_LIMIT, "").strip()
    if not said:
        return IDLE_LIMIT_MS
    if not (said.isascii() and said.isdecimal() and len(said) < 9) or not 0 < int(said) <= MOST_IDLE_S:
        raise Invalid(f"{IDLE_LIMIT}: expected whole seconds from 1 to {MOST_IDLE_S}, got {said[:40]!r}")
    return int(said) * SECOND_MS
