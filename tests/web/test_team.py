"""A team's page: who is shown what of whom, what it leaves behind, and that it stays up to date."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from bs4 import BeautifulSoup
from sqlalchemy import insert, select
from sqlalchemy import text as sql

from devflow.audit import Act
from devflow.models import AuditEntry, Person, Project, ProjectMember, Role, TeamMember
from devflow.models import Team as TeamRow
from tests import build
from tests.browsing import Team, figures, htmx, one, soup, table, text
from tests.web.test_live import address, stream, told, version
from tests.web.test_teams import statements

HELP = ("stuck", "balance", "carried")
SHARED = ["#heading", "#fresh", "#totals", "#trend", "#load", "#focus", "#projects"]


@dataclass(frozen=True)
class Crew:
    """Bob leads core; Cem, Dan and Fay are in it; Lou leads another team that Dan is in, too.

    All of them are in atlas. Bob and Dan are in moonshot, where Dan works alone. Ada is an admin,
    Eve is nobody.
    """

    team: Team
    core: UUID
    hidden: Project

    @property
    def page(self) -> str:
        return f"/teams/{self.core}"

    def receipts(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Who was shown whom, and what of them."""
        with self.team.world.reading() as session:
            names = dict(session.execute(select(Person.public_id, Person.name)).all())
            entries = session.scalars(
                select(AuditEntry).where(AuditEntry.act == Act.PERSON_VIEWED).order_by(AuditEntry.id)
            )
            return [
                (names[entry.actor], names[entry.subject], json.loads(entry.detail))
                for entry in entries
                if entry.actor is not None and entry.subject is not None
            ]


@pytest.fixture
def crew(busy: Team) -> Iterator[Crew]:
    world, people = busy.world, busy.people
    for name in ("Dan", "Fay", "Lou"):
        people[name.lower()] = world.person(name)
    bob, cem, dan, fay, lou = (people[name] for name in ("bob", "cem", "dan", "fay", "lou"))
    core = world.team("core", {bob: Role.LEAD, **dict.fromkeys((cem, dan, fay), Role.DEVELOPER)})
    world.team("apps", {lou: Role.LEAD, cem: Role.DEVELOPER, dan: Role.DEVELOPER})
    with world.database.writing() as session:
        session.execute(
            insert(ProjectMember),
            [
                {"project_id": busy.project.id, "person_id": each.id, "role": Role.DEVELOPER}
                for each in (dan, fay, lou)
            ],
        )
    for day in (1, 2, 3):
        start = build.NOW_MS - day * build.DAY_MS - 6 * build.HOUR_MS
        world.report(
            dan,
            busy.project,
            *((start + step * 10 * build.MINUTE_MS, build.saved("dan.py")) for step in range(13)),
        )
    hidden = world.project("moonshot", bob, dan)
    world.report(dan, hidden, (build.NOW_MS - 20 * build.DAY_MS, build.commit(dan.author, "m.py")))
    world.refresh()
    yield Crew(busy, core.public_id, hidden)
    busy.context.hub.end()


def page_of(crew: Crew, who: str, query: str = "") -> BeautifulSoup:
    return soup(crew.team.browser(who).get(crew.page + query))


def titles(page: BeautifulSoup) -> set[str]:
    """What the page tells of single members."""
    return {name for name in ("people", *HELP) if page.select(f"section[aria-labelledby={name}-title]")}


def test_members_and_admins_get_the_page_and_nobody_else(crew: Crew) -> None:
    statuses = {who: crew.team.browser(who).get(crew.page).status_code for who in crew.team.people}
    assert statuses == {"ada": 200, "bob": 200, "cem": 200, "dan": 200, "fay": 200, "eve": 404, "lou": 404}


def test_only_who_leads_the_team_is_shown_its_members_one_by_one(crew: Crew) -> None:
    found = {who: titles(page_of(crew, who)) for who in ("ada", "bob", "cem", "dan", "fay")}
    assert found == {"bob": {"people", *HELP}, "ada": set(), "cem": set(), "dan": set(), "fay": set()}
    page = page_of(crew, "bob")
    assert [row.get_text() for row in page.select(".people-load tbody th a")] == ["Bob", "Cem", "Dan", "Fay"]
    for who in ("ada", "cem"):
        assert not {"Bob", "Dan", "Fay"} & set(text(page_of(crew, who), "main").split())


