"""Numbers for programs: exact by any grouping and form, for nobody to see who may not, on both databases."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, event, select, update
from werkzeug.test import TestResponse

from devflow import languages, receipts, rollups, wire
from devflow.audit import Act
from devflow.cache import Cache, Server
from devflow.cache.shared import Shared
from devflow.context import Context
from devflow.metrics import kept, series
from devflow.metrics.answers import GroupBy, MetricType
from devflow.models import (
    AuditEntry,
    Device,
    Event,
    Person,
    Project,
    ProjectMember,
    Role,
    Team,
    TeamMember,
)
from devflow.windows import Grain, Window
from tests import build, slicing, town, valkey
from tests.build import DAY_MS, HOUR_MS, MINUTE_MS, NOW_MS, STRANGER, Member, World, commit, merge, saved
from tests.clock import Clock
from tests.valkey import Valkey

TODAY = date(2026, 11, 19)
ZONE = ZoneInfo("Europe/Berlin")
TYPES = {number: str(kind) for kind, number in rollups.TYPE_NUMBER.items()}
UNKNOWN = {slicing.NO_FILE: "no_file", slicing.SEVERAL: "several_languages"}
NAMELESS = {*UNKNOWN.values(), "one_person"}
METRICS = ("events_count", "active_time", "files_changed", "commits", "insertions", "deletions")


@dataclass
class Office:
    """A server that programs of people ask; ``ask`` gives the answer of an address to a person's program."""

    context: Context
    app: Flask
    world: World
    clock: Clock
    bearers: dict[Member, str] = field(default_factory=dict)

    def ask(self, who: Member | None, address: str, **headers: str) -> TestResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if who is not None:
            if who not in self.bearers:
                self.bearers[who] = town.bearer(self.context, who)
            sent["Authorization"] = f"Bearer {self.bearers[who]}"
        return self.app.test_client().get(address, headers=sent)

    def json(self, who: Member, address: str, **headers: str) -> Any:
        answer = self.ask(who, address, **headers)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return answer.get_json()

    def values(self, who: Member, address: str) -> dict[str, int | None]:
        return {row["group"]: row["value"] for row in self.json(who, address)["rows"]}

    def receipts(self) -> list[tuple[UUID | None, UUID | None, dict[str, str]]]:
        viewed = select(AuditEntry).where(AuditEntry.act == Act.PERSON_VIEWED).order_by(AuditEntry.id)
        with self.world.reading() as session:
            return [(each.actor, each.subject, json.loads(each.detail)) for each in session.scalars(viewed)]


@pytest.fixture
def office(tmp_path: Path, database_url: str) -> Iterator[Office]:
    prepared, _ = build.context(tmp_path / "data", database_url=database_url)
    prepared.database.close()
    clock = Clock()
    context = Context.open(prepared.settings, clock)
    yield Office(context, build.app(context), World.of(context), clock)
    context.database.close()


@dataclass
class Crew:
    """Sue and Dan work in atlas, Lea leads them and is in it, Max manages it and their team.

    Ada is an admin, Out leads another team and is in another project; Rex led Sue and was removed.
    """

    sue: Member
    dan: Member
    lea: Member
    max: Member
    ada: Member
    out: Member
    rex: Member
    atlas: Project
    red: Team

    def aggregate(self, **query: str) -> str:
        return aggregate(self.atlas, **query)


def aggregate(project: Project, **query: str) -> str:
    asked = {"projectId": str(project.public_id), "metricType": "events_count"} | query
    return "/metrics/aggregate?" + "&".join(f"{name}={value}" for name, value in asked.items())


@pytest.fixture
def crew(office: Office) -> Crew:
    world = office.world
    sue, dan, lea, out, rex = (world.person(name) for name in ("Sue", "Dan", "Lea", "Out", "Rex"))
    boss, ada = world.person("Max", Role.MANAGER), world.person("Ada", Role.ADMIN)
    red = world.team("red", {sue: Role.DEVELOPER, dan: Role.DEVELOPER, lea: Role.LEAD, boss: Role.MANAGER})
    world.team("blue", {out: Role.LEAD})
    world.project("basalt", out)
    atlas = world.project("atlas", sue, dan, lea, boss, roles={boss: Role.MANAGER})
    return Crew(sue, dan, lea, boss, ada, out, rex, atlas, red)


def work(office: Office, crew: Crew) -> None:
    """Sue saves ten times today and twice yesterday, Dan three times today; a stranger commits once."""
    day = NOW_MS - 5 * HOUR_MS
    sues = [(day + step * 4 * MINUTE_MS, saved(f"{step % 4}.py")) for step in range(10)]
    sues += [(day - DAY_MS + step * 4 * MINUTE_MS, saved("old.py")) for step in range(2)]
    office.world.report(crew.sue, crew.atlas, *sues)
    dans = [(day + step * 10 * MINUTE_MS, saved(f"{step}.py")) for step in range(3)]
    office.world.report(crew.dan, crew.atlas, *dans)
    office.world.report(crew.dan, crew.atlas, (day, commit(STRANGER, "x.py", insertions=5, deletions=2)))
    office.world.refresh()


# What is counted


