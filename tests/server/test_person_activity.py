"""What is shown of a person: a plain recount, and nothing from where the viewer may not look."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import delete, select

from devflow import access, activity, rollups
from devflow.access import Action
from devflow.activity import Numbers, PersonActivity, Step
from devflow.ingest.rows import DATA
from devflow.models import Event, Person, Project, ProjectMember, Role, Team
from tests.build import DAY_MS, MINUTE_MS, NOW_MS, Member, World, commit, merge, saved

TODAY = date(2026, 11, 19)


@dataclass
class Cast:
    """Sue works in three projects; Lea leads her team and is in two of them, Out is in none."""

    sue: Member
    lea: Member
    out: Member
    projects: dict[str, Project]


@pytest.fixture
def cast(world: World) -> Cast:
    sue, lea, out = world.person("Sue"), world.person("Lea"), world.person("Out")
    world.team("red", {sue: Role.DEVELOPER, lea: Role.LEAD})
    projects = {
        "atlas": world.project("atlas", sue, lea),
        "billing": world.project("billing", sue, lea),
        "secret": world.project("secret", sue),
    }
    return Cast(sue, lea, out, projects)


def work(world: World, cast: Cast, days: int = 30) -> None:
    """Sue goes from one project to the next every four minutes, some commits among it; Lea works, too."""
    for number, project in enumerate(cast.projects.values()):
        deeds = [
            (
                NOW_MS - day * DAY_MS + (12 * step + 4 * number) * MINUTE_MS,
                (
                    commit(cast.sue.author, f"{day % 5}.py", insertions=day + 1, deletions=-step)
                    if step % 2
                    else saved(f"{step}.py")
                ),
            )
            for day in range(0, days, number + 1)
            for step in range(-4, 1)
        ]
        world.report(cast.sue, project, *deeds, (NOW_MS - 2 * DAY_MS, merge(cast.sue.author)))
    world.report(cast.lea, cast.projects["atlas"], (NOW_MS, commit(cast.lea.author, "lea.py")))
    world.refresh()


def seen(
    world: World, subject: Member, viewer: Member, first: date | None, last: date = TODAY
) -> PersonActivity:
    with world.reading() as session:
        people = session.get_one(Person, subject.id), session.get_one(Person, viewer.id)
        return activity.person(session, *people, first, last, world.calendar.zone)


@dataclass
class Plain:
    """Numbers as anybody would count them from the events."""

    events: int = 0
    commits: int = 0
    insertions: int = 0
    deletions: int = 0
    active_ms: int = 0
    files: set[int] = field(default_factory=set)

    def numbers(self) -> Numbers:
        return Numbers(
            self.events,
            self.commits,
            self.insertions,
            self.deletions,
            len(self.files),
            self.active_ms // 1_000,
        )


def recounted(
    world: World,
    person: Member,
    projects: Collection[Project],
    first: date,
    last: date,
    stored: Sequence[Event] | None = None,
) -> Numbers:
    """The person's work of these days in these projects, an event and a gap at a time."""
    plain, ids = Plain(), {project.id for project in projects}
    low, high = (
        int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1_000)
        for day in (first, last + timedelta(days=1))
    )
    events, limit_ms = events_of(world, person) if stored is None else stored, world.calendar.idle_limit_ms
    for event in events:
        if event.project_id in ids and low <= event.timestamp < high:
            plain.events += 1
            plain.commits += b'"parents":' in world.vault.open(DATA, event.event_id, event.data)
            plain.insertions += event.insertions
            plain.deletions += event.deletions
            plain.files |= set(rollups.unpack_files(event.files))
    for earlier, later in pairwise(events):
        if earlier.project_id in ids and later.timestamp - earlier.timestamp <= limit_ms:
            plain.active_ms += max(0, min(later.timestamp, high) - max(earlier.timestamp, low))
    return plain.numbers()


def events_of(world: World, person: Member) -> Sequence[Event]:
    """What is stored of the person, in order."""
    own = select(Event).where(Event.person_id == person.id).order_by(Event.timestamp, Event.event_id)
    with world.reading() as session:
        return session.scalars(own).all()


