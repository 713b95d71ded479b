"""The geometry of charts: numbers in, places and sizes out; templates draw them as SVG.

Across, places are in percent, so that a chart fills the room it has and its text keeps its
size; down, they are in units of the style sheet's pixel.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

HEIGHT: Final = 168
HEADROOM: Final = 10
"""Above the highest grid line, so that its label is not cut."""
MAX_LINES: Final = 4
SPARK_WIDTH: Final = 120
SPARK_HEIGHT: Final = 28
MIN_BAR: Final = 1.5
"""The least height of what is not zero: one commit beside a thousand is still one commit."""
MAX_BAR_PCT: Final = 5.0
"""The widest bar: a day alone on its chart is no wall."""
HEAT_LEVELS: Final = 5
HEAT_ROW: Final = 22
HEAT_GAP: Final = 2
HEAT_GAP_PCT: Final = 0.25
ROOMY_PCT: Final = 15.0
"""Labels closer than this touch on a wide page, twice as close on a phone."""


class Point(NamedTuple):
    """One period of a chart: what goes up and what goes down from the base line, and the own part of each.

    ``up`` is None where the number is not known.
    """

    label: str
    up: int | None
    own_up: int = 0
    down: int = 0
    own_down: int = 0


class Rect(NamedTuple):
    """One bar; ``kind`` is its CSS class."""

    kind: str
    x: str
    y: float
    width: str
    height: float


class Square(NamedTuple):
    """One value of a heat map that is not 0; ``level`` is 1 to ``HEAT_LEVELS``."""

    label: str
    x: str
    y: int
    level: int


@dataclass(frozen=True, slots=True)
class Heat:
    """Rows of squares, and where each row is; heights are in units of the style sheet's pixel."""

    height: int
    square_width: str
    square_height: int
    rows: list[int]
    squares: list[Square]


class Slot(NamedTuple):
    """The whole height of one period: where its text shows when pointed at."""

    label: str
    x: str
    width: str
    is_known: bool
    rects: list[Rect]


@dataclass(frozen=True, slots=True)
class Line:
    """A grid line and the number it stands for."""

    y: float
    value: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A text below the axis; one that is not ``is_major`` gives way where there is little room."""

    x: str
    text: str
    anchor: str
    is_major: bool


@dataclass(frozen=True, slots=True)
class Chart:
    height: int
    base_y: float
    middle: str
    lines: list[Line]
    slots: list[Slot]
    marks: list[Mark]


@dataclass(frozen=True, slots=True)
class Named:
    """A period that deserves a label: its place in the row of points, and the text."""

    index: int
    text: str


def chart(points: Sequence[Point], names: Sequence[Named], step_of: Callable[[int], int]) -> Chart:
    """A bar for every point. ``names`` are in order; ``step_of`` is ``counts`` or ``times``."""
    top = max((point.up or 0 for point in points), default=0)
    bottom = max((point.down for point in points), default=0)
    step = step_of(top + bottom)
    lines_up, lines_down = max(_ceil(top, step), 1), _ceil(bottom, step)
    unit = (HEIGHT - HEADROOM) / (lines_up + lines_down)
    base_y = HEADROOM + unit * lines_up
    return Chart(
        height=HEIGHT,
        base_y=_round(base_y),
        middle=_pct(50),
        lines=[Line(_round(base_y - unit * n), abs(n) * step) for n in range(-lines_down, lines_up + 1)],
        slots=list(_slots(points, base_y, unit / step)),
        marks=_marks(names, len(points)),
    )


def spark(values: Sequence[int]) -> list[Rect]:
    """Bars of a small chart without axes, ``SPARK_WIDTH`` by ``SPARK_HEIGHT``."""
    top = max([*values, 1])
    slot = SPARK_WIDTH / len(values)
    heights = [max(value / top * SPARK_HEIGHT, MIN_BAR) if value else 0 for value in values]
    return [
        Rect("up", _number(slot * index), _round(SPARK_HEIGHT - height), _number(slot * 0.7), _round(height))
        for index, height in enumerate(heights)
        if height
    ]


def heat(rows: Sequence[Sequence[int]], said: Callable[[int, int], str]) -> Heat:
    """A square for every value but 0, all rows equally long: the deeper, the nearer to the largest of all.

    ``said`` gives the text for a row and a column.
    """
    top = max([1, *(value for row in rows for value in row)])
    width = 100 / len(rows[0])
    return Heat(
        height=HEAT_ROW * len(rows),
        square_width=_pct(width - HEAT_GAP_PCT),
        square_height=HEAT_ROW - HEAT_GAP,
        rows=[HEAT_ROW * row for row in range(len(rows))],
        squares=[
            Square(
                said(row, column),
                _pct(width * column + HEAT_GAP_PCT / 2),
                HEAT_ROW * row,
                _ceil(value * HEAT_LEVELS, top),
            )
            for row, values in enumerate(rows)
            for column, value in enumerate(values)
            if value
        ],
    )


def counts(top: int) -> int:
    """The step of 1, 2 or 5 times a power of ten that reaches ``top`` in few grid lines."""
    powers: Iterator[int] = (10**power for power in itertools.count())
    steps = (factor * power for power in powers for factor in (1, 2, 5))
    return next(step for step in steps if step * MAX_LINES >= top)


def times(top: int) -> int:
    """The step for seconds: of minutes and hours that a clock's reader finds round."""
    minute, hour = 60, 3_600
    short = (minute, 5 * minute, 15 * minute, 30 * minute, hour, 2 * hour, 3 * hour, 6 * hour, 12 * hour)
    fitting = next((step for step in short if step * MAX_LINES >= top), None)
    return fitting if fitting is not None else counts(_ceil(top, hour)) * hour


