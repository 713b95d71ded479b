"""The pages of people and of one's account: what an admin changes, and nobody else even sees."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import event

from devflow import context, jobs
from devflow.models import Person, Role, SecondFactor
from tests import build
from tests.browsing import Browser, Team, one, soup, text

PAGE = "/people/{}/account"
ACTS = ("role", "deactivate", "reactivate", "reset-link", "second-factor/off", "delete")


def account(team: Team, name: str) -> str:
    return PAGE.format(team.people[name].public_id)


def rows(browser: Browser) -> dict[str, list[str]]:
    """The table of people: by name, the other cells."""
    page = soup(browser.get("/people"))
    return {
        text(row, "th a"): [" ".join(cell.get_text(" ").split()) for cell in row.select(".email, td")]
        for row in page.select(".people tbody tr")
    }


def api_tokens(team: Team, name: str) -> dict[str, str]:
    member = team.people[name]
    body = {"email": member.email, "password": build.PASSWORD, "deviceId": str(member.device_id)}
    answer = team.app.test_client().post("/auth/login", json=body)
    assert answer.status_code == 200
    return {"Authorization": f"Bearer {answer.json['token']}"} if answer.json else {}


@pytest.fixture
def real_time(team: Team) -> Team:
    """The same team on a clock that goes, which tokens are checked by."""
    running = replace(team.context, now=context.now_ms)
    return replace(team, context=running, app=build.app(running))


def test_the_page_lists_everybody_for_admins_alone(team: Team) -> None:
    team.world.team("core", {team.people["bob"]: Role.LEAD})
    found = rows(team.browser("ada"))
    assert list(found) == ["Ada", "Bob", "Cem", "Eve"]
    assert found["Bob"] == ["bob@example.org", "Developer", "1", "1", "no", "never", "active"]
    assert found["Ada"][1:] == ["Administrator", "0", "0", "no", "Nov 19, 2026", "active"]
    for name in ("bob", "eve"):
        answer = team.browser(name).get("/people")
        assert (answer.status_code, "cem" in answer.text.lower()) == (403, False)


@pytest.mark.parametrize("act", ["", *(f"/{act}" for act in ACTS)])
def test_an_account_is_not_there_for_who_is_no_admin(team: Team, act: str) -> None:
    team.world.team("core", {team.people["bob"]: Role.MANAGER, team.people["cem"]: Role.DEVELOPER})
    for name in ("bob", "cem", "eve"):
        browser = team.browser(name)
        answer = browser.post(account(team, "cem") + act) if act else browser.get(account(team, "cem"))
        assert (answer.status_code, "cem@example.org" in answer.text) == (404, False)


def test_an_admin_changes_a_role(team: Team) -> None:
    ada, bob = team.browser("ada"), team.browser("bob")
    assert bob.post("/projects", name="new").status_code == 403
    assert ada.post(account(team, "bob") + "/role", role="manager").headers["Location"] == account(
        team, "bob"
    )
    assert bob.post("/projects", name="new").status_code == 302
    assert one(soup(ada.get(account(team, "bob"))), "#role option[selected]")["value"] == "manager"
    wrong = ada.post(account(team, "bob") + "/role", role="lead")
    assert (wrong.status_code, text(soup(wrong), "[role=alert]")[:8]) == (422, "Expected")


def test_deactivated_people_are_out_in_the_browser_and_on_their_pcs(real_time: Team) -> None:
    team = real_time
    ada, bob, token = team.browser("ada"), team.browser("bob"), api_tokens(team, "bob")
    agent = team.app.test_client()
    assert agent.get("/sync/projects", headers=token).status_code == 200
    assert ada.post(account(team, "bob") + "/deactivate").status_code == 302
    assert bob.get("/").status_code == 302
    assert agent.get("/sync/projects", headers=token).status_code == 401
    assert rows(ada)["Bob"][-1] == "deactivated"
    assert ada.post(account(team, "bob") + "/reset-link").status_code == 422
    assert ada.post(account(team, "bob") + "/reactivate").status_code == 302
    assert agent.get("/sync/projects", headers=token).status_code == 401
    assert bob.sign_in("bob").get("/").status_code == 200


def test_an_admin_switches_a_second_factor_off(team: Team) -> None:
    bob = team.people["bob"]
    with team.context.database.writing() as session:
        session.add(SecondFactor(person_id=bob.id, secret=b"sealed", confirmed_at=1, last_step=0))
    ada = team.browser("ada")
    assert rows(ada)["Bob"][4] == "yes"
    form = one(soup(ada.get(account(team, "bob"))), "form[action$=off]")
    assert ada.post(str(form["action"])).status_code == 302
    assert rows(ada)["Bob"][4] == "no"
    assert ada.post(str(form["action"])).status_code == 422


def test_the_own_account_offers_an_admin_nothing_to_lose(team: Team) -> None:
    ada = team.browser("ada")
    assert not soup(ada.get(account(team, "ada"))).select("main form")
    for act in ("role", "deactivate", "reset-link", "second-factor/off"):
        assert ada.post(f"{account(team, 'ada')}/{act}", role="developer").status_code == 422
    assert ada.post(account(team, "ada") + "/delete", name="Ada").status_code == 422
    assert ada.get("/people").status_code == 200


def test_a_person_asks_to_be_deleted_and_thinks_better_of_it(team: Team) -> None:
    bob, ada = team.browser("bob"), team.browser("ada")
    wrong = bob.post("/me/account/deletion", password="a guess at it")
    assert (wrong.status_code, "not your current password" in text(soup(wrong), "[role=alert]")) == (
        422,
        True,
    )
    assert rows(ada)["Bob"][-1] == "active"
    assert bob.post("/me/account/deletion", password=build.PASSWORD).status_code == 302
    assert "Dec 19, 2026" in text(soup(bob.get("/me/account")), ".notice")
    assert rows(ada)["Bob"][-1] == "asked to be deleted"
    assert bob.post("/me/account/deletion/withdraw").status_code == 302
    assert not soup(bob.get("/me/account")).select(".notice")
    assert bob.post("/me/account/deletion/withdraw").status_code == 404


def test_an_admin_carries_out_a_deletion_by_typing_the_name(busy: Team) -> None:
    ada, bob, cem = busy.browser("ada"), busy.browser("bob"), busy.browser("cem")
    assert ada.post(account(busy, "bob") + "/delete", name="Bob").status_code == 422
    bob.post("/me/account/deletion", password=build.PASSWORD)
    before = [text(soup(cem.get(busy.page)), "main")]
    wrong = ada.post(account(busy, "bob") + "/delete", name="Rob")
    assert (wrong.status_code, "type the name" in text(soup(wrong), "[role=alert]")) == (422, True)
    assert bob.get("/").status_code == 200
    assert ada.post(account(busy, "bob") + "/delete", name=" Bob ").headers["Location"] == "/people"
    assert list(rows(ada)) == ["Ada", "Cem", "Eve"]
    assert bob.get("/").status_code == 302
    assert ada.get(account(busy, "bob")).status_code == 404
    assert bob.post("/sign-in", email="bob@example.org", password=build.PASSWORD).status_code == 422
    assert [text(soup(cem.get(busy.page)), "main")] == before


def test_a_deletion_is_carried_out_by_the_job_once_it_is_due(team: Team) -> None:
    bob = team.browser("bob")
    bob.post("/me/account/deletion", password=build.PASSWORD)
    assert jobs.erase(team.context) == 0
    assert jobs.erase(replace(team.context, now=lambda: build.NOW_MS + 30 * build.DAY_MS)) == 1
    with team.world.reading() as session:
        assert session.get_one(Person, team.people["bob"].id).erased_at is not None
    scheduler = jobs.start(team.context)
    assert scheduler.get_job("erase").trigger.interval.total_seconds() == 3_600
    scheduler.shutdown()


def test_a_pc_asks_for_deletion_with_the_password_and_takes_it_back(real_time: Team) -> None:
    team = real_time
    token, agent = api_tokens(team, "bob"), team.app.test_client()

    def ask(password: str) -> tuple[int, dict[str, int]]:
        answer = agent.post("/account/deletion", json={"password": password}, headers=token)
        return answer.status_code, answer.json or {}

    assert ask("a guess at it")[0] == 400
    assert agent.delete("/account/deletion", headers=token).status_code == 404
    status, said = ask(build.PASSWORD)
    assert (status, said["dueAt"] > team.context.now() + 29 * build.DAY_MS) == (202, True)
    assert agent.delete("/account/deletion", headers=token).status_code == 204
    assert agent.post("/account/deletion", json={"password": build.PASSWORD}).status_code == 401


def test_a_person_changes_the_own_name(team: Team) -> None:
    bob = team.browser("bob")
    assert bob.post("/me/account/name", name="Bobby").status_code == 302
    assert text(soup(bob.get("/")), ".who-name") == "Signed in as Bobby"
    wrong = bob.post("/me/account/name", name=" ")
    assert (wrong.status_code, text(soup(wrong), "[role=alert]")[:8]) == (422, "Expected")
    assert bob.get("/me/account").text.count("bob@example.org") == 1


def test_a_page_of_two_hundred_people_asks_as_little_as_one_of_four(team: Team) -> None:
    ada = team.browser("ada")
    sent: list[str] = []
    reader = team.context.database._reader
    event.listen(reader, "before_cursor_execute", lambda *args: sent.append(args[2]))
    assert len(rows(ada)) == 4
    few = len(sent)
    with team.context.database.writing() as session:
        for n in range(196):
            made = uuid4()
            session.add(
                Person(
                    public_id=made,
                    email_key=made.bytes,
                    email=team.context.vault.seal("people.email", made.bytes, b"x@example.org"),
                    name=f"Person {n}",
                    password_hash="",
                    role="developer",
                    token_version=1,
                    created_at=build.NOW_MS,
                )
            )
    sent.clear()
    assert len(rows(ada)) == 200
    assert len(sent) == few
