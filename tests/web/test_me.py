"""The page of one's own data: what is stored, who may see it, who did, and what they saw."""

from __future__ import annotations

import json
import re
from datetime import date

import pytest
from sqlalchemy import select, update

from devflow import audit, receipts
from devflow.audit import Act
from devflow.errors import NotFound
from devflow.models import AuditEntry, Person, Role
from devflow.models import Team as TeamRow
from devflow.web.pages import acts
from tests import build
from tests.browsing import Team, one, soup, text
from tests.web.test_person import Crew, crew

__all__ = ["crew"]


def section(crew: Crew, who: str, name: str) -> str:
    return text(soup(crew.team.browser(who).get("/me")), f"section[aria-labelledby={name}-title]")


def test_everybody_has_the_page_and_a_stranger_signs_in_first(crew: Crew) -> None:
    for who in crew.team.people:
        assert crew.team.browser(who).get("/me").status_code == 200
    assert crew.team.browser().get("/me").status_code == 302
    link = one(soup(crew.team.browser("bob").get("/")), "header a.who-name")
    assert link["href"] == "/me"


def test_it_says_what_is_stored(crew: Crew) -> None:
    laptop = crew.team.world.second_device(crew.bob)
    crew.team.world.report(laptop, crew.hidden, (build.NOW_MS - 99 * build.DAY_MS, build.saved("old.py")))
    page = soup(crew.team.browser("bob").get("/me"))
    facts = {fact.dt.get_text(): fact.dd.get_text() for fact in page.select(".facts > div")}  # type: ignore[union-attr]
    assert facts["Name"] == "Bob"
    assert facts["E-mail"] == "bob@example.org"
    assert facts["PCs"].split()[0] == "2"
    assert facts["Addresses you commit with"] == "1, kept as keyed hashes"
    counts = [
        {row.th.get_text(): row.td.get_text() for row in table.select("tbody tr")}  # type: ignore[union-attr]
        for table in page.select("table.counts")
    ]
    assert counts == [
        # 36 commits of Bob's, a stranger's that his PC saw, and one in the hidden project.
        {"Commits": "38", "Files saved": "2"},
        {"atlas": "37", "moonshot": "3"},
        {"a PC": "39", "another PC": "1"},
    ]
    stored = text(page, "section[aria-labelledby=stored-title] > p")
    assert "The oldest happened Aug 12, 2026" in stored
    assert "the newest Nov 19, 2026" in stored


def test_nothing_of_others_is_on_it(crew: Crew) -> None:
    page = crew.team.browser("bob").get("/me").get_data(as_text=True)
    for name in ("Cem", "Leo", "Rex", "cem@example.org", "eve@example.org", "blue"):
        assert name not in page


def test_a_link_to_a_page_that_this_server_does_not_have_is_not_there(crew: Crew) -> None:
    links = {str(link["href"]) for link in soup(crew.team.browser("bob").get("/me")).select("main a")}
    for link in links:
        assert crew.team.browser("bob").get(link).status_code == 200, link


def test_who_can_see_the_days_is_named_with_the_team(crew: Crew) -> None:
    world = crew.team.world
    world.team("green", {crew.bob: Role.DEVELOPER, crew.team.people["lea"]: Role.MANAGER})
    assert "Lea by the teams green, red" in section(crew, "bob", "watchers")
    assert section(crew, "cem", "watchers").startswith("Who can see your days Leo by the team blue")
    assert "Nobody but you" in section(crew, "lea", "watchers")


def test_the_roles_say_what_they_allow(crew: Crew) -> None:
    rows = [
        [" ".join(cell.get_text(" ").split()) for cell in row.select("th, td")]
        for row in soup(crew.team.browser("lea").get("/me")).select(".told tbody tr")
    ]
    assert rows == [
        ["This server", "Developer", "use your account; connect your PCs"],
        ["red team", "Lead", "see a team's totals; see the days of its members, leaving a receipt"],
        ["atlas project", "Developer", "see a project's totals; send events to a project"],
    ]


# Receipts


def act(crew: Crew, who: str | None, what: Act, subject: object, *, refused: bool = False) -> None:
    world = crew.team.world
    with world.database.writing() as session:
        by = world.by(session, None if who is None else crew.team.people[who])
        audit.record(session, by, what, subject, is_refused=refused)  # type: ignore[arg-type]


def told(crew: Crew, who: str = "bob") -> list[str]:
    page = soup(crew.team.browser(who).get("/me/receipts"))
    return [" ".join(entry.get_text(" ").split()) for entry in page.select(".receipts li > p:first-child")]


MADE = "The server, or somebody unknown, made your account"