def _slots(points: Sequence[Point], base_y: float, scale: float) -> Iterator[Slot]:
    slot = 100 / max(len(points), 1)
    # Few bars stay slim, many stay apart.
    bar = min(slot * (0.5 if len(points) <= 31 else 0.7), MAX_BAR_PCT)
    for index, point in enumerate(points):
        x, width = _pct(slot * index + (slot - bar) / 2), _pct(bar)
        heights = {
            "up": (point.up or 0) * scale,
            "up own": point.own_up * scale,
            "down": point.down * scale,
            "down own": point.own_down * scale,
        }
        rects = [
            Rect(kind, x, _round(base_y if kind.startswith("down") else base_y - tall), width, _round(tall))
            for kind, height in heights.items()
            if height and (tall := max(height, MIN_BAR))
        ]
        yield Slot(point.label, _pct(slot * index), _pct(slot), point.up is not None, rects)


def _marks(names: Sequence[Named], count: int) -> list[Mark]:
    """The first and the last label, and as many evenly spread ones between as there is room for."""
    if not names:
        return []
    slot = 100 / count
    first, *between = names
    if not between:
        return [Mark(_pct(50), first.text, "middle", True)]
    last = between.pop()
    shown = _spread(between, slot, ROOMY_PCT)
    major = _spread(shown, slot, 2 * ROOMY_PCT)
    marks = [Mark(_pct(0), first.text, "start", True)]
    marks += [Mark(_pct(slot * (name.index + 0.5)), name.text, "middle", name in major) for name in shown]
    return [*marks, Mark(_pct(100), last.text, "end", True)]


def _spread(names: Sequence[Named], slot: float, room: float) -> list[Named]:
    """Every name, or every second, or third..., so that all keep ``room`` percent apart.

    From the ends they keep a little more: a label there stands beside its mark, not across it.
    """
    edge = 1.3 * room
    inside = [name for name in names if edge <= slot * name.index <= 100 - edge]
    for stride in range(1, len(inside) + 1):
        found = inside[::stride]
        if all(slot * (right.index - left.index) >= room for left, right in itertools.pairwise(found)):
            return found
    return []


def _ceil(value: int, step: int) -> int:
    return -(-value // step)


def _round(value: float) -> float:
    return round(value, 2)


def _number(value: float) -> str:
    return f"{value:.2f}"


def _pct(value: float) -> str:
    return f"{value:.3f}%"
