"""One project over a range of days: its numbers, the viewer's part of them, and how they moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flask import request
from flask.typing import ResponseReturnValue

from devflow import access, activity, retention, windows
from devflow.access import Action
from devflow.accounts import people
from devflow.activity import Numbers, Period, ProjectActivity
from devflow.models import Project
from devflow.web import charts, guard, htmx
from devflow.web.charts import Chart, Point
from devflow.web.current import calendar, context, now, session
from devflow.web.i18n import gettext
from devflow.web.pages import bp, labels, ranges
from devflow.web.session import viewer


@dataclass(frozen=True, slots=True)
class Charts:
    commits: Chart
    lines: Chart
    files: Chart
    active: Chart


@bp.get("/projects/<uuid:project_id>")
@guard.needs(Action.VIEW_PROJECT)
def project(project: Project) -> ResponseReturnValue:
    zone = calendar().zone
    today = windows.day_of(now(), zone)
    chosen = ranges.parse(request.args, today)
    shown = activity.project(session(), project, viewer(), chosen.first, chosen.last, zone)
    # The period that is not over yet ends, as far as anybody knows, today.
    last = min(shown.last, max(today, chosen.last))
    return htmx.render(
        "project/page.html",
        retarget="main" if _is_there(shown) and htmx.target() == "fresh" else None,
        project=project,
        email=people.shown_email(context().vault, viewer()) or gettext("YOUR-ADDRESS"),
        chosen=chosen,
        shown=shown,
        last=last,
        latest=ranges.up_to(shown.last_day),
        is_widened=chosen.first is not None and (shown.first, last) != (chosen.first, chosen.last),
        may_send=access.may_on(session(), viewer(), Action.SEND_EVENTS, project),
        charts=_charts(shown.periods),
        public_url=context().settings.public_url,
        taken_from=retention.taken_from(session(), now()),
        may_keep_longer=access.may(viewer(), Action.MANAGE_RETENTION),
    )


def _is_there(shown: ProjectActivity) -> bool:
    """Whether there is something to show, all of it counted: what the page waits for by itself."""
    return shown.is_fresh and shown.first_day is not None


def _charts(periods: Sequence[Period]) -> Charts:
    names = labels.axis([(period.first, period.last) for period in periods])

    def draw(point: Callable[[Period, Numbers, Numbers], Point], step_of: Callable[[int], int]) -> Chart:
        points = [point(period, period.numbers, period.own) for period in periods]
        return charts.chart(points, names, step_of)

    return Charts(
        commits=draw(
            lambda p, all_, own: Point(labels.commits(p.first, p.last, all_, own), all_.commits, own.commits),
            charts.counts,
        ),
        lines=draw(
            lambda p, all_, own: Point(
                labels.lines(p.first, p.last, all_, own),
                all_.insertions,
                own.insertions,
                all_.deletions,
                own.deletions,
            ),
            charts.counts,
        ),
        files=draw(
            lambda p, all_, own: Point(
                labels.files(p.first, p.last, all_, own), all_.files_changed, own.files_changed
            ),
            charts.counts,
        ),
        active=draw(
            lambda p, all_, own: Point(
                labels.active(p.first, p.last, all_, own), all_.active_s, own.active_s or 0
            ),
            charts.times,
        ),
    )
