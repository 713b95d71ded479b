"""What other PCs sent comes here once, page by page, and changes no number unless it is asked for."""

from __future__ import annotations

from contextlib import closing
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import requests

from devflow.errors import Invalid, Offline
from devflow.windows import Grain
from devflow_agent import download, downloaded, outbox, schema
from devflow_agent.analyse import activity, asking
from devflow_agent.analyse.activity import Numbers
from devflow_agent.local_calendar import Calendar
from devflow_agent.remote import Remote
from devflow_agent.store import connect
from tests.agent.outbox import START_MS, Outbox
from tests.agent.scripted_server import Answer, ScriptedServer, Seen, answer_json, problem

MINUTE_MS = 60_000


class Sharing(ScriptedServer):
    """Has events of another PC, and gives them in pages of two."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[dict[str, Any]] = []
        self.answers: list[Answer] = []

    def has(self, at_ms: int, **more: Any) -> dict[str, Any]:
        event = {
            "id": str(uuid4()),
            "timestamp": at_ms,
            "deviceId": str(uuid4()),
            "userId": str(self.user_id),
            "projectId": self.projects[0]["projectId"],
            "localId": 1,
            "eventType": "file.saved",
            "eventData": {"path": "b.py", "sizeBytes": 1},
            "state": "whole",
            "receivedAt": at_ms,
        } | more
        self.others.append(event)
        return event

    def answer(self, seen: Seen) -> Answer | None:
        if not seen.path.startswith("/sync/events?"):
            return super().answer(seen)
        if self.answers:
            return self.answers.pop(0)
        since = seen.path.partition("since=")[2].partition("&")[0]
        first = int(since or 0)
        end = min(first + 2, len(self.others))
        page = {"events": self.others[first:end], "serverTimestamp": 1, "cursor": str(end)}
        return answer_json(200, page | {"hasMore": end < len(self.others)})


@pytest.fixture
def server() -> Any:
    with Sharing().running() as running:
        yield running


def fetch(outbox: Outbox) -> int:
    with requests.Session() as http:
        return download.fetch(outbox.store, Remote(outbox.home.credentials, http))


def total(outbox: Outbox, *, all_devices: bool) -> Numbers:
    calendar = Calendar(ZoneInfo("UTC"), 15 * MINUTE_MS)
    asked = asking.question(
        outbox.store, calendar, START_MS + MINUTE_MS, by=Grain.DAY, all_devices=all_devices
    )
    return activity.count(outbox.store, asked).total


def asked(server: Sharing) -> list[str]:
    return [seen.path for seen in server.seen if seen.path.startswith("/sync/events?")]


def test_all_of_it_comes_once_and_later_only_what_is_new(outbox: Outbox, server: Sharing) -> None:
    for number in range(5):
        server.has(START_MS + number)
    assert fetch(outbox) == 5
    assert len(asked(server)) == 3
    server.has(START_MS - 1)  # it happened before, and came later
    assert fetch(outbox) == 1
    assert fetch(outbox) == 0
    assert downloaded.count(outbox.store) == 6


def test_it_changes_only_numbers_of_all_devices(outbox: Outbox, server: Sharing) -> None:
    outbox.record(1)
    before = total(outbox, all_devices=False)
    with pytest.raises(Invalid, match="run `devflow sync download`"):
        total(outbox, all_devices=True)
    server.has(START_MS + 5 * MINUTE_MS)
    server.has(START_MS + 7 * MINUTE_MS, projectId=str(uuid4()))  # not linked here
    fetch(outbox)
    assert total(outbox, all_devices=False) == before
    both = total(outbox, all_devices=True)
    assert (both.events, both.active_ms, both.files) == (3, 7 * MINUTE_MS, 3)
    assert outbox.push().sent == 1  # nothing of it is sent


def test_what_both_pcs_reported_is_one_event(outbox: Outbox, server: Sharing) -> None:
    (event_id,) = outbox.record(1)
    server.has(START_MS, id=str(event_id), eventData={"path": "src/a.py", "sizeBytes": 0})
    fetch(outbox)
    assert total(outbox, all_devices=True) == total(outbox, all_devices=False)


def test_what_came_before_a_failure_stays_and_it_goes_on_there(outbox: Outbox, server: Sharing) -> None:
    for number in range(4):
        server.has(START_MS + number)
    whole_page = server.answer(Seen("GET", "/sync/events?since=&limit=2", {}, b"", 0))
    assert whole_page is not None
    server.answers = [whole_page, problem(503, "not now")]
    with pytest.raises(Offline):
        fetch(outbox)
    assert downloaded.count(outbox.store) == 2
    assert fetch(outbox) == 2
    assert "since=2&" in asked(server)[-1]


@pytest.mark.parametrize(
    "page",
    [
        {"events": [], "serverTimestamp": 1, "cursor": "", "hasMore": True},  # for ever
        {"events": [{"id": "x"}], "serverTimestamp": 1, "cursor": "1", "hasMore": False},
        {"events": []},
        "no page",
    ],
)
def test_an_answer_that_is_none_is_no_word_of_the_server(outbox: Outbox, server: Sharing, page: Any) -> None:
    server.answers = [answer_json(200, page)]
    with pytest.raises(Offline):
        fetch(outbox)
    assert downloaded.cursor(outbox.store) is None


def test_what_the_server_could_not_open_is_left_out(outbox: Outbox, server: Sharing) -> None:
    server.has(START_MS, eventData=None, state="damaged")
    server.has(START_MS, eventData={"path": 7})
    server.has(START_MS)
    assert fetch(outbox) == 1


def test_it_is_fetched_with_each_push_only_if_that_is_wanted(outbox: Outbox, server: Sharing) -> None:
    server.has(START_MS)
    outbox.push()
    assert asked(server) == []
    outbox.store.set_settings(sync_download=True)
    outbox.push()
    assert downloaded.count(outbox.store) == 1
    server.answers = [problem(503, "not now")]
    outbox.record(1)
    assert outbox.push().synced == 1  # that it could not be fetched is no failure of the push


def test_another_server_begins_anew(outbox: Outbox, server: Sharing) -> None:
    server.has(START_MS)
    fetch(outbox)
    outbox_of_another = uuid4()
    _report_to(outbox, outbox_of_another)
    assert downloaded.count(outbox.store) == 0
    assert downloaded.cursor(outbox.store) is None


def _report_to(box: Outbox, server_id: Any) -> None:
    outbox.report_to(box.store, server_id)


def test_going_down_to_v1_forgets_it_and_it_comes_again(outbox: Outbox, server: Sharing) -> None:
    server.has(START_MS)
    fetch(outbox)
    with closing(connect(outbox.home.database)) as connection:
        schema.migrate(connection, 1)
        schema.migrate(connection)
    assert downloaded.count(outbox.store) == 0
    again = Outbox.signed_in(outbox.home.path, server)
    assert fetch(again) == 1
