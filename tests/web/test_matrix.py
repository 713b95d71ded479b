"""Who gets in where: every route x every role x every relation x page, fragment and JSON, each cell run.

``DOORS`` is written by hand, from the words of the design and not from the code that decides. A
route that is not in it fails the suite.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest
from flask import Flask
from sqlalchemy import delete

from devflow.models import Person, ProjectMember
from devflow.web import guard
from tests import build
from tests.browsing import OURS
from tests.town import (
    BLUE,
    EVERYBODY,
    MANAGERS,
    PROJECT_NAMES,
    RED,
    TEAM_NAMES,
    Town,
    address,
    name_of,
    routes,
)

OUT: Final = "signed-out ended revoked"


@dataclass(frozen=True, slots=True)
class Door:
    """Who gets in; all others do not.

    ``who`` is for a thing of the red team: its project, the team itself, Sue, Sue's PC. For a thing
    of the blue team it is ``blue``. ``strangers`` is for routes without an account, and ``answer``
    what all get there from the guesses of this test.
    """

    who: str
    blue: str = ""
    strangers: bool = False
    answer: int = 200


ANYBODY: Final = Door(EVERYBODY, EVERYBODY, strangers=True)
GUESSED_LINK: Final = replace(ANYBODY, answer=404)
OWN: Final = Door(EVERYBODY)
NOTHING_YET: Final = replace(OWN, answer=404)  # to withdraw, or to confirm
ADMIN: Final = Door("ada")
EVERY_ADMIN: Final = Door("ada", "ada")

DOORS: Final[dict[str, Door]] = {
    # Without an account
    "GET /static/<path:filename>": ANYBODY,
    "GET /agent": ANYBODY,
    "GET /agent/<wheel>": GUESSED_LINK,  # there is none in tests
    "GET /healthz": ANYBODY,
    "GET /openapi.json": ANYBODY,
    "GET /setup/<token>": GUESSED_LINK,
    "POST /setup/<token>": GUESSED_LINK,
    "GET /invite/<token>": GUESSED_LINK,
    "POST /invite/<token>": GUESSED_LINK,
    "GET /reset/<token>": GUESSED_LINK,
    "POST /reset/<token>": GUESSED_LINK,
    "POST /language": replace(ANYBODY, answer=400),  # to a form that names none
    "GET /sign-in": ANYBODY,
    "POST /sign-in": ANYBODY,
    "GET /sign-in/code": ANYBODY,
    "POST /sign-in/code": ANYBODY,
    "POST /auth/login": ANYBODY,
    "POST /auth/refresh": ANYBODY,
    "POST /auth/pair": ANYBODY,
    "POST /auth/pair/token": ANYBODY,
    # The own account
    "GET /": OWN,
    "GET /start": OWN,
    "POST /start/project": Door(f"{MANAGERS} ada"),
    "GET /feed": OWN,
    "GET /trace": OWN,
    "POST /sign-out": OWN,
    "GET /me": OWN,
    "GET /me/receipts": OWN,
    "GET /me/export.jsonl": OWN,
    "GET /me/export.csv": OWN,
    "GET /me/account.json": OWN,
    "GET /me/account": OWN,
    "POST /me/account/name": OWN,
    "POST /me/account/deletion": OWN,
    "POST /me/account/deletion/withdraw": NOTHING_YET,
    "GET /me/as-seen-by/<uuid:viewer_id>": Door("sue dan max", "dov mia"),
    "GET /me/security": OWN,
    "POST /me/security/password": OWN,
    "GET /me/security/second-factor": NOTHING_YET,
    "POST /me/security/second-factor": OWN,
    "POST /me/security/second-factor/on": NOTHING_YET,
    "POST /me/security/second-factor/off": OWN,
    "POST /me/security/recovery-codes": OWN,
    "POST /me/security/sessions/<uuid:session_id>/end": Door("sue", "dov"),
    "POST /me/security/sessions/end-others": OWN,
    "GET /me/devices": OWN,
    "POST /me/devices/<uuid:device_id>/rename": Door("sue", "dov"),
    "GET /pair": OWN,
    "POST /pair": OWN,
    "POST /pair/approve": OWN,
    "POST /pair/deny": OWN,
    # Programs
    "GET /sync/projects": OWN,
    "GET /sync/projects/<uuid:project_id>/digests": Door(RED, BLUE),
    "POST /sync/projects/<uuid:project_id>/missing": Door(RED, BLUE),
    "PUT /sync/authors": OWN,
    "GET /sync/settings": OWN,
    "PUT /sync/settings": OWN,
    "POST /sync/events": OWN,
    "GET /sync/events": OWN,
    "GET /sync/events/<uuid:event_id>": OWN,
    "GET /sync/updates": OWN,
    "GET /sync/stream": replace(OWN, answer=426),  # to the guess of this test, which is no handshake
    "GET /projects/<uuid:project_id>/status": Door(f"{RED} ada", f"{BLUE} ada"),
    "GET /teams/<uuid:team_id>/activity": Door(f"{RED} ada", f"{BLUE} ada"),
    "GET /metrics/aggregate": Door(f"{RED} ada", f"{BLUE} ada"),
    "POST /auth/logout": OWN,
    "GET /auth/devices": OWN,
    "POST /auth/devices/<uuid:device_id>/revoke": Door("sue ada", "dov ada"),
    "POST /account/deletion": OWN,
    "DELETE /account/deletion": NOTHING_YET,
    # People
    "GET /people": ADMIN,
    "GET /people/<uuid:person_id>": Door("sue lea max", "dov leo mia"),
    "GET /people/<uuid:person_id>/account": EVERY_ADMIN,
    "POST /people/<uuid:person_id>/account/deactivate": EVERY_ADMIN,
    "POST /people/<uuid:person_id>/account/delete": EVERY_ADMIN,
    "POST /people/<uuid:person_id>/account/reactivate": EVERY_ADMIN,
    "POST /people/<uuid:person_id>/account/reset-link": EVERY_ADMIN,
    "POST /people/<uuid:person_id>/account/role": EVERY_ADMIN,
    "POST /people/<uuid:person_id>/account/second-factor/off": EVERY_ADMIN,
    "POST /people/invitations": ADMIN,
    "POST /people/invitations/<uuid:invitation_id>/withdraw": EVERY_ADMIN,
    # Devices, keys
    "GET /devices": ADMIN,
    "POST /devices/<uuid:device_id>/revoke": Door("sue ada", "dov ada"),
    "GET /keys": ADMIN,
    "POST /keys": ADMIN,
    "GET /audit": ADMIN,
    "GET /audit/export.<form>": ADMIN,
    "GET /retention": ADMIN,
    "POST /retention": ADMIN,
    # Teams
    "GET /teams": OWN,
    "POST /teams": Door(f"{MANAGERS} ada"),
    "GET /teams/<uuid:team_id>": Door(f"{RED} ada", f"{BLUE} ada"),
    "GET /teams/<uuid:team_id>/members": Door(f"{RED} ada", f"{BLUE} ada"),
    "POST /teams/<uuid:team_id>/name": Door("max ada", "mia ada"),
    "POST /teams/<uuid:team_id>/delete": Door("max ada", "mia ada"),
    "POST /teams/<uuid:team_id>/leave": Door(RED, BLUE),
    "POST /teams/<uuid:team_id>/members": Door("max ada", "mia ada"),
    "POST /teams/<uuid:team_id>/members/<uuid:member_id>/role": Door("max ada", "mia ada"),
    "POST /teams/<uuid:team_id>/members/<uuid:member_id>/remove": Door("max ada", "mia ada"),
    # Projects
    "POST /projects": Door(f"{MANAGERS} ada"),
    "GET /projects/<uuid:project_id>": Door(f"{RED} ada", f"{BLUE} ada"),
    "GET /projects/<uuid:project_id>/members": Door(f"{RED} ada", f"{BLUE} ada"),
    "POST /projects/<uuid:project_id>/name": Door("max ada", "mia ada"),
    "POST /projects/<uuid:project_id>/delete": EVERY_ADMIN,
    "POST /projects/<uuid:project_id>/leave": Door(RED, BLUE),
    "POST /projects/<uuid:project_id>/members": Door("max ada", "mia ada"),
    "POST /projects/<uuid:project_id>/members/<uuid:member_id>/role": Door("max ada", "mia ada"),
    "POST /projects/<uuid:project_id>/members/<uuid:member_id>/remove": Door("max ada", "mia ada"),
}
# What names the thing that a route is about, where its path does not.
QUERIES: Final = {
    "GET /metrics/aggregate": "?projectId=<uuid:project_id>&metricType=commits&groupBy=person",
}
JSON_BODIES: Final[dict[str, Any]] = {
    "PUT /sync/authors": {"authors": ["ab" * 16]},
    "PUT /sync/settings": {"settings": [{"key": "syncOnStart", "value": False, "changedAt": 0}]},
}


def test_every_route_has_a_row_and_every_row_a_route(town: Town) -> None:
    assert {f"{method} {rule}" for method, rule in routes(town.app)} == set(DOORS)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: who asks for what, and in which form they want the answer."""

    method: str
    rule: str
    who: str
    color: str  # red, blue, or nowhere
    form: str  # page, fragment or json

    @property
    def route(self) -> str:
        return f"{self.method} {self.rule}"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    text: str


