"""One project's page: who may see it, which days it shows, and that its numbers are activity's."""

from __future__ import annotations

from datetime import date
from uuid import uuid4

import pytest

from devflow import activity
from devflow.activity import ProjectActivity
from devflow.models import Person, Project
from tests import build
from tests.browsing import MINUS, Team, figures, htmx, one, soup, table, text

TODAY = date(2026, 11, 19)


def known(team: Team, name: str, first: date | None, last: date = TODAY) -> ProjectActivity:
    """What activity says for the person."""
    with team.context.database.reading() as session:
        viewer = session.query(Person).filter_by(name=name.title()).one()
        project = session.query(Project).filter_by(public_id=team.project.public_id).one()
        return activity.project(session, project, viewer.id, first, last, team.world.calendar.zone)


def test_members_and_admins_see_a_project_and_an_outsider_sees_nothing_there(busy: Team) -> None:
    answers = {who: busy.browser(who).get(busy.page) for who in busy.people}
    assert {who: answer.status_code for who, answer in answers.items()} == {
        "ada": 200,
        "bob": 200,
        "cem": 200,
        "eve": 404,
    }
    missing = uuid4()
    nothing = text(soup(busy.browser("eve").get(f"/projects/{missing}")), "main")
    assert text(soup(answers["eve"]), "main") == nothing.replace(str(missing), str(busy.project.public_id))
    assert busy.browser("bob").get("/projects/not-an-id").status_code == 404
    assert busy.browser().get(busy.page).status_code == 302


def test_who_leads_nobody_reads_of_no_other_people_on_the_page(busy: Team) -> None:
    page = busy.browser("cem").get(busy.page).get_data(as_text=True).lower()
    assert "cem" in page
    assert "bob" not in page
    assert "src/" not in page, "files of one or two people would say what they work on"


def test_the_numbers_on_the_page_are_those_of_activity(busy: Team) -> None:
    page = soup(busy.browser("bob").get(own_part(busy, "bob")))
    shown = known(busy, "bob", date(2026, 10, 21))
    total, own = shown.total, shown.own
    assert 0 < own.commits < total.commits
    assert figures(page)["Commits"] == [str(total.commits), f"yours {own.commits}"]
    assert figures(page)["Events"] == [str(total.events), f"yours {own.events}"]
    assert figures(page)["Files changed"] == [str(total.files_changed), f"yours {own.files_changed}"]
    assert figures(page)["Lines"] == [
        f"+{total.insertions:,} {MINUS}{total.deletions:,}",
        f"yours +{own.insertions:,} {MINUS}{own.deletions:,}",
    ]
    newest_first = shown.periods[::-1]
    assert [row[1:] for row in table(page, "commits")] == [
        [str(p.numbers.commits), str(p.own.commits)] for p in newest_first
    ]
    assert [row[1:3] for row in table(page, "lines")] == [
        [f"{p.numbers.insertions:,}", f"{p.numbers.deletions:,}"] for p in newest_first
    ]
    assert [row[1:] for row in table(page, "files")] == [
        [str(p.numbers.files_changed), str(p.own.files_changed)] for p in newest_first
    ]
    # Ten minutes a day each for Bob and Cem; nobody knows the stranger's on the one day of that commit.
    times = [row[1] for row in table(page, "active")]
    assert times[:12] == ["20 min"] * 12
    assert times[15] == "not known"
    assert set(times) == {"20 min", "0 min", "not known"}
    assert "do not report to this server" in text(page, "section[aria-labelledby=active-title]")


def own_part(team: Team, name: str) -> str:
    return f"{team.page}?person={team.people[name].public_id}"


def test_each_person_can_have_the_own_part_beside_the_total(busy: Team) -> None:
    pages = {who: figures(soup(busy.browser(who).get(own_part(busy, who)))) for who in ("ada", "bob", "cem")}
    assert {who: page["Commits"] for who, page in pages.items()} == {
        "ada": ["73", "yours 0"],
        "bob": ["73", "yours 36"],
        "cem": ["73", "yours 36"],
    }
    assert figures(soup(busy.browser("bob").get(busy.page)))["Commits"] == ["73"]


def test_a_project_without_events_shows_the_commands_to_members_only(team: Team) -> None:
    steps = [code.get_text() for code in soup(team.browser("bob").get(team.page)).select(".steps code")]
    assert steps[3:5] == [
        "devflow sync auth --email bob@example.org",
        f"devflow sync enable --project-id {team.project.public_id}",
    ]
    admins = soup(team.browser("ada").get(team.page))
    assert admins.select("code") == []
    assert "only its members can send" in text(admins, "main")


def test_an_empty_range_of_a_project_with_history_leads_to_it(team: Team) -> None:
    team.report("bob", (build.NOW_MS - 100 * build.DAY_MS, build.commit(team.people["bob"].author, "a.py")))
    bob = team.browser("bob")
    page = soup(bob.get(team.page))
    assert "Aug 11, 2026" in text(page, ".empty")
    links = [str(link["href"]) for link in page.select(".empty a")]
    assert links == [f"{team.page}?from=2026-07-13&to=2026-08-11", f"{team.page}?range=all"]
    for link in links:
        assert figures(soup(bob.get(link)))["Commits"][0] == "1"


