"""What is shown of a team and of people's days: a plain recount, and nothing where there is too little."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from devflow import activity
from devflow.activity import Helping, Numbers, TeamActivity, Timeline
from devflow.activity.focus import Hour, counted
from devflow.cache import Cache, Server
from devflow.errors import Invalid
from devflow.ingest.rows import DATA
from devflow.models import Event, Person, Project, Role
from devflow.rollups import TYPE_NUMBER, unpack_files
from devflow.wire import EventType
from tests.build import DAY_MS, HOUR_MS, MINUTE_MS, NOW_MS, Member, World, commit, saved

TODAY = date(2026, 11, 19)
FIRST = TODAY - timedelta(days=29)
IDLE_MS = 15 * MINUTE_MS
SERVER = UUID(int=1)


@dataclass
class Crew:
    """Members, somebody who is none, and projects."""

    members: list[Member]
    outside: Member
    projects: list[Project]


@pytest.fixture
def crew(world: World) -> Crew:
    members = [world.person(name) for name in ("Ann", "Ben", "Cat", "Dov", "Eli")]
    outside = world.person("Out")
    world.team("red", dict.fromkeys(members, Role.DEVELOPER))
    projects = [world.project(name, *members, outside) for name in ("atlas", "billing")]
    return Crew(members, outside, projects)


def shown(
    world: World, crew: Crew, first: date | None = FIRST, last: date = TODAY, cache: Cache | None = None
) -> TeamActivity:
    with world.reading() as session:
        people = [session.get_one(Person, member.id) for member in crew.members]
        projects = [session.get_one(Project, project.id) for project in crew.projects]
        server = Server(SERVER, SERVER, world.calendar)
        return activity.team(session, people, projects, first, last, cache or Cache(world.vault), server)


def help_for(world: World, crew: Crew) -> Helping:
    with world.reading() as session:
        people = [session.get_one(Person, member.id) for member in crew.members]
        projects = [session.get_one(Project, project.id) for project in crew.projects]
        return activity.helping(session, people, projects, TODAY, world.calendar.zone)


def at(days_ago: int, hour: float) -> int:
    """An instant of the day, in UTC, so many days ago."""
    midnight = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC) - timedelta(days=days_ago)
    return int(midnight.timestamp() * 1_000 + hour * HOUR_MS)


def work(world: World, who: Member, project: Project, days_ago: int, hour: float, minutes: int) -> None:
    """So long without a pause, from then on, without a commit."""
    start = at(days_ago, hour)
    moments = [*range(start, start + minutes * MINUTE_MS, 10 * MINUTE_MS), start + minutes * MINUTE_MS]
    world.report(who, project, *((moment, saved("a.py")) for moment in moments))


def live_through(world: World, crew: Crew, chance: random.Random) -> None:
    """Weeks of anybody's work at any time, also of a person from outside."""
    for who in [*crew.members, crew.outside]:
        deeds: dict[int, list[tuple[int, object]]] = {project.id: [] for project in crew.projects}
        for _ in range(chance.randrange(12)):
            moment = at(chance.randrange(45), chance.random() * 20)
            for _ in range(chance.randrange(1, 14)):
                moment += chance.randrange(1, 18) * MINUTE_MS
                path = f"{chance.randrange(6)}.py"
                data = commit(who.author, path, insertions=3) if chance.random() < 0.3 else saved(path)
                deeds[chance.choice(crew.projects).id].append((moment, data))
        for project in crew.projects:
            world.report(who, project, *deeds[project.id])  # type: ignore[arg-type]
    world.refresh()


# As anybody would count it from the events


@dataclass(frozen=True)
class Gap:
    """A time of work without a pause, within one clock hour."""

    person_id: int
    project_id: int
    start: int
    milliseconds: int


def events_of(world: World) -> list[Event]:
    with world.reading() as session:
        return list(session.scalars(select(Event).order_by(Event.timestamp, Event.event_id)))


