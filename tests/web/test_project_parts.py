"""What a project's page says beside its totals: people, hours, files, branches and types, and to whom."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from bs4 import BeautifulSoup
from sqlalchemy import select

from devflow import pseudonyms, wire
from devflow.audit import Act
from devflow.models import AuditEntry, ProjectMember, Role
from tests import build, town
from tests.browsing import Team, figures, one, soup, table, text
from tests.build import DAY_MS, MINUTE_MS, NOW_MS, Member
from tests.web.test_live import address, caught_up, stream, told, version
from tests.web.test_teams import statements

SHA = "a" * 40
PANELS = ["heading", "days", "fresh", "figures", "charts", "people", "hours", "files", "refs"]
PANELS += ["types", "languages"]


@dataclass(frozen=True, slots=True)
class Crew:
    """Bob, Cem and Dan work in atlas; Lea leads Bob and Cem, and is in it; Ada is an admin; Eve is not in it.

    Today all three worked, yesterday only Bob and Cem.
    """

    team: Team
    lea: Member
    dan: Member

    @property
    def page(self) -> str:
        return self.team.page

    def open(self, who: str, query: str = "") -> BeautifulSoup:
        answer = self.team.browser(who).get(self.page + query)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return soup(answer)

    def export(self, who: str, name: str, query: str = "") -> list[dict[str, str]]:
        answer = self.team.browser(who).get(f"{self.page}?export={name}{query}")
        assert (answer.status_code, answer.mimetype) == (200, "text/csv")
        return list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))

    def rest(self, who: Member, metric: str, group_by: str, days: str = "30d") -> dict[str, int | None]:
        """What the REST answers; rows without a group by why they have none."""
        bearer = town.bearer(self.team.context, who)
        asked = f"metricType={metric}&groupBy={group_by}&timeRange={days}"
        query = f"projectId={self.team.project.public_id}&{asked}"
        answer = self.team.app.test_client().get(
            f"/metrics/aggregate?{query}", headers={"Authorization": f"Bearer {bearer}"}
        )
        rows = answer.get_json()["rows"]
        return {row.get("name") or row["group"] or row["unknown"]: row["value"] for row in rows}

    def receipts(self) -> list[tuple[UUID | None, UUID | None, dict[str, str]]]:
        viewed = select(AuditEntry).where(AuditEntry.act == Act.PERSON_VIEWED).order_by(AuditEntry.id)
        with self.team.world.reading() as session:
            return [(each.actor, each.subject, json.loads(each.detail)) for each in session.scalars(viewed)]


@pytest.fixture
def crew(team: Team) -> Iterator[Crew]:
    world, people = team.world, team.people
    people["lea"], people["dan"] = lea, dan = world.person("Lea"), world.person("Dan")
    join(team, lea, dan)
    world.team("core", {lea: Role.LEAD, people["bob"]: Role.DEVELOPER, people["cem"]: Role.DEVELOPER})
    for number, name in enumerate(("bob", "cem", "dan")):
        start = NOW_MS - 60 * MINUTE_MS - number * MINUTE_MS
        team.report(
            name,
            (start, build.saved("src/shared.py")),
            (start + 5 * MINUTE_MS, build.saved(f"src/{name}.py")),
            (start + 9 * MINUTE_MS, build.commit(people[name].author, "src/shared.py", insertions=number)),
        )
    for name in ("bob", "cem"):
        team.report(
            name,
            (NOW_MS - DAY_MS, build.saved("docs/two.md")),
            (NOW_MS - DAY_MS + MINUTE_MS, wire.BranchCreated(branch=f"secret-{name}", sha=SHA)),
        )
    team.report("dan", (NOW_MS - 30 * MINUTE_MS, wire.BranchSwitched(branch="main", previous=None)))
    team.report("bob", (NOW_MS - 20 * MINUTE_MS, wire.BranchSwitched(branch="main", previous=None)))
    team.report("bob", (NOW_MS - 2 * DAY_MS, wire.TagCreated(tag="v1.0", sha=SHA, author=None)))
    stranger = build.commit(build.STRANGER, "LICENSE")
    team.report("bob", (NOW_MS - 3 * DAY_MS, stranger))
    yield Crew(team, lea, dan)
    team.context.hub.end()


def join(team: Team, *members: Member) -> None:
    with team.context.database.writing() as session:
        session.add_all(
            ProjectMember(project_id=team.project.id, person_id=each.id, role=Role.DEVELOPER)
            for each in members
        )


def body(page: BeautifulSoup, panel: str) -> list[list[str]]:
    """The rows of a panel's table."""
    return [
        [" ".join(cell.get_text(" ").split()) for cell in row.select("th, td")]
        for row in one(page, f"#{panel}").select("tbody tr")
    ]


