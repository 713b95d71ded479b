"""A person's page: who gets it, what it shows, and the receipt that is there before anything is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from bs4 import BeautifulSoup
from sqlalchemy import delete, select
from sqlalchemy import text as sql

from devflow.audit import Act
from devflow.models import AuditEntry, Project, Role, TeamMember
from tests import build
from tests.browsing import Team, figures, htmx, one, soup, table, text
from tests.build import Member
from tests.web.test_live import address, stream, told, version
from tests.web.test_teams import statements


@dataclass(frozen=True)
class Crew:
    """Bob of the red team works in atlas and, alone, in the hidden project.

    Lea leads the red team and is in atlas; Leo leads the blue one, Rex led the red one and was
    removed; Ada, an admin, is in no team; Eve is nobody to Bob.
    """

    team: Team
    bob: Member
    hidden: Project

    @property
    def page(self) -> str:
        return f"/people/{self.bob.public_id}"

    def receipts(self) -> list[dict[str, Any]]:
        with self.team.world.reading() as session:
            entries = session.scalars(select(AuditEntry).where(AuditEntry.act == Act.PERSON_VIEWED)).all()
            return [
                {"actor": entry.actor, "subject": entry.subject, "detail": entry.detail} for entry in entries
            ]


@pytest.fixture
def crew(busy: Team) -> Iterator[Crew]:
    world, bob = busy.world, busy.people["bob"]
    for name in ("Lea", "Leo", "Rex"):
        busy.people[name.lower()] = world.person(name)
    lea, leo, rex = (busy.people[name] for name in ("lea", "leo", "rex"))
    red = world.team("red", {bob: Role.DEVELOPER, lea: Role.LEAD, rex: Role.LEAD})
    world.team("blue", {busy.people["cem"]: Role.DEVELOPER, leo: Role.LEAD})
    with world.database.writing() as session:
        session.execute(delete(TeamMember).filter_by(team_id=red.id, person_id=rex.id))
        session.execute(
            sql(
                "INSERT INTO project_members (project_id, person_id, role) VALUES (:project, :person, :role)"
            ),
            {"project": busy.project.id, "person": lea.id, "role": Role.DEVELOPER},
        )
    hidden = world.project("moonshot", bob)
    world.report(
        bob,
        hidden,
        (build.NOW_MS - build.DAY_MS, build.commit(bob.author, "moon.py", insertions=1_000)),
        (build.NOW_MS - 50 * build.DAY_MS, build.saved()),
    )
    world.refresh()
    yield Crew(busy, bob, hidden)
    busy.context.hub.end()


def test_the_person_and_their_lead_get_the_page_and_nobody_else(crew: Crew) -> None:
    statuses = {who: crew.team.browser(who).get(crew.page).status_code for who in crew.team.people}
    assert statuses == {"bob": 200, "lea": 200, "leo": 404, "rex": 404, "ada": 404, "eve": 404, "cem": 404}
    assert crew.team.browser().get(crew.page).status_code == 302
    missing = uuid4()
    nothing = text(soup(crew.team.browser("leo").get(f"/people/{missing}")), "main")
    refused = text(soup(crew.team.browser("leo").get(crew.page)), "main")
    assert refused == nothing.replace(str(missing), str(crew.bob.public_id))


def test_only_who_gets_it_leaves_a_receipt_and_the_person_themself_does_not(crew: Crew) -> None:
    for who in crew.team.people:
        crew.team.browser(who).get(crew.page)
    assert crew.receipts() == [
        {
            "actor": crew.team.people["lea"].public_id,
            "subject": crew.bob.public_id,
            "detail": '{"from":"2026-10-21","page":"person","to":"2026-11-19"}',
        }
    ]
    told = text(soup(crew.team.browser("bob").get("/me")), "section[aria-labelledby=receipts-title]")
    assert "Lea looked at your days, Oct 21, 2026 \N{EN DASH} Nov 19, 2026" in told
    assert "Lea" not in text(soup(crew.team.browser("cem").get("/me")), "main")


@pytest.mark.parametrize(
    "headers", [htmx("main#main"), htmx("p#fresh"), htmx("div#unheard-of"), htmx("body", kind="full")]
)
def test_a_fragment_leaves_a_receipt_as_the_page_does(crew: Crew, headers: dict[str, str]) -> None:
    lea = crew.team.browser("lea")
    assert lea.get(crew.page, **headers).status_code == 200
    assert len(crew.receipts()) == 1


def test_asking_for_the_head_alone_leaves_a_receipt(crew: Crew) -> None:
    assert crew.team.browser("lea").client.head(crew.page).status_code == 200
    assert len(crew.receipts()) == 1


def test_the_receipt_names_the_days_that_were_really_shown(crew: Crew) -> None:
    lea = crew.team.browser("lea")
    lea.get(f"{crew.page}?range=1y")
    lea.get(f"{crew.page}?range=all")
    assert lea.get(f"{crew.page}?range=ever").status_code == 400
    assert [receipt["detail"] for receipt in crew.receipts()] == [
        # Weeks are whole, so they begin on a Monday; what is to come was not shown.
        '{"from":"2025-11-17","page":"person","to":"2026-11-19"}',
        '{"from":"2026-11-08","page":"person","to":"2026-11-19"}',
    ]


def test_without_a_receipt_nothing_is_shown(crew: Crew) -> None:
    lea, bob = crew.team.browser("lea"), crew.team.browser("bob")
    with crew.team.world.database.writing() as session:
        session.execute(
            sql("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        )
    for headers in ({}, htmx("main#main"), htmx("p#fresh")):
        answer = lea.get(crew.page, **headers)
        assert answer.status_code == 500
        assert "Bob" not in answer.get_data(as_text=True)
    assert crew.receipts() == []
    assert bob.get(crew.page).status_code == 200


def test_the_viewer_is_told_that_the_person_sees_the_visit(crew: Crew) -> None:
    page = soup(crew.team.browser("lea").get(crew.page))
    assert text(page, "#told") == "Bob is told that Lea looked at this page, when, and at which days."
    assert "only what lies in projects that Lea may see" in text(page, "#scope")
    own = soup(crew.team.browser("bob").get(crew.page))
    assert own.select("#told") == []
    assert "all your work" in text(own, "#scope")


def test_a_project_the_viewer_may_not_see_is_not_on_the_page(crew: Crew) -> None:
    page = soup(crew.team.browser("lea").get(crew.page))
    own = soup(crew.team.browser("bob").get(crew.page))
    assert "moonshot" not in page.get_text()
    assert [row.get_text() for row in page.select(".projects tbody th")] == ["atlas"]
    assert [row.get_text() for row in own.select(".projects tbody th")] == ["atlas", "moonshot"]
    assert figures(page)["Commits"] == ["36"]
    assert figures(own)["Commits"] == ["37"]
    assert sum(int(row[1]) for row in table(page, "commits")) == 36
    assert sum(int(row[1]) for row in table(own, "commits")) == 37
    assert figures(page)["Active time"] == ["2 h"]
    assert str(one(page, ".projects tbody a")["href"]) == crew.team.page


def test_a_link_leads_only_where_the_person_may_still_go(crew: Crew) -> None:
    with crew.team.world.database.writing() as session:
        session.execute(sql("DELETE FROM project_members WHERE project_id = :id"), {"id": crew.hidden.id})
    page = soup(crew.team.browser("bob").get(crew.page))
    assert [link.get_text() for link in page.select(".projects tbody a")] == ["atlas"]
    assert "moonshot" in text(page, ".projects")


def test_a_page_that_waits_follows_by_itself_only_for_the_person_themself(crew: Crew) -> None:
    crew.team.world.report(crew.bob, crew.team.project, (build.NOW_MS, build.saved()))
    lea, bob = crew.team.browser("lea"), crew.team.browser("bob")
    assert "Load the page again" in text(soup(lea.get(crew.page)), "#fresh")
    assert soup(lea.get(crew.page)).select("#live") == []
    page = soup(bob.get(crew.page))
    assert "follow in a moment" in text(page, "#fresh")
    assert one(page, "#live")


def test_a_person_without_work_is_told_what_to_do(crew: Crew) -> None:
    eve = crew.team.people["eve"]
    page = soup(crew.team.browser("eve").get(f"/people/{eve.public_id}"))
    assert text(page, ".empty h2") == "Nothing yet"
    crew.team.world.team("green", {eve: Role.DEVELOPER, crew.team.people["cem"]: Role.LEAD})
    page = soup(crew.team.browser("cem").get(f"/people/{eve.public_id}"))
    assert text(page, ".empty h2") == "Nothing to see"


def test_an_empty_range_leads_to_the_last_days_that_are_shared(crew: Crew) -> None:
    page = soup(crew.team.browser("lea").get(f"{crew.page}?from=2020-01-01&to=2020-01-31"))
    links = [str(link["href"]) for link in page.select("#totals .empty a")]
    assert links == [f"{crew.page}?from=2026-10-21&to=2026-11-19", f"{crew.page}?range=all"]


# Day by day


def days(page: BeautifulSoup) -> list[list[str]]:
    """The rows of the timeline, those of weeks as well, without what stands there for phones."""
    for narrow in page.select(".days .narrow"):
        narrow.extract()
    return [
        [" ".join(cell.get_text(" ").split()) for cell in row.select("th, td")]
        for row in page.select(".days tbody tr")
    ]


def test_days_stand_in_their_weeks_with_projects_time_commits_and_files(crew: Crew) -> None:
    shown = days(soup(crew.team.browser("bob").get(crew.page)))
    assert shown[:4] == [
        ["Week from Nov 16, 2026", "", "40 min", "13", "5"],
        ["Thu, Nov 19", "atlas", "10 min", "3", "4"],
        ["Wed, Nov 18", "atlas 10 min , moonshot 0 min", "10 min", "4", "5"],
        ["Tue, Nov 17", "atlas", "10 min", "3", "4"],
    ]
    assert sum(int(row[3]) for row in shown if not row[0].startswith("Week")) == 37
    seen = days(soup(crew.team.browser("lea").get(crew.page)))
    assert seen[2] == ["Wed, Nov 18", "atlas", "10 min", "3", "4"], "what she may not see is in no day"


def test_in_another_order_days_stand_in_no_week(crew: Crew) -> None:
    shown = days(soup(crew.team.browser("bob").get(f"{crew.page}?sort=days.commits")))
    assert shown[0][0] == "Wed, Nov 18"
    assert not [row for row in shown if row[0].startswith("Week")]


def test_the_table_of_days_goes_along_and_leaves_a_receipt_as_the_page_does(crew: Crew) -> None:
    lines = crew.team.browser("lea").get(f"{crew.page}?export=days").get_data(as_text=True).splitlines()
    assert lines[:2] == [
        "day,projects,active_s,commits,insertions,deletions,files,events",
        "2026-11-19,atlas,600,3,123,3,4,3",
    ]
    assert "moonshot" not in "".join(lines)
    assert len(crew.receipts()) == 1
    own = crew.team.browser("bob").get(f"{crew.page}?export=days").get_data(as_text=True)
    assert "atlas, moonshot" in own


def test_one_project_alone(crew: Crew) -> None:
    only = f"{crew.page}?project={crew.hidden.public_id}"
    page = soup(crew.team.browser("bob").get(only))
    assert figures(page)["Commits"] == ["1"]
    assert [row[0] for row in days(page)] == ["Week from Nov 16, 2026", "Wed, Nov 18"]
    answer = crew.team.browser("lea").get(only)
    assert (answer.status_code, "moonshot" in answer.get_data(as_text=True)) == (400, False)
    missing = crew.team.browser("lea").get(f"{crew.page}?project={uuid4()}")
    assert missing.status_code == 400, "a hidden project is answered as one that is not there"


def test_one_type_of_events_is_for_oneself(crew: Crew) -> None:
    bob = crew.team.browser("bob")
    page = soup(bob.get(f"{crew.page}?type=git.commit&range=all"))
    assert (figures(page)["Events"], figures(page)["Commits"]) == (["37"], ["37"])
    page = soup(bob.get(f"{crew.page}?type=file.saved&range=all"))
    assert (figures(page)["Events"], figures(page)["Commits"]) == (["1"], ["0"])
    assert bob.get(f"{crew.page}?type=lunch").status_code == 400
    lea = crew.team.browser("lea")
    assert lea.get(f"{crew.page}?type=git.commit").status_code == 400
    assert soup(lea.get(crew.page)).select("#only-type") == []


def test_the_own_page_stays_up_to_date_and_equals_a_fresh_load(crew: Crew) -> None:
    bob = crew.team.browser("bob")
    with stream(bob, address(bob, crew.page)) as chunks:
        next(chunks)
        at = build.NOW_MS - build.MINUTE_MS
        crew.team.world.report(crew.bob, crew.hidden, (at, build.commit(crew.bob.author, "moon.py")))
        crew.team.world.refresh()
        number, panels = told(chunks)
    fresh = soup(bob.get(crew.page))
    assert version(address(bob, crew.page)) == number
    assert list(panels) == ["#heading", "#fresh", "#totals", "#trend", "#days", "#projects"]
    for target, panel in panels.items():
        assert panel.decode_contents().split() == one(fresh, target).decode_contents().split()
    assert figures(fresh)["Commits"] == ["38"]
    assert crew.receipts() == []


def test_another_ones_page_is_followed_by_no_stream(crew: Crew) -> None:
    lea = crew.team.browser("lea")
    for way in ("live", "poll"):
        answer = lea.get(f"{crew.page}?{way}=x")
        assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert soup(answer).select("#live") == []
    assert len(crew.receipts()) == 2
    assert (
        soup(crew.team.browser("bob").get(f"/me/as-seen-by/{crew.team.people['lea'].public_id}")).select(
            "#live"
        )
        == []
    )


def test_as_many_statements_however_many_days_and_projects(crew: Crew) -> None:
    def asked() -> int:
        browser = crew.team.browser("bob")
        with statements() as sent:
            assert browser.get(f"{crew.page}?range=1y").status_code == 200
        return len(sent)

    few = asked()
    for number in range(5):
        project = crew.team.world.project(f"more {number}", crew.bob)
        at = (build.NOW_MS - day * build.DAY_MS for day in range(0, 300, 7 + number))
        crew.team.world.report(crew.bob, project, *((each, build.saved()) for each in at))
    crew.team.world.refresh()
    assert asked() == few