def ask(town: Town, asked: Ask) -> Reply:
    client = town.app.test_client()
    headers = dict(OURS)
    if asked.form == "fragment":
        headers |= {"HX-Request": "true", "HX-Request-Type": "partial", "HX-Target": "div#main"}
    if asked.form == "json":
        if asked.who in town.bearers:
            headers["Authorization"] = f"Bearer {town.bearers[asked.who]}"
    elif asked.who in town.cookies:
        client.set_cookie("devflow", town.cookies[asked.who])
    body = JSON_BODIES.get(asked.route, {}) if asked.form == "json" else None
    if asked.route == "POST /sync/events":
        member = town.people[asked.who if asked.who in town.people else "sue"]
        body = {"events": [], "deviceId": str(member.device_id)}
    where = address(town, asked.rule + QUERIES.get(asked.route, ""), asked.color)
    with client.open(where, method=asked.method, headers=headers, json=body) as answer:
        return Reply(answer.status_code, dict(answer.headers), answer.get_data(as_text=True))


def forms(app: Flask, method: str, rule: str) -> list[str]:
    """Programs are answered in JSON; pages give a whole page, and a fragment to htmx."""
    endpoint = next(
        each.endpoint
        for each in app.url_map.iter_rules()
        if each.rule == rule and method in (each.methods or ())
    )
    if endpoint.startswith("api."):
        return ["json"]
    return ["page"] if method != "GET" or endpoint == "static" else ["page", "fragment"]


