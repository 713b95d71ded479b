"""What may be shown to everybody who may see a project, whoever they are (decision 0015).

A view that many look at knows none of them, so it cannot leave out the viewer's own work as the REST answers
do: what would tell of one person beside them is left out unless at least ``FEWEST`` people had a part.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final

from devflow.errors import Invalid
from devflow.rollups import NOBODY

FEWEST: Final = 3
"""Known people, of whom each sees two others: whose it is they cannot tell."""
MOST_DAYS: Final = 366
"""Of one question about slices of days."""
MOST_DAYS_BY_HOUR: Final = 92


def are_too_few(people: Iterable[int]) -> bool:
    """Whether a viewer could learn what one other person did; what nobody known did is nobody's secret."""
    return is_too_few(len(set(people) - {NOBODY}))


def is_too_few(people: int) -> bool:
    """The same of how many people known here there are."""
    return 0 < people < FEWEST


def check_days(first: date, last: date) -> None:
    """Raise Invalid for more days than slices are told of at once."""
    days = (last - first).days + 1
    if days > MOST_DAYS:
        raise Invalid(f"expected at most {MOST_DAYS} days with type, got {days}: choose a shorter range")