def test_of_a_team_one_does_not_lead_one_sees_whom_one_leads_elsewhere(crew: Crew) -> None:
    crew.team.world.team(
        "more", {crew.team.people["cem"]: Role.LEAD, crew.team.people["dan"]: Role.DEVELOPER}
    )
    page = page_of(crew, "cem")
    assert titles(page) == {"people"}, "to compare loads takes all of them"
    assert [row.get_text() for row in page.select(".people-load tbody th a")] == ["Cem", "Dan"]
    assert "2 more members are not yours to see alone" in text(page, "section[aria-labelledby=people-title]")
    assert [(by, of) for by, of, _ in crew.receipts()] == [("Cem", "Dan")]


def test_each_load_of_the_page_leaves_one_receipt_for_each_member_shown(crew: Crew) -> None:
    bob = crew.team.browser("bob")
    days = {"from": "2026-10-21", "to": "2026-11-19", "page": "team"}
    assert bob.get(crew.page).status_code == 200
    assert crew.receipts() == [("Bob", name, days) for name in ("Cem", "Dan", "Fay")]
    bob.get(crew.page, **htmx("main#main"))
    bob.client.head(crew.page)
    assert len(crew.receipts()) == 9
    told_of = text(soup(crew.team.browser("cem").get("/me")), "section[aria-labelledby=receipts-title]")
    assert "Bob looked at your days, Oct 21, 2026" in told_of


def test_the_receipt_names_all_days_that_were_shown(crew: Crew) -> None:
    """Beside the range asked for, help is drawn from the last 30 days."""
    crew.team.browser("bob").get(f"{crew.page}?from=2026-01-01&to=2026-01-31")
    assert {(detail["from"], detail["to"]) for _, _, detail in crew.receipts()} == {
        ("2026-01-01", "2026-01-31"),
        ("2026-10-21", "2026-11-19"),
    }


def test_what_shows_nobody_alone_leaves_no_receipt(crew: Crew) -> None:
    for who in ("ada", "cem", "dan"):
        crew.team.browser(who).get(crew.page)
    bob = crew.team.browser("bob")
    of = address(bob, crew.page)
    before = crew.receipts()
    with stream(bob, of) as chunks:
        next(chunks)
    assert bob.get(of.replace("live=", "poll=")).status_code == 204
    assert "Dan" not in bob.get(of.replace("live=", "poll=old")).get_data(as_text=True)
    assert bob.get(f"{crew.page}?export=projects").status_code == 200
    assert bob.get(f"{crew.page}?range=ever").status_code == 400
    assert crew.receipts() == before
    assert [by for by, _, _ in before] == ["Bob"] * 3


def test_the_table_of_people_leaves_receipts_and_is_for_who_may_see_them(crew: Crew) -> None:
    lines = crew.team.browser("bob").get(f"{crew.page}?export=people").get_data(as_text=True).splitlines()
    assert [line.split(",")[0] for line in lines] == ["person", "Bob", "Cem", "Dan", "Fay"]
    assert [of for _, of, _ in crew.receipts()] == ["Cem", "Dan", "Fay"]
    lines = crew.team.browser("cem").get(f"{crew.page}?export=people").get_data(as_text=True).splitlines()
    assert [line.split(",")[0] for line in lines] == ["person", "Cem"], "the own numbers are one's own"
    both = crew.team.browser("bob").get(f"{crew.page}?export=people&live=x")
    assert both.mimetype == "text/csv"
    assert len(crew.receipts()) == 6