deeds = st.lists(
    st.tuples(
        st.sampled_from(["sue", "dan", "kim"]),
        st.integers(0, 3 * 24 * 12),  # steps of five minutes back from now
        st.sampled_from(["save", "commit", "stranger"]),
        st.integers(0, 3),
    ),
    max_size=25,
)
PATHS = (("0.py",), ("1.py", "1.ts"), ("2.md",), ("3",))
_turns = itertools.count(1)


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(done=deeds, led=st.booleans())
def test_numbers_equal_a_plain_sum_over_the_events_by_any_grouping_and_form(
    office: Office, done: list[tuple[str, int, str, int]], led: bool
) -> None:
    world, turn = office.world, next(_turns)
    people = {name: world.person(f"{name}{turn}") for name in ("sue", "dan", "kim")}
    project = world.project(f"atlas{turn}", *people.values())
    if led:
        world.team(f"red{turn}", {people["sue"]: Role.LEAD, people["dan"]: Role.DEVELOPER})
    for name, steps, kind, number in done:
        who = people[name]
        author, paths = who.author if kind == "commit" else STRANGER, PATHS[number]
        data = saved(paths[0]) if kind == "save" else commit(author, *paths, insertions=number)
        world.report(who, project, (NOW_MS - steps * 5 * MINUTE_MS, data))
    world.refresh()
    seen = {people["sue"]} | ({people["dan"]} if led else set())
    for metric in ("events_count", "active_time", "files_changed"):
        for group in get_args(GroupBy):
            address = aggregate(project, metricType=metric, groupBy=group, timeRange="7d")
            answer = office.json(people["sue"], address)
            told = {row["group"] or row["unknown"]: row["value"] for row in answer["rows"]}
            expected, total = plainly(office, project, metric, group, people["sue"], seen)
            assert {name: value for name, value in told.items() if name in expected} == expected
            # Of the hours of today that have not begun nothing is known.
            assert set(told.values()) - set(expected.values()) <= ({0, None} if group == "hour" else {0})
            assert answer["total"]["value"] == total
            assert as_table(office.ask(people["sue"], address, Accept="text/csv")) == [
                (row["group"] or "", "" if row["value"] is None else str(row["value"]))
                for row in answer["rows"]
            ]


def as_table(answer: TestResponse) -> list[tuple[str, str]]:
    assert answer.mimetype == "text/csv"
    rows = csv.DictReader(io.StringIO(answer.get_data(as_text=True), newline=""))
    return [(row["group"], row["value"]) for row in rows]


@dataclass(frozen=True)
class Did:
    """An event, or the gap after it, as it is counted in one place."""

    at: int
    person: int | None
    active_ms: int
    files: frozenset[int]
    is_event: bool


def plainly(
    office: Office, project: Project, metric: str, group: str, viewer: Member, seen: set[Member]
) -> tuple[dict[str, int | None], int | None]:
    """What is to be told of each group with anything in it, and of all, an event and a gap at a time."""
    did = list(deeds_of(office, project, 6))
    if group in ("type", "language"):
        return sliced(office, project, metric, group, viewer), amount(did, metric)
    groups: dict[str, list[Did]] = {}
    for each in did:
        groups.setdefault(name_of(each, group, seen), []).append(each)
    told = {name: amount(found, metric) for name, found in groups.items()}
    total = amount(did, metric)
    if group == "hour":
        others: dict[date, set[int]] = {}
        for each in did:
            others.setdefault(day_of(each.at), set()).update({each.person or viewer.id} - {viewer.id})
        lonely = {day for day, who in others.items() if len(who) == 1}
        total = None if lonely else total
        starts = [hour for day in lonely for hour in hours_of(day)]
        told |= dict.fromkeys((label(start, Grain.HOUR) for start in starts if start <= NOW_MS), None)
    return told, total


def sliced(
    office: Office, project: Project, metric: str, group: str, viewer: Member
) -> dict[str, int | None]:
    """What is to be told of each type or language; those of one other person are one."""
    groups: dict[str, list[tuple[int, slicing.Plain]]] = {}
    with office.world.reading() as session:
        found = slicing.recounted(session, office.world.calendar)
    for (project_id, dimension, day, value, person), plain in found.items():
        if (project_id, dimension) == (project.id, group) and day >= start_of(TODAY - timedelta(days=6)):
            name = UNKNOWN.get(value) or (TYPES if group == "type" else languages.NAME)[value]
            groups.setdefault(name, []).append((person, plain))
    told: dict[str, list[tuple[int, slicing.Plain]]] = {}
    for name, parts in groups.items():
        is_alone = len({person for person, _ in parts} - {0, viewer.id}) == 1
        told.setdefault("one_person" if is_alone else name, []).extend(parts)
    values = {name: sliced_amount(parts, metric) for name, parts in told.items()}
    return {name: value for name, value in values.items() if value != 0 or name not in NAMELESS}


def sliced_amount(parts: list[tuple[int, slicing.Plain]], metric: str) -> int | None:
    match metric:
        case "events_count":
            return sum(plain.events for _, plain in parts)
        case "files_changed":
            return len(set[int]().union(*(plain.files for _, plain in parts)))
        case _:
            is_known = any(person for person, _ in parts)
            return sum(plain.active_ms for _, plain in parts) // 1_000 if is_known else None


def deeds_of(office: Office, project: Project, days: int) -> Iterator[Did]:
    """What was done since the morning so many days ago, gaps cut into minutes."""
    low = start_of(TODAY - timedelta(days=days))
    with office.world.reading() as session:
        found = list(session.scalars(select(Event).order_by(Event.timestamp, Event.event_id)))
    for each in found:
        if each.project_id == project.id and each.timestamp >= low:
            files = frozenset(rollups.unpack_files(each.files))
            yield Did(each.timestamp, each.person_id, 0, files, is_event=True)
    for person in {each.person_id for each in found} - {None}:
        own = [each for each in found if each.person_id == person]
        for earlier, later in pairwise(own):
            if later.timestamp - earlier.timestamp <= 15 * MINUTE_MS and earlier.project_id == project.id:
                for minute in range(earlier.timestamp, later.timestamp, MINUTE_MS):
                    if minute >= low:
                        yield Did(minute, person, MINUTE_MS, frozenset(), is_event=False)


def amount(found: list[Did], metric: str) -> int | None:
    match metric:
        case "events_count":
            return sum(each.is_event for each in found)
        case "files_changed":
            return len(frozenset[int]().union(*(each.files for each in found)))
        case _:
            is_known = not found or any(each.person is not None for each in found)
            return sum(each.active_ms for each in found) // 1_000 if is_known else None


