"""Questions about the developer's numbers, from what people and models write."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from devflow import windows, wire
from devflow.errors import Invalid
from devflow.windows import Grain
from devflow_agent import downloaded
from devflow_agent.analyse.activity import Question
from devflow_agent.config import iso
from devflow_agent.local_calendar import Calendar
from devflow_agent.settings import Settings
from devflow_agent.store import Project, Store

USUAL: Final = {Grain.HOUR: 24, Grain.DAY: 7, Grain.WEEK: 8, Grain.MONTH: 12}
"""How many windows, with the one under way, if no start is asked for."""
MOST_DAYS: Final = {Grain.HOUR: 92, Grain.DAY: 3_660, Grain.WEEK: 36_525, Grain.MONTH: 36_525}
"""Of one question, as on the server."""


def question(
    store: Store,
    calendar: Calendar,
    now_ms: int,
    *,
    by: Grain = Grain.DAY,
    since: str | None = None,
    until: str | None = None,
    project_id: UUID | None = None,
    all_devices: bool = False,
) -> Question:
    """Of whole windows, up to the one under way at most.

    ``since`` and ``until`` (excluded) are ISO 8601. Raise Invalid for what is no time, for a range that
    holds nothing yet, or for more days than are told at once.
    """
    under_way = windows.window(by, now_ms, calendar.zone).end_ms
    until_ms = under_way if until is None else min(moment(until, "until", calendar), under_way)
    since_ms = _usual_start(by, until_ms, calendar) if since is None else moment(since, "since", calendar)
    if since_ms >= until_ms:
        raise Invalid(f"expected since before until and not in the future, got {iso(since_ms)}")
    since_ms = windows.window(by, since_ms, calendar.zone).start_ms
    until_ms = windows.window(by, until_ms - 1, calendar.zone).end_ms
    if (days := (until_ms - since_ms) // wire.DAY_MS) > MOST_DAYS[by]:
        raise Invalid(f"expected at most {MOST_DAYS[by]} days by {by}, got {days}: ask for a shorter range")
    if all_devices and downloaded.cursor(store) is None:
        raise Invalid("expected events of your other PCs, none were fetched yet: run `devflow sync download`")
    authors = Settings.load(store).author_keys
    return Question(by, since_ms, until_ms, calendar, authors, project_id, all_devices)


def moment(text: str, name: str, calendar: Calendar) -> int:
    """Unix milliseconds of an ISO 8601 date or date-time, of the calendar's zone unless it names one."""
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=calendar.zone)
        milliseconds = round(found.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        milliseconds = -1
    if not 0 <= milliseconds <= wire.MAX_TIMESTAMP_MS:
        raise Invalid(
            f"{name}: expected an ISO 8601 date or date-time such as 2026-11-23 or"
            f" 2026-11-23T09:00:00+01:00, got {text[:100]!r}"
        )
    return milliseconds


def named(projects: Sequence[Project], wanted: str) -> Project:
    """By name or id; raise Invalid, with those there are, if it is none or several."""
    found = [one for one in projects if wanted in (str(one.id), one.name)]
    if len(found) == 1:
        return found[0]
    choices = "; ".join(f"{one.id} ({one.name})" for one in projects) or "none: no project is registered"
    raise Invalid(f"expected project to be one of {choices}; got {wanted[:200]}")


def _usual_start(by: Grain, until_ms: int, calendar: Calendar) -> int:
    start = windows.window(by, max(until_ms - 1, 0), calendar.zone).start_ms
    for _ in range(USUAL[by] - 1):
        start = windows.window(by, max(start - 1, 0), calendar.zone).start_ms
    return start
