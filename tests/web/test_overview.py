"""The first page: the numbers of all projects a person may see, and the form for a new one."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from bs4 import BeautifulSoup
from sqlalchemy import select

from devflow import access, activity, windows
from devflow.access import Action
from devflow.audit import Act
from devflow.cache import Cache
from devflow.models import AuditEntry, Person, Project, ProjectMember, Role
from tests import build, town
from tests.browsing import MINUS, Team, figures, one, soup, table, text
from tests.web.test_live import address, stream, told
from tests.web.test_teams import statements


def test_the_overview_shows_the_numbers_that_activity_has(busy: Team) -> None:
    page = soup(busy.browser("bob").get("/"))
    zone, server = busy.world.calendar.zone, busy.context.server(busy.world.calendar)
    with busy.context.database.reading() as session:
        bob = session.query(Person).filter_by(name="Bob").one()
        shown = session.scalars(
            access.visible(bob, Action.VIEW_PROJECT, Project).order_by(Project.name)
        ).all()
        found = activity.overview(session, shown, build.NOW_MS, Cache(busy.context.vault), server)
    week, today, before, trend = found.week, found.today, found.week_before, found.trend
    assert week.commits > today.commits > 0
    # From Monday to Wednesday, the day before this Thursday: as many as in those days of the week before.
    assert found.so_far.commits == found.so_far_before.commits == 18
    assert figures(page)["Commits"] == [
        str(week.commits),
        f"today {today.commits}",
        "Mon\N{EN DASH}Wed 18 (\N{PLUS-MINUS SIGN}0)",
        f"last week {before.commits}",
        f"30 days {trend.commits} (+{trend.commits})",
    ]
    assert figures(page)["Events"][0] == str(week.events)
    assert figures(page)["Files changed"][0] == str(week.files_changed)
    assert figures(page)["Lines"][0] == f"+{week.insertions:,} {MINUS}{week.deletions:,}"
    newest = windows.day_of(build.NOW_MS, zone)
    assert [row[1] for row in table(page, "commits")] == [
        str(next(day.numbers.commits for day in found.days if day.date == newest - timedelta(days=back)))
        for back in range(activity.TREND_DAYS)
    ]
    (row,) = page.select(".projects tbody tr")
    assert text(row, "th a") == "atlas"
    assert one(row, "th a")["href"] == busy.page
    assert one(row, "time")["datetime"] == str(newest)
    assert len(row.select(".spark rect")) == sum(day.numbers.commits > 0 for day in found.days)


def test_everybody_sees_only_the_own_projects_and_an_admin_all(busy: Team) -> None:
    busy.world.project("of nobody")
    names = {
        who: [link.get_text() for link in soup(busy.browser(who).get("/")).select(".projects tbody th a")]
        for who in busy.people
    }
    assert names == {"ada": ["atlas", "of nobody"], "bob": ["atlas"], "cem": ["atlas"], "eve": []}


def test_who_is_in_no_project_is_told_what_to_do(team: Team) -> None:
    page = soup(team.browser("eve").get("/"))
    assert "Ask a manager" in text(page, ".empty")
    assert page.select("form[action='/projects']") == []


def test_an_admin_without_a_project_is_offered_to_make_one(team: Team) -> None:
    with team.context.database.writing() as session:
        session.delete(session.query(Project).one())
    page = soup(team.browser("ada").get("/"))
    assert "Make the first one" in text(page, ".empty")
    assert one(page, "form[action='/projects'] input")["name"] == "name"


def test_a_new_project_has_its_maker_as_member_and_shows_the_commands(team: Team) -> None:
    ada = team.browser("ada")
    made = ada.post("/projects", name="  new   project ")
    page = soup(ada.get(made.headers["Location"]))
    project = made.headers["Location"].rpartition("/")[2]
    assert text(page, "h1") == "new project"
    assert [code.get_text() for code in page.select(".steps code")] == [
        "devflow init",
        "devflow import git",
        "devflow sync init http://localhost:8080",
        "devflow sync auth --email ada@example.org",
        f"devflow sync enable --project-id {project}",
        "devflow sync push",
        "devflow watch",
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "1 to 100"),
        ("x" * 101, "1 to 100"),
        ("atlas", "no project has yet"),
        ("a\0b", "invisible"),
        ("Z" + "\u0353" * 7, "6 accents"),
    ],
)
def test_a_bad_project_name_is_kept_beside_the_message(team: Team, name: str, said: str) -> None:
    answer = team.browser("ada").post("/projects", name=name)
    page = soup(answer)
    assert answer.status_code == 422
    assert said in text(page, "[role=alert]")
    assert one(page, "#name")["aria-describedby"] == one(page, "[role=alert]")["id"]


def test_only_those_who_may_make_projects(team: Team) -> None:
    team.world.person("Max", Role.MANAGER)
    team.world.person("Lea", Role.LEAD)
    answers = {
        who: team.browser(who).post("/projects", name=f"of {who}").status_code
        for who in ("max", "lea", "bob")
    }
    assert answers == {"max": 302, "lea": 403, "bob": 403}


def test_time_that_is_not_known_says_so_and_why(team: Team) -> None:
    team.report("bob", (build.NOW_MS - build.HOUR_MS, build.commit(build.STRANGER, "a.py")))
    page = soup(team.browser("cem").get("/"))
    assert figures(page)["Active time"][0] == "not known"
    assert "do not report to this server" in text(page, "main")


def test_time_that_is_known_is_told_also_where_the_time_before_is_not(team: Team) -> None:
    team.report("bob", (build.NOW_MS - 31 * build.DAY_MS, build.commit(build.STRANGER, "a.py")))
    moments = (build.NOW_MS - build.HOUR_MS, build.NOW_MS - build.HOUR_MS + 10 * build.MINUTE_MS)
    team.report("bob", *((moment, build.saved()) for moment in moments))
    page = soup(team.browser("cem").get("/"))
    assert figures(page)["Active time"][4] == "30 days 10 min (change not known)"
    assert "do not report to this server" in text(page, "main")


def test_the_page_says_so_while_something_is_being_counted(busy: Team) -> None:
    cem = busy.browser("cem")
    assert text(soup(cem.get("/")), "#fresh") == ""
    save = (build.NOW_MS - build.MINUTE_MS, build.saved())
    busy.world.report(busy.people["bob"], busy.project, save)
    assert "Counting" in text(soup(cem.get("/")), "#fresh")
    busy.world.refresh()
    assert text(soup(cem.get("/")), "#fresh") == ""


def test_the_overview_is_the_same_kept_or_counted_and_as_new_as_what_came_last(busy: Team) -> None:
    bob, atlas = busy.people["bob"], busy.project
    server = busy.context.server(busy.world.calendar)
    busy.world.project("borea", bob)
    cache = Cache(busy.context.vault)

    def seen(kept: Cache) -> activity.Overview:
        with busy.context.database.reading() as session:
            viewer = session.get_one(Person, bob.id)
            shown = session.scalars(
                access.visible(viewer, Action.VIEW_PROJECT, Project).order_by(Project.name)
            ).all()
            return activity.overview(session, shown, build.NOW_MS, kept, server)

    def numbers(found: activity.Overview) -> list[object]:
        rows = [(row.project.name, row.numbers, row.days, row.last_active) for row in found.projects]
        return [found.today, found.week, found.week_before, found.trend, found.days, rows, found.is_fresh]

    first = numbers(seen(cache))
    assert first == numbers(seen(cache)) == numbers(seen(Cache(busy.context.vault)))
    busy.world.report(bob, atlas, (build.NOW_MS - 1, build.saved("new.py")))
    busy.world.refresh()
    assert numbers(seen(cache)) == numbers(seen(Cache(busy.context.vault))) != first


# Who moved


@pytest.fixture
def led(busy: Team) -> Team:
    """Lea leads Bob, who is in a team with her; neither is Cem, who works beside him."""
    world, people = busy.world, busy.people
    people["lea"] = world.person("Lea")
    with busy.context.database.writing() as session:
        session.add(
            ProjectMember(project_id=busy.project.id, person_id=people["lea"].id, role=Role.DEVELOPER)
        )
    world.team("core", {people["lea"]: Role.LEAD, people["bob"]: Role.DEVELOPER})
    return busy


def people_of(page: BeautifulSoup) -> list[list[str]]:
    rows = one(page, "#people").select("tbody tr")
    return [[" ".join(cell.get_text(" ").split()) for cell in row.select("th, td")] for row in rows]


def looks(team: Team) -> list[tuple[UUID | None, str]]:
    viewed = select(AuditEntry).where(AuditEntry.act == Act.PERSON_VIEWED).order_by(AuditEntry.id)
    with team.world.reading() as session:
        return [(each.subject, each.detail) for each in session.scalars(viewed)]


def test_a_lead_sees_whom_they_lead_and_others_a_count(led: Team) -> None:
    rows = people_of(soup(led.browser("lea").get("/")))
    # Three commits a day, ten minutes from first to last: four days of this week, seven of the last.
    assert rows == [
        ["Bob", "12", f"+492 {MINUS}30", "4", "40 min", "1 h 10 min", "today"],
        ["Lea", "0", "0", "0", "0 min", "0 min", "not in 60 days"],
    ]
    for who in ("ada", "bob", "cem"):
        page = soup(led.browser(who).get("/"))
        assert people_of(page) == []
        assert "2 of 3 members active this week" in text(page, "#people")
    assert "No project yet" in text(soup(led.browser("eve").get("/")), "main")


def test_their_week_is_what_the_rest_answers(led: Team) -> None:
    bearer = town.bearer(led.context, led.people["lea"])
    answers = {}
    for metric in ("commits", "active_time", "insertions", "deletions", "files_changed"):
        asked = f"projectId={led.project.public_id}&metricType={metric}&groupBy=person"
        answer = led.app.test_client().get(
            f"/metrics/aggregate?{asked}&timeRange=2026-11-16..2026-11-22",
            headers={"Authorization": f"Bearer {bearer}"},
        )
        answers[metric] = {row.get("name"): row["value"] for row in answer.get_json()["rows"]}
    export = led.browser("lea").get("/?export=people").get_data(as_text=True)
    rows = {row["person"]: row for row in csv.DictReader(io.StringIO(export))}
    for metric, column in {"active_time": "active_s", "files_changed": "files"}.items():
        answers[column] = answers.pop(metric)
    assert {name: row["commits"] for name, row in rows.items()} == {"Bob": "12", "Lea": "0"}
    for column, values in answers.items():
        assert all(row[column] == str(values[name]) for name, row in rows.items()), column


def test_whoever_is_named_on_the_overview_is_told_once_a_load(led: Team) -> None:
    lea = led.browser("lea")
    of = address(lea)
    bob = led.people["bob"].public_id
    detail = '{"from":"2026-11-09","page":"overview","to":"2026-11-19"}'
    assert looks(led) == [(bob, detail)]
    assert lea.get(address(lea, way="data-poll")).status_code == 204
    with stream(lea, of) as chunks:
        next(chunks)
    led.context.hub.end()
    assert looks(led) == [(bob, detail)] * 2, "of two loads"
    led.browser("cem").get("/")
    assert len(looks(led)) == 2


def test_a_team_can_be_chosen(led: Team) -> None:
    world, people = led.world, led.people
    other = world.team("other", {people["lea"]: Role.LEAD, people["cem"]: Role.DEVELOPER})
    lea = led.browser("lea")
    assert [row[0] for row in people_of(soup(lea.get("/")))] == ["Bob", "Cem", "Lea"]
    chosen = soup(lea.get(f"/?team={other.public_id}"))
    assert [row[0] for row in people_of(chosen)] == ["Cem", "Lea"]
    assert "1 of 2 members active" in text(chosen, "#people")
    assert text(chosen, "#team option[selected]") == "other"
    assert led.browser("bob").get(f"/?team={other.public_id}").status_code == 404
    assert lea.get("/?team=core").status_code == 400


def test_who_has_no_pc_in_use_is_led_to_the_first_steps(team: Team) -> None:
    bob = team.browser("bob")
    assert soup(bob.get("/")).select("#no-pc") == []
    bob.post(f"/devices/{team.people['bob'].device_id}/revoke")
    assert one(soup(bob.get("/")), "#no-pc a")["href"] == "/start"
    assert soup(team.browser("cem").get("/")).select("#no-pc") == [], "it is of who looks"
    with stream(bob, address(bob)) as chunks:
        next(chunks)
        team.report("cem", (build.NOW_MS - build.MINUTE_MS, build.saved()))
        _, panels = told(chunks)
    assert not any(panel.select("#no-pc") for panel in panels.values())
    team.context.hub.end()


def test_on_a_monday_there_is_no_whole_day_to_compare(busy: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monday = replace(busy.context, now=lambda: build.NOW_MS - 3 * build.DAY_MS)
    page = soup(replace(busy, context=monday, app=build.app(monday)).browser("bob").get("/"))
    assert "no whole day yet" in text(page, "#week")
    assert [row.partition(" ")[0] for row in figures(page)["Commits"][1:]] == ["today", "last", "30"]


def test_the_overview_takes_as_many_statements_whatever_there_is(led: Team) -> None:
    lea = led.browser("lea")

    def asked() -> int:
        with statements() as sent:
            assert lea.get("/").status_code == 200
        return len(sent)

    lea.get("/")
    led.report("bob", (build.NOW_MS - 1, build.saved()))
    few = asked()
    more = [led.world.person(f"Number{n}") for n in range(6)]
    for number in range(4):
        project = led.world.project(f"p{number}", led.people["lea"], *more)
        for member in more:
            led.world.report(member, project, (build.NOW_MS - build.MINUTE_MS, build.saved()))
    led.world.team("more", {led.people["lea"]: Role.LEAD} | dict.fromkeys(more, Role.DEVELOPER))
    led.world.refresh()
    assert asked() == few
    assert few <= 26
    assert len(people_of(soup(lea.get("/")))) == 8