@pytest.mark.parametrize(
    ("query", "first", "bars"),
    [
        ("", date(2026, 10, 21), 30),
        ("?range=30d", date(2026, 10, 21), 30),
        ("?range=90d", date(2026, 8, 22), 90),
        ("?range=1y", date(2025, 11, 20), 53),
        ("?range=all", None, 16),
        ("?from=2026-11-01&to=2026-11-19", date(2026, 11, 1), 19),
    ],
)
def test_ranges_show_their_days(busy: Team, query: str, first: date | None, bars: int) -> None:
    page = soup(busy.browser("bob").get(busy.page + query))
    shown = known(busy, "bob", first)
    assert len(page.select("section[aria-labelledby=commits-title] .slot")) == bars == len(shown.periods)
    assert figures(page)["Events"][0] == str(shown.total.events)
    current = [link["id"] for link in page.select(".range [aria-current]")]
    assert current == ([] if "from" in query else [f"range-{query.partition('=')[2] or '30d'}"])


def test_a_range_of_weeks_says_that_it_was_widened(busy: Team) -> None:
    page = soup(busy.browser("bob").get(f"{busy.page}?range=1y"))
    assert "One bar is one week" in text(page, "main")
    assert "Nov 17, 2025 to Nov 19, 2026" in text(page, "main")
    assert text(page, "#commits-title") == "Commits per week"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?range=31d", "30d, 90d, 1y or all"),
        ("?from=2026-11-01", "Expected to as a date"),
        ("?to=2026-11-01", "Expected from as a date"),
        ("?from=2026-11-02&to=2026-11-01", "no later than"),
        ("?from=20261101&to=2026-11-02", "Expected from as a date"),
        ("?from=2026-02-30&to=2026-11-02", "Expected from as a date"),
        ("?from=1969-12-31&to=2026-11-02", "from 1970 on"),
        ("?from=9999-01-01&to=9999-01-02", "Expected from as a date"),
        ("?from=1970-01-01&to=2071-01-01", "at most 100 years"),
        ("?from=2026-11-01&to=2026-11-02&range=30d", "got both"),
        ("?from=%00&to=2026-11-02", "Expected from as a date"),
    ],
)
def test_a_bad_range_is_answered_with_what_was_expected(busy: Team, query: str, said: str) -> None:
    answer = busy.browser("bob").get(busy.page + query)
    assert answer.status_code == 400
    assert said in text(soup(answer), "main")


@pytest.mark.parametrize(
    ("query", "bars", "step"),
    [
        ("?from=2026-07-13&to=2026-11-19", 130, "day"),
        ("?from=2026-07-12&to=2026-11-19", 20, "week"),
        ("?from=2024-06-01&to=2026-11-19", 130, "week"),
        ("?from=2017-01-01&to=2026-11-19", 119, "month"),
        ("?from=2000-01-01&to=2026-11-19", 108, "quarter"),
        ("?from=1970-01-01&to=2026-11-19", 57, "year"),
    ],
)
def test_no_chart_has_more_bars_than_can_be_read(busy: Team, query: str, bars: int, step: str) -> None:
    page = soup(busy.browser("bob").get(busy.page + query))
    assert len(page.select("section[aria-labelledby=commits-title] .slot")) == bars
    assert text(page, "#commits-title") == f"Commits per {step}"
    # The stranger's commit and every one of Bob's and Cem's, however they are put together.
    assert figures(page)["Commits"][0] == "73"
    assert sum(int(row[1]) for row in table(page, "commits")) == 73


def test_a_browser_gets_the_page_and_htmx_the_block_it_asks_for(busy: Team) -> None:
    bob = busy.browser("bob")
    page = bob.get(f"{busy.page}?range=90d")
    fragment = bob.get(f"{busy.page}?range=90d", **htmx("main#main"))
    assert soup(page).select("html") and not soup(fragment).select("html, main, header.top")
    nonces = [str(one(soup(answer), "#range-all")["hx-nonce"]) for answer in (page, fragment)]
    inside = one(soup(page), "main").decode_contents().replace(nonces[0], nonces[1])
    assert inside.split() == soup(fragment).decode_contents().split()
    for answer in (page, fragment):
        assert {"HX-Request", "HX-Target"} <= set(answer.vary)


@pytest.mark.parametrize(
    "headers",
    [
        htmx("main#main", kind="full", HX_History_Restore_Request="true"),
        htmx("body", kind="full", HX_Boosted="true"),
        htmx("div#unheard-of"),
    ],
)
def test_what_asks_for_no_block_of_the_page_gets_it_whole(busy: Team, headers: dict[str, str]) -> None:
    assert soup(busy.browser("bob").get(busy.page, **headers)).select("html main#main")
