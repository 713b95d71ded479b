"""The first steps: what the server says of them is what it has seen."""

from __future__ import annotations

import re

import pytest
from bs4 import BeautifulSoup

from devflow import wire
from devflow.errors import Invalid
from devflow.models import Device, Project, Role
from devflow_agent import credentials
from tests import build
from tests.browsing import OURS, Browser, Team, one, soup, text
from tests.web.test_invitations import invite
from tests.web.test_live import address, save, stream, told
from tests.web.test_metrics import statements

STEPS = ("did_install", "did_init", "did_name", "did_pair", "did_enable", "did_send")


def ticked(page: BeautifulSoup) -> set[str]:
    return {step for step in STEPS if page.select(f"#{step} [data-done]")}


def commands(page: BeautifulSoup) -> list[str]:
    return [code.get_text() for code in page.select(".start > li > code")]


def without_a_pc(team: Team, name: str) -> None:
    with team.world.database.writing() as session:
        session.delete(session.get_one(Device, team.people[name].device))


def test_each_step_is_ticked_when_the_server_has_seen_it(team: Team) -> None:
    without_a_pc(team, "bob")
    bob = team.browser("bob")
    page = soup(bob.get("/start"))
    assert ticked(page) == set()
    assert page.select("#arrived section") == []
    assert commands(page) == [
        "devflow init",
        "devflow sync init http://localhost:8080",
        "devflow sync auth",
        f"devflow sync enable --project-id {team.project.public_id}",
        "devflow watch",
    ]
    pc = team.world.second_device(team.people["bob"])
    page = soup(bob.get("/start"))
    assert ticked(page) == {"did_install", "did_name", "did_pair"}
    assert "another PC" in text(page, "#did_pair")
    team.world.report(pc, team.project, (build.NOW_MS, build.saved("mine.py")))
    page = soup(bob.get("/start"))
    assert ticked(page) == set(STEPS)
    assert "mine.py" in text(page, "#arrived")


def test_the_first_event_comes_to_the_open_page_of_its_owner_alone(team: Team) -> None:
    bob, cem = team.browser("bob"), team.browser("cem")
    with stream(bob, address(bob, "/start")) as chunks:
        next(chunks)
        save(team, "mine.py")
        _, panels = told(chunks)
    assert "mine.py" in panels["#arrived"].get_text()
    assert "mine.py" not in cem.get("/start").get_data(as_text=True)
    assert ticked(soup(cem.get("/start"))) == {"did_install", "did_name", "did_pair"}
    team.context.hub.end()


def test_what_a_revoked_pc_sent_is_no_step_of_the_next_one(team: Team) -> None:
    save(team, "mine.py")
    bob = team.browser("bob")
    bob.post(f"/devices/{team.people['bob'].device_id}/revoke")
    assert ticked(soup(bob.get("/start"))) == set()


@pytest.mark.parametrize(
    ("url", "command"),
    [
        ("http://devflow.example:8080", "devflow sync init --insecure-http http://devflow.example:8080"),
        ("http://192.0.2.7", "devflow sync init --insecure-http http://192.0.2.7"),
        ("http://127.0.0.1:8080", "devflow sync init http://127.0.0.1:8080"),
        ("http://[::1]:8080", "devflow sync init 'http://[::1]:8080'"),
        ("https://devflow.example", "devflow sync init https://devflow.example"),
    ],
)
def test_over_plain_http_the_command_accepts_it_and_the_page_warns(
    team: Team, url: str, command: str
) -> None:
    served = team.under(public_url=url)
    client = served.app.test_client()
    account = {"email": "bob@example.org", "password": build.PASSWORD}
    assert client.post("/sign-in", data=account, headers=OURS, base_url=url).status_code == 302
    pages = [soup(client.get(address, base_url=url)) for address in ("/start", team.page)]
    assert text(pages[0], "#server") == command
    for page in pages:
        assert command in [code.get_text() for code in page.select("code")]
        assert ("plain http" in page.get_text()) == ("--insecure-http" in command)
        if "--insecure-http" in command:
            with pytest.raises(Invalid, match="--insecure-http"):
                credentials.checked_url(url, insecure_http=False)
        else:
            assert credentials.checked_url(url, insecure_http=False) == url