def name_of(each: Did, group: str, seen: set[Member]) -> str:
    if group != "person":
        return label(each.at, Grain(group))
    if each.person is None:
        return "nobody"
    return next((str(member.public_id) for member in seen if member.id == each.person), "others")


def label(at: int, grain: Grain) -> str:
    local = datetime.fromtimestamp(at / 1_000, ZONE)
    match grain:
        case Grain.HOUR:
            return local.replace(minute=0).isoformat(timespec="minutes")
        case Grain.DAY:
            return str(local.date())
        case Grain.WEEK:
            year, week, _ = local.isocalendar()
            return f"{year}-W{week:02}"
        case Grain.MONTH:
            return f"{local.year}-{local.month:02}"


def day_of(at: int) -> date:
    return datetime.fromtimestamp(at / 1_000, ZONE).date()


def start_of(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=ZONE).timestamp() * 1_000)


def hours_of(day: date) -> range:
    return range(start_of(day), start_of(day + timedelta(days=1)), HOUR_MS)


# Who sees what


def test_who_may_not_see_the_project_learns_nothing_of_it(office: Office, crew: Crew) -> None:
    work(office, crew)
    addresses = (
        crew.aggregate(),
        crew.aggregate(groupBy="person", format="csv"),
        crew.aggregate(groupBy="language"),
        f"/projects/{crew.atlas.public_id}/status",
    )
    for address in addresses:
        missing = address.replace(str(crew.atlas.public_id), str(uuid4()))
        for who in (crew.out, crew.rex):
            there, nowhere = office.ask(who, address), office.ask(who, missing)
            assert (there.status_code, nowhere.status_code) == (404, 404)
            assert "ETag" not in there.headers
        assert office.ask(None, address).status_code == 401
        for who in (crew.sue, crew.lea, crew.max, crew.ada):
            assert office.ask(who, address).status_code == 200
    activity = f"/teams/{crew.red.public_id}/activity"
    asked = {
        who: office.ask(who, activity).status_code
        for who in (crew.sue, crew.lea, crew.ada, crew.out, crew.rex)
    }
    assert list(asked.values()) == [200, 200, 200, 404, 404]


def test_people_are_told_apart_for_who_may_see_them_and_all_others_are_one(
    office: Office, crew: Crew
) -> None:
    work(office, crew)
    sue, dan, lea, boss = (str(who.public_id) for who in (crew.sue, crew.dan, crew.lea, crew.max))
    told = {
        name: office.values(getattr(crew, name), crew.aggregate(groupBy="person", timeRange="7d"))
        for name in ("sue", "dan", "lea", "max", "ada")
    }
    assert told == {
        "sue": {sue: 12, "others": 3, "nobody": 1},
        "dan": {dan: 3, "others": 12, "nobody": 1},
        "lea": {sue: 12, dan: 3, lea: 0, boss: 0, "nobody": 1},
        "max": {sue: 12, dan: 3, lea: 0, boss: 0, "nobody": 1},
        "ada": {"others": 15, "nobody": 1},
    }


def test_files_of_the_others_are_united_and_not_added(office: Office, crew: Crew) -> None:
    work(office, crew)
    address = crew.aggregate(groupBy="person", timeRange="7d", metricType="files_changed")
    assert office.values(crew.ada, address) == {"others": 5, "nobody": 1}
    assert office.json(crew.ada, address)["total"] == {"value": 6}


def test_a_type_or_language_of_one_other_person_alone_has_no_row_of_its_own(
    office: Office, crew: Crew
) -> None:
    day = NOW_MS - 5 * HOUR_MS
    for who, *paths in ((crew.sue, "a.py", "b.py", "s.ts"), (crew.dan, "a.py", "d.md"), (crew.lea, "l.go")):
        deeds = [(day + number * MINUTE_MS, saved(path)) for number, path in enumerate(paths)]
        office.world.report(who, crew.atlas, *deeds)
    office.world.report(crew.lea, crew.atlas, (day, commit(STRANGER, "x.rs")), (day, merge(crew.lea.author)))
    office.world.refresh()
    told = {
        name: sliced_rows(office, getattr(crew, name), crew.aggregate(groupBy="language", timeRange="7d"))
        for name in ("sue", "dan", "lea", "max", "ada")
    }
    all_of_one = {"Python": 3, "Rust": 1, "one_person": 4}
    assert told == {
        "sue": {"Rust": 1, "TypeScript": 1, "one_person": 6},
        "dan": {"Markdown": 1, "Rust": 1, "one_person": 6},
        "lea": {"Go": 1, "Python": 3, "Rust": 1, "no_file": 1, "one_person": 2},
        "max": all_of_one,
        "ada": all_of_one,
    }
    by_type = crew.aggregate(groupBy="type", timeRange="7d")
    assert sliced_rows(office, crew.ada, by_type) == {"file.saved": 6, "git.commit": 1, "one_person": 1}
    assert sliced_rows(office, crew.lea, by_type) == {"file.saved": 6, "git.commit": 1, "git.merge": 1}
    assert office.receipts() == []


def test_files_of_languages_of_one_other_person_are_united(office: Office, crew: Crew) -> None:
    office.world.report(crew.sue, crew.atlas, *((NOW_MS - n, saved(f"{n % 2}.py")) for n in range(4)))
    office.world.report(crew.sue, crew.atlas, (NOW_MS, commit(crew.sue.author, "0.py", "x.ts")))
    office.world.refresh()
    for group in ("type", "language"):
        address = crew.aggregate(groupBy=group, metricType="files_changed", timeRange="7d")
        assert sliced_rows(office, crew.ada, address) == {"one_person": 3}
    assert sliced_rows(office, crew.sue, address) == {"Python": 2, "TypeScript": 1}


