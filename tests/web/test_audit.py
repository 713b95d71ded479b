"""The trail's page and exports; and that whoever is refused leaves an entry, without flooding it."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from devflow import access, audit
from devflow.access import Action
from devflow.audit import Act, Actor
from devflow.context import Context
from devflow.models import AuditEntry, Person, Project, Role
from devflow.web import csv_lines, guard
from devflow.web.pages import acts
from devflow.web.refusals import HOUR_MS, MOST_AN_HOUR, SAME_EVERY_MS, Refusals
from tests import build
from tests.browsing import Browser, Team, soup, text
from tests.build import NOW_MS


def entries(context: Context, *acts: Act) -> list[AuditEntry]:
    with context.database.reading() as session:
        query = select(AuditEntry).order_by(AuditEntry.id)
        return list(session.scalars(query.where(AuditEntry.act.in_(acts)) if acts else query))


def write(team: Team, count: int, **detail: Any) -> None:
    for number in range(count):
        with team.context.database.writing() as session:
            by = Actor(None, NOW_MS + number, team.context.vault)
            audit.record(session, by, Act.PROJECT_MADE, team.project.public_id, **detail)


def said(answer: TestResponse) -> list[str]:
    """The sentences of the entries on the page."""
    assert answer.status_code == 200
    return [" ".join(line.get_text(" ").split()) for line in soup(answer).select(".trail li > p:first-child")]


# Who may


@pytest.mark.parametrize("address", ["/audit", "/audit/export.csv", "/audit/export.jsonl"])
def test_the_trail_is_for_who_may_read_it(team: Team, address: str) -> None:
    assert team.browser("ada").get(address).status_code == 200
    for name in ("bob", "eve"):
        answer = team.browser(name).get(address)
        assert answer.status_code == 403
        assert "signed in" not in answer.get_data(as_text=True)
    assert team.browser().get(address).status_code == 302


# The page


def test_entries_stand_in_words_newest_first_with_todays_names(team: Team) -> None:
    team.browser("bob").post("/sign-out")
    ada = team.browser("ada")
    with team.context.database.writing() as session:
        session.execute(update(Person).where(Person.name == "Bob").values(name="Robert"))
    found = said(ada.get("/audit"))
    assert found[:3] == ["Ada signed in", "Robert signed out", "Robert signed in"]
    assert found[-1] == "The server, or somebody unknown, made this workspace"


def test_an_erased_person_is_a_former_member(team: Team) -> None:
    team.browser("bob")
    with team.context.database.writing() as session:
        session.execute(update(Person).where(Person.name == "Bob").values(name="", erased_at=1))
    page = team.browser("ada").get("/audit")
    assert "A former member signed in" in said(page)
    assert "Bob" not in page.get_data(as_text=True)


def test_a_name_is_text_and_no_markup(team: Team) -> None:
    with team.context.database.writing() as session:
        session.execute(update(Person).where(Person.name == "Ada").values(name="<i>A</i> %(it)s"))
    assert said(team.browser("ada").get("/audit"))[0] == "<i>A</i> %(it)s signed in"


def test_every_act_has_a_sentence_of_its_own(team: Team) -> None:
    with team.app.test_request_context():
        sentences = {act: acts.sentence(act) for act in Act}
        unknown = acts.sentence("thing.done_by_a_newer_server")
    assert len(set(sentences.values()) | {unknown}) == len(Act) + 1
    for found in sentences.values():
        assert found % dict.fromkeys(("who", "it", "whom", "whose", "role"), "X")


def test_an_instant_of_an_entry_is_shown_as_a_time(team: Team) -> None:
    bob = team.browser("bob")
    assert bob.post("/me/account/deletion", password=build.PASSWORD).status_code == 302
    (shown,) = [
        line.get_text(" ")
        for line in soup(team.browser("ada").get(f"/audit?act={Act.DELETION_ASKED}")).select(".trail li")
    ]
    assert re.search(r"due: \w{3} \d+, \d{4}, \d+:\d\d", shown), shown


def test_pages_follow_each_other_without_a_gap_and_keep_the_filter(team: Team) -> None:
    write(team, 120)
    ada = team.browser("ada")
    address, seen = f"/audit?subject={team.project.public_id}", []
    while address:
        page = soup(ada.get(address))
        seen += [time["datetime"] for time in page.select(".trail time")]
        following = page.select("a[rel=next]")
        address = str(following[0]["href"]) if following else ""
        assert len(seen) <= 121
    assert len(seen) == 120
    assert seen == sorted(seen, reverse=True)


def test_filters_leave_what_they_say(team: Team) -> None:
    for name in ("bob", "cem"):
        team.browser(name)
    team.browser("eve").get("/audit")
    ada = team.browser("ada")
    bob = team.people["bob"].public_id
    assert said(ada.get(f"/audit?actor={bob}"))[-1] == "Bob connected the PC a PC"
    assert said(ada.get(f"/audit?actor={bob}&act={Act.SIGNED_IN}")) == ["Bob signed in"]
    assert said(ada.get("/audit?refused=1")) == ["Refused: Eve asked for the workspace"]
    assert said(ada.get("/audit?from=2026-11-20")) == []
    assert said(ada.get("/audit?to=2026-11-18")) == []
    assert len(said(ada.get("/audit?from=2026-11-19&to=2026-11-19"))) > 5
    chosen = soup(ada.get(f"/audit?actor={bob}&refused=1"))
    assert text(chosen, "#actor option[selected]") == "Bob"
    assert "No such entry" in chosen.get_text()


@pytest.mark.parametrize(
    "query",
    [
        "actor=bob",
        "subject=1",
        "act=person.danced",
        "from=today",
        "to=2026-02-30",
        "before=x",
        "before=%C2%B2",
    ],
)
def test_a_filter_that_makes_no_sense_is_said_in_words(team: Team, query: str) -> None:
    answer = team.browser("ada").get(f"/audit?{query}")
    assert answer.status_code == 400
    assert "Expected" in text(soup(answer), "main")


def test_a_page_takes_as_many_statements_with_one_entry_as_with_many(team: Team) -> None:
    def statements() -> int:
        sent: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            sent.append(statement)

        engine = team.context.database._reader
        event.listen(engine, "before_cursor_execute", note)
        assert ada.get("/audit").status_code == 200
        event.remove(engine, "before_cursor_execute", note)
        return len(sent)

    ada = team.browser("ada")
    few = statements()
    write(team, 60)
    for name in ("bob", "cem", "eve"):
        team.browser(name)
    assert statements() == few


def test_the_state_of_the_chain_is_said(team: Team) -> None:
    ada = team.browser("ada")
    assert "examines it once a day" in text(soup(ada.get("/audit")), "#chain")
    with team.context.database.writing() as session:
        audit.note_examined(session, NOW_MS, audit.head(session))
    assert "examined Nov 19, 2026, 3:30:00" in text(soup(ada.get("/audit")), "#chain").replace("\u202f", " ")
    with team.context.database.writing() as session:
        audit.note_examined(session, NOW_MS, audit.Flaw(3, "entry 3 is not what was written"))
    assert "broken: entry 3 is not" in text(soup(ada.get("/audit")), "[role=alert]")


def test_reading_what_the_trail_has_of_another_person_leaves_that_person_a_receipt(team: Team) -> None:
    ada = team.browser("ada")
    ids = {name: member.public_id for name, member in team.people.items()}
    for query in (
        "",
        f"?actor={ids['ada']}",
        f"?subject={team.project.public_id}",
        f"?actor={ids['bob']}&before=9",
    ):
        ada.get(f"/audit{query}")
    assert entries(team.context, Act.TRAIL_READ) == []
    ada.get(f"/audit?actor={ids['bob']}")
    ada.get(f"/audit?subject={ids['cem']}")
    assert [(e.actor, e.subject) for e in entries(team.context, Act.TRAIL_READ)] == [
        (ids["ada"], ids["bob"]),
        (ids["ada"], ids["cem"]),
    ]


# Exports


def test_the_csv_has_every_entry_once_and_itself_last(team: Team) -> None:
    write(team, 30)
    answer = team.browser("ada").get("/audit/export.csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="devflow-audit-2026-11-19.csv"'
    assert answer.mimetype == "text/csv"
    rows = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))
    assert [int(row["id"]) for row in rows] == [entry.id for entry in entries(team.context)]
    assert (rows[-1]["act"], rows[-1]["actor_name"]) == (Act.TRAIL_EXPORTED, "Ada")
    assert (rows[-2]["act"], rows[-2]["time"]) == (Act.SIGNED_IN, "2026-11-19T14:30:00.000+00:00")
    assert (rows[-3]["subject_name"], rows[-3]["refused"]) == ("atlas", "no")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\uff1d1"])
def test_no_cell_is_a_formula(team: Team, name: str) -> None:
    with team.context.database.writing() as session:
        session.execute(update(Person).where(Person.name == "Bob").values(name=name))
        by = Actor(session.get_one(Person, team.people["bob"].id), NOW_MS, team.context.vault)
        audit.record(session, by, Act.SIGNED_OUT, by.who().public_id)
    rows = list(csv.reader(io.StringIO(team.browser("ada").get("/audit/export.csv").get_data(as_text=True))))
    assert sum(cell == f"'{name}" for row in rows for cell in row) >= 2
    assert not any(cell != csv_lines.plain(cell) for row in rows for cell in row)


def test_an_outsider_can_follow_the_chain_of_the_json_lines(team: Team) -> None:
    write(team, 5, role=Role.LEAD)
    ada = team.browser("ada")
    lines = [json.loads(line) for line in ada.get("/audit/export.jsonl").get_data(as_text=True).splitlines()]
    stored = entries(team.context)
    assert [line["id"] for line in lines] == [entry.id for entry in stored]
    before = audit.FIRST
    for line, entry in zip(lines, stored, strict=True):
        again = AuditEntry(
            id=line["id"],
            at=line["at"],
            actor=line["actor"] and UUID(line["actor"]),
            act=line["act"],
            subject=line["subject"] and UUID(line["subject"]),
            person=line["person"] and UUID(line["person"]),
            is_refused=line["isRefused"],
            detail=line["detail"],
        )
        before = audit._hash(team.context.vault, before, again)
        assert before.hex() == line["hash"] == entry.hash.hex()


def test_an_export_keeps_to_the_filter(team: Team) -> None:
    write(team, 3)
    lines = (
        team.browser("ada")
        .get(f"/audit/export.jsonl?subject={team.project.public_id}")
        .get_data(as_text=True)
    )
    assert {json.loads(line)["act"] for line in lines.splitlines()} == {Act.PROJECT_MADE}
    assert len(lines.splitlines()) == 3


def test_an_export_without_entries_has_its_heading(team: Team) -> None:
    answer = team.browser("ada").get("/audit/export.csv?from=2030-01-01")
    assert answer.get_data(as_text=True).splitlines() == [
        "id,time,actor,actor_name,act,subject,subject_name,person,person_name,refused,detail"
    ]
    assert team.browser("ada").get("/audit/export.xml").status_code == 404


# Refusals


def refusals(context: Context) -> list[tuple[UUID | None, str, UUID | None]]:
    found = entries(context, Act.REFUSED)
    assert all(entry.is_refused for entry in found)
    return [(entry.actor, json.loads(entry.detail)["action"], entry.subject) for entry in found]


def test_whoever_is_refused_leaves_an_entry_with_what_was_asked_for(team: Team) -> None:
    eve, project, nothing = team.people["eve"].public_id, team.project.public_id, uuid4()
    browser = team.browser("eve")
    answers = [browser.get(f"/projects/{each}") for each in (project, nothing)]
    assert [answer.status_code for answer in answers] == [404, 404]
    bodies = [answer.get_data(as_text=True) for answer in answers]
    assert text(soup(answers[0]), "main").replace(str(project), "") == text(soup(answers[1]), "main").replace(
        str(nothing), ""
    )
    assert len(bodies[0]) == len(bodies[1])
    assert browser.get("/audit").status_code == 403
    assert browser.post("/projects", name="mine").status_code == 403
    assert refusals(team.context) == [
        (eve, "project:view", project),
        (eve, "project:view", nothing),
        (eve, "workspace:read_audit", None),
        (eve, "workspace:create_projects", None),
    ]


def test_who_may_and_who_is_a_stranger_leave_no_entry(team: Team) -> None:
    team.browser("bob").get(team.page)
    team.browser("ada").get("/audit")
    team.browser().get(team.page)
    team.browser().get("/audit")
    team.browser("eve").get("/nothing/here")
    team.app.test_client().get("/sync/projects", headers={"Authorization": "Bearer a.b.c"})
    assert refusals(team.context) == []


def test_a_form_sent_from_another_site_leaves_an_entry_of_whose_browser_it_was(team: Team) -> None:
    browser = team.browser("ada")
    for client in (browser.client, team.app.test_client()):
        answer = client.post("/projects", data={"name": "x"}, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403
    assert refusals(team.context) == [(team.people["ada"].public_id, "request:from_elsewhere", None)]


def with_a_second_door(team: Team, endpoint: str) -> Flask:
    """The app with one more view: everybody enters it, and it reaches for a project in its transaction."""
    app = build.app(team.context)

    def reach(project_id: UUID) -> str:
        def work(writing: Session, by: Actor) -> None:
            audit.record(writing, by, Act.PROJECT_MADE)
            access.fetch(writing, by.who(), Action.VIEW_PROJECT, Project, project_id)

        guard.act(work)
        return "reached"

    app.add_url_rule(
        "/reach/<uuid:project_id>", endpoint, guard.needs(Action.USE_OWN)(reach), methods=["POST"]
    )
    return app


def test_a_refusal_inside_the_transaction_leaves_its_entry_and_nothing_else(team: Team) -> None:
    app = with_a_second_door(team, "pages.reach")
    address = f"/reach/{team.project.public_id}"
    assert Browser(app.test_client()).sign_in("bob").post(address).status_code == 200
    eve = Browser(app.test_client()).sign_in("eve")
    before = len(entries(team.context))
    assert eve.post(address).status_code == 404
    assert [entry.act for entry in entries(team.context)[before:]] == [Act.REFUSED]
    assert refusals(team.context) == [(team.people["eve"].public_id, "project:view", team.project.public_id)]


def test_a_program_that_is_refused_leaves_an_entry(team: Team) -> None:
    client = with_a_second_door(team, "api.reach").test_client()
    body = {"email": "eve@example.org", "password": build.PASSWORD}
    token = client.post("/auth/login", json=body).get_json()["token"]
    answer = client.post(f"/reach/{team.project.public_id}", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    assert refusals(team.context) == [(team.people["eve"].public_id, "project:view", team.project.public_id)]


@pytest.fixture
def ticking(team: Team) -> tuple[Flask, list[int]]:
    """The team's app with a clock that the test sets."""
    clock = [NOW_MS]
    return build.app(replace(team.context, now=lambda: clock[0])), clock