def test_receipts_are_what_others_did_to_me_and_my_pcs_newest_first(crew: Crew) -> None:
    assert told(crew) == [MADE]
    act(crew, "ada", Act.DATA_EXPORTED, crew.bob.public_id)
    act(crew, "bob", Act.AUTHORS_TOLD, crew.bob.public_id)
    act(crew, "ada", Act.SIGNED_OUT, crew.bob.public_id)
    act(crew, "ada", Act.SIGNED_OUT, crew.team.people["cem"].public_id)
    act(crew, "ada", Act.DEVICE_ENROLLED, crew.bob.device_id)
    act(crew, None, Act.TOKEN_REUSED, crew.bob.device_id, refused=True)
    assert told(crew) == [
        "Refused: A used token was shown again, on the PC a PC: its log-in was ended",
        "Ada connected the PC a PC",
        "Ada signed out",
        "Ada exported your data",
        MADE,
    ]


def test_a_receipt_has_the_name_of_today_or_that_of_a_former_member(crew: Crew) -> None:
    crew.team.browser("lea").get(crew.page)
    with crew.team.world.database.writing() as session:
        session.get_one(Person, crew.team.people["lea"].id).name = "Léa"
    assert told(crew)[0].startswith("Léa looked at your days")
    with crew.team.world.database.writing() as session:
        session.get_one(Person, crew.team.people["lea"].id).erased_at = build.NOW_MS
    assert told(crew)[0].startswith("A former member looked at your days")


def test_receipts_are_turned_page_by_page(crew: Crew) -> None:
    for _ in range(120):
        act(crew, "ada", Act.DATA_EXPORTED, crew.bob.public_id)
    bob, seen, address = crew.team.browser("bob"), [], "/me/receipts"
    while True:
        page = soup(bob.get(address))
        seen.append(len(page.select(".receipts li")))
        older = [link for link in page.select("nav.actions a") if link.get_text() == "Older"]
        if not older:
            break
        address = str(older[0]["href"])
    assert seen == [50, 50, 21]
    assert len(soup(bob.get("/me")).select(".receipts li")) == 8
    assert "All receipts" in section(crew, "bob", "receipts")
    assert text(soup(bob.get("/me/receipts?before=1")), ".empty h2") == "No older receipts"


@pytest.mark.parametrize("before", ["", "x", "-1", "²", "9" * 30, "1.5"])
def test_a_bad_place_to_turn_to_is_answered_in_words(team: Team, before: str) -> None:
    answer = team.browser("bob").get(f"/me/receipts?before={before}")
    assert answer.status_code == 400
    assert "Expected before as the number of a receipt" in text(soup(answer), "main")


def test_every_act_can_be_told_in_words(team: Team) -> None:
    world, bob = team.world, team.people["bob"]
    with world.database.writing() as session:
        by = world.by(session, team.people["ada"])
        for what in Act:
            viewed = {"from": "2026-11-01", "to": "2026-11-02"} if what == Act.PERSON_VIEWED else {}
            for subject in (bob.public_id, bob.device_id, team.project.public_id):
                audit.record(session, by, what, subject, person=bob.public_id, role="lead", **viewed)  # type: ignore[arg-type]
    with world.reading() as session:
        found = receipts.read(session, session.get_one(Person, bob.id))
    assert len(found) == 3 * len(Act) + 1
    with team.app.test_request_context():
        lines = [acts.receipt(each) for each in found[:-1]]
    for line in lines:
        assert not re.search(r"%\(|_|None|\N{EM DASH}", line), line


def test_what_others_do_to_my_memberships_is_told_to_me_and_to_nobody_else(crew: Crew) -> None:
    ada, eve = crew.team.browser("ada"), crew.team.people["eve"]
    with crew.team.world.reading() as session:
        blue = session.scalars(select(TeamRow.public_id).where(TeamRow.name == "blue")).one()
    for place in (f"/teams/{blue}/members", f"{crew.team.page}/members"):
        ada.post(place, person=str(eve.public_id), role="developer")
        ada.post(f"{place}/{eve.public_id}/role", role="lead")
    assert told(crew, "eve") == [
        "Ada made you Lead in the project atlas",
        "Ada added you to the project atlas as Developer",
        "Ada made you Lead in the team blue",
        "Ada added you to the team blue as Developer",
        MADE,
    ]
    ada.post(f"/teams/{blue}/members/{eve.public_id}/remove")
    with crew.team.world.database.writing() as session:
        session.execute(update(TeamRow).where(TeamRow.public_id == blue).values(name="secret"))
    assert told(crew, "eve")[:3:2] == [
        "Ada removed you from the team (you are no longer in it)",
        "Ada added you to the project atlas as Developer",
    ]
    assert "secret" not in " ".join(told(crew, "eve"))
    for other in ("ada", "leo", "bob"):
        assert told(crew, other) == [MADE]
    receipts_of_eve = crew.team.browser("eve").get("/me/account.json").get_json()["receipts"]
    assert [(each["act"], each["place"]) for each in receipts_of_eve[:2]] == [
        ("team.member_removed", None),
        ("project.member_role", "atlas"),
    ]