def colors(town: Town, route: str) -> list[str]:
    named = re.findall(r"<(?:\w+:)?(\w+)>", route + QUERIES.get(route, ""))
    return ["red", "blue", "nowhere"] if any(name in town.things for name in named) else ["red"]


def cells(town: Town) -> Iterator[tuple[Ask, bool]]:
    """Every request, and whether who asks gets in."""
    for method, rule in routes(town.app):
        door = DOORS[f"{method} {rule}"]
        for color, form in itertools.product(colors(town, f"{method} {rule}"), forms(town.app, method, rule)):
            inside = {"red": door.who, "blue": door.blue, "nowhere": ""}[color].split()
            for who in f"{EVERYBODY} {OUT}".split():
                if (who, form) in (("revoked", "page"), ("revoked", "fragment"), ("ended", "json")):
                    continue  # what that one has to show is of the other kind
                yield Ask(method, rule, who, color, form), door.strangers or who in inside


def is_refusal(town: Town, asked: Ask, answer: Reply) -> bool:
    """Whether the answer is the one and only that a person without the right may get."""
    signed_in = asked.who in town.people
    if asked.form == "json":
        return answer.status == (404 if signed_in else 401)
    if signed_in:
        return answer.status in (403, 404)
    if asked.form == "fragment":
        return answer.status == 401 and answer.headers["HX-Redirect"].startswith("/sign-in")
    return answer.status == 302 and answer.headers["Location"].startswith("/sign-in")


def is_welcome(door: Door, status: int) -> bool:
    """Whether somebody got in: to the page, past it, or to the word that a form is not filled in."""
    return status in ((200, 202, 204, 302, 303, 400, 422, 429) if door.answer == 200 else (door.answer,))


