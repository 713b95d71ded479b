"""Every route that changes something, used as it is meant to be: it leaves its entry, or nothing at all.

``DEEDS`` is written by hand. A route with a method that may change something and no row in it fails
the suite.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pyotp
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from devflow import crypto
from devflow.accounts import erasure, links, pairing, people, second_factor, sessions, tokens
from devflow.accounts.links import Offer, Purpose
from devflow.audit import Act, Actor
from devflow.models import AuditEntry, Base, Device, Link, Person, Role
from devflow.web import refusals
from tests import build
from tests.browsing import OURS
from tests.town import EVERYBODY, PROJECT_NAMES, TEAM_NAMES, Town, address, name_of, open_town, routes
from tests.web.test_matrix import DOORS

Sent = dict[str, Any]
NEW_PASSWORD: Final = "a horse of another staple"


@dataclass(frozen=True, slots=True)
class Ready:
    """What is known only once all is prepared: more to send, the token in the address, the cookie to show."""

    sends: Sent = field(default_factory=dict)
    token: str = ""
    cookie: str = ""


def nothing(_town: Town) -> Ready:
    return Ready()


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody, "" for a stranger, sends so that the route does its work, and the act that this is.

    ``actor`` is whose act it is in the trail, where that is not who has shown a cookie or a token.
    """

    act: Act
    by: str = ""
    sends: Sent = field(default_factory=dict)
    prepared: Callable[[Town], Ready] = nothing
    actor: str | None = None


def acting(town: Town, name: str, work: Callable[[Session, Actor], Any]) -> Any:
    """What the work gives, done as the person in a transaction of its own."""
    with town.world.database.writing() as session:
        return work(session, town.world.by(session, town.people[name] if name else None))


def person(session: Session, town: Town, name: str) -> Person:
    return session.get_one(Person, town.people[name].id)


# What has to be there first


def a_setup_link(town: Town) -> Ready:
    """As it was printed before there was anybody."""
    token = crypto.new_token()
    link = Link(
        purpose=Purpose.SETUP,
        token_hash=crypto.token_hash(token),
        public_id=uuid4(),
        created_at=town.world.now_ms,
    )
    acting(town, "", lambda session, _: session.add(link))
    return Ready(token=token)


def an_invitation(town: Town) -> Ready:
    return Ready(
        token=acting(town, "ada", lambda session, by: links.invite(session, by, Offer(Role.MANAGER)))
    )


def a_reset_link(town: Town) -> Ready:
    sue = town.people["sue"].public_id
    return Ready(token=acting(town, "ada", lambda session, by: links.make_reset(session, by, sue)))


def an_offered_factor(town: Town) -> Ready:
    """Sue's, and its code."""

    def work(session: Session, by: Actor) -> str:
        second_factor.offer(session, by)
        return second_factor.offered(session, by.vault, by.who())

    return Ready({"code": code(town, acting(town, "sue", work))})


def a_factor(town: Town) -> Ready:
    """Sue's, and a code of it that was not used yet."""

    def work(session: Session, by: Actor) -> str:
        second_factor.offer(session, by)
        secret = second_factor.offered(session, by.vault, by.who())
        second_factor.switch_on(session, by, code(town, secret, step=-1))
        return secret

    return Ready({"code": code(town, acting(town, "sue", work))})