def test_what_has_no_language_is_told_without_one_and_why(office: Office, crew: Crew) -> None:
    day = NOW_MS - 5 * HOUR_MS
    author = crew.sue.author
    deeds: list[wire.EventData] = [
        commit(author, "a.py", "b.ts", insertions=7),
        merge(author),
        commit(author, "c.py", insertions=2),
    ]
    office.world.report(crew.sue, crew.atlas, *((day + n * MINUTE_MS, each) for n, each in enumerate(deeds)))
    office.world.refresh()
    events = office.json(crew.sue, crew.aggregate(groupBy="language", timeRange="7d"))
    assert [(row["group"], row["value"], row.get("unknown")) for row in events["rows"]] == [
        ("Python", 2, None),
        ("TypeScript", 1, None),
        (None, 1, "no_file"),
    ]
    assert (events["total"], events["overlapping"]) == ({"value": 3}, True)
    lines = crew.aggregate(groupBy="language", timeRange="7d", metricType="insertions")
    assert sliced_rows(office, crew.sue, lines) == {"Python": 2, "TypeScript": 0, "several_languages": 7}
    assert office.json(crew.sue, lines)["overlapping"] is False
    time = crew.aggregate(groupBy="language", timeRange="7d", metricType="active_time")
    assert sliced_rows(office, crew.sue, time) == {
        "Python": 0,
        "TypeScript": 0,
        "no_file": 60,
        "several_languages": 60,
    }
    table = office.ask(crew.sue, f"{time}&format=csv").get_data(as_text=True).splitlines()
    assert table[0] == "group,unknown,name,start,end,value,reason,isPending"
    assert table[-1] == ",several_languages,,,,60,,false"


def test_types_and_languages_are_paged_by_name(office: Office, crew: Crew) -> None:
    for number, path in enumerate(("a.ts", "b.py", "c.go", "d")):
        office.world.report(crew.sue, crew.atlas, (NOW_MS - number, saved(path)))
    office.world.report(crew.sue, crew.atlas, (NOW_MS, merge(crew.sue.author)))
    office.world.refresh()
    address = crew.aggregate(groupBy="language", limit="2")
    told, page = [], office.json(crew.sue, address)
    while page["next"] is not None:
        told += page["rows"]
        page = office.json(crew.sue, f"{address}&cursor={page['next']}")
    assert [row["group"] for row in told + page["rows"]] == ["Go", "Python", "TypeScript", "other", None]


def sliced_rows(office: Office, who: Member, address: str) -> dict[str, int | None]:
    return {row["group"] or row["unknown"]: row["value"] for row in office.json(who, address)["rows"]}


def test_time_of_people_who_are_not_here_is_not_known(office: Office, crew: Crew) -> None:
    office.world.report(crew.dan, crew.atlas, (NOW_MS, commit(STRANGER, "x.py")))
    office.world.refresh()
    answer = office.json(crew.sue, crew.aggregate(metricType="active_time", timeRange="7d"))
    assert (answer["rows"][-1]["value"], answer["rows"][-1]["reason"]) == (None, "people_not_here")
    assert answer["rows"][0]["value"] == 0
    assert answer["total"] == {"value": None, "reason": "people_not_here"}
    table = office.ask(crew.sue, crew.aggregate(metricType="active_time", timeRange="7d", format="csv"))
    assert table.get_data(as_text=True).splitlines()[-1].endswith(",,people_not_here,false")


def test_by_the_hour_nobody_is_shown_the_day_of_one_other_person(office: Office, crew: Crew) -> None:
    work(office, crew)
    lonely = f"{TODAY - timedelta(days=1)}"
    by_hour = crew.aggregate(groupBy="hour", timeRange=f"{lonely}..{TODAY}")
    for who in (crew.dan, crew.lea, crew.max, crew.ada):
        answer = office.json(who, by_hour)
        days = {
            day: [row for row in answer["rows"] if row["group"].startswith(day)]
            for day in (lonely, str(TODAY))
        }
        assert {row.get("reason") for row in days[lonely]} == {"one_person"}
        assert {row["value"] for row in days[lonely]} == {None}
        is_told = sum(row["value"] or 0 for row in days[str(TODAY)]) == 14
        assert is_told == (who != crew.dan), "beside Dan only Sue worked today"
        assert answer["total"] == {"value": None, "reason": "one_person"}
        # Nor by asking for a part of the day.
        last = office.json(who, crew.aggregate(groupBy="hour", timeRange="24h"))["rows"]
        assert {row["value"] for row in last if row["group"].startswith(lonely)} == {None}
    own = office.json(crew.sue, by_hour)
    assert sum(row["value"] or 0 for row in own["rows"] if row["group"].startswith(lonely)) == 2


def test_days_are_whole_however_a_range_is_asked_for(office: Office, crew: Crew) -> None:
    work(office, crew)
    answer = office.json(crew.dan, crew.aggregate(groupBy="person", timeRange="24h"))
    yesterday, tomorrow = TODAY - timedelta(days=1), TODAY + timedelta(days=1)
    assert (answer["start"], answer["end"]) == (start_of(yesterday), start_of(tomorrow))
    assert answer["total"] == {"value": 16}


def test_whoever_is_shown_gets_a_receipt_before_anything_is_told(office: Office, crew: Crew) -> None:
    work(office, crew)
    people = crew.aggregate(groupBy="person", timeRange="7d")
    for who in (crew.sue, crew.ada, crew.lea):
        for form in ("json", "csv"):
            office.ask(who, f"{people}&format={form}")
    shown = {"from": "2026-11-13", "to": "2026-11-19", "page": "metrics"}
    others = [crew.sue.public_id, crew.dan.public_id, crew.max.public_id]
    told = office.receipts()
    assert {(actor, detail["page"]) for actor, _, detail in told} == {(crew.lea.public_id, "metrics")}
    assert sorted(subject for _, subject, _ in told if subject) == sorted(others * 2)
    assert all(detail == shown for _, _, detail in told)
    tag = office.ask(crew.lea, people).headers["ETag"]
    before = len(office.receipts())
    assert office.ask(crew.lea, people, If_None_Match=tag).status_code == 304
    assert len(office.receipts()) == before + 3, "that nothing has changed is told, too"


