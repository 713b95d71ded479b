"""The way in: the set-up link, signing in and out, and what is refused on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from devflow.models import Person
from tests import build
from tests.browsing import OURS, Browser, Team, one, soup, text
from tests.build import World


def test_the_setup_link_makes_the_first_account_and_signs_it_in(tmp_path: Path) -> None:
    context, token = build.context(tmp_path)
    browser = Browser(build.app(context).test_client())
    form = soup(browser.get(f"/setup/{token}"))
    assert {field["name"] for field in form.select("main input")} == {"name", "email", "password"}

    answer = browser.post(f"/setup/{token}", name="Ada", email="Ada@example.org", password=build.PASSWORD)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/start")
    assert text(soup(browser.get("/")), ".who-name") == "Signed in as Ada"

    used = browser.get(f"/setup/{token}")
    assert used.status_code == 404
    assert "start of the server" in soup(used).get_text()
    context.database.close()


def test_an_unknown_setup_link_is_not_found(team: Team) -> None:
    assert team.browser().get("/setup/nothing").status_code == 404
    answer = team.browser().post("/setup/nothing", name="Eve", email="e@example.org", password=build.PASSWORD)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("name", "email", "password", "said"),
    [
        ("", "ada@example.org", build.PASSWORD, "Expected a name"),
        ("Ada", "ada", build.PASSWORD, "Expected an e-mail address"),
        ("Ada", "ada@example.org", "short", "Expected a password"),
    ],
)
def test_wrong_setup_input_is_kept_beside_the_message_but_for_the_password(
    tmp_path: Path, name: str, email: str, password: str, said: str
) -> None:
    context, token = build.context(tmp_path)
    browser = Browser(build.app(context).test_client())
    answer = browser.post(f"/setup/{token}", name=name, email=email, password=password)
    page = soup(answer)
    assert answer.status_code == 422
    assert text(page, "[role=alert]").startswith(said)
    assert one(page, "#name")["value"] == name
    assert one(page, "#email")["value"] == email
    assert one(page, "#password")["value"] == ""
    assert browser.get(f"/setup/{token}").status_code == 200
    context.database.close()


def test_a_server_without_accounts_says_where_the_setup_link_is(tmp_path: Path) -> None:
    context, _ = build.context(tmp_path)
    browser = Browser(build.app(context).test_client())
    assert "no account yet" in text(soup(browser.get("/sign-in")), "main")
    World.of(context).person("Ada")
    assert "no account yet" not in text(soup(browser.get("/sign-in")), "main")
    context.database.close()


def test_a_wrong_address_and_a_wrong_password_get_the_same_answer(team: Team) -> None:
    wrong_password = team.browser().post("/sign-in", email="bob@example.org", password="wrong password")
    wrong_address = team.browser().post("/sign-in", email="nob@example.org", password=build.PASSWORD)
    assert wrong_password.status_code == wrong_address.status_code == 422
    assert text(soup(wrong_password), "[role=alert]") == text(soup(wrong_address), "[role=alert]")
    assert one(soup(wrong_password), "#email")["value"] == "bob@example.org"


def test_signing_out_ends_the_session(team: Team) -> None:
    bob = team.browser().sign_in("bob")
    assert bob.get("/").status_code == 200
    answer = bob.post("/sign-out")
    assert (answer.status_code, answer.headers["Clear-Site-Data"]) == (302, '"cache", "storage"')
    assert bob.get("/").headers["Location"].startswith("/sign-in")
    assert bob.client.get_cookie("known") is not None


def test_a_page_asks_a_stranger_to_sign_in_and_comes_back(team: Team) -> None:
    stranger = team.browser()
    asked = stranger.get(f"{team.page}?range=90d")
    assert asked.status_code == 302
    form = soup(stranger.get(asked.headers["Location"]))
    answer = stranger.post(
        str(one(form, "main form")["action"]), email="bob@example.org", password=build.PASSWORD
    )
    assert answer.headers["Location"] == f"{team.page}?range=90d"
    assert stranger.get("/sign-in").headers["Location"] == "/"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\n/evil.example",
        " //evil.example",
        "evil",
        "",
    ],
)
def test_sign_in_leads_only_to_pages_of_this_site(team: Team, elsewhere: str) -> None:
    answer = team.browser().client.post(
        "/sign-in",
        query_string={"next": elsewhere},
        data={"email": "bob@example.org", "password": build.PASSWORD},
        headers=OURS,
    )
    assert answer.headers["Location"] == "/"


def test_signing_in_begins_a_new_session(team: Team) -> None:
    before, planted = team.browser("bob"), team.browser()
    token = before.client.get_cookie("devflow")
    assert token is not None
    planted.client.set_cookie("devflow", token.value)
    planted.sign_in("cem")
    assert planted.client.get_cookie("devflow") != token
    assert before.get("/").status_code == 302


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 302),
        ({"Origin": "http://localhost"}, 302),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
@pytest.mark.parametrize("address", ["/sign-in", "/sign-out", "/projects"])
def test_a_form_must_come_from_this_site(
    team: Team, address: str, headers: dict[str, str], status: int
) -> None:
    form = {"email": "ada@example.org", "password": build.PASSWORD, "name": "new"}
    answer = team.browser("ada").client.post(address, data=form, headers=headers)
    assert answer.status_code == status


def test_a_fragment_of_a_stranger_sends_the_whole_tab_to_sign_in(team: Team) -> None:
    answer = team.browser().get(
        f"{team.page}?range=1y", HX_Request="true", HX_Request_Type="partial", HX_Target="main#main"
    )
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"].startswith("/sign-in?next=")


def test_a_session_ends_when_the_password_changes_elsewhere(team: Team) -> None:
    bob = team.browser("bob")
    with team.context.database.writing() as session:
        session.execute(update(Person).where(Person.name == "Bob").values(token_version=2))
    assert bob.get("/").status_code == 302
