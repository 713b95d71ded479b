"""One team over a range of days: what its members did together, and one by one for who leads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from flask import request
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import access, activity, groups, receipts, windows
from devflow.access import Action
from devflow.activity import Helping, Numbers, TeamActivity, TeamPeriod, TeamProject
from devflow.audit import Actor
from devflow.errors import Invalid
from devflow.groups import Member
from devflow.live import Watched
from devflow.models import Person, Project, Team
from devflow.web import charts, guard, live
from devflow.web.charts import Chart, Point
from devflow.web.current import calendar, context, now, once, session
from devflow.web.pages import bp, filters, labels, ranges
from devflow.web.pages.ranges import Range
from devflow.web.session import viewer
from devflow.web.tables import Order, Table

NOTHING: Final = Numbers(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member whom the viewer may see one by one, and the work of the range."""

    person: Person
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class People:
    """The members as the viewer may see them; ``hidden`` are the others, ``helping`` is for who sees all."""

    rows: list[MemberRow]
    hidden: int
    helping: Helping | None


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose work in which projects, by ids, on which days: all that what is shared follows from."""

    members: tuple[int, ...]
    projects: tuple[int, ...]
    chosen: Range
    today: date

    @property
    def last(self) -> date:
        """The period that is not over yet ends, as far as anybody knows, today."""
        return max(self.today, self.chosen.last)


@dataclass(frozen=True, slots=True)
class Look:
    """What the viewer asks of the team, and of whom; ``everywhere`` are all projects open to the viewer."""

    asked: Asked
    members: Sequence[Member]
    everywhere: Sequence[Project]

    @property
    def seen(self) -> list[Member]:
        return [member for member in self.members if member.may_view]

    @property
    def others(self) -> list[Member]:
        """Those seen who are told of it."""
        return [member for member in self.seen if member.person.id != viewer().id]


@dataclass(frozen=True, slots=True)
class Charts:
    commits: Chart
    lines: Chart
    files: Chart
    active: Chart


PROJECTS: Final = Table[TeamProject](
    "projects",
    {
        "project": lambda row: row.project.name,
        "active_s": lambda row: row.numbers.active_s,
        "commits": lambda row: row.numbers.commits,
        "insertions": lambda row: row.numbers.insertions,
        "deletions": lambda row: row.numbers.deletions,
        "files": lambda row: row.numbers.files_changed,
        "people": lambda row: row.people,
        "last_active": lambda row: row.last_active.isoformat(),
    },
)
PEOPLE: Final = Table[MemberRow](
    "people",
    {
        "person": lambda row: row.person.name,
        "active_s": lambda row: row.numbers.active_s,
        "commits": lambda row: row.numbers.commits,
        "insertions": lambda row: row.numbers.insertions,
        "deletions": lambda row: row.numbers.deletions,
        "files": lambda row: row.numbers.files_changed,
        "events": lambda row: row.numbers.events,
    },
)


@bp.get("/teams/<uuid:team_id>")
@guard.needs(Action.VIEW_TEAM)
def team(team: Team) -> ResponseReturnValue:
    only = filters.project_id(request.args)
    look = _look(team, only)
    team_id, asked, order, people_order = team.id, look.asked, PROJECTS.order(), PEOPLE.order()
    return live.page(
        "team/page.html",
        key=(team.id, team.name, asked.members, asked.projects, str(asked.chosen), str(order)),
        watched=Watched.of(
            [project for project in look.everywhere if project.id in asked.projects], (), now()
        ),
        panels=lambda: _panels(team_id, asked, order),
        exports={
            "projects": lambda: PROJECTS.csv(PROJECTS.sorted(_found(asked).projects, order)),
            "people": lambda: PEOPLE.csv(PEOPLE.sorted(_people(look).rows, people_order)),
        },
        team=team,
        has_members=bool(look.members),
        has_projects=bool(look.everywhere),
        may_manage=access.may_on(session(), viewer(), Action.MANAGE_TEAM, team),
        chosen=asked.chosen,
        first=asked.chosen.first or _found(asked).first,
        filters=[filters.of_projects(look.everywhere, only)],
        people=_people(look) if live.is_whole() and look.others else None,
        people_table=PEOPLE,
        people_order=people_order,
        sort=PEOPLE.sorted,
    )


def _look(team: Team, only: Any) -> Look:
    zone = calendar().zone
    today = windows.day_of(now(), zone)
    mine = access.visible(viewer(), Action.VIEW_PROJECT, Project).order_by(Project.name)
    everywhere = session().scalars(mine).all()
    shown = [project for project in everywhere if only in (None, project.public_id)]
    if only is not None and not shown:
        raise Invalid(f"expected project as one that you may see, got {only}")
    members = groups.members(session(), viewer(), team)
    asked = Asked(
        members=tuple(sorted(member.person.id for member in members)),
        projects=tuple(sorted(project.id for project in shown)),
        chosen=ranges.parse(request.args, today),
        today=today,
    )
    return Look(asked, members, everywhere)


def _found(asked: Asked) -> TeamActivity:
    return once(asked, lambda: _read(asked))


def _read(asked: Asked) -> TeamActivity:
    members = session().scalars(select(Person).where(Person.id.in_(asked.members))).all()
    projects = session().scalars(
        select(Project)
        .where(Project.id.in_(asked.projects), Project.deleted_at.is_(None))
        .order_by(Project.name)
    )
    return activity.team(
        session(),
        members,
        projects.all(),
        asked.chosen.first,
        asked.chosen.last,
        context().cache,
        context().server(calendar()),
    )


def _people(look: Look) -> People:
    """What is told of single members; those are told of it before."""
    asked, found = look.asked, _found(look.asked)
    sees_all = len(look.seen) == len(look.members)
    zone = calendar().zone
    people = [member.person for member in look.members]
    helping = activity.helping(session(), people, look.everywhere, asked.today, zone) if sees_all else None
    shown = [(found.first, min(found.last, asked.last))]
    if helping is not None and not (shown[0][0] <= helping.first and helping.last <= shown[0][1]):
        shown.append((helping.first, helping.last))
    _leave_receipts(look.others, shown)
    return People(
        rows=[MemberRow(member.person, found.people.get(member.person.id, NOTHING)) for member in look.seen],
        hidden=len(look.members) - len(look.seen),
        helping=helping,
    )


def _leave_receipts(others: Sequence[Member], shown: Sequence[tuple[date, date]]) -> None:
    """Nothing of single members is shown before this is committed."""
    subjects = [member.person.public_id for member in others]

    def work(writing: Session, by: Actor) -> None:
        for first, last in shown:
            receipts.note_views(writing, by, subjects, first, last, page="team")

    if subjects:
        guard.act(work)


def _panels(team_id: int, asked: Asked, order: Order) -> live.Draw:
    """What everybody sees alike who may see this team and these projects."""

    def plain() -> Mapping[str, Any]:
        shown = _found(asked)
        last = min(shown.last, asked.last)
        return {
            "shown": shown,
            "last": last,
            "chosen": asked.chosen,
            "is_widened": asked.chosen.first is not None
            and (shown.first, last) != (asked.chosen.first, asked.chosen.last),
            "latest": ranges.up_to(shown.last_day),
        }

    if not (asked.members and asked.projects):
        return {}
    return {
        "heading": lambda: {"team": session().get_one(Team, team_id)},
        "fresh": plain,
        "totals": plain,
        "trend": lambda: {**plain(), "charts": _charts(_found(asked).periods)},
        "load": plain,
        "focus": plain,
        "projects": lambda: {
            **plain(),
            "rows": PROJECTS.sorted(_found(asked).projects, order),
            "table": PROJECTS,
            "order": order,
        },
    }


def _charts(periods: Sequence[TeamPeriod]) -> Charts:
    names = labels.axis([(period.first, period.last) for period in periods])

    def draw(point: Callable[[TeamPeriod, Numbers], Point], step_of: Callable[[int], int]) -> Chart:
        return charts.chart([point(period, period.numbers) for period in periods], names, step_of)

    return Charts(
        commits=draw(lambda p, of: Point(labels.commits(p.first, p.last, of), of.commits), charts.counts),
        lines=draw(
            lambda p, of: Point(labels.lines(p.first, p.last, of), of.insertions, down=of.deletions),
            charts.counts,
        ),
        files=draw(lambda p, of: Point(labels.files(p.first, p.last, of), of.files_changed), charts.counts),
        active=draw(lambda p, of: Point(labels.active(p.first, p.last, of), of.active_s), charts.times),
    )