@pytest.mark.parametrize(
    ("first", "step"),
    [
        (date(2026, 11, 1), Step.DAY),
        (date(2026, 5, 1), Step.WEEK),
        (date(2020, 1, 15), Step.MONTH),
        (date(2000, 1, 1), Step.QUARTER),
    ],
)
def test_ones_own_numbers_are_a_plain_recount(world: World, cast: Cast, first: date, step: Step) -> None:
    work(world, cast)
    own = seen(world, cast.sue, cast.sue, first)
    everywhere, stored = cast.projects.values(), events_of(world, cast.sue)
    assert own.step == step
    assert own.total == recounted(world, cast.sue, everywhere, own.first, own.last)
    assert own.total.active_s
    for period in own.periods:
        assert period.numbers == recounted(world, cast.sue, everywhere, period.first, period.last, stored)
    assert {part.project.name: part.numbers for part in own.projects} == {
        name: recounted(world, cast.sue, [project], own.first, own.last)
        for name, project in cast.projects.items()
    }


def test_what_lies_in_a_project_the_viewer_may_not_see_is_in_no_number_and_no_name(
    world: World, cast: Cast
) -> None:
    work(world, cast)
    shared = [cast.projects["atlas"], cast.projects["billing"]]
    shown = seen(world, cast.sue, cast.lea, date(2026, 10, 1))
    assert [part.project.name for part in shown.projects] == ["atlas", "billing"]
    assert shown.total == recounted(world, cast.sue, shared, shown.first, shown.last)
    for period in shown.periods:
        assert period.numbers == recounted(world, cast.sue, shared, period.first, period.last)
    own = seen(world, cast.sue, cast.sue, date(2026, 10, 1))
    assert shown.total.events < own.total.events
    assert shown.total.active_s is not None
    assert own.total.active_s is not None
    assert shown.total.active_s < own.total.active_s


def test_who_shares_no_project_is_shown_nothing(world: World, cast: Cast) -> None:
    work(world, cast)
    nothing = seen(world, cast.sue, cast.out, None)
    assert (nothing.projects, nothing.first_day, nothing.last_day) == ([], None, None)
    assert nothing.total.is_empty


def test_the_reach_of_the_history_tells_nothing_of_a_hidden_project(world: World, cast: Cast) -> None:
    old = NOW_MS - 400 * DAY_MS
    world.report(cast.sue, cast.projects["secret"], (old, saved()), (NOW_MS, saved()))
    world.report(cast.sue, cast.projects["atlas"], (NOW_MS - 3 * DAY_MS, saved()))
    world.refresh()
    shown = seen(world, cast.sue, cast.lea, None)
    assert shown.first_day == shown.last_day == shown.first == TODAY - timedelta(days=3)
    assert seen(world, cast.sue, cast.sue, None).first_day == TODAY - timedelta(days=400)


def test_the_own_work_stays_ones_own_when_the_membership_ends(world: World, cast: Cast) -> None:
    work(world, cast)
    with world.database.writing() as session:
        session.execute(delete(ProjectMember).filter_by(project_id=cast.projects["secret"].id))
    own = seen(world, cast.sue, cast.sue, date(2026, 10, 1))
    assert {part.project.name: part.may_open for part in own.projects} == {
        "atlas": True,
        "billing": True,
        "secret": False,
    }


def test_an_admin_without_a_team_gets_totals_of_projects_and_nobodys_days(world: World, cast: Cast) -> None:
    ada = world.person("Ada", Role.ADMIN)
    with world.reading() as session:
        admin, sue = session.get_one(Person, ada.id), session.get_one(Person, cast.sue.id)
        assert not access.may_on(session, admin, Action.VIEW_PERSON, sue)
        assert access.may_on(session, admin, Action.VIEW_PROJECT, cast.projects["secret"])


def test_three_statements_however_many_projects_and_days(
    world: World, cast: Cast, statements: list[str]
) -> None:
    zone = world.calendar.zone

    def sent(first: date | None) -> int:
        with world.database.writing() as session:
            sue, lea = session.get_one(Person, cast.sue.id), session.get_one(Person, cast.lea.id)
            before = len(statements)
            activity.person(session, sue, lea, first, TODAY, zone)
            return len(statements) - before

    assert sent(TODAY) == 3
    work(world, cast, 150)
    for number in range(8):
        world.report(cast.sue, world.project(f"more {number}", cast.sue, cast.lea), (NOW_MS, saved()))
    world.refresh()
    assert sent(None) == 3


