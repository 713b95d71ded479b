"""One person's days, as far as the one who looks may see them; whose they are is told who looked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from flask import Response, request, url_for
from flask.typing import ResponseReturnValue

from devflow import activity, receipts, windows
from devflow.access import Action
from devflow.activity import PersonActivity
from devflow.models import Person
from devflow.web import charts, guard, htmx
from devflow.web.charts import Chart, Point
from devflow.web.current import calendar, now, session
from devflow.web.pages import bp, labels, ranges
from devflow.web.session import viewer


@dataclass(frozen=True, slots=True)
class Charts:
    commits: Chart
    active: Chart


@dataclass(frozen=True, slots=True)
class Look:
    """What ``viewer`` gets to see of ``subject`` in the chosen range, up to the day ``last``."""

    subject: Person
    viewer: Person
    chosen: ranges.Range
    shown: PersonActivity
    last: date


@bp.get("/people/<uuid:person_id>")
@guard.needs(Action.VIEW_PERSON)
def person(person: Person) -> ResponseReturnValue:
    look = look_at(person, viewer())
    if person.id != viewer().id:
        _leave_receipt(look)
    return show(look, url_for("pages.person", person_id=person.public_id))


def look_at(subject: Person, viewer: Person) -> Look:
    """Read what the viewer is to be shown in the range that the address names."""
    zone = calendar().zone
    today = windows.day_of(now(), zone)
    chosen = ranges.parse(request.args, today)
    shown = activity.person(session(), subject, viewer, chosen.first, chosen.last, zone)
    # The period that is not over yet ends, as far as anybody knows, today.
    return Look(subject, viewer, chosen, shown, last=min(shown.last, max(today, chosen.last)))


def _leave_receipt(look: Look) -> None:
    """Nothing is shown before this is committed, be it a page, a fragment or only its head."""
    guard.act(
        lambda writing, by: receipts.note_view(
            writing,
            by,
            writing.get_one(Person, look.subject.id),
            look.shown.first,
            look.last,
            page="person",
        )
    )


def show(look: Look, here: str, *, is_preview: bool = False) -> Response:
    """The page at the address ``here``; a preview is shown to the subject, through the viewer's eyes."""
    shown, chosen = look.shown, look.chosen
    is_own = look.subject.id == look.viewer.id
    return htmx.render(
        "person/page.html",
        retarget="main" if shown.is_fresh and htmx.target() == "fresh" else None,
        subject=look.subject,
        viewer=look.viewer,
        is_own=is_own,
        is_preview=is_preview,
        here=here,
        chosen=chosen,
        shown=shown,
        last=look.last,
        is_widened=chosen.first is not None and (shown.first, look.last) != (chosen.first, chosen.last),
        latest=ranges.up_to(shown.last_day),
        charts=_charts(shown),
    )


def _charts(shown: PersonActivity) -> Charts:
    names = labels.axis([(period.first, period.last) for period in shown.periods])
    commits = [
        Point(labels.commits(each.first, each.last, each.numbers), each.numbers.commits)
        for each in shown.periods
    ]
    active = [
        Point(labels.active(each.first, each.last, each.numbers), each.numbers.active_s)
        for each in shown.periods
    ]
    return Charts(
        commits=charts.chart(commits, names, charts.counts), active=charts.chart(active, names, charts.times)
    )
