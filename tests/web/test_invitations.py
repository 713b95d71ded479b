"""Links handed on: an invited person comes in, a forgotten password is set anew."""

from __future__ import annotations

from typing import Final

from bs4 import BeautifulSoup
from playwright.sync_api import Page, Request

from tests import build
from tests.browsing import Browser, Team, one, serving, soup, text

NEW_PASSWORD: Final = "another horse, another battery"
PLAIN: Final = {
    "role": "developer",
    "team": "",
    "team_role": "developer",
    "project": "",
    "project_role": "developer",
}


def shown_link(page: BeautifulSoup) -> str:
    """The path of the link that the page shows this once."""
    address = text(page, ".once code")
    assert address.startswith("http://localhost:8080/")
    return address.removeprefix("http://localhost:8080")


def invite(ada: Browser, **more: str) -> str:
    answer = ada.post("/people/invitations", **PLAIN | more)
    assert answer.status_code == 200
    return shown_link(soup(answer))


def reset_link(ada: Browser, team: Team, name: str) -> str:
    return shown_link(soup(ada.post(f"/people/{team.people[name].public_id}/account/reset-link")))


def join(browser: Browser, link: str, name: str = "Zoe") -> int:
    answer = browser.post(link, name=name, email=f"{name}@example.org", password=build.PASSWORD)
    return answer.status_code


def test_an_invited_person_makes_an_account_and_is_signed_in_to_what_it_gives(team: Team) -> None:
    core = team.world.team("core", {})
    link = invite(
        team.browser("ada"),
        team=str(core.public_id),
        team_role="lead",
        project=str(team.project.public_id),
    )
    zoe = team.browser()
    page = soup(zoe.get(link))
    assert text(page, ".lead").startswith("Ada invites you")
    assert [" ".join(item.get_text().split()) for item in page.select(".gifts li")] == [
        "Team core: Lead",
        "Project atlas: Developer",
    ]
    assert {field["name"] for field in page.select("main input")} == {"name", "email", "password"}
    answer = zoe.post(link, name="Zoe", email="zoe@example.org", password=build.PASSWORD)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/start")
    assert text(soup(zoe.get("/")), ".who-name") == "Signed in as Zoe"
    assert zoe.get(team.page).status_code == 200
    assert zoe.get("/people").status_code == 403
    assert team.browser().get(link).status_code == 404


def test_the_link_is_shown_once_and_listed_until_it_is_withdrawn(team: Team) -> None:
    ada = team.browser("ada")
    link = invite(ada, role="manager")
    page = soup(ada.get("/people"))
    assert not page.select(".once")
    assert link.rpartition("/")[2] not in str(page)
    assert [cell.get_text().strip() for cell in page.select(".invitations tbody :is(th, td)")][:4] == [
        "Manager",
        "Ada",
        "Nov 19, 2026",
        "Nov 26, 2026",
    ]
    withdraw = str(one(page, ".invitations form")["action"])
    for name in ("bob", "eve"):
        assert team.browser(name).post(withdraw).status_code == 403
    assert ada.post(withdraw).headers["Location"] == "/people"
    assert not soup(ada.get("/people")).select(".invitations")
    assert team.browser().get(link).status_code == 404
    assert ada.post(withdraw).status_code == 404


def test_wrong_input_is_kept_beside_the_message_and_the_link_stays_open(team: Team) -> None:
    link = invite(team.browser("ada"))
    zoe = team.browser()
    answer = zoe.post(link, name="Zoe", email="bob@example.org", password=build.PASSWORD)
    page = soup(answer)
    assert answer.status_code == 422
    assert "nobody has yet" in text(page, "[role=alert]")
    assert (one(page, "#name")["value"], one(page, "#password")["value"]) == ("Zoe", "")
    assert join(zoe, link) == 302


def test_a_wrong_choice_is_answered_in_the_form(team: Team) -> None:
    ada = team.browser("ada")
    for wrong in ({"role": "lead"}, {"role": "king"}, {"team": "core"}, {"project_role": "admin",
                  "project": str(team.project.public_id)}):  # fmt: skip
        answer = ada.post("/people/invitations", **PLAIN | wrong)
        assert answer.status_code == 422
        assert text(soup(answer), "[role=alert]").startswith("Expected")
        assert not soup(answer).select(".once")


def test_a_reset_link_sets_the_password_and_signs_everybody_else_out(team: Team) -> None:
    bob, ada = team.browser("bob"), team.browser("ada")
    first, link = reset_link(ada, team, "bob"), reset_link(ada, team, "bob")
    assert team.browser().get(first).status_code == 404
    there = team.browser()
    assert one(soup(there.get(link)), "#email")["value"] == "bob@example.org"
    wrong = there.post(link, password="short")
    assert (wrong.status_code, text(soup(wrong), "[role=alert]")[:8]) == (422, "Expected")
    assert bob.get("/").status_code == 200
    done = there.post(link, password=NEW_PASSWORD)
    assert (done.status_code, text(soup(done), "h1")) == (200, "Your new password is set")
    assert bob.get("/").status_code == 302
    assert there.get("/").status_code == 302  # the password has to be typed; so has a second factor's code
    assert there.post("/sign-in", email="bob@example.org", password=NEW_PASSWORD).status_code == 302
    assert there.post(link, password=NEW_PASSWORD).status_code == 404


def test_a_reset_takes_no_password_made_of_the_persons_own_words(team: Team) -> None:
    person = team.world.person("Wrzesniewska")
    team.people["wrzesniewska"] = person
    ada = team.browser("ada")
    own, bobs = reset_link(ada, team, "wrzesniewska"), reset_link(ada, team, "bob")
    assert team.browser().post(own, password="wrzesniewska").status_code == 422
    assert team.browser().post(bobs, password="wrzesniewska").status_code == 200


def test_no_answer_with_a_token_in_its_address_lets_the_browser_name_it(team: Team) -> None:
    ada = team.browser("ada")
    guesses = ("/setup/guess", "/invite/guess", "/reset/guess")
    for link in (invite(ada), reset_link(ada, team, "bob"), *guesses):
        for answer in (team.browser().get(link), team.browser().post(link, password="short")):
            assert answer.headers["Referrer-Policy"] == "strict-origin"
            assert answer.headers["Cache-Control"] == "no-store"
    assert ada.get("/people").headers["Referrer-Policy"] == "same-origin"


def test_a_browser_tells_nobody_the_token_and_still_says_where_the_form_is_from(
    team: Team, page: Page
) -> None:
    """On plain http nothing but ``Origin`` shows that the form is this site's own."""
    link = invite(team.browser("ada"))
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request))  # Playwright wants a function of Python
    with serving(team.app) as address:
        page.goto(address + link)
        page.fill("#name", "Zoe")
        page.fill("#email", "zoe@example.org")
        page.fill("#password", build.PASSWORD)
        page.click("main button")
        page.wait_for_selector("h1:has-text('First steps')")
        (posted,) = [request for request in sent if request.method == "POST"]
        assert posted.header_value("origin") == address
        token = link.rpartition("/")[2]
        assert not [request.url for request in sent if token in (request.header_value("referer") or "")]
    assert team.world.member("Zoe").email == "zoe@example.org"