def test_without_a_receipt_nothing_is_told(
    office: Office, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(office, crew)
    people, activity = crew.aggregate(groupBy="person"), f"/teams/{crew.red.public_id}/activity"
    tags = [office.ask(crew.lea, address).headers["ETag"] for address in (people, activity)]

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(receipts, "note_views", full)
    office.app.config["PROPAGATE_EXCEPTIONS"] = False
    for address, tag in zip((people, activity), tags, strict=True):
        for headers in ({}, {"If_None_Match": tag}):
            assert office.ask(crew.lea, address, **headers).status_code == 500
        assert office.ask(crew.sue, address).status_code == 200
    assert office.ask(crew.lea, f"{activity}?people=false").status_code == 200


def test_a_team_shows_each_only_what_lies_in_projects_the_viewer_sees(office: Office, crew: Crew) -> None:
    work(office, crew)
    hidden = office.world.project("moonshot", crew.sue)
    office.world.report(crew.sue, hidden, (NOW_MS, saved("moon.py")))
    office.world.refresh()
    activity = f"/teams/{crew.red.public_id}/activity?since=2026-11-18"
    lea, sue, dan = (office.json(who, activity) for who in (crew.lea, crew.sue, crew.dan))
    assert [day["eventsCount"] for day in lea["days"]] == [2, 13]
    assert [day["eventsCount"] for day in sue["days"]] == [2, 14]
    assert [day["people"] for day in lea["days"]] == [1, 2]
    assert {each["name"]: each["eventsCount"] for each in lea["people"]} == {
        "Dan": 3,
        "Lea": 0,
        "Max": 0,
        "Sue": 12,
    }
    assert [(each.get("name"), each["group"], each["eventsCount"]) for each in dan["people"]] == [
        ("Dan", str(crew.dan.public_id), 3),
        (None, "others", 12),
    ]
    assert {name for _, name, detail in office.receipts() if detail["page"] == "team activity"} == {
        each.public_id for each in (crew.sue, crew.dan, crew.max)
    }
    assert office.json(crew.lea, f"{activity}&people=false")["people"] is None
    table = office.ask(crew.dan, activity, Accept="text/csv").get_data(as_text=True)
    assert [line.split(",")[0] for line in table.splitlines()] == [
        "group",
        "2026-11-18",
        "2026-11-19",
        str(crew.dan.public_id),
        "others",
    ]


def test_an_erased_person_is_one_of_the_others(office: Office, crew: Crew) -> None:
    work(office, crew)
    with office.world.database.writing() as session:
        session.execute(update(Person).where(Person.id == crew.sue.id).values(erased_at=NOW_MS, name=""))
    answer = office.values(crew.lea, crew.aggregate(groupBy="person", timeRange="7d"))
    assert str(crew.sue.public_id) not in answer
    assert answer["others"] == 12


# Status


def test_a_status_tells_the_windows_under_way_and_how_pcs_report(office: Office, crew: Crew) -> None:
    work(office, crew)
    office.world.report(crew.lea, crew.atlas, (NOW_MS, saved("lea.py")))
    office.world.refresh()
    found = office.json(crew.sue, f"/projects/{crew.atlas.public_id}/status")
    assert [(found[name]["eventsCount"], found[name]["people"]) for name in ("now", "today", "week")] == [
        (1, 1),
        (15, 3),
        (17, 3),
    ]
    assert found["stage"] == {"value": None, "reason": "not_derived"}
    assert found["freshness"] == {"isFresh": True, "pendingDays": 0}
    assert (found["timezone"], found["name"]) == ("Europe/Berlin", "atlas")
    assert found["sync"] == {"state": "ok", "devices": 4, "heardWithinADay": 3, "clocksOff": 0}
    office.clock.move(2 * 86_400)
    later = office.json(crew.sue, f"/projects/{crew.atlas.public_id}/status")
    assert later["sync"]["state"] == "silent"
    assert later["today"]["eventsCount"] == 0


def test_a_status_hides_the_hour_of_one_other_person(office: Office, crew: Crew) -> None:
    office.world.report(crew.sue, crew.atlas, (NOW_MS, saved()))
    office.world.refresh()
    address = f"/projects/{crew.atlas.public_id}/status"
    assert office.json(crew.sue, address)["now"]["eventsCount"] == 1
    for who in (crew.dan, crew.lea, crew.ada):
        found = office.json(who, address)
        assert (found["now"]["eventsCount"], found["now"]["people"]) == (None, None)
        assert found["now"]["reason"] == "one_person"
        assert found["today"]["eventsCount"] == 1


def test_types_and_languages_say_that_a_day_is_yet_to_be_told_apart(office: Office, crew: Crew) -> None:
    office.world.report(crew.sue, crew.atlas, (NOW_MS, saved()))
    while office.world.database.transact(rollups.refresh):
        pass
    fresh = {"isFresh": True, "pendingDays": 0}
    assert office.json(crew.sue, crew.aggregate(groupBy="day"))["freshness"] == fresh
    for group_by in ("type", "language"):
        answer = office.json(crew.sue, crew.aggregate(groupBy=group_by))
        assert answer["freshness"] == {"isFresh": False, "pendingDays": 1}
        assert (answer["total"]["value"], answer["rows"]) == (1, [])
    office.world.refresh()
    assert office.json(crew.sue, crew.aggregate(groupBy="type"))["freshness"] == fresh


def test_what_is_yet_to_be_derived_is_said_and_not_taken_for_nothing(office: Office, crew: Crew) -> None:
    office.world.report(crew.sue, crew.atlas, (NOW_MS, saved()))
    found = office.json(crew.sue, f"/projects/{crew.atlas.public_id}/status")
    assert (found["today"]["eventsCount"], found["today"]["reason"]) == (None, "being_counted")
    assert found["now"]["eventsCount"] == 1
    answer = office.json(crew.sue, crew.aggregate(timeRange="7d"))
    assert answer["freshness"] == {"isFresh": False, "pendingDays": 1}
    assert answer["rows"][-1] | {"start": 0, "end": 0} == {
        "group": "2026-11-19",
        "start": 0,
        "end": 0,
        "value": None,
        "reason": "being_counted",
        "isPending": True,
    }
    assert answer["rows"][-2]["value"] == 0
    ahead = office.json(crew.sue, crew.aggregate(timeRange="2026-11-20..2026-11-21"))
    assert [row["reason"] for row in ahead["rows"]] == ["not_yet", "not_yet"]
    activity = office.json(
        crew.sue, f"/teams/{crew.red.public_id}/activity?since=2026-11-18&until=2026-11-20"
    )
    assert [day.get("reason") for day in activity["days"]] == [None, "being_counted", "not_yet"]


# Pages, forms, tags


def test_pages_follow_each_other_and_are_of_the_range_that_was_asked_for(office: Office, crew: Crew) -> None:
    work(office, crew)
    whole = office.json(crew.sue, crew.aggregate(timeRange="30d"))
    address, rows = crew.aggregate(timeRange="30d", limit="7"), []
    page = office.ask(crew.sue, address)
    while True:
        answer = page.get_json()
        rows += answer["rows"]
        assert answer["total"] == whole["total"]
        if answer["next"] is None:
            break
        office.clock.move(3_600 * 5)  # past midnight: the pages stay those of the days before
        link = page.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
        assert f"cursor={answer['next']}" in link
        page = office.ask(crew.sue, link)
    assert rows == whole["rows"]
    assert "Link" not in page.headers


def test_people_are_paged_by_id_whoever_comes_or_goes(office: Office, crew: Crew) -> None:
    work(office, crew)
    address = crew.aggregate(groupBy="person", limit="1")
    first = office.json(crew.lea, address)
    with office.world.database.writing() as session:
        gone = select(Person.id).where(Person.public_id == UUID(first["rows"][0]["group"]))
        session.execute(delete(TeamMember).where(TeamMember.person_id.in_(gone)))
    second = office.json(crew.lea, f"{address}&cursor={first['next']}")
    assert second["rows"][0]["group"] > first["rows"][0]["group"]
    told, page = [], office.json(crew.dan, address)
    while page["next"] is not None:
        told += page["rows"]
        page = office.json(crew.dan, f"{address}&cursor={page['next']}")
    assert [row["group"] for row in told + page["rows"]] == [str(crew.dan.public_id), "others", "nobody"]


@pytest.mark.parametrize("backend", ["sqlite"])  # it is refused before any is asked
@pytest.mark.parametrize(
    "query",
    [
        {"timeRange": "2026-02-30..2026-03-01"},
        {"timeRange": "2026-03-02..2026-03-01"},
        {"timeRange": "0001-01-01..2026-03-01"},
        {"timeRange": "1970-01-01..2026-03-01"},
        {"timeRange": "1y", "groupBy": "hour"},
        {"timeRange": "24h%0A"},
        {"timeRange": "2m"},
        {"groupBy": "branch"},
        {"groupBy": "language", "timeRange": "2025-11-18..2026-11-19"},
        {"metricType": "salary"},
        {"metricType": "events_count%00"},
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "ten"},
        {"projectId": "1%27%20OR%201=1"},
        {"cursor": "x"},
        {"cursor": "W10"},
        {"cursor": "WzAsMSwiIl0"},
        {"cursor": "WzEsMCwiMSJd"},
        {"cursor": "Wy05OTk5OTk5OTk5OTk5OTk5OTksOTk5OTk5OTk5OTk5OTk5OTk5OSwiIl0"},
        {"cursor": "%C3%BF"},
        {"cursor": "../../etc/passwd"},
        {"format": "xml"},
        {"viewer": "somebody"},
    ],
)
def test_a_wrong_query_is_told_what_was_expected(office: Office, crew: Crew, query: dict[str, str]) -> None:
    answer = office.ask(crew.sue, crew.aggregate(**query))
    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")
    assert "expected" in answer.get_json()["detail"].lower()