# People


def test_people_are_those_of_the_rest_answer(crew: Crew) -> None:
    rows = {row["person"]: row for row in crew.export("lea", "people")}
    assert list(rows) == ["Bob", "Cem", "Lea", "others", "nobody known here"]
    for metric, column in {
        "events_count": "events",
        "commits": "commits",
        "insertions": "insertions",
        "deletions": "deletions",
        "files_changed": "files",
        "active_time": "active_s",
    }.items():
        answered = crew.rest(crew.lea, metric, "person")
        assert answered.keys() == {"Bob", "Cem", "Lea", "others", "nobody"}
        shown = {name.replace(" known here", ""): row[column] for name, row in rows.items()}
        assert shown == {name: "" if value is None else str(value) for name, value in answered.items()}, (
            metric
        )
    assert [row[0] for row in body(crew.open("lea"), "people")] == list(rows)


def test_each_sees_the_people_they_lead_and_an_outsider_nothing(crew: Crew) -> None:
    for who in ("bob", "dan", "ada"):
        panel = one(crew.open(who), "#people").get_text()
        assert "3 people known here worked" in panel
        assert not {"Bob", "Cem", "Dan", "Lea"} & set(panel.split())
        assert crew.export(who, "people")[0]["person"] == "others"
    assert crew.team.browser("eve").get(crew.page).status_code == 404
    assert "Dan" not in crew.open("lea").get_text(), "whom she does not lead"


def test_whoever_is_named_is_told_once_a_load_and_not_by_what_keeps_it_up_to_date(crew: Crew) -> None:
    lea = crew.team.browser("lea")
    of = address(lea, crew.page)
    shown = {"from": "2026-10-21", "to": "2026-11-19", "page": "project"}
    others = {crew.team.people[name].public_id for name in ("bob", "cem")}
    assert [each[0] for each in crew.receipts()] == [crew.lea.public_id] * 2
    assert {each[1] for each in crew.receipts()} == others
    assert all(each[2] == shown for each in crew.receipts())
    with stream(lea, of) as chunks:
        next(chunks)
        crew.team.report("bob", (NOW_MS - 1, build.saved("x.py")))
        told(chunks)
    lea.get(of.replace("live=", "poll="))
    assert len(crew.receipts()) == 2
    lea.get(crew.page)
    lea.get(f"{crew.page}?export=people")
    assert len(crew.receipts()) == 6


def test_without_a_receipt_nobody_is_shown_not_even_by_a_stream_of_no_page(
    crew: Crew,
) -> None:
    lea = crew.team.browser("lea")
    with stream(lea, f"{crew.page}?live=none") as chunks:
        next(chunks)
    assert len(crew.receipts()) == 2, "who asks for the stream alone looks, too"
    for who in ("bob", "ada"):
        crew.open(who)
    assert len(crew.receipts()) == 2, "who names nobody leaves none"


# One person's part


def test_another_persons_part_is_for_who_leads_them_leaves_a_receipt_and_is_not_live(crew: Crew) -> None:
    part = f"?person={crew.team.people['bob'].public_id}"
    page = crew.open("lea", part)
    assert figures(page)["Commits"] == ["4", "Bob 1"]
    assert table(page, "commits")[0][1:] == ["3", "1"]
    assert len(page.select("#charts .up.own")) > 0
    assert page.select("#live") == []
    assert crew.team.people["bob"].public_id in {each[1] for each in crew.receipts()}
    poll = crew.team.browser("lea").get(f"{crew.page}{part}&poll=old")
    assert soup(poll).select("hx-partial") == []
    for who in ("cem", "ada", "dan"):
        assert crew.team.browser(who).get(crew.page + part).status_code == 404
    kinds = crew.team.browser("lea").get(f"{crew.page}{part}&type=file.saved")
    assert kinds.status_code == 400, "what he does is not hers to know, only how much"
    options = [each.get_text() for each in page.select("#person option")]
    assert options == ["nobody in particular", "me", "Bob", "Cem"]


