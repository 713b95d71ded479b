"""The pages of teams: who sees which, what the forms do, and that access ends with membership."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest
from bs4 import BeautifulSoup
from sqlalchemy import Engine, event, select

from devflow.models import AuditEntry, Role, TeamMember
from devflow.models import Team as TeamRow
from tests.browsing import Team, one, soup, text


@contextmanager
def statements() -> Iterator[list[str]]:
    """Every statement sent to any database meanwhile."""
    sent: list[str] = []

    def record(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", record)
    yield sent
    event.remove(Engine, "before_cursor_execute", record)


@pytest.fixture
def core(team: Team) -> str:
    """The address of a team that Bob manages, Cem leads and Dan is in; Eve is in none, Ada is an admin."""
    people = team.people
    people["dan"] = team.world.person("Dan")
    roles = {people["bob"]: Role.MANAGER, people["cem"]: Role.LEAD, people["dan"]: Role.DEVELOPER}
    return f"/teams/{team.world.team('core', roles).public_id}"


def rows(page: BeautifulSoup) -> list[list[str]]:
    """The list, without what forms say in it."""
    for form in page.select("tbody form, tbody details"):
        form.extract()
    return [
        [" ".join(cell.get_text(" ").split()) for cell in row.select("th, td")]
        for row in page.select(".members tbody tr")
    ]


def forms(page: BeautifulSoup) -> set[str]:
    """Where forms of the page's middle lead, without ids."""
    found = {str(form["action"]) for form in page.select("main form")}
    return {"/".join(part for part in action.split("/") if len(part) != 36) for action in found}


def roles(page: BeautifulSoup) -> dict[str, str]:
    """The role of each, as the forms have it."""
    return {
        text(row, "th").split()[0]: str(one(row, "select option[selected]")["value"])
        for row in page.select(".members tbody tr")
    }


def member(team: Team, name: str) -> UUID:
    return team.people[name].public_id


# The list of teams


def test_everybody_sees_the_own_teams_with_role_and_count_and_an_admin_all(team: Team, core: str) -> None:
    team.world.team("apps", {team.people["cem"]: Role.DEVELOPER})
    seen = {who: rows(soup(team.browser(who).get("/teams"))) for who in ("ada", "bob", "cem", "dan", "eve")}
    assert seen == {
        "ada": [["apps", "not a member", "1"], ["core", "not a member", "3"]],
        "bob": [["core", "Manager", "3"]],
        "cem": [["apps", "Developer", "1"], ["core", "Lead", "3"]],
        "dan": [["core", "Developer", "3"]],
        "eve": [],
    }
    link = one(soup(team.browser("dan").get("/teams")), ".members th a")
    assert link["href"] == core


def test_who_is_in_no_team_is_told_what_to_do(team: Team) -> None:
    page = soup(team.browser("eve").get("/teams"))
    assert "Ask a manager or an administrator" in text(page, ".empty")
    assert forms(page) == set()
    page = soup(team.browser("ada").get("/teams"))
    assert "Make the first one" in text(page, ".empty")
    assert forms(page) == {"/teams"}


def test_only_those_who_may_make_teams(team: Team, core: str) -> None:
    team.world.person("Max", Role.MANAGER)
    answers = {
        who: team.browser(who).post("/teams", name=f"of {who}").status_code for who in ("ada", "max", "bob")
    }
    assert answers == {"ada": 302, "max": 302, "bob": 403}


def test_a_maker_is_the_manager_and_an_admin_may_stay_outside(team: Team) -> None:
    max_ = team.world.person("Max", Role.MANAGER)
    browser = team.browser("max")
    made = browser.post("/teams", name=" of  max ").headers["Location"]
    assert made.endswith("/members"), "of a new team there is nothing else to see"
    assert roles(soup(browser.get(made))) == {"Max": "manager"}
    assert one(soup(team.browser("ada").get("/teams")), "input[name=outside]")
    assert soup(browser.get("/teams")).select("input[name=outside]") == []
    answer = browser.post("/teams", name="orphan", outside="yes")
    assert (answer.status_code, "only an admin" in text(soup(answer), "[role=alert]")) == (422, True)
    ada = team.browser("ada")
    made = ada.post("/teams", name="outside", outside="yes").headers["Location"]
    assert rows(soup(ada.get(made))) == []
    with team.context.database.reading() as session:
        assert session.scalars(select(TeamMember.person_id)).all() == [max_.id]


@pytest.mark.parametrize(
    ("name", "said"), [("", "1 to 100"), ("core", "no team has yet"), ("a\0b", "invisible")]
)
def test_a_bad_name_is_kept_beside_the_message(team: Team, core: str, name: str, said: str) -> None:
    answer = team.browser("ada").post("/teams", name=name, outside="yes")
    page = soup(answer)
    assert answer.status_code == 422
    assert said in text(page, "[role=alert]")
    assert (one(page, "#name")["value"], one(page, "#name")["aria-describedby"]) == (name, "wrong")
    assert one(page, "input[name=outside]").has_attr("checked")