@pytest.mark.parametrize("query", ["since=2020-01-01", "since=x", "until=2026-11-31", "since=2026-11-20"])
def test_a_wrong_range_of_days_is_told_what_was_expected(office: Office, crew: Crew, query: str) -> None:
    assert office.ask(crew.sue, f"/teams/{crew.red.public_id}/activity?{query}").status_code == 400


def test_a_name_that_a_spreadsheet_would_run_is_a_text_in_a_table(office: Office, crew: Crew) -> None:
    world = office.world
    with world.database.writing() as session:
        session.execute(update(Person).where(Person.id == crew.sue.id).values(name='=cmd|"/c calc",\'x'))
    table = office.ask(crew.sue, crew.aggregate(groupBy="person", format="csv"))
    assert table.headers["Content-Type"].startswith("text/csv")
    [row] = [
        row for row in csv.DictReader(io.StringIO(table.get_data(as_text=True), newline="")) if row["name"]
    ]
    assert row["name"] == "'=cmd|\"/c calc\",'x"
    assert table.get_data().endswith(b"\r\n")


def test_a_tag_is_of_one_person_one_form_and_one_state(office: Office, crew: Crew) -> None:
    work(office, crew)
    addresses = [
        crew.aggregate(),
        crew.aggregate(groupBy="person"),
        crew.aggregate(metricType="commits"),
        f"/projects/{crew.atlas.public_id}/status",
        f"/teams/{crew.red.public_id}/activity",
    ]
    people = (crew.sue, crew.dan, crew.lea, crew.max, crew.ada)
    tags = {
        (who, address, form): office.ask(who, address, Accept=form).headers["ETag"]
        for who in people
        for address in addresses
        for form in ("application/json", "text/csv")
    }
    assert len(set(tags.values())) == len(tags)
    for (who, address, form), tag in tags.items():
        again = office.ask(who, address, Accept=form, If_None_Match=f'"other", {tag}')
        assert (again.status_code, again.data) == (304, b"")
        assert (again.headers["ETag"], again.headers["Cache-Control"]) == (tag, "private, no-cache")
        assert {"Authorization", "Accept"} <= set(again.vary.as_set(preserve_casing=True))
        other = crew.dan if who == crew.sue else crew.sue
        assert office.ask(other, address, Accept=form, If_None_Match=tag).status_code == 200
    for who in (crew.out, crew.rex):
        assert office.ask(who, addresses[0], If_None_Match=next(iter(tags.values()))).status_code == 404
        assert office.ask(who, addresses[0], If_None_Match="*").status_code == 404