def test_the_own_part_is_live_and_shared_with_nobody(crew: Crew) -> None:
    part = f"?person={crew.team.people['bob'].public_id}"
    page = crew.open("bob", part)
    assert figures(page)["Events"] == ["17", "yours 6"]
    assert one(page, "#live")
    assert [each.get_text() for each in page.select("#person option")] == ["nobody in particular", "me"]
    assert len(crew.receipts()) == 0


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?person=bob", "Expected person to be an id"),
        ("?type=git", "Expected type to be one of file.saved"),
        ("?type=git.commit&from=2020-01-01&to=2026-11-19", "at most 366 days"),
        ("?sort=people.shoe", "person, commits"),
        ("?export=shoes", "people, files, refs, types, languages"),
    ],
)
def test_a_wrong_choice_is_answered_with_what_was_expected(crew: Crew, query: str, said: str) -> None:
    answer = crew.team.browser("bob").get(crew.page + query)
    assert answer.status_code == 400
    assert said in text(soup(answer), "main")


# Of one kind


def test_one_kind_of_event_is_told_of_three_people_or_more(crew: Crew) -> None:
    page = crew.open("bob", "?type=file.saved")
    assert (
        figures(page)["Events"] == [str(crew.rest(crew.lea, "events_count", "type")["file.saved"])] == ["8"]
    )
    assert figures(page)["Files changed"] == ["5"]
    days = [row[1] for row in table(page, "commits")]
    assert days[:3] == ["0", "not told", "0"], "yesterday two people saved files"
    assert all(not one(page, f"#{panel}").get_text().strip() for panel in PANELS[5:])
    alone = crew.open("bob", "?type=git.branch_created")
    assert "fewer than three people" in text(alone, "#figures")
    assert alone.select(".figure") == []


def test_types_and_languages_are_those_of_the_rest_answer(crew: Crew) -> None:
    for name, column, few in (
        ("types", "type", {"git.branch_created", "git.branch_switched"}),
        ("languages", "language", {"Markdown"}),
    ):
        for metric, amount in (("events_count", "events"), ("active_time", "active_s")):
            answered = crew.rest(crew.lea, metric, column)
            rows = {row[column]: row[amount] for row in crew.export("bob", name)}
            together = rows.pop("of fewer than three people")
            assert int(together) == sum(answered[each] or 0 for each in few)
            told = [value for each, value in answered.items() if each not in few]
            # The REST leaves out what has no name and no amount.
            answers = Counter("" if value is None else str(value) for value in told if value != 0)
            assert answers == Counter(value for value in rows.values() if value != "0"), (name, metric)


# Hours


def test_a_project_of_two_shows_no_hours(busy: Team) -> None:
    page = soup(busy.browser("bob").get(busy.page))
    assert one(page, "#hours").select(".heat, table") == []
    assert "at least three people" in text(page, "#hours")


def test_hours_are_those_of_days_on_which_three_worked(crew: Crew) -> None:
    page = crew.open("bob")
    assert "Of 1 day, on which" in text(page, "#hours")
    assert "1 more day had fewer people" in text(page, "#hours")
    cells = {row[0]: row[1:] for row in body(page, "hours")}
    answered = crew.rest(crew.lea, "active_time", "hour", "2026-11-19..2026-11-19")
    thursday = 3
    for group, value in answered.items():
        minutes = (value or 0) // 60
        assert cells[group[11:16]][thursday] == f"{minutes} min", group
    assert sum(value or 0 for value in answered.values()) > 0
    others = [row[day] for row in cells.values() for day in range(7) if day != thursday]
    assert set(others) == {"0 min"}


# Files and branches


