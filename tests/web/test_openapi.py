"""The API's document: whole, valid, open to everybody - and kept to, whatever is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from devflow import wire
from devflow.web.api import openapi
from tests import build
from tests.browsing import Team
from tests.by_the_document import Program

ADDRESS = "/openapi.json"
EXAMPLES = 15


@pytest.fixture
def document(team: Team) -> dict[str, Any]:
    found = team.browser().get(ADDRESS).json
    assert isinstance(found, dict)
    return found


def test_the_document_is_valid_by_the_schema_of_openapi(document: dict[str, Any]) -> None:
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert document["openapi"].startswith("3.1.")


def test_every_route_of_the_api_is_in_the_document(team: Team, document: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<uuid:(\w+)_id>", r"{\1Id}", rule.rule), method.lower())
        for rule in team.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint.startswith("api.")
    }
    assert {(path, method) for path, methods in document["paths"].items() for method in methods} == routes


def test_a_route_that_is_not_described_stops_the_start(team: Team) -> None:
    team.app.add_url_rule("/sync/secretly", "api.secretly", lambda: "", methods=["PATCH"])
    with pytest.raises(RuntimeError, match="to be an operation; PATCH /sync/secretly"):
        openapi.document(team.app)


def test_who_needs_no_token_is_said(document: dict[str, Any]) -> None:
    public = {
        path
        for path, methods in document["paths"].items()
        for told in methods.values()
        if told.get("security") == []
    }
    assert document["security"] == [{"bearer": []}]
    assert public == {
        "/auth/login",
        "/auth/refresh",
        "/auth/pair",
        "/auth/pair/token",
        "/healthz",
        ADDRESS,
    }


def test_the_document_is_kept_until_it_changes(team: Team) -> None:
    browser = team.browser()
    first = browser.get(ADDRESS)
    again = browser.get(ADDRESS, If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers[wire.SERVER_HEADER] == first.headers[wire.SERVER_HEADER]
    assert first.headers["Cache-Control"] == "no-cache"
    assert build.app(team.context).test_client().get(ADDRESS).data == first.data


def test_nothing_of_this_server_is_told_to_strangers(team: Team) -> None:
    other = team.under(public_url="https://devflow.example.org")
    assert other.browser().get(ADDRESS, Host="devflow.example.org").data == team.browser().get(ADDRESS).data


EVENTS: list[wire.EventData] = [
    build.saved(),
    wire.FileCreated(path="a", size_bytes=0),
    wire.FileDeleted(path="a"),
    wire.FileRenamed(path="a", old_path="b"),
    build.commit(build.STRANGER, "a", "b"),
    build.merge(),
    build.more_files(build.STRANGER, "c"),
    wire.BranchSwitched(branch=None, previous="main"),
    wire.BranchCreated(branch="topic", sha="a" * 40),
    wire.BranchDeleted(branch="topic", sha="a" * 64),
    wire.TagCreated(tag="v1", sha="a" * 40, author=None),
]


def test_events_of_each_type_and_no_others_are_described(team: Team, document: dict[str, Any]) -> None:
    assert {type(data) for data in EVENTS} == set(wire.DATA.values())
    bob = team.people["bob"]
    for data in EVENTS:
        event = team.world.event(bob, team.project, data, build.NOW_MS)
        good = json.loads(wire.encode(event))
        assert is_described(document, good), good
        assert not is_described(document, good | {"eventData": good["eventData"] | {"line": "x = 1"}})
        assert not is_described(document, good | {"eventType": "file.eaten"})
        assert not is_described(document, good | {"id": good["id"] + "\n"})


def test_the_limits_of_a_batch_are_described(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["Batch"]["properties"]["events"]["maxItems"] == wire.MAX_BATCH_EVENTS
    assert str(wire.MAX_EVENT_BYTES) in schemas["SyncEvent"]["description"]
    told = document["paths"]["/sync/events"]["post"]["requestBody"]["description"]
    assert str(wire.MAX_BODY_BYTES) in told
    assert str(wire.MAX_INFLATED_BYTES) in told


def is_described(document: dict[str, Any], event: dict[str, Any]) -> bool:
    schema = {"$ref": "#/components/schemas/SyncEvent", "components": document["components"]}
    return bool(Draft202012Validator(schema).is_valid(event))


@pytest.fixture
def program(team: Team, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    prepared, _ = build.context(tmp_path_factory.mktemp("program"))
    prepared.database.close()
    program = Program.settled(prepared.settings, openapi.document(team.app))
    yield program
    program.context.database.close()


def test_every_answer_is_one_that_the_document_promises(program: Program) -> None:
    app = build.app(program.context)
    # What is never let in shows nothing of the answers that matter.
    assert program.try_all(app, EXAMPLES) == {"stream"}, "which takes a WebSocket"
    assert set(program.answered) == {
        name.removeprefix("api.") for name in app.view_functions if name.startswith("api.")
    }