@dataclass(frozen=True)
class Change:
    """Something that changes what Lea is answered."""

    name: str
    of: Callable[[Office, Crew], object]


def _execute(office: Office, statement: Any) -> None:
    with office.world.database.writing() as session:
        session.execute(statement)


def _named(crew: Crew, kind: Any, of: Any, name: str) -> Any:
    return update(kind).where(kind.id == of.id).values(name=name)


CHANGES = [
    Change(
        "an event", lambda office, crew: office.world.report(crew.sue, crew.atlas, (NOW_MS, saved("new.py")))
    ),
    Change("a name", lambda office, crew: _execute(office, _named(crew, Person, crew.sue, "Susan"))),
    Change(
        "a right",
        lambda office, crew: _execute(office, delete(TeamMember).where(TeamMember.person_id == crew.lea.id)),
    ),
    Change("another day", lambda office, crew: office.clock.move(86_400)),
    Change(
        "an epoch", lambda office, crew: setattr(office.context.epoch, "value", UUID(int=office.clock.now_ms))
    ),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_what_changes_an_answer_changes_its_tag(office: Office, crew: Crew, change: Change) -> None:
    work(office, crew)
    people = crew.aggregate(groupBy="person", timeRange="7d")
    before = office.ask(crew.lea, people)
    tag = before.headers["ETag"]
    assert office.ask(crew.lea, people, If_None_Match=tag).status_code == 304
    change.of(office, crew)
    office.world.refresh()
    after = office.ask(crew.lea, people, If_None_Match=tag)
    assert after.status_code == 200
    assert after.headers["ETag"] != tag


def test_who_loses_a_right_gets_nothing_more_by_a_tag(office: Office, crew: Crew) -> None:
    work(office, crew)
    tags = {who: office.ask(who, crew.aggregate()).headers["ETag"] for who in (crew.sue, crew.lea)}
    _execute(office, delete(ProjectMember).where(ProjectMember.person_id == crew.sue.id))
    _execute(office, update(Device).where(Device.id == crew.lea.device).values(revoked_at=NOW_MS))
    assert office.ask(crew.sue, crew.aggregate(), If_None_Match=tags[crew.sue]).status_code == 404
    assert office.ask(crew.lea, crew.aggregate(), If_None_Match=tags[crew.lea]).status_code == 401


# What it costs


@contextmanager
def statements() -> Iterator[list[str]]:
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield sent
    event.remove(Engine, "before_cursor_execute", note)


def test_the_number_of_statements_is_the_same_however_much_there_is(office: Office, crew: Crew) -> None:
    work(office, crew)
    asked = {
        "windows": (crew.sue, crew.aggregate()),
        "hours": (crew.sue, crew.aggregate(groupBy="hour", timeRange="7d")),
        "own part": (crew.sue, crew.aggregate(groupBy="person", timeRange="1y")),
        "people": (crew.lea, crew.aggregate(groupBy="person")),
        "types": (crew.sue, crew.aggregate(groupBy="type", timeRange="1y")),
        "languages": (crew.sue, crew.aggregate(groupBy="language", metricType="files_changed")),
        "files": (crew.sue, crew.aggregate(metricType="files_changed", timeRange="1y")),
        "status": (crew.sue, f"/projects/{crew.atlas.public_id}/status"),
        "team": (crew.sue, f"/teams/{crew.red.public_id}/activity"),
    }
    small = {name: count(office, *each) for name, each in asked.items()}
    for number in range(30):
        more = office.world.person(f"More{number}")
        _join(office, crew, more)
        office.world.report(
            more, crew.atlas, *((NOW_MS - day * DAY_MS, saved(f"{day}.py")) for day in range(12))
        )
    office.world.refresh()
    assert {name: count(office, *each) for name, each in asked.items()} == small
    assert small == {
        "windows": 5,
        "hours": 5,
        "own part": 6,
        "people": small["people"],
        "types": 8,
        "languages": 7,
        "files": 6,
        "status": 6,
        "team": 8,
    }


def _join(office: Office, crew: Crew, member: Member) -> None:
    with office.world.database.writing() as session:
        session.add(TeamMember(team_id=crew.red.id, person_id=member.id, role=Role.DEVELOPER))
        session.add(ProjectMember(project_id=crew.atlas.id, person_id=member.id, role=Role.DEVELOPER))


def count(office: Office, who: Member, address: str) -> int:
    """How many statements the answer takes when nothing is kept yet."""
    office.ask(who, address)  # a token that is new writes down that it has come
    asking = process(office)
    with statements() as sent:
        assert asking.ask(who, address).status_code == 200
    return sum(not statement.startswith("BEGIN") for statement in sent)


def test_that_nothing_changed_is_known_by_rights_and_generation_alone(office: Office, crew: Crew) -> None:
    work(office, crew)
    address = crew.aggregate()
    tag = office.ask(crew.sue, address).headers["ETag"]
    with statements() as sent:
        assert office.ask(crew.sue, address, If_None_Match=tag).status_code == 304
    asked = [statement for statement in sent if not statement.startswith("BEGIN")]
    assert len(asked) == 3  # the third is the calendar
    assert not any("cells" in statement or "marks" in statement for statement in asked)


# The cache


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Valkey]:
    with valkey.running() as server:
        yield server