def test_the_same_refusal_is_noted_once_a_minute_and_what_was_left_out_is_counted(
    team: Team, ticking: tuple[Flask, list[int]]
) -> None:
    app, clock = ticking
    eve = Browser(app.test_client()).sign_in("eve")
    for _ in range(5):
        eve.get(team.page)
    assert len(refusals(team.context)) == 1
    clock[0] += SAME_EVERY_MS - 1
    eve.get(team.page)
    assert len(refusals(team.context)) == 1
    clock[0] += 1
    eve.get(team.page)
    details = [json.loads(entry.detail) for entry in entries(team.context, Act.REFUSED)]
    assert details == [{"action": "project:view"}, {"action": "project:view", "left_out": 5}]


def test_nobody_can_flood_the_trail_and_everybody_has_an_own_measure(
    team: Team, ticking: tuple[Flask, list[int]]
) -> None:
    app, clock = ticking
    eve, bob = (Browser(app.test_client()).sign_in(name) for name in ("eve", "bob"))
    for _ in range(MOST_AN_HOUR + 20):
        assert eve.get(f"/projects/{uuid4()}").status_code == 404
    assert len(refusals(team.context)) == MOST_AN_HOUR
    bob.get("/audit")
    assert len(refusals(team.context)) == MOST_AN_HOUR + 1
    clock[0] += HOUR_MS
    eve.get(f"/projects/{uuid4()}")
    last = entries(team.context, Act.REFUSED)[-1]
    assert json.loads(last.detail)["left_out"] == 20


def test_the_memory_of_refusals_is_bounded_by_people() -> None:
    found = Refusals()
    person = uuid4()
    for number in range(10_000):
        found.admit(person, "project:view", uuid4(), NOW_MS + number)
    (tries,) = found._tries.values()
    assert len(tries.noted) == MOST_AN_HOUR
    assert tries.left_out == 10_000 - MOST_AN_HOUR