def test_nothing_is_told_without_its_receipt(crew: Crew) -> None:
    bob = crew.team.browser("bob")
    with crew.team.world.database.writing() as session:
        session.execute(
            sql("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        )
    for query in ("", "?export=people"):
        answer = bob.get(crew.page + query)
        assert (answer.status_code, "Dan" in answer.get_data(as_text=True)) == (500, False)
    assert bob.get(f"{crew.page}?export=projects").status_code == 200


def test_a_project_the_viewer_may_not_see_is_in_no_number(crew: Crew) -> None:
    seen = {who: page_of(crew, who) for who in ("bob", "dan", "cem", "fay")}
    names = {who: [row.get_text() for row in page.select("#projects tbody th")] for who, page in seen.items()}
    assert names == {
        "bob": ["atlas", "moonshot"],
        "dan": ["atlas", "moonshot"],
        "cem": ["atlas"],
        "fay": ["atlas"],
    }
    commits = {who: figures(page)["Commits"] for who, page in seen.items()}
    assert commits == {"bob": ["73"], "dan": ["73"], "cem": ["72"], "fay": ["72"]}
    assert "moonshot" not in seen["cem"].get_text()
    for page in (seen["bob"], seen["cem"]):
        assert [str(sum(int(row[1]) for row in table(page, "commits")))] == figures(page)["Commits"]


def test_one_project_alone_and_none_that_is_not_the_viewers(crew: Crew) -> None:
    only = f"?project={crew.hidden.public_id}"
    page = page_of(crew, "bob", only)
    assert figures(page)["Commits"] == ["1"]
    assert one(page, "#only-project option[selected]").get_text() == "moonshot"
    assert "project=" in str(one(page, "#range-90d")["href"])
    assert one(page, ".range-form input[name=project]")["value"] == str(crew.hidden.public_id)
    answer = crew.team.browser("cem").get(crew.page + only)
    assert answer.status_code == 400
    assert "moonshot" not in answer.get_data(as_text=True)
    assert crew.team.browser("bob").get(f"{crew.page}?project=x").status_code == 400
    assert figures(page_of(crew, "bob", "?project="))["Commits"] == ["73"]


def test_the_spread_is_told_of_four_and_why_it_is_not_of_three(crew: Crew) -> None:
    assert "4 in all" in text(page_of(crew, "cem"), "#load")
    bob = crew.team.browser("ada")
    bob.post(f"{crew.page}/members/{crew.team.people['fay'].public_id}/remove")
    assert "fewer than four" in text(page_of(crew, "cem"), "#load")


def test_hours_are_told_of_days_with_three_people_and_the_page_says_how(crew: Crew) -> None:
    # Bob and Cem are active on twelve days, Dan on three of them.
    page = page_of(crew, "cem")
    days = text(page, "#focus .facts")
    assert "Days told 3 9 left out" in days
    assert "at least 45 minutes" in text(page, "#focus")
    page = page_of(crew, "cem", "?from=2026-11-10&to=2026-11-12")
    assert "Not told" in text(page, "#focus")
    assert page.select("#focus .facts") == []


def test_a_lead_is_told_who_may_want_help_with_the_numbers_and_the_rule(crew: Crew) -> None:
    page = page_of(crew, "bob")
    stuck = text(page, "section[aria-labelledby=stuck-title]")
    assert "Dan was active for 6 h on Nov 16, Nov 17 and Nov 18, without a commit since." in stuck
    assert "not a judgement" in stuck
    assert "at least 4 hours active over the last 3 active days" in stuck
    carried = text(page, "section[aria-labelledby=carried-title]")
    assert "None, by this rule. The rule: at least 80 percent" in carried


def test_while_something_is_being_counted_nobody_is_named(crew: Crew) -> None:
    crew.team.world.report(
        crew.team.people["dan"], crew.team.project, (build.NOW_MS - build.DAY_MS, build.saved())
    )
    page = page_of(crew, "bob")
    assert titles(page) == {"people"}
    assert "not known right now" in text(page, "#helping-waits")
    assert "follow in a moment" in text(page, "#fresh")


def test_tables_are_sorted_by_the_address_each_for_itself(crew: Crew) -> None:
    page = page_of(crew, "bob", "?sort=people.-person")
    assert [row.get_text() for row in page.select(".people-load tbody th a")] == ["Fay", "Dan", "Cem", "Bob"]
    page = page_of(crew, "bob", "?sort=projects.-commits")
    assert [row.get_text() for row in page.select("#projects tbody th")] == ["moonshot", "atlas"]
    assert crew.team.browser("bob").get(f"{crew.page}?sort=people.salary").status_code == 400


def test_a_push_is_what_a_fresh_load_shows_and_nobodys_own(crew: Crew) -> None:
    bob, dan = crew.team.browser("bob"), crew.team.browser("dan")
    with stream(bob, address(bob, crew.page)) as his, stream(dan, address(dan, crew.page)) as others:
        next(his), next(others)
        at = build.NOW_MS - build.MINUTE_MS
        crew.team.report("dan", (at, build.commit(crew.team.people["dan"].author, "new.py")))
        number, panels = told(his)
        assert told(others) == (number, panels), "a lead and a member who see the same projects share a view"
    fresh = soup(bob.get(crew.page))
    assert version(address(bob, crew.page)) == number
    assert list(panels) == SHARED
    for target, panel in panels.items():
        assert panel.decode_contents().split() == one(fresh, target).decode_contents().split()
    assert figures(fresh)["Commits"] == ["74"]


def test_who_sees_other_projects_has_another_view(crew: Crew) -> None:
    bob, cem = crew.team.browser("bob"), crew.team.browser("cem")
    with stream(cem, address(cem, crew.page)) as chunks, stream(bob, address(bob, crew.page)) as others:
        next(chunks), next(others)
        dan = crew.team.people["dan"]
        crew.team.world.report(
            dan, crew.hidden, (build.NOW_MS - build.MINUTE_MS, build.commit(dan.author, "secret.py"))
        )
        crew.team.world.refresh()
        assert "moonshot" in str(told(others))
        # Of the day in moonshot, atlas learns nothing but its own.
        crew.team.report("cem", (build.NOW_MS, build.saved("open.py")))
        assert "moonshot" not in str(told(chunks))


def test_an_empty_team_and_one_without_projects_say_what_to_do(crew: Crew) -> None:
    empty = f"/teams/{crew.team.world.team('empty', {}).public_id}"
    page = soup(crew.team.browser("ada").get(empty))
    assert str(one(page, ".empty a")["href"]) == f"{empty}/members"
    eve = crew.team.people["eve"]
    alone = f"/teams/{crew.team.world.team('alone', {eve: Role.DEVELOPER}).public_id}"
    page = soup(crew.team.browser("eve").get(alone))
    assert text(page, ".empty h2") == "No project to see"
    page = soup(crew.team.browser("ada").get(alone))
    assert text(page, ".empty h2") == "Nothing yet"
    page = page_of(crew, "bob", "?from=2020-01-01&to=2020-01-31")
    assert text(page, "#totals .empty h2") == "Nothing in this range"


def test_the_page_and_its_members_lead_to_each_other(crew: Crew) -> None:
    for where, current in ((crew.page, "Activity"), (f"{crew.page}/members", "Members")):
        page = soup(crew.team.browser("cem").get(where))
        tabs = one(page, "nav[aria-label='This team']")
        assert [str(link["href"]) for link in tabs.select("a")] == [crew.page, f"{crew.page}/members"]
        assert one(tabs, "[aria-current=page]").get_text() == current


def test_as_many_statements_however_many_members_and_projects(crew: Crew) -> None:
    world = crew.team.world

    def asked(who: str) -> int:
        browser = crew.team.browser(who)
        with statements() as sent:
            assert browser.get(f"{crew.page}?range=90d").status_code == 200
        return len([each for each in sent if "audit" not in each.lower()])

    few = {who: asked(who) for who in ("cem", "ada")}
    more = [world.person(f"Number{number}") for number in range(5)]
    with world.database.writing() as session:
        team = session.scalars(select(TeamRow).filter_by(name="core")).one()
        session.add_all(TeamMember(team_id=team.id, person_id=each.id, role="developer") for each in more)
    for number in range(5):
        project = world.project(f"more {number}", *crew.team.people.values(), *more)
        for each in more:
            world.report(each, project, (build.NOW_MS - number * build.DAY_MS, build.saved()))
    world.refresh()
    assert {who: asked(who) for who in few} == few
