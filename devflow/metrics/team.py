"""What a team's members did, by day, and person by person where the viewer may see them.

Of everybody's work only what lies in projects that the viewer may see, as on a person's page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from devflow import access, groups, windows
from devflow.access import Action
from devflow.activity import sums
from devflow.activity.sums import Part
from devflow.groups import Member
from devflow.metrics import numbers, ranges
from devflow.metrics.answers import OTHERS, Freshness, Numbers, TeamActivity
from devflow.metrics.ranges import Range
from devflow.models import Cell, Mark, Person, Project, Team
from devflow.windows import Grain


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose work in which projects the viewer is shown; ``generations`` are by the id of each project."""

    team: Team
    members: Sequence[Member]
    generations: dict[int, int]


def scope(session: Session, viewer: Person, team: Team) -> Scope:
    mine = access.visible(viewer, Action.VIEW_PROJECT, Project).order_by(Project.id)
    rows = session.execute(mine.with_only_columns(Project.id, Project.generation))
    return Scope(team, groups.members(session, viewer, team), {row.id: row.generation for row in rows})


def activity(
    session: Session, found: Scope, days: Range, begun: int, zone: ZoneInfo, *, with_people: bool
) -> TeamActivity:
    """Two statements, however many the days, the members and the projects."""
    projects, span = list(found.generations), days.shown
    marked = numbers.pending(session, Mark.project_id.in_(projects), span)
    parts = sums.read(
        session,
        [(Grain.DAY, span)],
        Cell.person_id.in_([member.person.id for member in found.members]),
        Cell.project_id.in_(projects),
    )
    return TeamActivity(
        team_id=found.team.public_id,
        name=found.team.name,
        timezone=zone.key,
        start=span.start_ms,
        end=span.end_ms,
        freshness=Freshness(is_fresh=not marked, pending_days=len(marked)),
        total=numbers.of(
            parts, "total", window=span, is_pending=bool(marked), is_ahead=span.start_ms >= begun
        ),
        days=_days(parts, days, set(marked), begun, zone),
        people=_people(parts, found.members, is_pending=bool(marked)) if with_people else None,
    )


def _days(parts: Sequence[Part], days: Range, marked: set[int], begun: int, zone: ZoneInfo) -> list[Numbers]:
    by_day: dict[int, list[Part]] = {}
    for part in parts:
        by_day.setdefault(part.start, []).append(part)
    return [
        numbers.of(
            by_day.get(day.start_ms, []),
            windows.label(Grain.DAY, day.start_ms, zone),
            window=day,
            is_pending=day.start_ms in marked,
            is_ahead=day.start_ms >= begun,
        )
        for day in ranges.spans(Grain.DAY, days.first, days.last, zone)
    ]


def _people(parts: Sequence[Part], members: Sequence[Member], *, is_pending: bool) -> list[Numbers]:
    """The members that the viewer may see, by name, and all others as one, if there are any."""
    shown = [
        numbers.of(
            [part for part in parts if part.person_id == member.person.id],
            str(member.person.public_id),
            name=member.person.name,
            is_pending=is_pending,
        )
        for member in members
        if member.may_view
    ]
    hidden = {member.person.id for member in members if not member.may_view}
    if hidden:
        rest = [part for part in parts if part.person_id in hidden]
        shown.append(numbers.of(rest, OTHERS, is_pending=is_pending))
    return shown