# One team


def test_members_see_each_other_and_outsiders_nothing(team: Team, core: str) -> None:
    assert rows(soup(team.browser("dan").get(f"{core}/members"))) == [
        ["Bob", "Manager"],
        ["Cem", "Lead"],
        ["Dan you", "Developer"],
    ]
    answer = team.browser("eve").get(f"{core}/members")
    assert answer.status_code == 404
    missing = f"/teams/{uuid4()}/members"
    nothing = text(soup(team.browser("eve").get(missing)), "main")
    assert text(soup(answer), "main").replace(core[7:], missing[7:43]) == nothing
    assert [name for name, *_ in rows(soup(team.browser("ada").get(f"{core}/members")))] == [
        "Bob",
        "Cem",
        "Dan",
    ]


def test_the_forms_are_for_who_may_use_them(team: Team, core: str) -> None:
    found = {
        who: forms(soup(team.browser(who).get(f"{core}/members"))) for who in ("ada", "bob", "cem", "dan")
    }
    managing = {f"/teams/{part}" for part in ("members", "members/role", "members/remove", "name", "delete")}
    # Bob manages no other team, so there is nobody for him to add.
    assert found == {
        "ada": managing,
        "bob": managing - {"/teams/members"} | {"/teams/leave"},
        "cem": {"/teams/leave"},
        "dan": {"/teams/leave"},
    }


def test_the_list_to_add_from_names_nobody_else(team: Team, core: str) -> None:
    page = soup(team.browser("bob").get(f"{core}/members"))
    assert "nobody else whom you may add" in text(page, "section[aria-labelledby=add-title]")
    assert "Eve" not in page.get_text() and "Ada" not in page.get_text()
    fay = team.world.person("Fay")
    team.world.team("apps", {team.people["bob"]: Role.MANAGER, fay: Role.DEVELOPER})
    options = soup(team.browser("bob").get(f"{core}/members")).select("#person option")
    assert [option.get_text() for option in options] == ["Choose", "Fay"]


def test_a_person_is_linked_only_for_who_may_see_their_days(team: Team, core: str) -> None:
    address = "/people/<uuid:person_id>"
    if "pages.person" not in team.app.view_functions:
        team.app.add_url_rule(address, "pages.person", lambda person_id: str(person_id))
    linked = {
        who: [
            link.get_text() for link in soup(team.browser(who).get(f"{core}/members")).select(".members th a")
        ]
        for who in ("ada", "bob", "cem", "dan")
    }
    everybody = ["Bob", "Cem", "Dan"]
    assert linked == {"ada": [], "bob": everybody, "cem": everybody, "dan": ["Dan"]}


def test_a_manager_adds_promotes_renames_and_removes(team: Team, core: str) -> None:
    fay = team.world.person("Fay")
    team.world.team("apps", {team.people["bob"]: Role.MANAGER, fay: Role.DEVELOPER})
    bob = team.browser("bob")
    changes = [
        bob.post(f"{core}/members", person=str(fay.public_id), role="developer"),
        bob.post(f"{core}/members/{fay.public_id}/role", role="lead"),
        bob.post(f"{core}/members/{member(team, 'dan')}/remove"),
        bob.post(f"{core}/name", name="kernel"),
    ]
    assert {(change.status_code, change.headers["Location"]) for change in changes} == {
        (302, f"{core}/members")
    }
    page = soup(bob.get(f"{core}/members"))
    assert roles(page) == {"Bob": "manager", "Cem": "lead", "Fay": "lead"}
    assert text(page, "h1") == "Members of kernel"
    with team.context.database.reading() as session:
        acts = session.scalars(select(AuditEntry.act).where(AuditEntry.subject == UUID(core[7:]))).all()
    assert acts == ["team.member_added", "team.member_role", "team.member_removed", "team.renamed"]


POSTS = ("members", "members/{}/role", "members/{}/remove", "name", "delete")


@pytest.mark.parametrize("post", POSTS)
def test_who_does_not_manage_a_team_finds_nothing_to_change(team: Team, core: str, post: str) -> None:
    """Cem leads core, Dan is in it, Eve is not, and Bob manages only the other one."""
    other = f"/teams/{team.world.team('apps', {team.people['eve']: Role.MANAGER}).public_id}"
    dan = str(member(team, "dan"))
    form = {"person": dan, "role": "manager", "name": "mine", "typed": "core"}
    for who, where in (("cem", core), ("dan", core), ("eve", core), ("bob", other)):
        assert team.browser(who).post(f"{where}/{post.format(dan)}", **form).status_code == 404
    page = soup(team.browser("bob").get(f"{core}/members"))
    assert (text(page, "h1"), roles(page)) == (
        "Members of core",
        {"Bob": "manager", "Cem": "lead", "Dan": "developer"},
    )