def code(town: Town, secret: str, step: int = 0) -> str:
    return pyotp.TOTP(secret).at(town.world.now_ms // 1_000 + 30 * step)


def a_browser_that_has_shown_the_password(town: Town) -> Ready:
    ready = a_factor(town)

    def work(session: Session, by: Actor) -> str:
        return sessions.begin(session, by, person(session, town, "sue"), "a browser", needs_code=True)

    return Ready(ready.sends, cookie=acting(town, "", work))


def a_factor_that_is_on(town: Town) -> Ready:
    a_factor(town)
    return Ready()


def a_second_browser(town: Town) -> Ready:
    acting(town, "sue", lambda session, by: sessions.begin(session, by, by.who(), "another browser"))
    return Ready()


def a_wish_to_be_deleted(town: Town) -> Ready:
    acting(town, "sue", erasure.ask)
    return Ready()


def sue_is_shut_out(town: Town) -> Ready:
    sue = town.people["sue"].public_id
    acting(town, "ada", lambda session, by: people.deactivate(session, by, sue))
    return Ready()


def a_refresh_token(town: Town) -> Ready:
    def work(session: Session, by: Actor) -> str:
        device = session.get_one(Device, town.people["sue"].device)
        return tokens.issue(session, by, by.who(), device, town.context.server_id).refresh_token

    return Ready({"refreshToken": acting(town, "sue", work)})


def a_waiting_pc(town: Town) -> Ready:
    return Ready({"code": started(town).code})


def an_approved_pc(town: Town) -> Ready:
    waiting = started(town)
    acting(town, "sue", lambda session, by: pairing.approve(session, by, waiting.code))
    return Ready({"secret": waiting.secret})


def started(town: Town) -> pairing.Started:
    found: pairing.Started = acting(
        town, "", lambda session, by: pairing.start(session, by, uuid4(), "a new PC")
    )
    return found


def somebody_to_add(town: Town) -> Ready:
    return Ready({"person": str(town.people["rex"].public_id)})


# What is done

SUE: Final = {"email": f"{name_of('sue').lower()}@example.org", "password": build.PASSWORD}
NOBODY_YET: Final = {"name": "Newquill", "email": "newquill@example.org", "password": NEW_PASSWORD}
A_PC: Final = {"deviceId": "6d1f6f4e-7a83-4a7c-9d5b-3b1c7f0f2a11", "deviceName": "a new PC"}
RENAMED: Final = {"name": "Amaranth"}
CONFIRMED: Final = {"current": build.PASSWORD}

DEEDS: Final[dict[str, Deed]] = {
    # Without an account
    "POST /setup/<token>": Deed(Act.PERSON_MADE, sends=NOBODY_YET, prepared=a_setup_link),
    "POST /invite/<token>": Deed(Act.INVITATION_ACCEPTED, sends=NOBODY_YET, prepared=an_invitation),
    "POST /reset/<token>": Deed(Act.PASSWORD_RESET, sends={"password": NEW_PASSWORD}, prepared=a_reset_link),
    "POST /sign-in": Deed(Act.SIGNED_IN, sends=SUE, actor="sue"),
    "POST /sign-in/code": Deed(Act.SIGNED_IN, prepared=a_browser_that_has_shown_the_password, actor="sue"),
    "POST /auth/login": Deed(Act.TOKENS_ISSUED, sends=SUE | A_PC, actor="sue"),
    "POST /auth/refresh": Deed(Act.TOKENS_RENEWED, prepared=a_refresh_token, actor="sue"),
    "POST /auth/pair": Deed(Act.PAIRING_STARTED, sends=A_PC),
    "POST /auth/pair/token": Deed(Act.TOKENS_ISSUED, prepared=an_approved_pc, actor="sue"),
    # The own account
    "POST /sign-out": Deed(Act.SIGNED_OUT, "sue"),
    "POST /me/account/name": Deed(Act.PERSON_RENAMED, "sue", RENAMED),
    "POST /me/account/deletion": Deed(Act.DELETION_ASKED, "sue", {"password": build.PASSWORD}),
    "POST /me/account/deletion/withdraw": Deed(Act.DELETION_WITHDRAWN, "sue", prepared=a_wish_to_be_deleted),
    "POST /me/security/password": Deed(Act.PASSWORD_CHANGED, "sue", CONFIRMED | {"new": NEW_PASSWORD}),
    "POST /me/security/second-factor": Deed(Act.SECOND_FACTOR_OFFERED, "sue"),
    "POST /me/security/second-factor/on": Deed(
        Act.SECOND_FACTOR_ON, "sue", CONFIRMED, prepared=an_offered_factor
    ),
    "POST /me/security/second-factor/off": Deed(Act.SECOND_FACTOR_OFF, "sue", CONFIRMED, prepared=a_factor),
    "POST /me/security/recovery-codes": Deed(Act.RECOVERY_CODES_MADE, "sue", CONFIRMED, prepared=a_factor),
    "POST /me/security/sessions/<uuid:session_id>/end": Deed(Act.SESSION_ENDED, "sue"),
    "POST /me/security/sessions/end-others": Deed(Act.SESSIONS_ENDED, "sue", prepared=a_second_browser),
    "POST /me/devices/<uuid:device_id>/rename": Deed(Act.DEVICE_RENAMED, "sue", RENAMED),
    "POST /pair/approve": Deed(Act.PAIRING_APPROVED, "sue", prepared=a_waiting_pc),
    "POST /pair/deny": Deed(Act.PAIRING_DENIED, "sue", prepared=a_waiting_pc),
    # Programs
    "PUT /sync/authors": Deed(Act.AUTHORS_TOLD, "sue", {"authors": ["ab" * 16]}),
    "PUT /sync/settings": Deed(
        Act.SETTINGS_SHARED, "sue", {"settings": [{"key": "syncMode", "value": "batch", "changedAt": 1}]}
    ),
    "POST /auth/logout": Deed(Act.TOKENS_ENDED, "sue"),
    "POST /auth/devices/<uuid:device_id>/revoke": Deed(Act.DEVICE_REVOKED, "sue"),
    "POST /account/deletion": Deed(Act.DELETION_ASKED, "sue", {"password": build.PASSWORD}),
    "DELETE /account/deletion": Deed(Act.DELETION_WITHDRAWN, "sue", prepared=a_wish_to_be_deleted),
    # People
    "POST /people/<uuid:person_id>/account/deactivate": Deed(Act.PERSON_DEACTIVATED, "ada"),
    "POST /people/<uuid:person_id>/account/delete": Deed(
        Act.DELETION_CONFIRMED, "ada", {"name": name_of("sue")}, prepared=a_wish_to_be_deleted
    ),
    "POST /people/<uuid:person_id>/account/reactivate": Deed(
        Act.PERSON_REACTIVATED, "ada", prepared=sue_is_shut_out
    ),
    "POST /people/<uuid:person_id>/account/reset-link": Deed(Act.RESET_MADE, "ada"),
    "POST /people/<uuid:person_id>/account/role": Deed(Act.ROLE_CHANGED, "ada", {"role": Role.MANAGER}),
    "POST /people/<uuid:person_id>/account/second-factor/off": Deed(
        Act.SECOND_FACTOR_DROPPED, "ada", prepared=a_factor_that_is_on
    ),
    "POST /people/invitations": Deed(
        Act.INVITATION_MADE,
        "ada",
        {"role": Role.DEVELOPER, "team_role": Role.DEVELOPER, "project_role": Role.DEVELOPER},
    ),
    "POST /people/invitations/<uuid:invitation_id>/withdraw": Deed(Act.INVITATION_WITHDRAWN, "ada"),
    # Devices, keys
    "POST /devices/<uuid:device_id>/revoke": Deed(Act.DEVICE_REVOKED, "ada"),
    "POST /keys": Deed(Act.KEY_ROTATED, "ada", {"purpose": "fields"}),
    "POST /retention": Deed(Act.RETENTION_CHANGED, "ada", {"days": "90", "sure": "1"}),
    # Teams
    "POST /teams": Deed(Act.TEAM_MADE, "max", RENAMED),
    "POST /teams/<uuid:team_id>/name": Deed(Act.TEAM_RENAMED, "max", RENAMED),
    "POST /teams/<uuid:team_id>/delete": Deed(Act.TEAM_DELETED, "max", {"typed": TEAM_NAMES["red"]}),
    "POST /teams/<uuid:team_id>/leave": Deed(Act.TEAM_MEMBER_LEFT, "sue"),
    "POST /teams/<uuid:team_id>/members": Deed(
        Act.TEAM_MEMBER_ADDED, "ada", {"role": Role.LEAD}, prepared=somebody_to_add
    ),
    "POST /teams/<uuid:team_id>/members/<uuid:member_id>/role": Deed(
        Act.TEAM_MEMBER_ROLE, "max", {"role": Role.LEAD}
    ),
    "POST /teams/<uuid:team_id>/members/<uuid:member_id>/remove": Deed(Act.TEAM_MEMBER_REMOVED, "max"),
    # Projects
    "POST /projects": Deed(Act.PROJECT_MADE, "max", RENAMED),
    "POST /start/project": Deed(Act.PROJECT_MADE, "max", RENAMED),
    "POST /projects/<uuid:project_id>/name": Deed(Act.PROJECT_RENAMED, "max", RENAMED),
    "POST /projects/<uuid:project_id>/delete": Deed(
        Act.PROJECT_DELETED, "ada", {"typed": PROJECT_NAMES["red"]}
    ),
    "POST /projects/<uuid:project_id>/leave": Deed(Act.PROJECT_MEMBER_LEFT, "sue"),
    "POST /projects/<uuid:project_id>/members": Deed(
        Act.PROJECT_MEMBER_ADDED, "ada", {"role": Role.LEAD}, prepared=somebody_to_add
    ),
    "POST /projects/<uuid:project_id>/members/<uuid:member_id>/role": Deed(
        Act.PROJECT_MEMBER_ROLE, "max", {"role": Role.LEAD}
    ),
    "POST /projects/<uuid:project_id>/members/<uuid:member_id>/remove": Deed(
        Act.PROJECT_MEMBER_REMOVED, "max"
    ),
}
TRAIL: Final = AuditEntry.__tablename__
# Events are their own record: each is kept whole with who sent it, and by the thousand.
EXEMPT: Final = "POST /sync/events"
# Questions, held to changing nothing: a POST so that the code stands in no address, or for its length.
PAIRING_LOOK: Final = "POST /pair"
MISSING_LOOK: Final = "POST /sync/projects/<uuid:project_id>/missing"
# Kept by the browser.
LANGUAGE: Final = "POST /language"


# The town


@pytest.fixture(scope="module")
def opened(town_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    town = open_town(town_folder, tmp_path_factory.mktemp("trail") / "data")
    yield town
    town.context.database.close()


@pytest.fixture
def town(opened: Town) -> Iterator[Town]:
    """One town for all: to open it anew takes longer than any deed."""
    yield opened
    opened.restore()
    refusals.init_app(opened.app)


def send(town: Town, route: str, by: str, sends: Sent, ready: Ready) -> TestResponse:
    """The request of a program if the route is one of theirs, else of a browser."""
    method, _, rule = route.partition(" ")
    where = address(town, rule.replace("<token>", ready.token), "red")
    client, headers = town.app.test_client(), dict(OURS)
    if endpoint(town, rule, method).startswith("api."):
        if by:
            headers["Authorization"] = f"Bearer {town.bearers[by]}"
        return client.open(where, method=method, headers=headers, json=sends | ready.sends)
    if cookie := ready.cookie or town.cookies.get(by):
        client.set_cookie("devflow", cookie)
    return client.open(where, method=method, headers=headers, data=sends | ready.sends)


def endpoint(town: Town, rule: str, method: str) -> str:
    rules = town.app.url_map.iter_rules()
    return str(next(each.endpoint for each in rules if each.rule == rule and method in (each.methods or ())))


def contents(town: Town) -> dict[str, list[Any]]:
    """Every row of every table; where the trail ends, which the workspace's row says too, is left out."""
    tables = {
        table.name: [column for column in table.c if not column.name.startswith("audit_")]
        for table in Base.metadata.sorted_tables
    }
    with town.world.reading() as session:
        return {name: list(session.execute(select(*columns))) for name, columns in tables.items()}


def changed(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> set[str]:
    """The tables that are not as they were."""
    return {name for name in after if after[name] != before[name]}


@contextmanager
def no_room_in_the_trail(town: Town) -> Iterator[None]:
    """Whoever comes to write an entry meanwhile is turned away by the database itself."""
    sql = f"CREATE TRIGGER full BEFORE INSERT ON {TRAIL} BEGIN SELECT RAISE(ABORT, 'no room'); END"
    run(town, sql)
    yield
    run(town, "DROP TRIGGER full")


def run(town: Town, sql: str) -> None:
    with closing(sqlite3.connect(town.context.settings.data_path / "devflow.db")) as connection:
        connection.execute(sql)


# The tests


def test_every_route_that_changes_something_has_a_row(town: Town) -> None:
    changing = {f"{method} {rule}" for method, rule in routes(town.app) if method != "GET"}
    assert changing == {*DEEDS, EXEMPT, LANGUAGE, PAIRING_LOOK, MISSING_LOOK}


@pytest.mark.parametrize("route", DEEDS)
def test_the_change_and_its_entry_are_both_there_or_neither(town: Town, route: str) -> None:
    deed = DEEDS[route]
    ready = deed.prepared(town)
    before, count = contents(town), town.audit_count()
    with no_room_in_the_trail(town):
        assert send(town, route, deed.by, deed.sends, ready).status_code == 500
    assert contents(town) == before
    answer = send(town, route, deed.by, deed.sends, ready)
    assert answer.status_code in (200, 202, 204, 302, 303), answer.get_data(as_text=True)
    actor = deed.by if deed.actor is None else deed.actor
    expected = (deed.act, town.people[actor].public_id if actor else None, False)
    assert expected in [(act.act, act.actor, act.is_refused) for act in town.acts_after(count)]
    assert changed(before, contents(town)) > {TRAIL}


def test_to_look_at_a_pairing_changes_nothing(town: Town) -> None:
    ready = a_waiting_pc(town)
    before = contents(town)
    answer = send(town, PAIRING_LOOK, "sue", {}, ready)
    assert answer.status_code == 200
    assert "a new PC" in answer.get_data(as_text=True)
    assert contents(town) == before


def test_to_choose_a_language_changes_nothing(town: Town) -> None:
    before = contents(town)
    for who in ("sue", ""):
        answer = send(town, LANGUAGE, who, {"language": "ko"}, Ready())
        assert answer.status_code == 303
    assert contents(town) == before


def test_to_ask_what_is_missing_changes_nothing(town: Town) -> None:
    before = contents(town)
    answer = send(town, MISSING_LOOK, "sue", {"events": []}, Ready())
    assert (answer.status_code, answer.get_json()) == (200, {"ids": []})
    assert contents(town) == before


def outsider(route: str) -> str | None:
    """Somebody with an account who may not; None if everybody with one may."""
    door = DOORS[route]
    return next((who for who in ("dov", *EVERYBODY.split()) if who not in door.who.split()), None)


@pytest.mark.parametrize("route", [route for route in DEEDS if outsider(route) is not None])
def test_who_may_not_leaves_the_entry_of_a_refusal_and_changes_nothing(town: Town, route: str) -> None:
    deed, who = DEEDS[route], outsider(route)
    assert who is not None
    ready = deed.prepared(town)
    before, count = contents(town), town.audit_count()
    assert send(town, route, who, deed.sends, ready).status_code in (403, 404)
    (entry,) = town.acts_after(count)
    assert (entry.act, entry.actor, entry.is_refused) == (Act.REFUSED, town.people[who].public_id, True)
    assert changed(before, contents(town)) == {TRAIL}


@pytest.mark.parametrize("kind", ["team", "project"])
def test_to_bring_in_somebody_out_of_reach_is_refused_inside_the_transaction_and_noted(
    town: Town, kind: str
) -> None:
    dov, max_ = town.people["dov"].public_id, town.people["max"].public_id
    before, count = contents(town), town.audit_count()
    sends = {"person": str(dov), "role": Role.DEVELOPER}
    route = f"POST /{kind}s/<uuid:{kind}_id>/members"
    assert send(town, route, "max", sends, Ready()).status_code == 404
    (entry,) = town.acts_after(count)
    assert (entry.act, entry.actor, entry.subject, entry.is_refused) == (Act.REFUSED, max_, dov, True)
    assert json.loads(entry.detail) == {"action": "person:assign"}
    assert changed(before, contents(town)) == {TRAIL}
