"""Errors of programs and of pages: every one is a problem or a page, with the id that the log has too."""

from __future__ import annotations

import logging
import sqlite3
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.test import TestResponse

from devflow import wire
from devflow.web import guard
from devflow.web.request_ids import HEADER
from tests.browsing import Team
from tests.routes import Route, ids, routes

TOOK: Final = "0123456789abcdef"


def problem(answer: TestResponse) -> wire.Problem:
    """The document, which must be one of the very answer."""
    assert answer.content_type == "application/problem+json"
    found = msgspec.json.decode(answer.data, type=wire.Problem)
    assert (found.status, found.request_id) == (answer.status_code, answer.headers[HEADER])
    assert answer.headers[wire.SERVER_HEADER]
    return found


def doors(team: Team) -> list[Route]:
    """Every JSON door, once."""
    with team.world.reading() as session:
        found = {each.endpoint: each for each in routes(team.app, ids(session))}
    return [each for each in found.values() if each.endpoint.startswith("api.")]


def ask(team: Team, door: Route, **more: Any) -> TestResponse:
    return team.app.test_client().open(door.address, method=door.method, **more)


def test_every_door_refuses_in_problem_documents(team: Team) -> None:
    found = doors(team)
    assert {"api.events", "api.login", "api.healthz", "api.own_devices"} <= {each.endpoint for each in found}
    for door in found:
        answers = {
            405: team.app.test_client().open(door.address, method="TRACE"),
            426: ask(team, door, headers={wire.PROTOCOL_HEADER: "2"}),
            404: team.app.test_client().open(f"{door.address}/nothing", method=door.method),
        }
        for status, answer in answers.items():
            assert (problem(answer).status, door) == (status, door)
        assert answers[405].headers["Allow"]
        is_public = hasattr(door.view, "public")
        if not is_public:
            answer = ask(team, door)
            assert (problem(answer).status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        elif door.method == "POST":
            assert problem(ask(team, door, data=b"{}", content_type="text/plain")).status == 415
            assert problem(ask(team, door, content_type="application/json")).status == 411
            large = b" " * (wire.MAX_BODY_BYTES + 1)
            assert problem(ask(team, door, data=large, content_type="application/json")).status == 413
            assert problem(ask(team, door, data=b"{", content_type="application/json")).status == 400


OUTAGES: Final = {
    "a full disk": OperationalError("INSERT secret", {}, psycopg.errors.DiskFull("no space")),
    "no PostgreSQL": OperationalError("SELECT secret", {}, psycopg.OperationalError("refused")),
    "no connection free": PoolTimeoutError("none"),
}


def test_every_door_answers_a_fault_and_an_outage_in_problem_documents(
    team: Team, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a view runs into; here it is its whole view that fails."""
    failing: list[Exception] = [RuntimeError("ours")]

    def fail(**_arguments: Any) -> None:
        raise failing[0]

    monkeypatch.setitem(team.app.config, "PROPAGATE_EXCEPTIONS", False)
    for door in doors(team):
        team.app.view_functions[door.endpoint] = guard.public("a test's own")(fail)
        failing[0] = RuntimeError("ours")
        caplog.clear()
        assert problem(ask(team, door, headers={HEADER: TOOK})).status == 500
        assert any(TOOK in record.message and record.exc_info for record in caplog.records)
        failing[0] = ProgrammingError("SELECT nothing", {}, sqlite3.OperationalError("no such table"))
        assert problem(ask(team, door)).status == 500
        for name, outage in OUTAGES.items():
            failing[0] = outage
            caplog.clear()
            answer = ask(team, door, headers={HEADER: TOOK})
            assert (problem(answer).status, name) == (503, name)
            assert 0 < int(answer.headers["Retry-After"]) <= 60
            (line,) = [record.message for record in caplog.records if TOOK in record.message]
            assert "secret" not in line


def test_a_page_says_in_words_that_the_database_is_gone(team: Team) -> None:
    def fail() -> None:
        raise OUTAGES["no PostgreSQL"]

    team.app.view_functions["pages.sign_in"] = guard.public("a test's own")(fail)
    answer = team.app.test_client().get("/sign-in")
    assert (answer.status_code, "Not just now" in answer.text) == (503, True)
    assert answer.headers["Retry-After"]
    assert answer.headers[HEADER]


@pytest.mark.parametrize("given", [TOOK, str(UUID(int=7)), "01J9Z3:k_-.7"])
def test_a_well_formed_request_id_is_taken(team: Team, given: str) -> None:
    for address in ("/healthz", "/sync/projects", "/sign-in", "/nothing", "/static/icon.svg"):
        with team.app.test_client().get(address, headers={HEADER: given}) as answer:
            assert answer.headers[HEADER] == given


@pytest.mark.parametrize("given", [None, "", "short", "x" * 65, "with space", "a,b,c,d,e,f", "<script>alert"])
def test_any_other_is_replaced_by_one_of_ours(team: Team, given: str | None) -> None:
    headers = {} if given is None else {HEADER: given}
    client = team.app.test_client()
    made = [UUID(client.get("/healthz", headers=headers).headers[HEADER]) for _ in range(2)]
    assert made[0] != made[1]


def test_a_fault_is_logged_by_its_rule_and_not_by_its_address(
    team: Team, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An address may hold the token of a link."""

    def fail(**_arguments: Any) -> None:
        raise RuntimeError("ours")

    monkeypatch.setitem(team.app.config, "PROPAGATE_EXCEPTIONS", False)
    token = uuid4().hex
    endpoint = "pages.setup"
    assert endpoint in team.app.view_functions
    team.app.view_functions[endpoint] = guard.public("a test's own")(fail)
    with caplog.at_level(logging.ERROR):
        answer = team.app.test_client().get(f"/setup/{token}")
    assert answer.status_code == 500
    assert answer.headers[HEADER] in caplog.text
    assert token not in caplog.text