def test_every_cell_is_as_it_is_written(town: Town) -> None:
    """Those who get in come last; what they change is undone after each."""
    leaks: list[tuple[Ask, object]] = []
    locked_out: list[tuple[Ask, int]] = []
    inside: list[Ask] = []
    for asked, gets_in in cells(town):
        if gets_in:
            inside.append(asked)
            continue
        before = town.audit_count()
        answer = ask(town, asked)
        if not is_refusal(town, asked, answer):
            leaks.append((asked, answer.status))
        if any(not entry.is_refused for entry in town.acts_after(before)):
            leaks.append((asked, "left a trace of something done"))
    for asked in inside:
        status = ask(town, asked).status
        if not is_welcome(DOORS[asked.route], status):
            locked_out.append((asked, status))
        if asked.method != "GET":
            town.restore()
    assert (leaks, locked_out) == ([], [])


# An admin sees every group, and is told that it is not hers to leave.
NO_MEMBER: Final = {
    ("ada", "POST /teams/<uuid:team_id>/leave"),
    ("ada", "POST /projects/<uuid:project_id>/leave"),
}


def test_what_is_not_yours_is_answered_like_what_is_not_there(town: Town) -> None:
    differing = []
    for asked, gets_in in cells(town):
        if gets_in or asked.color == "nowhere" or asked.who not in town.people:
            continue
        if len(colors(town, asked.route)) == 1 or (asked.who, asked.route) in NO_MEMBER:
            continue
        there = _plain(town, asked, ask(town, asked))
        nowhere = Ask(asked.method, asked.rule, asked.who, "nowhere", asked.form)
        if there != _plain(town, nowhere, ask(town, nowhere)):
            differing.append(asked)
    assert differing == []


def _plain(town: Town, asked: Ask, answer: Reply) -> tuple[int, str, frozenset[str]]:
    """The answer without what differs between any two: the id that was asked for, and the nonce."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", answer.text)
    text = re.sub(r'nonce="[^"]+"', "", text)
    return answer.status, text, frozenset(answer.headers)


# Whose names a person may read anywhere: of the own team and project; an admin every one.
KNOWN: Final = {
    **{name: {"red"} for name in RED.split()},
    **{name: {"blue"} for name in BLUE.split()},
    "rex": set[str](),
    "ada": {"red", "blue", "nobody"},
}


def test_no_page_or_answer_names_what_its_reader_must_not_know(town: Town) -> None:
    words = {
        "red": {TEAM_NAMES["red"], PROJECT_NAMES["red"], *map(name_of, RED.split())},
        "blue": {TEAM_NAMES["blue"], PROJECT_NAMES["blue"], *map(name_of, BLUE.split())},
        "nobody": {name_of("rex"), name_of("ada")},
    }
    told = []
    for asked, _ in cells(town):
        if asked.method != "GET":
            continue
        text = ask(town, asked).text.lower()
        secret: set[str] = set().union(
            *(words[color] for color in words if color not in KNOWN.get(asked.who, set()))
        )
        own = name_of(asked.who)
        told += [(asked, word) for word in secret - {own} if word.lower() in text]
    assert told == []


@pytest.mark.parametrize("removal", ["team", "deactivated"])
def test_who_is_removed_is_out_with_the_next_request(town: Town, removal: str) -> None:
    opened = Ask("GET", "/projects/<uuid:project_id>", "dan", "red", "page")
    assert ask(town, opened).status == 200
    with town.world.database.writing() as session:
        if removal == "team":
            session.execute(_delete_membership(town.people["dan"].id))
        else:
            session.get_one(Person, town.people["dan"].id).deactivated_at = town.context.now()
    assert ask(town, opened).status == (404 if removal == "team" else 302)


def _delete_membership(person_id: int) -> Any:
    return delete(ProjectMember).where(ProjectMember.person_id == person_id)


def test_a_route_that_does_not_say_what_it_does_stops_the_start(town: Town) -> None:
    app = build.app(town.context)
    app.add_url_rule("/back-door", "back_door", lambda: "in")
    with pytest.raises(RuntimeError, match=r"/back-door \(back_door\): no action"):
        guard.check(app)
