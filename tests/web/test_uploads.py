"""Uploads when there is too much of them, or nowhere to put them: sent away with a time, and nothing lost."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from devflow import wire
from devflow.models import BrowserSession, Event
from devflow.web.api import uploads
from tests import build, malformed
from tests.browsing import Team
from tests.malformed import Sender


def sender(team: Team, name: str = "bob") -> Sender:
    """A PC of the person's that has just logged in."""
    device = uuid4()
    login = {"email": f"{name}@example.org", "password": build.PASSWORD, "deviceId": str(device)}
    tokens = team.app.test_client().post("/auth/login", json=login).get_json()
    return Sender(tokens["token"], UUID(tokens["userId"]), device, team.project.public_id)


def send(team: Team, who: Sender, content: bytes | None = None) -> TestResponse:
    return team.app.test_client().post(
        "/sync/events",
        data=malformed.good(who, random.Random()) if content is None else content,
        headers={"Authorization": f"Bearer {who.token}", "Content-Type": "application/json"},
    )


def stored(team: Team) -> int:
    with team.world.reading() as session:
        return session.scalar(select(func.count()).select_from(Event)) or 0


def sent_away(answer: TestResponse, status: int) -> str:
    """The detail of a refusal that says when to come again."""
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert 0 < int(answer.headers["Retry-After"]) <= 3_600
    return str(json.loads(answer.data)["detail"])


def test_a_pc_that_sends_without_end_is_slowed_down_and_no_other(team: Team) -> None:
    slow = team.under(most_uploads="2")
    bob, cem = sender(slow), sender(slow, "cem")
    assert [send(slow, bob).status_code for _ in range(3)] == [200, 200, 429]
    assert "more than 2 uploads of one device an hour" in sent_away(send(slow, bob), 429)
    assert send(slow, cem).status_code == 200
    assert stored(slow) == 3


def test_events_are_counted_whatever_the_batch(team: Team) -> None:
    slow = team.under(most_events="1000")
    bob = sender(slow)
    batch = malformed.batch(bob, *["{}"] * 600).encode()
    assert send(slow, bob, batch).status_code == 200
    assert "more than 1000 events of one device an hour" in sent_away(send(slow, bob, batch), 429)
    assert send(slow, bob).status_code == 200


def test_the_usual_limits_let_a_long_history_through_at_once(team: Team) -> None:
    """Two million events in full batches, or in those of a poor network; by the settings' own numbers."""
    settings = team.context.settings
    assert settings.events_an_hour == 2_000_000
    assert settings.uploads_an_hour * 100 >= settings.events_an_hour
    assert settings.uploads_an_hour * wire.MAX_BATCH_EVENTS >= settings.events_an_hour


def test_more_bodies_than_memory_may_hold_are_sent_away_before_they_are_received(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = sender(team)
    with monkeypatch.context() as small:
        small.setattr(uploads, "WAITING_BYTES", 100)
        assert "as many uploads as it can hold" in sent_away(send(team, bob), 503)
    with monkeypatch.context() as few:
        few.setattr(uploads, "OF_ONE_DEVICE", 0)
        assert "of one device at a time" in sent_away(send(team, bob), 429)
    assert (send(team, bob).status_code, stored(team)) == (200, 1), (
        "nothing of what was refused is still held"
    )


def test_who_gets_no_turn_is_sent_away(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = sender(team)
    monkeypatch.setattr(uploads, "WAIT_S", 0.01)
    with ExitStack() as busy:
        for _ in range(uploads.AT_WORK):
            busy.enter_context(team.app.extensions["devflow_uploads"].turn())
        assert "busy with other uploads" in sent_away(send(team, bob), 503)
    assert (send(team, bob).status_code, stored(team)) == (200, 1)


@contextmanager
def unwritable(team: Team) -> Iterator[None]:
    """The database as on a disk that takes nothing more."""
    set_query_only(team, "ON")
    yield
    set_query_only(team, "OFF")


def set_query_only(team: Team, value: str) -> None:
    """On the one connection that writes, past the transaction that it would begin."""
    with closing(team.context.database.engine.raw_connection()) as connection:
        connection.cursor().execute(f"PRAGMA query_only = {value}")


def test_without_a_database_to_write_to_pages_are_read_and_nothing_is_acknowledged(team: Team) -> None:
    browser, bob = team.browser("bob"), sender(team)
    assert send(team, bob).status_code == 200
    with team.context.database.writing() as session:  # so that it is time to note that they were here
        session.execute(update(BrowserSession).values(seen_at=build.NOW_MS - build.HOUR_MS))
    with unwritable(team):
        for address in ("/", "/me", team.page, "/me/security"):
            assert browser.get(address).status_code == 200, address
        assert team.app.test_client().get("/healthz").status_code == 200
        assert "nothing was stored" in sent_away(send(team, bob), 503)
        refused = team.browser().post("/sign-in", email="bob@example.org", password=build.PASSWORD)
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
        login = {"email": "bob@example.org", "password": build.PASSWORD}
        sent_away(team.app.test_client().post("/auth/login", json=login), 503)
    assert stored(team) == 1
    assert (send(team, bob).status_code, stored(team)) == (200, 2)
    assert team.browser("bob").get("/").status_code == 200
