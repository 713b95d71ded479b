"""The JSON doors, asked as an agent asks them, and as nobody should."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from devflow import wire
from devflow.context import Context, now_ms
from devflow.models import Device, Event
from devflow.web.api import sync
from devflow.web.api.body import inflated
from tests import build
from tests.build import World

DEVICE = uuid4()


@dataclass(frozen=True)
class Api:
    """The server, with Bob, who is a member of the project, and Eve, who is not."""

    context: Context
    client: FlaskClient
    project: UUID
    bob: UUID

    def login(self, name: str = "bob", **more: object) -> TestResponse:
        body = {"email": f"{name}@example.org", "password": build.PASSWORD, "deviceId": str(DEVICE)} | more
        return self.client.post("/auth/login", json=body)

    def token(self, name: str = "bob", **more: object) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.login(name, **more).json['token']}"}  # type: ignore[index]

    def event(self, **changes: Any) -> dict[str, Any]:
        event = {
            "id": str(uuid4()),
            "timestamp": build.NOW_MS,
            "deviceId": str(DEVICE),
            "userId": str(self.bob),
            "projectId": str(self.project),
            "localId": 1,
            "eventType": "file.saved",
            "eventData": {"path": "src/app.py", "sizeBytes": 7},
        }
        return event | changes

    def send(self, *events: dict[str, Any], body: bytes | None = None, **headers: str | None) -> TestResponse:
        """The events as an agent sends them; ``body`` and ``headers`` overrule, None leaves a header out."""
        if body is None:
            body = gzip.compress(json.dumps({"events": events, "deviceId": str(DEVICE)}).encode())
        sent: dict[str, str | None] = {
            "Content_Type": "application/json",
            "Content_Encoding": "gzip",
            "DevFlow_Protocol": "1",
            # Not without need: a log-in ends the one before on that PC.
            **({} if "Authorization" in headers else self.token()),
            **headers,
        }
        given = {name.replace("_", "-"): value for name, value in sent.items() if value is not None}
        return self.client.post("/sync/events", data=body, headers=given)

    def stored(self) -> int:
        with self.context.database.reading() as session:
            return session.scalar(select(func.count()).select_from(Event)) or 0


@pytest.fixture
def api(tmp_path: Path, database_url: str) -> Iterator[Api]:
    context, _ = build.context(tmp_path, database_url=database_url, now_ms=now_ms())
    world = World.of(context)
    bob = world.person("Bob")
    world.person("Eve")
    project = world.project("atlas", bob)
    app: Flask = build.app(context)
    yield Api(context, app.test_client(), project.public_id, bob.public_id)
    context.database.close()


def problem(answer: TestResponse) -> str:
    """The detail of an error answer, which must be a whole problem document."""
    assert answer.content_type == "application/problem+json"
    found = msgspec.json.decode(answer.data, type=wire.Problem)
    assert found.status == answer.status_code
    return found.detail


def test_an_agent_logs_in_sends_and_is_answered_for_each_event(api: Api) -> None:
    good, bad = api.event(), api.event(eventType="file.eaten")
    answer = api.send(good, bad)
    assert answer.status_code == 200
    result = msgspec.json.decode(answer.data, type=wire.BatchResult)
    assert (result.success, result.synced_ids) == (False, [good["id"]])
    assert [(error.id, error.code, error.retryable) for error in result.errors] == [
        (bad["id"], "invalid", False)
    ]
    assert api.send(good).json == {"success": True, "syncedIds": [good["id"]], "errors": []}
    assert api.stored() == 1


def test_every_answer_names_the_server(api: Api) -> None:
    answers = [api.login(), api.send(), api.client.get("/healthz"), api.client.get("/sync/projects")]
    assert {answer.headers[wire.SERVER_HEADER] for answer in answers} == {str(api.context.server_id)}


def test_a_login_gives_what_the_contract_says(api: Api) -> None:
    tokens = msgspec.json.decode(api.login().data, type=wire.Tokens)
    assert tokens.user_id == api.bob
    assert tokens.expires_at == api.context.now() + 7 * build.DAY_MS
    with api.context.database.reading() as session:
        assert session.scalars(select(Device).filter_by(public_id=DEVICE)).one()


def test_a_wrong_password_and_an_unknown_address_are_answered_alike(api: Api) -> None:
    wrong, unknown = api.login(password="wrong password"), api.login("nobody")
    assert wrong.status_code == unknown.status_code == 401
    assert problem(wrong) == problem(unknown) == "wrong e-mail address or password"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"email":1,"password":"x"}', b'{"email":"a@b.c"}', b"\xff\xfe{"]
)
def test_a_login_that_is_none_is_refused_with_what_was_expected(api: Api, body: bytes) -> None:
    answer = api.client.post("/auth/login", data=body, content_type="application/json")
    assert answer.status_code == (400 if body else 411)
    assert problem(answer)


def test_a_refresh_token_gives_new_tokens_until_those_were_seen(api: Api) -> None:
    first = api.login().json
    assert first is not None
    given = {"refreshToken": first["refreshToken"]}
    second = api.client.post("/auth/refresh", json=given)
    assert second.status_code == 200
    assert second.json is not None
    headers = {"Authorization": f"Bearer {second.json['token']}"}
    assert api.client.get("/sync/projects", headers=headers).status_code == 200
    assert api.client.post("/auth/refresh", json=given).status_code == 401
    assert api.client.get("/sync/projects", headers=headers).status_code == 401


def test_the_projects_are_those_one_may_send_to(api: Api) -> None:
    bobs = api.client.get("/sync/projects", headers=api.token())
    eves = api.client.get("/sync/projects", headers=api.token("eve", deviceId=str(uuid4())))
    assert bobs.json == {"projects": [{"projectId": str(api.project), "name": "atlas"}]}
    assert eves.json == {"projects": []}


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer nonsense", "Basic Ym9iOnB3"])
def test_nothing_is_taken_without_a_token(api: Api, header: str | None) -> None:
    answer = api.send(api.event(), Authorization=header)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert problem(answer)
    assert api.stored() == 0


def test_a_token_of_no_device_may_not_send(api: Api) -> None:
    answer = api.send(api.event(), Authorization=api.token(deviceId=None)["Authorization"])
    assert (answer.status_code, "deviceId" in problem(answer)) == (401, True)


def test_a_batch_of_another_device_is_refused_as_a_whole(api: Api) -> None:
    body = gzip.compress(json.dumps({"events": [api.event()], "deviceId": str(uuid4())}).encode())
    answer = api.send(body=body)
    assert (answer.status_code, str(DEVICE) in problem(answer)) == (400, True)


def test_an_unknown_project_holds_its_events_and_lets_the_others_through(api: Api) -> None:
    good, lost = api.event(), api.event(projectId=str(uuid4()))
    result = msgspec.json.decode(api.send(lost, good).data, type=wire.BatchResult)
    assert result.synced_ids == [good["id"]]
    assert [(error.id, error.code, error.retryable) for error in result.errors] == [
        (lost["id"], "project", True)
    ]


def envelope(events: object) -> bytes:
    return json.dumps({"events": events, "deviceId": str(DEVICE)}).encode()


BAD_BODIES = {
    "not gzip": (b'{"events":[]}', 400, "gzip"),
    "half a gzip": (gzip.compress(envelope([]))[:-9], 400, "ends too early"),
    "two gzips": (gzip.compress(envelope([])) * 2, 400, "after its end"),
    "zlib instead of gzip": (zlib.compress(envelope([])), 400, "gzip"),
    "nothing": (b"", 411, "Content-Length"),
    "not JSON": (gzip.compress(b"events: []"), 400, "malformed"),
    "JSON in UTF-16": (gzip.compress(envelope([]).decode().encode("utf-16")), 400, "malformed"),
    "no batch": (gzip.compress(b"[]"), 400, "object"),
    "no device": (gzip.compress(b'{"events":[]}'), 400, "deviceId"),
    "events that are none": (gzip.compress(envelope(7)), 400, "array"),
    "a nest": (gzip.compress(b'{"events":[' + b"[" * 100_000), 400, "nested less deeply"),
    "too many events": (gzip.compress(envelope([{}] * 1_001)), 400, "at most 1000 events a batch, got more"),
    "a bomb": (gzip.compress(b" " * (wire.MAX_INFLATED_BYTES + 1)), 413, "8388608"),
    "too many bytes": (b"x" * (wire.MAX_BODY_BYTES + 1), 413, "1048576 bytes, got 1048577"),
}


@pytest.mark.parametrize(("body", "status", "expected"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
@pytest.mark.parametrize("backend", ["sqlite"])  # refused before the database is asked
def test_a_body_that_is_no_batch_gets_a_clear_answer(
    api: Api, body: bytes, status: int, expected: str
) -> None:
    answer = api.send(body=body)
    assert answer.status_code == status
    assert expected in problem(answer)
    assert api.stored() == 0


def test_other_encodings_and_types_are_refused_by_name(api: Api) -> None:
    for header, value in (("Encoding", "br"), ("Encoding", "gzip, gzip"), ("Type", "text/csv")):
        headers: dict[str, Any] = {f"Content_{header}": value}
        answer = api.send(**headers)
        assert (answer.status_code, value in problem(answer)) == (415, True)
        assert answer.headers["Accept-Encoding"] == "gzip, identity"


def test_a_body_without_encoding_is_plain_json(api: Api) -> None:
    answer = api.send(body=envelope([api.event()]), Content_Encoding=None)
    assert (answer.status_code, api.stored()) == (200, 1)


def test_a_body_of_exactly_the_limit_is_taken(api: Api) -> None:
    whole = envelope([api.event()]).ljust(wire.MAX_BODY_BYTES)
    assert api.send(body=whole, Content_Encoding=None).status_code == 200
    assert api.send(body=gzip.compress(whole.ljust(wire.MAX_INFLATED_BYTES))).status_code == 200
    assert api.stored() == 1


def test_an_event_a_thousand_times_is_stored_and_named_once(api: Api) -> None:
    event = api.event()
    assert api.send(*[event] * 1_000).json == {"success": True, "syncedIds": [event["id"]], "errors": []}
    assert api.stored() == 1


def test_an_agent_of_another_protocol_is_told_to_upgrade(api: Api) -> None:
    answer = api.send(DevFlow_Protocol="2")
    assert (answer.status_code, problem(answer)) == (426, "expected protocol 1, got '2'")


def test_authors_are_told_and_checked(api: Api) -> None:
    headers = api.token()
    told = api.client.put("/sync/authors", json={"authors": [wire.author_key("b@home")]}, headers=headers)
    assert told.status_code == 204
    taken = api.client.put(
        "/sync/authors", json={"authors": [wire.author_key("eve@example.org")]}, headers=headers
    )
    assert (taken.status_code, "another person" in problem(taken)) == (400, True)
    wrong = api.client.put("/sync/authors", json={"authors": ["bob@example.org"]}, headers=headers)
    assert wrong.status_code == 400


def test_a_line_end_after_an_id_makes_it_another_id(api: Api) -> None:
    """For Python's patterns "$" stands before it too."""
    good, bad = api.event(), api.event(id=f"{uuid4()}\n")
    result = msgspec.json.decode(api.send(good, bad).data, type=wire.BatchResult)
    assert result.synced_ids == [good["id"]]
    assert [(error.index, error.code) for error in result.errors] == [(1, "invalid")]
    authors = {"authors": [f"{wire.author_key('b@home')}\n"]}
    assert api.client.put("/sync/authors", json=authors, headers=api.token()).status_code == 400


def test_a_wrong_method_or_address_gets_a_problem_document(api: Api) -> None:
    assert api.client.put("/sync/events").status_code == 405
    for address in ("/sync/nothing", "/auth/nothing"):
        answer = api.client.get(address)
        assert (answer.status_code, answer.content_type) == (404, "application/problem+json")


def test_only_four_uploads_are_inflated_at_a_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most, a_fifth = 0, 0, threading.Event()
    lock = threading.Lock()

    def watched(body: bytes, limit: int) -> bytes:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside > 4:
                a_fifth.set()
        a_fifth.wait(0.5)
        with lock:
            inside -= 1
        return inflated(body, limit)

    monkeypatch.setattr(sync, "inflated", watched)
    token = api.token()["Authorization"]
    with ThreadPoolExecutor(7) as pool:
        answers = list(pool.map(lambda _: api.send(api.event(), Authorization=token), range(7)))
    assert [answer.status_code for answer in answers] == [200] * 7
    assert most == 4