def test_a_forged_form_adds_nobody_one_has_no_right_on(team: Team, core: str) -> None:
    bob, missing = team.browser("bob"), str(uuid4())
    said = [
        text(soup(bob.post(f"{core}/members", person=person, role="lead")), "main").replace(person, "X")
        for person in (str(member(team, "eve")), str(member(team, "ada")), missing)
    ]
    assert said[0] == said[1] == said[2]
    assert "not shared with you" in said[0]
    for form, words in (
        ({"person": "", "role": "lead"}, "chosen from the list"),
        ({"person": str(member(team, "dan")), "role": "admin"}, "expected the role"),
        ({"person": str(member(team, "dan")), "role": "lead"}, "no member yet"),
    ):
        answer = bob.post(f"{core}/members", **form)
        assert (answer.status_code, words in text(soup(answer), "[role=alert]").lower()) == (422, True)
    assert set(roles(soup(bob.get(f"{core}/members")))) == {"Bob", "Cem", "Dan"}


@pytest.mark.parametrize(("who", "was"), [("dan", "developer"), ("cem", "lead"), ("gil", "manager")])
def test_a_removed_members_next_request_finds_nothing(team: Team, core: str, who: str, was: str) -> None:
    if who == "gil":
        team.people["gil"] = team.world.person("Gil")
        team.browser("ada").post(f"{core}/members", person=str(member(team, "gil")), role="manager")
    gone = team.browser(who)
    assert gone.get(f"{core}/members").status_code == 200
    assert roles(soup(team.browser("bob").get(f"{core}/members")))[who.title()] == was
    team.browser("bob").post(f"{core}/members/{member(team, who)}/remove")
    assert gone.get(f"{core}/members").status_code == 404
    assert gone.post(f"{core}/name", name="mine").status_code == 404
    assert rows(soup(gone.get("/teams"))) == []


def test_who_leaves_is_taken_to_the_list(team: Team, core: str) -> None:
    bob = team.browser("bob")
    assert bob.post(f"{core}/leave").headers["Location"] == "/teams"
    assert bob.get(f"{core}/members").status_code == 404
    page = soup(team.browser("ada").get(f"{core}/members"))
    assert roles(page) == {"Cem": "lead", "Dan": "developer"}
    assert team.browser("ada").post(f"{core}/leave").status_code == 404  # is no member
    assert team.browser("cem").post(f"{core}/members/{member(team, 'dan')}/remove").status_code == 404


def test_a_team_is_deleted_by_its_typed_name(team: Team, core: str) -> None:
    bob = team.browser("bob")
    wrong = bob.post(f"{core}/delete", typed="Core")
    page = soup(wrong)
    assert (wrong.status_code, one(page, "details[open] [role=alert]")["id"]) == (422, "wrong")
    assert bob.post(f"{core}/delete", typed="core").headers["Location"] == "/teams"
    with team.context.database.reading() as session:
        assert session.scalars(select(TeamRow)).all() == []
    assert bob.get(f"{core}/members").status_code == 404


def test_a_wrong_name_is_kept_in_the_form_and_the_team_keeps_its_own(team: Team, core: str) -> None:
    answer = team.browser("bob").post(f"{core}/name", name="x" * 101)
    page = soup(answer)
    assert (answer.status_code, text(page, "h1"), one(page, "#name")["value"]) == (
        422,
        "Members of core",
        "x" * 101,
    )
    assert "1 to 100" in text(page, "section[aria-labelledby=rename-title] [role=alert]")


def test_names_are_text_wherever_they_stand(team: Team, core: str) -> None:
    name = "<b>&amp;'\""
    sly = team.world.person(name)
    ada = team.browser("ada")
    assert name in [option.get_text() for option in soup(ada.get(f"{core}/members")).select("#person option")]
    ada.post(f"{core}/members", person=str(sly.public_id), role="lead")
    ada.post(f"{core}/name", name=name)
    page = soup(ada.get(f"{core}/members"))
    assert page.select("b") == []
    assert text(page, "h1") == f"Members of {name}"
    assert f"Role of {name}" in [label.get_text() for label in page.select("td label")]


def test_the_pages_ask_the_same_few_questions_however_many_members(team: Team, core: str) -> None:
    ada = team.browser("ada")

    def asked(address: str) -> int:
        with statements() as sent:
            assert ada.get(address).status_code == 200
        return len(sent)

    few = {address: asked(address) for address in ("/teams", f"{core}/members")}
    more = [team.world.person(f"Number{n}") for n in range(5)]
    with team.context.database.writing() as session:
        row = session.scalars(select(TeamRow)).one()
        session.add_all(TeamMember(team_id=row.id, person_id=each.id, role="lead") for each in more)
    team.world.team("more", {team.people["dan"]: Role.LEAD})
    assert {address: asked(address) for address in few} == few
    assert len(rows(soup(ada.get(f"{core}/members")))) == 8
