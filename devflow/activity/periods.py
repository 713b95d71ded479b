"""Periods: how a range of days is cut into the bars of a chart, and what fell into each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from enum import StrEnum
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from devflow import windows
from devflow.activity.sums import Part
from devflow.windows import Grain, Window

T = TypeVar("T")
MAX_PERIODS: Final = 130
"""The most bars a chart can show and still be read."""


class Step(StrEnum):
    """The length of one bar, shortest first. Quarters and years are months put together."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


def step_for(first: date, last: date) -> Step:
    """The shortest step that shows the days ``first`` to ``last`` in at most ``MAX_PERIODS``."""
    days = (last - first).days + 1
    if days <= MAX_PERIODS:
        return Step.DAY
    # One more than fit, for a range that begins in the middle of a period.
    fitting = (step for step, shortest in _SHORTEST_DAYS.items() if days // shortest + 2 <= MAX_PERIODS)
    return next(fitting, Step.YEAR)


_SHORTEST_DAYS: Final = {Step.WEEK: 7, Step.MONTH: 28, Step.QUARTER: 90}
GRAIN: Final = {
    Step.DAY: Grain.DAY,
    Step.WEEK: Grain.WEEK,
    Step.MONTH: Grain.MONTH,
    Step.QUARTER: Grain.MONTH,
    Step.YEAR: Grain.MONTH,
}
_MONTHS: Final = {Step.MONTH: 1, Step.QUARTER: 3, Step.YEAR: 12}


def spans_of(step: Step, first: date, last: date) -> list[tuple[date, date]]:
    """The whole periods that hold the days, each as its first and last day."""
    starts = [_period_start(step, first)]
    while (following := _next_start(step, starts[-1])) <= last:
        starts.append(following)
    return [(start, _next_start(step, start) - timedelta(days=1)) for start in starts]


def _period_start(step: Step, day: date) -> date:
    match step:
        case Step.DAY:
            return day
        case Step.WEEK:
            return day - timedelta(days=day.weekday())
        case Step.MONTH | Step.QUARTER | Step.YEAR:
            return day.replace(month=(day.month - 1) // _MONTHS[step] * _MONTHS[step] + 1, day=1)


def _next_start(step: Step, start: date) -> date:
    match step:
        case Step.DAY:
            return start + timedelta(days=1)
        case Step.WEEK:
            return start + timedelta(days=7)
        case Step.MONTH | Step.QUARTER | Step.YEAR:
            months = start.month - 1 + _MONTHS[step]
            return start.replace(year=start.year + months // 12, month=months % 12 + 1)


def by_span(
    cells: Iterable[Part],
    spans: Sequence[tuple[date, date]],
    zone: ZoneInfo,
    unite: Callable[[list[Part]], T],
) -> list[T]:
    """What ``unite`` makes of the cells of each span; they lie in them all together, and none in two."""
    starts = [windows.day_window(first, zone).start_ms for first, _ in spans]
    parts: list[list[Part]] = [[] for _ in spans]
    for cell in cells:
        parts[bisect_right(starts, cell.start) - 1].append(cell)
    return [unite(each) for each in parts]


def window_of(days: Sequence[date], zone: ZoneInfo) -> Window:
    first, last = windows.day_window(days[0], zone), windows.day_window(days[-1], zone)
    return Window(first.start_ms, last.end_ms)