def test_what_an_admin_does_to_my_account_is_told_to_me(crew: Crew) -> None:
    ada, eve = crew.team.browser("ada"), crew.team.people["eve"].public_id
    ada.post(f"/people/{eve}/account/role", role="manager")
    ada.post(f"/people/{eve}/account/deactivate")
    ada.post(f"/people/{eve}/account/reactivate")
    ada.post(f"/people/{eve}/account/reset-link")
    assert told(crew, "eve") == [
        "Ada made a link to set your password anew",
        "Ada let you in again",
        "Ada deactivated your account",
        "Ada made you Manager in the whole workspace",
        MADE,
    ]
    assert told(crew, "ada") == told(crew, "bob") == [MADE]


# What my lead sees


def test_what_my_lead_sees_is_the_page_my_lead_gets(crew: Crew) -> None:
    for query in ("", "?range=1y", "?from=2020-01-01&to=2020-01-31"):
        theirs = soup(crew.team.browser("lea").get(crew.page + query))
        mine_at = f"/me/as-seen-by/{crew.team.people['lea'].public_id}"
        mine = soup(crew.team.browser("bob").get(mine_at + query))
        assert "Below is the page that Lea gets of you" in one(mine, "#preview").extract().get_text()
        one(theirs, "nav.crumbs").extract()
        one(mine, "nav.tabs").extract()
        assert plain(str(one(mine, "main")), mine_at) == plain(str(one(theirs, "main")), crew.page)


def plain(page: str, address: str) -> list[str]:
    """The page without what differs between any two answers."""
    return re.sub(r'(hx-)?nonce="[^"]*"', "", page.replace(address, "HERE")).split()


def test_looking_at_what_my_lead_sees_leaves_no_receipt(crew: Crew) -> None:
    crew.team.browser("bob").get(f"/me/as-seen-by/{crew.team.people['lea'].public_id}")
    assert crew.receipts() == []
    assert told(crew) == [MADE]


@pytest.mark.parametrize("viewer", ["leo", "rex", "ada", "eve", "cem", "bob"])
def test_only_who_may_see_me_can_be_looked_through(crew: Crew, viewer: str) -> None:
    answer = crew.team.browser("bob").get(f"/me/as-seen-by/{crew.team.people[viewer].public_id}")
    assert answer.status_code == 404
    assert crew.team.browser("lea").get(f"/me/as-seen-by/{crew.bob.public_id}").status_code == 404


# The account


def test_the_account_is_all_there_is_and_the_export_is_audited(crew: Crew) -> None:
    crew.team.browser("lea").get(crew.page)
    bob = crew.team.browser("bob")
    answer = bob.get("/me/account.json")
    account = json.loads(answer.get_data())
    assert answer.headers["Content-Disposition"] == 'attachment; filename="devflow-account-2026-11-19.json"'
    assert {key: account[key] for key in ("name", "email", "role", "authors", "hasSecondFactor")} == {
        "name": "Bob",
        "email": "bob@example.org",
        "role": "developer",
        "authors": 1,
        "hasSecondFactor": False,
    }
    assert [device["id"] for device in account["devices"]] == [str(crew.bob.device_id)]
    assert [(held["kind"], held["name"], held["role"]) for held in account["memberships"]] == [
        ("team", "red", "developer"),
        ("project", "atlas", "developer"),
        ("project", "moonshot", "developer"),
    ]
    assert [(receipt["act"], receipt["by"]) for receipt in account["receipts"]] == [
        ("person.viewed", "Lea"),
        ("person.made", "server"),
    ]
    with crew.team.world.reading() as session:
        last = session.query(AuditEntry).order_by(AuditEntry.id.desc()).limit(1).one()
    assert (last.act, last.actor, last.subject) == (Act.DATA_EXPORTED, crew.bob.public_id, crew.bob.public_id)
    for secret in ("password", "token", "argon2", "cem"):
        assert secret not in answer.get_data(as_text=True)


def test_a_receipt_cannot_be_written_for_somebody_one_may_not_see(crew: Crew) -> None:
    world, day = crew.team.world, date(2026, 11, 1)
    with world.database.writing() as session:
        bob = session.get_one(Person, crew.bob.id)
        for who in ("leo", "rex", "ada", "eve", "cem"):
            by = world.by(session, crew.team.people[who])
            with pytest.raises(NotFound):
                receipts.note_view(session, by, bob, day, day, page="person")
    assert crew.receipts() == []