def test_hot_files_are_those_of_three_people_or_of_nobody_known(crew: Crew) -> None:
    page = crew.open("cem")
    assert body(page, "files") == [["src/shared.py", "1", "3"], ["LICENSE", "1", "none known"]]
    crew.team.report("dan", (NOW_MS - 4 * DAY_MS, build.saved("src/shared.py")))
    assert body(crew.open("cem"), "files")[0] == ["src/shared.py", "2", "3"]
    assert crew.export("cem", "files")[0] == {"file": "src/shared.py", "periods": "2", "people": "3"}


def test_where_no_three_people_changed_a_file_the_page_says_why_there_is_none(team: Team) -> None:
    team.report("bob", (NOW_MS - MINUTE_MS, build.saved("mine.py")))
    page = soup(team.browser("cem").get(team.page))
    assert page.select("#files table") == []
    assert "No file of this range was changed by three people" in text(page, "#files")
    assert "Choose yourself above" in text(page, "#files")


def test_everybody_sees_the_files_of_their_own_part_and_a_lead_not_those_of_another(crew: Crew) -> None:
    mine = ("src/alone.py", "src/alone.py")
    crew.team.report("bob", *((NOW_MS - day * DAY_MS, build.saved(path)) for day, path in enumerate(mine)))
    bob = crew.team.people["bob"].public_id
    own = crew.open("bob", f"?person={bob}")
    assert text(own, "#hot-title") == "Your hot files"
    assert ["src/alone.py", "2"] in body(own, "files")
    assert "LICENSE" not in text(own, "#files"), "a stranger's"
    assert crew.export("bob", "files", f"&person={bob}")[0]["people"] == "1"
    for who, query in (("lea", f"?person={bob}"), ("bob", ""), ("cem", "")):
        page = crew.open(who, query)
        assert text(page, "#hot-title") == "Hot files"
        assert "alone.py" not in page.get_text()


def test_only_as_many_names_are_opened_as_are_shown(crew: Crew) -> None:
    for name in ("bob", "cem", "dan"):
        files = [f"many/{number}.py" for number in range(40)]
        crew.team.report(name, (NOW_MS - 5 * MINUTE_MS, build.commit(crew.team.people[name].author, *files)))
    rows = body(crew.open("bob"), "files")
    assert len(rows) == 20
    assert len({row[0] for row in rows}) == 20


def test_branches_are_told_of_days_with_three_people_and_tags_always(crew: Crew) -> None:
    page = crew.open("cem")
    assert body(page, "refs") == [
        ["Nov 19, 2026", "switched to", "main", "2"],
        ["Nov 17, 2026", "tag created", "v1.0", "1"],
    ]
    assert "1 day with fewer is left out" in text(page, "#refs")
    assert "Commits and merges say no branch" in text(page, "#refs")
    assert "secret" not in page.get_text()
    # Once a third person worked on that day nobody can tell whose they are.
    crew.team.report("dan", (NOW_MS - DAY_MS, build.saved()))
    names = [row[2] for row in body(crew.open("cem"), "refs")]
    assert names == ["main", "secret-cem", "secret-bob", "v1.0"] or names == [
        "main",
        "secret-bob",
        "secret-cem",
        "v1.0",
    ]


def test_what_somebody_does_not_name_is_shown_as_such(crew: Crew) -> None:
    assert "numbers only" not in crew.open("cem").get_text()
    key = bytes(32)
    file = pseudonyms.of_path(key, "src/secret.py")
    plan = pseudonyms.of_path(key, "plan")
    for name in ("bob", "cem", "dan"):
        crew.team.report(name, (NOW_MS - 2 * MINUTE_MS, build.saved(file)))
    crew.team.report("bob", (NOW_MS - 3 * DAY_MS, build.commit(build.STRANGER, plan)))
    branch, tag = pseudonyms.of_ref(key, "main"), pseudonyms.of_ref(key, "v2")
    crew.team.report("dan", (NOW_MS - MINUTE_MS, wire.BranchSwitched(branch=branch, previous=None)))
    crew.team.report("dan", (NOW_MS - MINUTE_MS, wire.TagCreated(tag=tag, sha=SHA, author=None)))
    page = crew.open("cem")
    files = {row[0] for row in body(page, "files")}
    assert {f"a file not named ({file[:5]}…, .py)", f"a file not named ({plan[:5]}…)"} < files
    assert "Some share numbers only" in text(page, "#files")
    refs = {row[2] for row in body(page, "refs")}
    assert {f"a branch not named ({branch[:5]}…)", f"a tag not named ({tag[:5]}…)"} < refs
    assert "Some share numbers only" in text(page, "#refs")
    exported = {row["file"] for row in crew.export("cem", "files")}
    assert f"a file not named ({file[:5]}…, .py)" in exported
    told = {row["name"] for row in crew.export("cem", "refs")}
    assert f"a tag not named ({tag[:5]}…)" in told


