"""The span of days a page shows, read from its address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from devflow.errors import Invalid

PRESETS: Final = {"30d": 30, "90d": 90, "1y": 365}
"""Days of the ranges that end today; beside them there is ``all``."""
ALL: Final = "all"
DEFAULT: Final = "30d"
EARLIEST: Final = date(1970, 1, 1)
LATEST: Final = date(9998, 12, 31)
MAX_YEARS: Final = 100
_ISO: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Range:
    """``first`` to ``last``, both shown; without ``first`` from the beginning. ``name`` is the preset's."""

    name: str | None
    first: date | None
    last: date


def parse(query: Mapping[str, str], today: date) -> Range:
    """Raise Invalid naming what was expected and what came."""
    if "from" in query or "to" in query:
        return _between(query)
    name = query.get("range", DEFAULT)
    if name == ALL:
        return Range(ALL, None, today)
    if name not in PRESETS:
        raise Invalid(f"expected range={', '.join(PRESETS)} or {ALL}, got {name[:40]!r}")
    return Range(name, today - timedelta(days=PRESETS[name] - 1), today)


def up_to(last_day: date | None) -> Range | None:
    """The days of the default range that end with the last activity, None while there is none."""
    if last_day is None:
        return None
    first = last_day - timedelta(days=PRESETS[DEFAULT] - 1)
    return Range(None, max(first, EARLIEST), last_day)


def _between(query: Mapping[str, str]) -> Range:
    if "range" in query:
        raise Invalid("expected either range, or from and to, got both")
    first, last = day(query, "from"), day(query, "to")
    if first > last:
        raise Invalid(
            "expected from to be no later than to, got %(first)s and %(last)s", first=first, last=last
        )
    if last.year - first.year > MAX_YEARS:
        raise Invalid(
            "expected at most %(most)s years, got %(first)s to %(last)s",
            most=MAX_YEARS,
            first=first,
            last=last,
        )
    return Range(None, first, last)


def day(query: Mapping[str, str], name: str) -> date:
    """The date in the address; raise Invalid for none, or one that no page shows."""
    given = query.get(name, "")
    try:
        found = date.fromisoformat(given) if _ISO.fullmatch(given) else None
    except ValueError:
        found = None
    if found is None or not EARLIEST <= found <= LATEST:
        raise Invalid(
            f"expected {name} as a date such as 2026-01-31, from {EARLIEST.year} on, got {given[:40]!r}"
        )
    return found
