"""The doors to what is stored of the own events, asked as an agent asks them, and as nobody should."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from werkzeug.test import TestResponse

from devflow import wire
from tests.web.test_api import DEVICE, Api, api, problem

__all__ = ["api"]
pytestmark = pytest.mark.parametrize("backend", ["sqlite"])  # what differs is tested in tests/server


@pytest.fixture
def sent(api: Api) -> list[dict[str, Any]]:
    """Twenty events, sent by the PC that most tests ask as."""
    events = [api.event(localId=number + 1) for number in range(20)]
    assert api.send(*events).status_code == 200
    return events


def get(api: Api, path: str, *, name: str = "bob", device: UUID = DEVICE, **headers: str) -> TestResponse:
    return api.client.get(path, headers=api.token(name, deviceId=str(device)) | headers)


def post(api: Api, path: str, body: object, *, name: str = "bob") -> TestResponse:
    device = DEVICE if name == "bob" else uuid4()
    return api.client.post(path, json=body, headers=api.token(name, deviceId=str(device)))


def test_every_answer_names_the_epoch(api: Api) -> None:
    answers = [api.login(), api.send(), api.client.get("/healthz"), api.client.get("/sync/projects")]
    assert {answer.headers["DevFlow-Epoch"] for answer in answers} == {str(api.context.epoch.value)}


def test_another_pc_of_the_person_gets_the_events_and_this_one_none(
    api: Api, sent: list[dict[str, Any]]
) -> None:
    other = uuid4()
    checked = get(api, "/sync/updates", device=other)
    assert checked.json is not None
    assert (checked.json["hasUpdates"], checked.json["lastSyncTimestamp"] is None) == (True, False)
    answer = get(api, "/sync/events?limit=15", device=other)
    first = msgspec.json.decode(answer.data, type=wire.OwnEvents)
    rest = msgspec.json.decode(
        get(api, f"/sync/events?since={first.cursor}", device=other).data, type=wire.OwnEvents
    )
    assert {event.id for event in first.events + rest.events} == {event["id"] for event in sent}
    assert len(first.events + rest.events) == len(sent)
    assert (first.has_more, rest.has_more) == (True, False)
    assert not msgspec.json.decode(get(api, "/sync/events").data, type=wire.OwnEvents).events
    assert not msgspec.json.decode(get(api, "/sync/events", name="eve", device=uuid4()).data)["events"]


def test_a_page_is_zipped_for_whoever_takes_it(api: Api, sent: list[dict[str, Any]]) -> None:
    other = uuid4()
    plain = get(api, "/sync/events", device=other)
    assert "Content-Encoding" not in plain.headers
    refused = get(api, "/sync/events", device=other, **{"Accept-Encoding": "gzip;q=0, identity"})
    assert "Content-Encoding" not in refused.headers
    zipped = get(api, "/sync/events", device=other, **{"Accept-Encoding": "gzip"})
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in zipped.headers["Vary"]
    assert int(zipped.headers["Content-Length"]) == len(zipped.data) < len(plain.data) / 3
    assert json.loads(gzip.decompress(zipped.data))["events"] == json.loads(plain.data)["events"]


def test_a_trace_is_told_to_its_person_alone(api: Api, sent: list[dict[str, Any]]) -> None:
    path = f"/sync/events/{sent[0]['id']}?timestamp={sent[0]['timestamp']}"
    found = msgspec.json.decode(get(api, path).data, type=wire.Trace)
    assert (found.id, found.project_id, found.device_id) == (sent[0]["id"], api.project, DEVICE)
    hidden = get(api, path, name="eve", device=uuid4())
    absent = get(api, f"/sync/events/{uuid4()}?timestamp=1", name="eve", device=uuid4())
    assert (hidden.status_code, absent.status_code) == (404, 404)
    assert problem(hidden).replace(sent[0]["id"], "") == re.sub(
        "[0-9a-f]{8}-[0-9a-f-]{27}", "", problem(absent)
    )


def test_digests_and_missing_events_are_told_to_a_member_of_the_project_alone(
    api: Api, sent: list[dict[str, Any]]
) -> None:
    day = sent[0]["timestamp"] // wire.DAY_MS
    path = f"/sync/projects/{api.project}"
    (tally,) = msgspec.json.decode(
        get(api, f"{path}/digests?from={day}&until={day + 1}").data, type=wire.Digests
    ).tallies
    assert (tally.day, tally.count) == (day, len(sent))
    lost = {"id": str(uuid4()), "timestamp": sent[0]["timestamp"]}
    names = [{"id": event["id"], "timestamp": event["timestamp"]} for event in sent] + [lost]
    assert post(api, f"{path}/missing", {"events": names}).json == {"ids": [lost["id"]]}
    assert get(api, f"{path}/digests?from=1&until=2", name="eve", device=uuid4()).status_code == 404
    assert post(api, f"{path}/missing", {"events": names}, name="eve").status_code == 404


def test_a_token_of_no_device_learns_no_digest(api: Api) -> None:
    headers = api.token(deviceId=None)
    path = f"/sync/projects/{api.project}"
    assert api.client.get(f"{path}/digests?from=1&until=2", headers=headers).status_code == 401
    assert api.client.post(f"{path}/missing", json={"events": []}, headers=headers).status_code == 401
    assert api.client.get("/sync/events", headers=headers).status_code == 200


HUGE = "9" * 30
NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    "path",
    [
        "/sync/events?limit=0",
        "/sync/events?limit=1001",
        "/sync/events?limit=-1",
        f"/sync/events?limit={HUGE}",
        "/sync/events?limit=%D9%A1",
        "/sync/events?since=0",
        "/sync/events?since=%00",
        f"/sync/events?since={'0' * 32}.{HUGE}",
        f"/sync/updates?since={HUGE}",
        f"/sync/events/{NOWHERE}",
        f"/sync/events/{NOWHERE}?timestamp=now",
        f"/sync/events/{NOWHERE}?timestamp={HUGE}",
        "PROJECT/digests",
        "PROJECT/digests?from=1",
        "PROJECT/digests?from=2&until=1",
        "PROJECT/digests?from=0&until=367",
        f"PROJECT/digests?from={'9' * 18}&until={'9' * 18}",
        f"PROJECT/digests?from={HUGE}&until={HUGE}",
    ],
)
def test_a_question_that_makes_no_sense_gets_a_clear_answer(api: Api, path: str) -> None:
    answer = get(api, path.replace("PROJECT", f"/sync/projects/{api.project}"))
    assert answer.status_code == 400
    assert "expected" in problem(answer)


@pytest.mark.parametrize("number", ["9" * 18, str(2**53)])
def test_a_cursor_beyond_all_events_finds_none(api: Api, number: str) -> None:
    assert get(api, f"/sync/events/{uuid4()}?timestamp={number}").status_code == 400
    since = f"{api.context.epoch.value.hex}.{number}"
    assert get(api, f"/sync/events?since={since}").json["events"] == []  # type: ignore[index]


GOOD = {"id": str(uuid4()), "timestamp": 1}
BAD_QUESTIONS = {
    "no object": [],
    "no events": {},
    "too many": {"events": [GOOD] * 1_001},
    "no id": {"events": [{"timestamp": 1}]},
    "no time": {"events": [{"id": GOOD["id"]}]},
    "an id in capitals": {"events": [{**GOOD, "id": "0B5C0000-0000-4000-8000-00000000000A"}]},
    "an id in braces": {"events": [{**GOOD, "id": f"{{{GOOD['id']}}}"}]},
    "a time before all": {"events": [{**GOOD, "timestamp": -1}]},
    "a time after all": {"events": [{**GOOD, "timestamp": 2**63}]},
    "something more": {"events": [{**GOOD, "path": "src/app.py"}]},
}


@pytest.mark.parametrize("body", BAD_QUESTIONS.values(), ids=BAD_QUESTIONS.keys())
def test_a_question_for_missing_events_is_checked(api: Api, body: object) -> None:
    answer = post(api, f"/sync/projects/{api.project}/missing", body)
    assert (answer.status_code, bool(problem(answer))) == (400, True)


def test_a_question_larger_than_any_needs_to_be_is_refused(api: Api) -> None:
    answer = post(api, f"/sync/projects/{api.project}/missing", {"events": [], "x": "x" * 300_000})
    assert answer.status_code == 413