def test_what_is_refused_as_expired_is_said_where_events_are_not_kept_for_ever(team: Team) -> None:
    ada, bob = team.browser("ada"), team.browser("bob")
    for days, said in (("100", ["Aug 1, 2026"]), ("forever", [])):
        ada.post("/retention", days=days, sure="1")
        found = [each.get_text() for each in soup(bob.get("/start")).select("#taken-from")]
        assert len(found) == len(said)
        assert all(day in text for day, text in zip(said, found, strict=True))


def test_the_agents_version_is_told_once_it_has_said_it(team: Team) -> None:
    with team.world.database.writing() as session:
        device = session.get_one(Device, team.people["bob"].device)
        device.report, device.reported_at = f"version={wire.version_number('1.2.3')}", build.NOW_MS
    assert "Version 1.2.3 is there" in text(soup(team.browser("bob").get("/start")), "#did_install")


def test_who_may_make_projects_and_has_none_makes_one_first(team: Team) -> None:
    ada = team.browser("ada")
    page = soup(ada.get("/start"))
    assert page.select(".start") == []
    wrong = ada.post("/start/project", name="")
    assert (wrong.status_code, "1 to 100" in text(soup(wrong), "[role=alert]")) == (422, True)
    made = ada.post("/start/project", name="shop")
    assert made.status_code == 303
    page = soup(ada.get(made.headers["Location"]))
    project = re.fullmatch(r"/start\?project=(.*)", made.headers["Location"])
    assert project is not None
    assert f"devflow sync enable --project-id {project[1]}" in commands(page)
    assert ada.get(f"/projects/{project[1]}").status_code == 200
    refused = team.browser("bob").post("/start/project", name="bobs")
    assert refused.status_code == 403


def test_who_is_in_no_project_is_told_whom_to_ask_and_can_pair_meanwhile(team: Team) -> None:
    page = soup(team.browser("eve").get("/start"))
    assert "ask a manager" in text(page, ".empty")
    assert commands(page)[-1] == "devflow sync auth"
    assert one(page, "form[action='/pair'] input")["name"] == "code"


def test_of_several_projects_the_one_in_the_address_is_shown_and_only_own_ones(team: Team) -> None:
    other = team.world.project("borealis", team.people["bob"])
    hidden = team.world.project("hidden", team.people["cem"])
    bob = team.browser("bob")
    page = soup(bob.get(f"/start?project={other.public_id}"))
    assert str(other.public_id) in commands(page)[3]
    assert [option.get_text() for option in page.select("select option")] == ["atlas", "borealis"]
    assert bob.get(f"/start?project={hidden.public_id}").status_code == 404
    assert bob.get("/start?project=x").status_code == 400
    # She sees its totals, and may send to none that she has not joined.
    assert team.browser("ada").get(f"/start?project={other.public_id}").status_code == 404


@pytest.mark.parametrize("path", ["/start", "/feed", "/me/devices"])
def test_a_page_takes_as_many_statements_with_little_as_with_much(team: Team, path: str) -> None:
    bob = team.browser("bob")
    save(team)

    def taken() -> int:
        bob.get(path)
        with statements() as sent:
            assert bob.get(path).status_code == 200
        return len(sent)

    few = taken()
    team.world.second_device(team.people["bob"])
    projects: list[Project] = [team.world.project(f"p{number}", *team.people.values()) for number in range(5)]
    for project in projects:
        for name in ("bob", "cem", "eve"):
            deeds = [(build.NOW_MS - n * build.HOUR_MS, build.saved(f"{n}.py")) for n in range(40)]
            team.world.report(team.people[name], project, *deeds)
    team.world.refresh()
    assert taken() == few


def test_a_link_of_an_invitation_leads_to_the_steps_of_its_project(team: Team) -> None:
    link = invite(team.browser("ada"), project=str(team.project.public_id), project_role=Role.DEVELOPER)
    zoe: Browser = team.browser()
    answer = zoe.post(link, name="Zoe", email="zoe@example.org", password=build.PASSWORD)
    page = soup(zoe.get(answer.headers["Location"]))
    assert text(page, "h1") == "First steps"
    assert f"devflow sync enable --project-id {team.project.public_id}" in commands(page)
