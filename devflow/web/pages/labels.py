"""What stands beside the bars of a chart, in the reader's language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from devflow.activity import Numbers
from devflow.web import i18n
from devflow.web.charts import Named
from devflow.web.i18n import gettext, ngettext

LONG_DAYS: Final = 180
"""From so many days on, labels name months instead of days."""


def axis(spans: Sequence[tuple[date, date]]) -> list[Named]:
    """The first and the last period by date, and between them each one that begins a month."""
    is_long = (spans[-1][1] - spans[0][0]).days >= LONG_DAYS
    text = i18n.month if is_long else i18n.month_day
    last = len(spans) - 1
    months = {first.replace(day=1) for first, _ in spans[:1]}
    names = []
    for index, (first, _) in enumerate(spans):
        begins = first.replace(day=1) not in months
        months.add(first.replace(day=1))
        if index in (0, last) or begins:
            names.append(Named(index, text(first)))
    return names


def when(first: date, last: date) -> str:
    if first == last:
        return i18n.weekday(first)
    return gettext("%(first)s to %(last)s", first=i18n.day(first), last=i18n.day(last))


@dataclass(frozen=True, slots=True)
class Part:
    """What of a period is somebody's, and whose that is, in words."""

    numbers: Numbers
    whose: str


def commits(first: date, last: date, numbers: Numbers, part: Part | None = None) -> str:
    shown = i18n.number(numbers.commits)
    text = ngettext("%(n)s commit", "%(n)s commits", numbers.commits, n=shown)
    return _label(first, last, text, part, lambda own: i18n.number(own.commits))


def files(first: date, last: date, numbers: Numbers, part: Part | None = None) -> str:
    shown = i18n.number(numbers.files_changed)
    text = ngettext("%(n)s file changed", "%(n)s files changed", numbers.files_changed, n=shown)
    return _label(first, last, text, part, lambda own: i18n.number(own.files_changed))


def lines(first: date, last: date, numbers: Numbers, part: Part | None = None) -> str:
    return _label(first, last, _lines(numbers), part, _lines)


def _lines(numbers: Numbers) -> str:
    up, down = i18n.number(numbers.insertions), i18n.number(numbers.deletions)
    return gettext("%(up)s lines inserted, %(down)s deleted", up=up, down=down)


def active(first: date, last: date, numbers: Numbers, part: Part | None = None) -> str:
    if numbers.active_s is None:
        return _label(first, last, gettext("active time not known"))
    text = gettext("%(time)s active", time=i18n.duration(numbers.active_s))
    return _label(first, last, text, part, lambda own: i18n.duration(own.active_s or 0))


def hour(weekday: int, hour: int, seconds: int) -> str:
    return gettext(
        "%(day)s, %(from)s to %(to)s: %(time)s active",
        **{
            "day": i18n.weekday_name(weekday),
            "from": f"{hour:02}:00",
            "to": f"{hour + 1:02}:00",
            "time": i18n.duration(seconds),
        },
    )


def untold(first: date, last: date) -> str:
    return _label(first, last, gettext("not told: fewer than three people"))


def _label(
    first: date,
    last: date,
    text: str,
    part: Part | None = None,
    value: Callable[[Numbers], str] = lambda _: "",
) -> str:
    label = f"{when(first, last)}: {text}"
    if part is None:
        return label
    own = value(part.numbers)
    return gettext("%(label)s (%(whose)s: %(own)s)", label=label, whose=part.whose, own=own)
