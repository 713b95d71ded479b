"""Every number on a page is what a program is answered, and what a slow and obvious recount finds.

``SHOWN`` says where numbers stand and of what they are: a new panel gets its rows there.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from bs4 import BeautifulSoup, Tag
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from devflow import windows, wire
from devflow.context import Context
from devflow.models import Project, Role, Team
from tests import build, town
from tests.browsing import MINUS, figures, soup, table
from tests.build import DAY_MS, MINUTE_MS, NOW_MS, STRANGER, Member, World

Metric = Literal["events", "commits", "lines", "files", "active"]
Value = int | tuple[int, int] | None
Days = tuple[date, date]
Page = Literal["overview", "project", "person"]
PAGES: Final[tuple[Page, ...]] = ("overview", "project", "person")
IDLE_MS: Final = 15 * MINUTE_MS
TITLES: Final[dict[Metric, str]] = {
    "events": "Events",
    "commits": "Commits",
    "lines": "Lines",
    "files": "Files changed",
    "active": "Active time",
}
METRICS: Final[dict[str, Metric]] = {
    "events_count": "events",
    "commits": "commits",
    "insertions": "lines",
    "deletions": "lines",
    "files_changed": "files",
    "active_time": "active",
}
"""By what a program calls it."""
ROWS: Final[dict[Page, tuple[int, tuple[Metric, ...]]]] = {
    "overview": (2, ("commits", "lines", "files", "active")),
    "person": (1, ("active", "commits", "lines", "files", "events")),
}
"""Which column of the table of projects is the first with a number, and of what that and the next are."""
CHARTS: Final[tuple[Metric, ...]] = ("commits", "files", "active")
OF_TEAM: Final[dict[str, Metric]] = {
    "eventsCount": "events",
    "commits": "commits",
    "filesChanged": "files",
    "activeTime": "active",
}
NAMES: Final = ("atlas", "basalt")
"""Of projects, before the number of their example."""


@dataclass(frozen=True, slots=True)
class Deed:
    """``who`` is None for a commit of somebody nobody knows, which a pull brought to the first PC."""

    who: int | None
    project: int
    at: int
    path: str
    lines: tuple[int, int] | None
    """Of a commit; None for a save."""


class Sheet:
    """A page as somebody reads it, each part of it once: there are hundreds of numbers on one."""

    def __init__(self, page: BeautifulSoup) -> None:
        self.is_empty = bool(page.select(".card.empty"))
        self.figures = figures(page)
        self.charts = {name: table(page, name) for name in CHARTS if page.select(f"#{name}-title")}
        """By chart: the rows of the table behind it, newest day first."""
        rows = (_texts(row) for row in page.select(".projects tbody tr"))
        self.projects = {row[0].partition("-")[0]: row for row in rows}


def _texts(row: Tag) -> list[str]:
    return [" ".join(cell.get_text(" ").split()) for cell in row.select("th, td")]


@dataclass(frozen=True, slots=True)
class Shown:
    """A number on a page: where it is read, and of which days, projects and people it is."""

    page: Page
    metric: Metric
    read: Callable[[Sheet], str]
    days: Days
    projects: Sequence[int] = (0, 1)
    people: Sequence[int | None] = (0, 1, None)


# Who works, where, when, on which file; a commit of how many lines, by whom.
DEED: Final = st.builds(
    lambda who, project, ago, minute, path, lines, is_strangers: Deed(
        who=None if is_strangers and lines else who,
        project=project,
        at=NOW_MS - ago * DAY_MS - minute * MINUTE_MS,
        path=path,
        lines=lines,
    ),
    who=st.integers(0, 1),
    project=st.integers(0, 1),
    ago=st.integers(0, 1) | st.integers(0, 40),
    minute=st.integers(0, 40) | st.integers(0, 900),
    path=st.sampled_from(["a.py", "b.py", "c.md"]),
    lines=st.none() | st.tuples(st.integers(0, 2_000), st.integers(0, 2_000)),
    is_strangers=st.booleans(),
)


HISTORIES: Final = st.lists(DEED, min_size=1, max_size=15, unique_by=lambda deed: deed.at)
NOW_DAY: Final = date(2026, 11, 19)
TODAY: Final = (NOW_DAY, NOW_DAY)
WEEK: Final = (date(2026, 11, 16), NOW_DAY)
SO_FAR: Final = (date(2026, 11, 16), NOW_DAY - timedelta(days=1))
LAST_WEEK: Final = (date(2026, 11, 9), date(2026, 11, 15))
MONTH: Final = (NOW_DAY - timedelta(days=29), NOW_DAY)


def _month() -> list[date]:
    """The days of MONTH, newest first."""
    return [NOW_DAY - timedelta(days=ago) for ago in range(30)]


def _figure(title: str, place: int) -> Callable[[Sheet], str]:
    return lambda sheet: sheet.figures[title][place]


def _cell(chart: Metric, row: int, column: int) -> Callable[[Sheet], str]:
    return lambda sheet: sheet.charts[chart][row][column]


def _row(name: str, column: int) -> Callable[[Sheet], str]:
    """Of the table of projects; nothing if the project is not in it."""
    return lambda sheet: sheet.projects[name][column] if name in sheet.projects else ""


def _shown() -> Iterator[Shown]:
    for metric, title in TITLES.items():
        for place, days in enumerate((WEEK, TODAY, SO_FAR, LAST_WEEK, MONTH)):
            yield Shown("overview", metric, _figure(title, place), days)
        yield Shown("project", metric, _figure(title, 0), MONTH, projects=(0,))
        yield Shown("person", metric, _figure(title, 0), MONTH, people=(0,))
    for (project, name), (page, (first, metrics)) in itertools.product(enumerate(NAMES), ROWS.items()):
        people = (0,) if page == "person" else (0, 1, None)
        for column, metric in enumerate(metrics, first):
            yield Shown(page, metric, _row(name, column), MONTH, (project,), people)
    for row, day in enumerate(_month()):
        yield Shown("overview", "commits", _cell("commits", row, 1), (day, day))
        for metric in CHARTS:
            yield Shown("project", metric, _cell(metric, row, 1), (day, day), (0,))
        yield Shown("person", "commits", _cell("commits", row, 1), (day, day), people=(0,))
        yield Shown("person", "active", _cell("active", row, 1), (day, day), people=(0,))


SHOWN: Final = tuple(_shown())


@dataclass(frozen=True, slots=True)
class Office:
    """Bob and Cem in two projects of one team, whose program and browser Bob's are."""

    context: Context
    app: Flask
    world: World
    people: list[Member]
    projects: list[Project]
    team: Team
    cookie: str
    bearer: str

    def sheet(self, page: Page) -> Sheet:
        address = {
            "overview": "/",
            "project": f"/projects/{self.projects[0].public_id}",
            "person": f"/people/{self.people[0].public_id}",
        }[page]
        client = self.app.test_client()
        client.set_cookie("devflow", self.cookie)
        answer = client.get(address)
        assert answer.status_code == 200
        return Sheet(soup(answer))

    def ask(self, address: str) -> Any:
        headers = {"Authorization": f"Bearer {self.bearer}"}
        answer = self.app.test_client().get(address, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.get_json()


OFFICES: Final = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
"""Many histories on one database, an office each."""
_numbers = itertools.count(1)


@contextmanager
def opened(folder: Path, database_url: str) -> Iterator[tuple[Context, Flask]]:
    context, _ = build.context(folder / "data", database_url=database_url)
    yield context, build.app(context)
    context.database.close()


def office(context: Context, app: Flask, deeds: Sequence[Deed]) -> Office:
    """With people of its own, who see nothing of the examples before."""
    world, number = World.of(context), next(_numbers)
    people = [world.person(f"{name}{number}") for name in ("Bob", "Cem")]
    projects = [world.project(f"{name}-{number}", *people) for name in NAMES]
    team = world.team(f"Team{number}", {people[0]: Role.LEAD, people[1]: Role.DEVELOPER})
    for deed in deeds:
        who = people[deed.who or 0]
        world.report(who, projects[deed.project], (deed.at, _data(deed, who)))
    world.refresh()
    cookie, bearer = town.cookie(context, people[0]), town.bearer(context, people[0])
    return Office(context, app, world, people, projects, team, cookie, bearer)


def _data(deed: Deed, who: Member) -> wire.EventData:
    if deed.lines is None:
        return build.saved(deed.path)
    author = STRANGER if deed.who is None else who.author
    insertions, deletions = deed.lines
    return build.commit(author, deed.path, insertions=insertions, deletions=deletions)


def pages_are_right(office: Office, deeds: Sequence[Deed]) -> None:
    """Each number on each page equals the recount."""
    zone = office.world.calendar.zone
    sheets = {page: office.sheet(page) for page in PAGES}
    for shown in SHOWN:
        sheet = sheets[shown.page]
        if shown.page != "overview" and sheet.is_empty:
            assert recount(deeds, "events", MONTH, shown.projects, _of(shown.page), zone) == 0
            continue
        expected = recount(deeds, shown.metric, shown.days, shown.projects, shown.people, zone)
        assert read(shown.metric, shown.read(sheet)) == in_minutes(shown.metric, expected), (shown, deeds)


def _of(page: Page) -> Sequence[int | None]:
    return (0,) if page == "person" else (0, 1, None)


def answers_are_right(office: Office, deeds: Sequence[Deed]) -> None:
    """Each number that a program is answered about the same days equals the same recount."""
    zone = office.world.calendar.zone
    for (place, project), name in itertools.product(enumerate(office.projects), METRICS):

        def counted(days: Days, place: int = place, name: str = name) -> Value:
            found = recount(deeds, METRICS[name], days, (place,), (0, 1, None), zone)
            return found[name == "deletions"] if isinstance(found, tuple) else found

        asked = f"/metrics/aggregate?projectId={project.public_id}&metricType={name}"
        for first, last in (WEEK, TODAY, SO_FAR, LAST_WEEK, MONTH):
            answer = office.ask(f"{asked}&timeRange={first}..{last}&groupBy=day")
            assert answer["total"]["value"] == counted((first, last)), (name, first, last)
        by_day = {row["group"]: row["value"] for row in answer["rows"]}
        assert by_day == {str(day): counted((day, day)) for day in _month()}, name
    first, last = MONTH
    answer = office.ask(f"/teams/{office.team.public_id}/activity?since={first}&until={last}")
    for name, metric in OF_TEAM.items():
        assert answer["total"][name] == recount(deeds, metric, MONTH, (0, 1), (0, 1), zone), name


def recount(
    deeds: Iterable[Deed],
    metric: Metric,
    days: Days,
    projects: Sequence[int],
    people: Sequence[int | None],
    zone: ZoneInfo,
) -> Value:
    """Slow and obvious; of active time seconds, None where only people unknown here worked."""
    first, last = days
    of_scope = [
        deed
        for deed in deeds
        if deed.project in projects and deed.who in people and first <= windows.day_of(deed.at, zone) <= last
    ]
    commits = [deed for deed in of_scope if deed.lines is not None]
    match metric:
        case "events":
            return len(of_scope)
        case "commits":
            return len(commits)
        case "lines":
            return sum(deed.lines[0] for deed in commits if deed.lines), sum(
                deed.lines[1] for deed in commits if deed.lines
            )
        case "files":
            return len({(deed.project, deed.path) for deed in of_scope})
        case "active":
            if of_scope and not any(deed.who is not None for deed in of_scope):
                return None
            return (
                sum(_active_ms(deeds, who, days, projects, zone) for who in people if who is not None)
                // 1_000
            )


def _active_ms(deeds: Iterable[Deed], who: int, days: Days, projects: Sequence[int], zone: ZoneInfo) -> int:
    own = sorted((deed for deed in deeds if deed.who == who), key=lambda deed: deed.at)
    begin_ms, end_ms = windows.day_window(days[0], zone).start_ms, windows.day_window(days[1], zone).end_ms
    return sum(
        max(0, min(later.at, end_ms) - max(earlier.at, begin_ms))
        for earlier, later in itertools.pairwise(own)
        if earlier.project in projects and later.at - earlier.at <= IDLE_MS
    )


def read(metric: Metric, said: str) -> Value:
    """The number that stands at the end of a text; of active time whole minutes."""
    said = re.sub(r" \([^)]*\)$", "", said)  # against the time before
    if not said:
        return (0, 0) if metric == "lines" else 0
    if metric == "lines":
        found = re.search(rf"\+([\d,]+) {MINUS}([\d,]+)$", said)
        assert found is not None, said
        return _number(found[1]), _number(found[2])
    if metric != "active":
        return _number(re.findall(r"[\d,]+", said)[-1])
    if said.endswith("not known") or said.startswith("not known"):
        return None
    if said.endswith("< 1 min"):
        return 0
    found = re.search(r"(?:(\d+) h)?(?: ?(\d+) min)?$", said)
    assert found is not None and found[0], said
    return 60 * int(found[1] or 0) + int(found[2] or 0)


def in_minutes(metric: Metric, value: Value) -> Value:
    return value // 60 if metric == "active" and isinstance(value, int) else value


def _number(said: str) -> int:
    return int(said.replace(",", ""))
