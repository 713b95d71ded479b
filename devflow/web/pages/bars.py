"""The four charts of a project's range, with the part of one person drawn apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from devflow.activity import Numbers, Period, ProjectActivity
from devflow.web import charts
from devflow.web.charts import Chart, Point
from devflow.web.pages import labels
from devflow.web.pages.labels import Part

Said = Callable[[Period, Part | None], str]
Amount = Callable[[Numbers], int | None]


@dataclass(frozen=True, slots=True)
class Charts:
    commits: Chart
    lines: Chart
    files: Chart
    active: Chart


def of(shown: ProjectActivity, whose: str | None) -> Charts:
    """``whose`` is whose own part is drawn, in words."""
    names = labels.axis([(period.first, period.last) for period in shown.periods])

    def draw(said: Said, up: Amount, step_of: Callable[[int], int], down: Amount = lambda _: 0) -> Chart:
        points = [_point(period, whose, said, up, down) for period in shown.periods]
        return charts.chart(points, names, step_of)

    return Charts(
        commits=draw(
            lambda p, part: labels.commits(p.first, p.last, p.numbers, part),
            lambda numbers: numbers.commits,
            charts.counts,
        ),
        lines=draw(
            lambda p, part: labels.lines(p.first, p.last, p.numbers, part),
            lambda numbers: numbers.insertions,
            charts.counts,
            lambda numbers: numbers.deletions,
        ),
        files=draw(
            lambda p, part: labels.files(p.first, p.last, p.numbers, part),
            lambda numbers: numbers.files_changed,
            charts.counts,
        ),
        active=draw(
            lambda p, part: labels.active(p.first, p.last, p.numbers, part),
            lambda numbers: numbers.active_s,
            charts.times,
        ),
    )


def _point(period: Period, whose: str | None, said: Said, up: Amount, down: Amount) -> Point:
    if not period.is_told:
        return Point(labels.untold(period.first, period.last), None)
    if whose is None:
        return Point(said(period, None), up(period.numbers), down=down(period.numbers) or 0)
    return Point(
        said(period, Part(period.own, whose)),
        up(period.numbers),
        up(period.own) or 0,
        down(period.numbers) or 0,
        down(period.own) or 0,
    )