def gaps(events: list[Event]) -> Iterator[Gap]:
    for person_id in {event.person_id for event in events if event.person_id}:
        own = [event for event in events if event.person_id == person_id]
        for earlier, later in pairwise(own):
            if later.timestamp - earlier.timestamp > IDLE_MS:
                continue
            begin = earlier.timestamp
            while begin < later.timestamp:
                end = min(later.timestamp, (begin // HOUR_MS + 1) * HOUR_MS)
                yield Gap(person_id, earlier.project_id, begin, end - begin)
                begin = end


def day_of(timestamp: int) -> date:
    return datetime.fromtimestamp(timestamp // 1_000, UTC).date()


def numbers_of(world: World, events: list[Event], work: list[Gap]) -> Numbers:
    files = {(event.project_id, file) for event in events for file in unpack_files(event.files)}
    return Numbers(
        events=len(events),
        commits=sum(b'"parents":' in world.vault.open(DATA, each.event_id, each.data) for each in events),
        insertions=sum(event.insertions for event in events),
        deletions=sum(event.deletions for event in events),
        files_changed=len(files),
        active_s=sum(gap.milliseconds for gap in work) // 1_000,
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_teams_numbers_are_a_plain_recount(world: World, crew: Crew, seed: int) -> None:
    live_through(world, crew, random.Random(seed))
    found, ids = shown(world, crew), {member.id for member in crew.members}
    stored = events_of(world)
    worked = [gap for gap in gaps(stored) if FIRST <= day_of(gap.start) <= TODAY and gap.person_id in ids]
    seen = [each for each in stored if FIRST <= day_of(each.timestamp) <= TODAY and each.person_id in ids]

    assert found.is_fresh
    assert found.total == numbers_of(world, seen, worked)
    for period in found.periods:
        of_day = [each for each in seen if day_of(each.timestamp) == period.first]
        assert period.numbers == numbers_of(
            world, of_day, [gap for gap in worked if day_of(gap.start) == period.first]
        )
    for row in found.projects:
        own = [each for each in seen if each.project_id == row.project.id]
        in_it = [gap for gap in worked if gap.project_id == row.project.id]
        assert row.numbers == numbers_of(world, own, in_it)
        assert row.people == len({each.person_id for each in own} | {gap.person_id for gap in in_it})
    for person_id, numbers in found.people.items():
        own = [each for each in seen if each.person_id == person_id]
        assert numbers == numbers_of(world, own, [gap for gap in worked if gap.person_id == person_id])
    loads = sorted(
        sum(gap.milliseconds for gap in worked if gap.person_id == person_id) // 1_000 for person_id in ids
    )
    assert found.spread is not None
    spread = (found.spread.least_s, found.spread.median_s, found.spread.most_s, found.spread.people)
    assert spread == (loads[0], int(statistics.median(loads)), loads[-1], 5)


@pytest.mark.parametrize("seed", range(4))
def test_focus_and_after_hours_are_a_plain_recount(world: World, crew: Crew, seed: int) -> None:
    live_through(world, crew, random.Random(100 + seed))
    found, ids = shown(world, crew).focus, {member.id for member in crew.members}
    worked = [
        gap for gap in gaps(events_of(world)) if FIRST <= day_of(gap.start) <= TODAY and gap.person_id in ids
    ]
    days = {day_of(gap.start) for gap in worked}
    told = {day for day in days if len({gap.person_id for gap in worked if day_of(gap.start) == day}) >= 3}
    hours: dict[tuple[int, int], int] = {}
    late = 0
    for gap in worked:
        if day_of(gap.start) in told:
            hour = gap.start // HOUR_MS
            hours[gap.person_id, hour] = hours.get((gap.person_id, hour), 0) + gap.milliseconds
            if day_of(gap.start).weekday() > 4 or hour % 24 < 8 or hour % 24 >= 19:
                late += gap.milliseconds
    assert (found.days, found.days_left_out) == (len(told), len(days) - len(told))
    if told:
        assert found.active_s == sum(hours.values()) // 1_000
        assert found.focus_s == sum(ms for ms in hours.values() if ms >= 45 * MINUTE_MS) // 1_000
        assert found.after_hours_s == late // 1_000
    else:
        assert (found.active_s, found.focus_s, found.after_hours_s) == (None, None, None)


def test_of_a_day_with_two_people_no_hour_is_told(world: World, crew: Crew) -> None:
    for who in crew.members[:2]:
        work(world, who, crew.projects[0], 1, 20, 60)
    work(world, crew.outside, crew.projects[0], 1, 20, 60)
    world.report(crew.members[2], crew.projects[0], (at(1, 9), saved()))  # was there, but for no time
    world.refresh()
    found = shown(world, crew).focus
    assert (found.days, found.days_left_out, found.after_hours_s, found.focus_s) == (0, 1, None, None)
    work(world, crew.members[2], crew.projects[1], 1, 9, 30)
    world.refresh()
    found = shown(world, crew).focus
    assert (found.days, found.focus_s, found.after_hours_s, found.active_s) == (1, 7_200, 7_200, 9_000)


def test_an_hour_shared_by_two_projects_is_one_hour_of_focus(world: World, crew: Crew) -> None:
    for who in crew.members[:3]:
        work(world, who, crew.projects[0], 2, 10, 25)
        work(world, who, crew.projects[1], 2, 10 + 26 / 60, 25)
    world.refresh()
    found = shown(world, crew).focus
    assert found.active_s == found.focus_s == 3 * 51 * 60


def test_hours_are_those_of_the_workspaces_clock() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    friday = int(datetime(2026, 10, 23, 18, tzinfo=berlin).timestamp() * 1_000)
    hours = [Hour(friday, person, HOUR_MS) for person in range(3)]
    assert counted(hours, berlin).after_hours_ms == 0
    assert counted([each._replace(start=friday + HOUR_MS) for each in hours], berlin).after_hours_ms == (
        3 * HOUR_MS
    )


def test_of_a_long_range_the_hours_of_its_last_days_are_looked_at(world: World, crew: Crew) -> None:
    found = shown(world, crew, first=TODAY - timedelta(days=400)).focus
    assert ((found.last - found.first).days, found.last) == (91, TODAY)


def test_of_three_members_no_spread_is_told(world: World, crew: Crew) -> None:
    live_through(world, crew, random.Random(1))
    crew.members = crew.members[:3]
    assert shown(world, crew).spread is None
    with world.database.writing() as session:
        session.get_one(Person, crew.members[0].id).deactivated_at = NOW_MS
    crew.members.append(crew.outside)
    assert shown(world, crew).spread is None, "a deactivated member carries no load"


def test_a_range_without_a_beginning_begins_with_the_first_day(world: World, crew: Crew) -> None:
    assert shown(world, crew, first=None).first == TODAY
    work(world, crew.members[0], crew.projects[0], 50, 10, 30)
    work(world, crew.outside, crew.projects[0], 90, 10, 30)
    world.refresh()
    found = shown(world, crew, first=None)
    assert found.first == found.first_day == found.last_day == TODAY - timedelta(days=50)


def test_four_statements_however_much_and_one_if_nothing_changed(
    world: World, crew: Crew, statements: list[str]
) -> None:
    server = Server(SERVER, SERVER, world.calendar)

    def sent(cache: Cache) -> int:
        with world.database.writing() as session:
            people = [session.get_one(Person, member.id) for member in crew.members]
            projects = [session.get_one(Project, project.id) for project in crew.projects]
            before = len(statements)
            activity.team(session, people, projects, FIRST, TODAY, cache, server)
            return len(statements) - before

    assert sent(Cache(world.vault)) == 4
    live_through(world, crew, random.Random(5))
    crew.projects += [world.project(f"more {number}", *crew.members) for number in range(6)]
    crew.members += [world.person(f"More{number}") for number in range(6)]
    cache = Cache(world.vault)
    assert (sent(cache), sent(cache)) == (4, 1)
    work(world, crew.members[0], crew.projects[-1], 0, 9, 30)
    assert sent(cache) == 4, "of another generation of a project nothing is known"


def test_what_is_still_being_counted_is_said(world: World, crew: Crew) -> None:
    work(world, crew.members[0], crew.projects[0], 1, 9, 60)
    assert not shown(world, crew).is_fresh
    waiting = help_for(world, crew)
    assert (waiting.is_fresh, waiting.stuck_of, waiting.loads) == (False, 0, None)
    world.refresh()
    assert shown(world, crew).is_fresh
    assert help_for(world, crew).is_fresh


# Where a lead may want to help


def test_who_was_active_four_hours_on_three_days_without_a_commit_may_want_help(
    world: World, crew: Crew
) -> None:
    ann, ben, cat, dov, _ = crew.members
    for day in (1, 2, 5):
        work(world, ann, crew.projects[day % 2], day, 9, 80)
        work(world, ben, crew.projects[0], day, 9, 80)
        work(world, cat, crew.projects[0], day, 9, 70)
    for day in (1, 2):
        work(world, dov, crew.projects[0], day, 9, 200)
    world.report(ann, crew.projects[0], (at(6, 9), commit(ann.author, "a.py")))
    world.report(ben, crew.projects[1], (at(3, 9), commit(ben.author, "a.py")))
    world.refresh()
    found = help_for(world, crew)
    assert [each.person.name for each in found.stuck] == ["Ann"], (
        "Ben made a commit in between, Cat worked for less than four hours, Dov on two days"
    )
    (stuck,) = found.stuck
    assert stuck.active_s == 4 * 3_600
    assert [(TODAY - day).days for day in stuck.days] == [5, 2, 1]
    assert stuck.last_commit == TODAY - timedelta(days=6)
    assert found.stuck_of == 3
    world.report(ann, crew.projects[1], (at(0, 9), commit(ann.author, "b.py")))
    world.refresh()
    assert help_for(world, crew).stuck == []


def test_loads_far_from_the_median_are_told_with_their_numbers(world: World, crew: Crew) -> None:
    ann, ben, cat, dov, _ = crew.members
    for who, minutes in ((ann, 320), (ben, 200), (cat, 200), (dov, 90)):
        work(world, who, crew.projects[0], 3, 9, minutes)
    work(world, ann, crew.projects[1], 4, 9, 60)
    work(world, dov, crew.projects[1], 14, 9, 300)  # a day too long ago
    world.refresh()
    loads = help_for(world, crew).loads
    assert loads is not None
    assert (loads.median_s, loads.people) == (200 * 60, 4)
    assert [(each.person.name, each.active_s, each.times) for each in loads.high] == [("Ann", 380 * 60, 1.9)]
    assert (loads.high[0].mostly.name, loads.high[0].mostly_s) == ("atlas", 320 * 60)
    assert [(each.person.name, each.active_s, each.times) for each in loads.low] == [("Dov", 90 * 60, 0.45)]
    assert [person.name for person in loads.unseen] == ["Eli"]


@pytest.mark.parametrize(("people", "minutes"), [(2, 300), (3, 110)])
def test_of_too_little_no_load_is_told(world: World, crew: Crew, people: int, minutes: int) -> None:
    for who in crew.members[:people]:
        work(world, who, crew.projects[0], 3, 9, minutes)
    world.refresh()
    assert help_for(world, crew).loads is None


def test_a_project_of_one_person_is_told_unless_others_work_on_it_too(world: World, crew: Crew) -> None:
    ann, ben, *_ = crew.members
    for day in (1, 2, 20):
        work(world, ann, crew.projects[0], day, 9, 240)
    work(world, ben, crew.projects[0], 1, 9, 180)
    work(world, ann, crew.projects[1], 3, 9, 590)
    world.report(ann, crew.projects[0], (at(5, 9), commit()))
    world.refresh()
    found = help_for(world, crew)
    assert [
        (each.project.name, each.person.name, each.own_s, each.active_s, each.unknown_commits)
        for each in found.carried
    ] == [("atlas", "Ann", 12 * 3_600, 15 * 3_600, 1)]
    assert found.carried_of == 1, "billing had less than ten hours"
    work(world, crew.outside, crew.projects[0], 2, 12, 10)
    world.refresh()
    assert help_for(world, crew).carried == [], "whoever it is, also from outside the team"


def test_two_statements_for_all_help_however_many(world: World, crew: Crew, statements: list[str]) -> None:
    live_through(world, crew, random.Random(2))
    zone = world.calendar.zone
    with world.database.writing() as session:
        people = [session.get_one(Person, member.id) for member in crew.members]
        projects = [session.get_one(Project, project.id) for project in crew.projects]
        before = len(statements)
        activity.helping(session, people, projects, TODAY, zone)
        assert len(statements) - before == 2


# A person's days


def days_of(
    world: World, subject: Member, project_id: UUID | None = None, kind: EventType | None = None
) -> tuple[Numbers, Timeline]:
    zone = world.calendar.zone
    with world.reading() as session:
        person = session.get_one(Person, subject.id)
        found = activity.person(session, person, person, FIRST, TODAY, zone, project_id=project_id, kind=kind)
        return found.total, activity.timeline(session, person, found, TODAY, zone, kind)


@pytest.mark.parametrize("seed", range(3))
def test_a_persons_days_are_a_plain_recount(world: World, crew: Crew, seed: int) -> None:
    live_through(world, crew, random.Random(200 + seed))
    ann = crew.members[0]
    stored = [event for event in events_of(world) if event.person_id == ann.id]
    worked = list(gaps(stored))
    _, found = days_of(world, ann)
    dates = {day_of(each.timestamp) for each in stored} | {day_of(gap.start) for gap in worked}
    assert [day.date for day in found.days] == sorted(
        (each for each in dates if FIRST <= each <= TODAY), reverse=True
    )
    for week in found.weeks:
        assert week.first.weekday() == 0
        assert all(0 <= (day.date - week.first).days < 7 for day in week.days)
        for day in week.days:
            own = [each for each in stored if day_of(each.timestamp) == day.date]
            of_day = [gap for gap in worked if day_of(gap.start) == day.date]
            assert day.numbers == numbers_of(world, own, of_day)
            assert {part.project.id: part.numbers for part in day.projects} == {
                project.id: numbers_of(
                    world,
                    [each for each in own if each.project_id == project.id],
                    [gap for gap in of_day if gap.project_id == project.id],
                )
                for project in crew.projects
                if project.id in {each.project_id for each in own} | {gap.project_id for gap in of_day}
            }


def test_types_of_events_add_up_to_all(world: World, crew: Crew) -> None:
    live_through(world, crew, random.Random(7))
    ann = crew.members[0]
    whole, _ = days_of(world, ann)
    by_type = {kind: days_of(world, ann, kind=kind) for kind in EventType}
    assert whole.events
    assert sum(total.events for total, _ in by_type.values()) == whole.events
    commits, days = by_type[EventType.COMMIT]
    assert commits.commits == whole.commits == sum(day.numbers.commits for day in days.days)
    number = TYPE_NUMBER[EventType.COMMIT]
    stored = [each for each in events_of(world) if each.person_id == ann.id and each.event_type == number]
    assert [day.date for day in days.days if day.numbers.events] == sorted(
        {day_of(each.timestamp) for each in stored if day_of(each.timestamp) >= FIRST}, reverse=True
    )


def test_one_project_is_shown_alone_and_another_ones_is_refused(world: World, crew: Crew) -> None:
    ann, ben, *_ = crew.members
    work(world, ann, crew.projects[0], 1, 9, 60)
    work(world, ann, crew.projects[1], 2, 9, 30)
    secret = world.project("secret", ben)
    work(world, ben, secret, 1, 9, 30)
    world.refresh()
    total, days = days_of(world, ann, crew.projects[1].public_id)
    assert total.active_s == 30 * 60
    assert [day.date for day in days.days] == [TODAY - timedelta(days=2)]
    with pytest.raises(Invalid, match="expected project"):
        days_of(world, ann, secret.public_id)


def test_of_a_long_range_the_last_year_is_told_day_by_day(world: World, crew: Crew) -> None:
    ann, zone = crew.members[0], world.calendar.zone
    work(world, ann, crew.projects[0], 500, 9, 60)
    work(world, ann, crew.projects[0], 2, 9, 60)
    world.refresh()
    with world.reading() as session:
        person = session.get_one(Person, ann.id)
        found = activity.person(session, person, person, None, TODAY, zone)
        days = activity.timeline(session, person, found, TODAY, zone)
    assert found.total.active_s == 7_200
    assert [day.date for day in days.days] == [TODAY - timedelta(days=2)]
    assert days.first == TODAY - timedelta(days=365)


def test_two_commits_of_a_day_lie_in_its_week(world: World, crew: Crew) -> None:
    ann = crew.members[0]
    monday, sunday = NOW_MS - 3 * DAY_MS, NOW_MS - 4 * DAY_MS
    world.report(ann, crew.projects[0], *((each, commit(ann.author, "a.py")) for each in (monday, sunday)))
    world.refresh()
    _, found = days_of(world, ann)
    assert [week.first for week in found.weeks] == [date(2026, 11, 16), date(2026, 11, 9)]