def process(office: Office, server: Valkey | None = None, timeout_s: float = 5) -> Office:
    """Another process on the same database, which has counted nothing yet."""
    shared = None if server is None else Shared(server.url, timeout_s=timeout_s, pause_s=0)
    context = replace(office.context, cache=Cache(office.context.vault, shared))
    return replace(office, context=context, app=build.app(context))


def questions(crew: Crew) -> list[str]:
    return [
        crew.aggregate(metricType=metric, groupBy=group, timeRange=span)
        for metric in METRICS
        for group, span in (
            ("hour", "7d"),
            ("day", "1y"),
            ("month", "1y"),
            ("person", "30d"),
            ("type", "90d"),
        )
    ]


def test_what_is_kept_is_of_nobody_and_told_as_each_may_see_it(office: Office, crew: Crew) -> None:
    work(office, crew)
    people = (crew.lea, crew.sue, crew.dan, crew.ada, crew.max)
    fresh: dict[tuple[Member, str], bytes] = {}
    for who in people:
        own = process(office)
        fresh |= {(who, address): own.ask(who, address).data for address in questions(crew)}
    one = process(office)
    for (who, address), answer in fresh.items():
        assert one.ask(who, address).data == answer
    with statements() as sent:
        for who, address in fresh:
            one.ask(who, address)
    read = [statement for statement in sent if "FROM cells" in statement or "FROM slices" in statement]
    assert read == [], "all of it was kept"


def test_two_questions_with_different_answers_have_different_names(office: Office, crew: Crew) -> None:
    about = Server(UUID(int=1), UUID(int=2), office.world.calendar)
    others = [
        replace(about, id=UUID(int=3)),
        replace(about, epoch=UUID(int=3)),
        replace(about, calendar=replace(about.calendar, zone=ZoneInfo("UTC"))),
        replace(about, calendar=replace(about.calendar, idle_limit_ms=1)),
    ]
    asked = [
        series.Question(crew.atlas.id, metric, group, covered=(), span=span, counted=counted)
        for metric in get_args(MetricType)
        for group in get_args(GroupBy)
        for span, counted in (
            (Window(0, 10), Window(0, 10)),
            (Window(0, 10), Window(0, 9)),
            (Window(0, 9), Window(0, 9)),
        )
    ]
    names = [kept.name(about, crew.atlas, each) for each in asked]
    names += [kept.name(other, crew.atlas, asked[0]) for other in others]
    names += [kept.name(about, office.world.project("other"), asked[0])]
    assert len(set(names)) == len(names)
    pattern = f"project:{crew.atlas.public_id}:metric:events_count:range:0-10"
    assert names[0].startswith(pattern)


def test_an_event_ends_what_was_kept_of_its_project_everywhere(
    office: Office, crew: Crew, redis_server: Valkey
) -> None:
    work(office, crew)
    one, other = process(office, redis_server), process(office, redis_server)
    address = crew.aggregate(timeRange="1y")

    def totals() -> list[int]:
        office.context.database.transact(lambda session: one.context.cache.flush(session, NOW_MS))
        third = process(office)  # finds it in the table
        return [each.json(crew.sue, address)["total"]["value"] for each in (one, other, third)]

    assert totals() == [16, 16, 16]
    office.world.report(crew.sue, crew.atlas, (NOW_MS, saved("new.py")))
    assert [one.json(crew.sue, address)["freshness"]["isFresh"] for _ in range(2)] == [False, False]
    office.world.refresh()
    assert totals() == [17, 17, 17]
    assert totals() == [17, 17, 17]


STATES = ["killed", "hanging", "flushed", "poisoned", "swapped"]


@pytest.mark.parametrize("state", STATES)
def test_no_answer_depends_on_redis(office: Office, crew: Crew, state: str) -> None:
    work(office, crew)
    without = process(office)
    expected = {address: without.ask(crew.lea, address).data for address in questions(crew)}
    with valkey.running() as server:
        filling = process(office, server)
        for address, answer in expected.items():
            assert filling.ask(crew.lea, address).data == answer
        asking = process(office, server, timeout_s=0.05)
        spoil(server, state)
        for address, answer in expected.items():
            assert asking.ask(crew.lea, address).data == answer
        if state == "hanging":
            server.go_on()


def spoil(server: Valkey, state: str) -> None:
    if state == "killed":
        return server.kill()
    if state == "hanging":
        return server.hang()
    with server.client() as client:
        keys = sorted(client.keys("*"))
        values = [client.get(key) or b"" for key in keys]
        assert len(keys) == 30
        if state == "flushed":
            client.flushall()
            return None
        spoiled = [value.replace(b"1", b"9") for value in values]
        if state == "swapped":
            spoiled = [*values[1:], values[0]]
        for key, value in zip(keys, spoiled, strict=True):
            client.set(key, value)
    return None


def test_what_is_counted_while_an_upload_commits_does_not_outlive_it(office: Office, crew: Crew) -> None:
    """Between the moment when the generation is read and the one when the cells are."""
    work(office, crew)
    address = crew.aggregate(timeRange="7d", groupBy="hour")
    interrupted: list[str] = []

    def upload(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "FROM cells" in statement and not interrupted:
            interrupted.append(statement)
            office.world.report(crew.sue, crew.atlas, (NOW_MS, saved("meanwhile.py")))

    event.listen(Engine, "before_cursor_execute", upload)
    try:
        office.ask(crew.ada, address)
    finally:
        event.remove(Engine, "before_cursor_execute", upload)
    assert interrupted
    assert office.values(crew.ada, address)["2026-11-19T15:00+01:00"] == 1
    assert process(office).ask(crew.ada, address).data == office.ask(crew.ada, address).data
