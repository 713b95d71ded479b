"""The members of a project: who sees them, who changes them, and that sending ends with membership."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import select, update

from devflow import jobs
from devflow.models import AuditEntry, Project, ProjectMember, Role
from tests import build
from tests.browsing import Team, one, soup, text
from tests.web.test_teams import forms, member, roles, rows, statements


@pytest.fixture
def page(team: Team) -> str:
    """The members of atlas: Bob, who manages it, and Cem; Eve is not one, Ada is an admin."""
    with team.context.database.writing() as session:
        bob = ProjectMember.person_id == team.people["bob"].id
        session.execute(update(ProjectMember).where(bob).values(role=Role.MANAGER))
    return f"{team.page}/members"


def test_the_project_leads_to_its_members(team: Team, page: str) -> None:
    cem = team.browser("cem")
    for here, name in ((team.page, "Activity"), (page, "Members")):
        tabs = one(soup(cem.get(here)), ".tabs")
        assert [link["href"] for link in tabs.select("a")] == [team.page, page]
        assert text(tabs, "[aria-current=page]") == name


def test_members_and_admins_see_who_is_in_it_and_an_outsider_nothing(team: Team, page: str) -> None:
    assert rows(soup(team.browser("cem").get(page))) == [["Bob", "Manager"], ["Cem you", "Developer"]]
    assert [name for name, *_ in rows(soup(team.browser("ada").get(page)))] == ["Bob", "Cem"]
    answer = team.browser("eve").get(page)
    missing = uuid4()
    nothing = text(soup(team.browser("eve").get(f"/projects/{missing}/members")), "main")
    assert answer.status_code == 404
    assert text(soup(answer), "main") == nothing.replace(str(missing), str(team.project.public_id))


def test_the_forms_are_for_who_may_use_them(team: Team, page: str) -> None:
    managing = {f"/projects/{part}" for part in ("members/role", "members/remove", "name")}
    assert {who: forms(soup(team.browser(who).get(page))) for who in ("ada", "bob", "cem")} == {
        "ada": managing | {"/projects/members", "/projects/delete"},
        "bob": managing | {"/projects/leave"},
        "cem": {"/projects/leave"},
    }


def test_a_manager_adds_the_own_teams_people_and_nobody_else(team: Team, page: str) -> None:
    fay = team.world.person("Fay")
    team.world.team("core", {team.people["bob"]: Role.MANAGER, fay: Role.DEVELOPER})
    bob = team.browser("bob")
    assert [option.get_text() for option in soup(bob.get(page)).select("#person option")] == ["Choose", "Fay"]
    assert bob.post(page, person=str(member(team, "eve")), role="developer").status_code == 404
    assert bob.post(page, person=str(fay.public_id), role="lead").headers["Location"] == page
    assert bob.post(f"{page}/{member(team, 'cem')}/role", role="manager").headers["Location"] == page
    assert roles(soup(bob.get(page))) == {"Bob": "manager", "Cem": "manager", "Fay": "lead"}
    answer = bob.post(page, person=str(fay.public_id), role="lead")
    assert (answer.status_code, "no member yet" in text(soup(answer), "[role=alert]")) == (422, True)


@pytest.mark.parametrize("post", ["members", "members/{}/role", "members/{}/remove", "name", "delete"])
def test_who_does_not_manage_a_project_finds_nothing_to_change(team: Team, page: str, post: str) -> None:
    """Cem is in atlas, Eve is not, and Bob manages only atlas."""
    other = f"/projects/{team.world.project('other', team.people['eve']).public_id}"
    cem = str(member(team, "cem"))
    form = {"person": cem, "role": "manager", "name": "mine", "typed": "atlas"}
    for who, where in (("cem", team.page), ("eve", team.page), ("bob", other)):
        assert team.browser(who).post(f"{where}/{post.format(cem)}", **form).status_code == 404
    assert roles(soup(team.browser("bob").get(page))) == {"Bob": "manager", "Cem": "developer"}


def test_a_removed_member_sees_nothing_and_sends_nothing_more(team: Team, page: str) -> None:
    cem, agent = team.browser("cem"), team.app.test_client()
    login = agent.post("/auth/login", json={"email": "cem@example.org", "password": build.PASSWORD})
    bearer = {"Authorization": f"Bearer {login.json['token']}"} if login.json else {}

    def projects() -> list[str]:
        answer = agent.get("/sync/projects", headers=bearer)
        assert answer.status_code == 200 and answer.json is not None
        return [project["name"] for project in answer.json["projects"]]

    assert (cem.get(team.page).status_code, projects()) == (200, ["atlas"])
    removed = team.browser("bob").post(f"{page}/{member(team, 'cem')}/remove")
    assert removed.headers["Location"] == page
    assert (cem.get(team.page).status_code, cem.get(page).status_code, projects()) == (404, 404, [])
    sent = team.world.event(team.people["cem"], team.project, build.saved(), build.NOW_MS)
    assert [error.code for error in team.world.send(team.people["cem"], sent).errors] == ["project"]


def test_who_leaves_or_removes_the_own_self_is_taken_to_the_overview(team: Team, page: str) -> None:
    assert team.browser("cem").post(f"{team.page}/leave").headers["Location"] == "/"
    bob = team.browser("bob")
    assert bob.post(f"{page}/{member(team, 'bob')}/remove").headers["Location"] == "/"
    assert bob.get(page).status_code == 404
    assert "Nobody so far. Add the first one below." in text(soup(team.browser("ada").get(page)), "main")


def test_a_project_is_renamed_by_its_manager(team: Team, page: str) -> None:
    team.world.project("taken")
    bob = team.browser("bob")
    answer = bob.post(f"{team.page}/name", name="taken")
    assert (answer.status_code, one(soup(answer), "#name")["value"]) == (422, "taken")
    assert "no project has yet" in text(soup(answer), "[role=alert]")
    assert bob.post(f"{team.page}/name", name="atlas two").headers["Location"] == page
    assert text(soup(bob.get(page)), "h1") == "Members of atlas two"


def test_a_project_is_deleted_by_an_admin_who_types_its_name(busy: Team) -> None:
    ada, page = busy.browser("ada"), f"{busy.page}/members"
    assert busy.browser("bob").post(f"{busy.page}/delete", typed="atlas").status_code == 404
    wrong = ada.post(f"{busy.page}/delete", typed="atla")
    assert (wrong.status_code, len(soup(wrong).select("details[open] [role=alert]"))) == (422, 1)
    assert ada.post(f"{busy.page}/delete", typed="atlas").headers["Location"] == "/"
    for who in ("ada", "bob"):
        browser = busy.browser(who)
        assert (browser.get(page).status_code, browser.get(busy.page).status_code) == (404, 404)
        assert "atlas" not in browser.get("/").get_data(as_text=True)
    assert jobs.purge(busy.context) > 0
    with busy.context.database.reading() as session:
        assert session.scalars(select(Project)).all() == []
        done = (AuditEntry.subject == busy.project.public_id) & ~AuditEntry.is_refused
        acts = session.scalars(select(AuditEntry.act).where(done))
        assert acts.all() == ["project.deleted", "project.purged"]


def test_the_page_asks_the_same_few_questions_however_many_members(team: Team, page: str) -> None:
    bob = team.browser("bob")

    def asked() -> int:
        with statements() as sent:
            assert bob.get(page).status_code == 200
        return len(sent)

    few = asked()
    more = [team.world.person(f"Number{n}") for n in range(5)]
    with team.context.database.writing() as session:
        session.add_all(
            ProjectMember(project_id=team.project.id, person_id=each.id, role="lead") for each in more
        )
    assert asked() == few
    assert len(rows(soup(bob.get(page)))) == 7