def test_only_what_is_shown_and_not_counted_yet_makes_the_numbers_stale(world: World, cast: Cast) -> None:
    work(world, cast)
    assert seen(world, cast.sue, cast.lea, TODAY).is_fresh
    world.report(cast.lea, cast.projects["atlas"], (NOW_MS - 60 * DAY_MS, saved()))
    assert seen(world, cast.sue, cast.lea, TODAY).is_fresh
    assert not seen(world, cast.lea, cast.lea, TODAY).is_fresh
    world.refresh()
    # On a day without other work: beside that it would move time from one project to the next.
    world.report(cast.sue, cast.projects["secret"], (NOW_MS - 90 * DAY_MS, saved()))
    assert seen(world, cast.sue, cast.lea, TODAY).is_fresh
    assert not seen(world, cast.sue, cast.sue, TODAY).is_fresh
    world.report(cast.sue, cast.projects["billing"], (NOW_MS, saved()))
    assert not seen(world, cast.sue, cast.lea, TODAY).is_fresh


# Who may look at all


def test_watchers_are_exactly_those_who_may_see_the_person(world: World, cast: Cast) -> None:
    boss, blue, gone = world.person("Boss", Role.MANAGER), world.person("Blue"), world.person("Gone")
    world.person("Ada", Role.ADMIN)
    world.team("blue", {cast.sue: Role.DEVELOPER, blue: Role.LEAD, boss: Role.MANAGER, gone: Role.LEAD})
    world.team("green", {cast.out: Role.LEAD, cast.lea: Role.DEVELOPER})
    world.team("old", {cast.lea: Role.MANAGER, cast.sue: Role.LEAD})
    with world.database.writing() as session:
        session.get_one(Person, gone.id).deactivated_at = NOW_MS
    with world.reading() as session:
        people = session.scalars(select(Person).where(Person.deactivated_at.is_(None))).all()
        for subject in people:
            assert {person.id for person, _ in session.execute(access.watchers(subject))} == {
                person.id
                for person in people
                if person.id != subject.id and access.may_on(session, person, Action.VIEW_PERSON, subject)
            }
        sue = session.get_one(Person, cast.sue.id)
        assert [(person.name, team.name) for person, team in session.execute(access.watchers(sue))] == [
            ("Blue", "blue"),
            ("Boss", "blue"),
            ("Lea", "old"),
            ("Lea", "red"),
        ]


@pytest.mark.parametrize("role", access.MEMBER_ROLES)
def test_what_a_role_is_said_to_allow_is_what_it_allows(world: World, role: Role) -> None:
    one, other = world.person("One"), world.person("Other")
    team = world.team("team", {one: role, other: Role.DEVELOPER})
    project = world.project("project", one)
    with world.database.writing() as session:
        session.query(ProjectMember).filter_by(person_id=one.id).update({"role": role})
    with world.reading() as session:
        person, under = session.get_one(Person, one.id), session.get_one(Person, other.id)
        things: dict[str, Team | Project | Person] = {"team": team, "project": project, "person": under}
        for action in Action:
            if action.scope in things:
                kind: type[Team] | type[Project] = Project if action.scope == "project" else Team
                assert (action in access.allowed(role, kind)) == access.may_on(
                    session, person, action, things[action.scope]
                )


@pytest.mark.parametrize("role", access.WORKSPACE_ROLES)
def test_what_a_role_in_the_workspace_is_said_to_allow_is_what_it_allows(world: World, role: Role) -> None:
    with world.reading() as session:
        member = world.person("One", role)
        team, project = world.team("team", {}), world.project("project")
        person = session.get_one(Person, member.id)
        for action in access.allowed(role, None):
            if action.scope in ("team", "project"):
                thing: Team | Project = team if action.scope == "team" else project
                assert access.may_on(session, person, action, thing)
        for action in Action:
            if action.scope in ("own", "workspace"):
                assert (action in access.allowed(role, None)) == access.may(person, action)