def test_at_most_twenty_branches_are_told_the_newest_first(crew: Crew) -> None:
    deeds = [
        (NOW_MS - number * 1_000, wire.BranchSwitched(branch=f"b{number}", previous=None))
        for number in range(50)
    ]
    crew.team.report("dan", *deeds)
    rows = body(crew.open("cem"), "refs")
    assert [row[2] for row in rows] == [f"b{number}" for number in range(20)]


# All of it


def test_every_table_can_be_put_in_order_and_taken_along(crew: Crew) -> None:
    page = crew.open("lea")
    for name in ("people", "files", "refs", "types", "languages"):
        panel = one(page, f"#{name}")
        links = [str(link["href"]) for link in panel.select("a.sort")]
        assert links and all(f"sort={name}." in link for link in links)
        assert len(crew.export("lea", name)) == len(body(page, name))
    shown = [row[0] for row in body(crew.open("lea", "?sort=people.-person"), "people")]
    assert shown == ["others", "nobody known here", "Lea", "Cem", "Bob"]


def test_the_totals_are_those_of_a_recount(crew: Crew) -> None:
    """By hand: three of each of Bob, Cem and Dan today, and what else was reported."""
    events = 3 * 3 + 2 * 2 + 2 + 1 + 1
    page = crew.open("bob", "?range=all")
    found = figures(page)
    assert (found["Events"], found["Commits"], found["Files changed"]) == ([str(events)], ["4"], ["6"])
    bars = [row[1] for row in table(page, "commits")]
    assert bars[0] == "3" and sum(map(int, bars)) == 4


def test_a_change_comes_as_a_fresh_load_would_have_it(crew: Crew) -> None:
    bob = crew.team.browser("bob")
    of = address(bob, crew.page)
    with stream(bob, of) as chunks:
        next(chunks)
        crew.team.report("dan", (NOW_MS - MINUTE_MS, build.saved("src/new.py")))
        panels = caught_up(chunks, soup(bob.get(crew.page)))
    assert panels.keys() == {f"#{panel}" for panel in PANELS}


def test_whoever_may_see_nobody_else_shares_one_view(crew: Crew) -> None:
    versions = {who: version(address(crew.team.browser(who), crew.page)) for who in ("ada", "bob", "cem")}
    assert len(set(versions.values())) == 1
    assert version(address(crew.team.browser("lea"), crew.page)) not in versions.values()


def test_the_page_takes_as_many_statements_whatever_there_is(crew: Crew) -> None:
    lea = crew.team.browser("lea")

    def asked() -> int:
        with statements() as sent:
            assert lea.get(f"{crew.page}?range=90d").status_code == 200
        return len(sent)

    lea.get(f"{crew.page}?range=90d")
    crew.team.report("bob", (NOW_MS - MINUTE_MS, build.saved()))
    few = asked()
    more = [crew.team.world.person(f"Number{n}") for n in range(5)]
    join(crew.team, *more)
    crew.team.world.team("more", {crew.lea: Role.LEAD} | dict.fromkeys(more, Role.DEVELOPER))
    for day in range(12):
        for member in more:
            crew.team.world.report(
                member,
                crew.team.project,
                (NOW_MS - day * DAY_MS, build.saved(f"src/{day}.py")),
                (NOW_MS - day * DAY_MS - 1, wire.BranchCreated(branch=f"b{day}", sha=SHA)),
            )
    crew.team.world.refresh()
    assert asked() == few
    assert few <= 32
    assert len(body(soup(lea.get(f"{crew.page}?range=90d")), "people")) == 10
