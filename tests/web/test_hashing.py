"""While a password is hashed nobody waits to write, and for strangers none is hashed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import delete
from werkzeug.test import TestResponse

from devflow.accounts import passwords
from devflow.models import Link
from tests import build
from tests.browsing import Browser, Team
from tests.build import World
from tests.web.test_invitations import invite, reset_link

DEADLINE_S: Final = 10
NEW: Final = "another horse, another battery"
ZOE: Final = {"name": "Zoe", "email": "zoe@example.org", "password": NEW}
Send = Callable[[], TestResponse]


class Turn(threading.BoundedSemaphore):
    """As ``passwords.hashing``, but after so many it keeps whoever is next waiting until it may go on."""

    def __init__(self, before: int) -> None:
        super().__init__(1)
        self.before = before
        self.is_awaited, self.may_go_on = threading.Event(), threading.Event()

    def __enter__(self, blocking: bool = True, timeout: float | None = None) -> bool:
        if self.before == 0:
            self.is_awaited.set()
            assert self.may_go_on.wait(2 * DEADLINE_S)
        self.before -= 1
        return super().__enter__()


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[tuple[World, str, Browser]]:
    """A server without an account, its set-up link, and a browser."""
    context, token = build.context(tmp_path / "new")
    yield World.of(context), f"/setup/{token}", Browser(build.app(context).test_client())
    context.database.close()


def test_while_the_first_password_is_hashed_others_write(
    new_server: tuple[World, str, Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, link, browser = new_server
    assert writes_meanwhile(monkeypatch, world, lambda: browser.post(link, **ZOE)).status_code == 302


def test_while_the_password_of_somebody_invited_is_hashed_others_write(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, zoe = invite(team.browser("ada")), team.browser()
    assert writes_meanwhile(monkeypatch, team.world, lambda: zoe.post(link, **ZOE)).status_code == 302


def test_while_a_forgotten_password_is_set_anew_others_write(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, bob = reset_link(team.browser("ada"), team, "bob"), team.browser()
    answer = writes_meanwhile(monkeypatch, team.world, lambda: bob.post(link, password=NEW))
    assert answer.status_code == 200


@pytest.mark.parametrize("before", [0, 1])  # the current one is verified, then the new one is hashed
def test_while_a_password_is_changed_others_write(
    team: Team, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = team.browser("bob")

    def send() -> TestResponse:
        return bob.post("/me/security/password", current=build.PASSWORD, new=NEW)

    assert writes_meanwhile(monkeypatch, team.world, send, before).status_code == 302


def test_while_somebody_signs_in_others_write(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    bob, form = team.browser(), {"email": "bob@example.org", "password": build.PASSWORD}
    answer = writes_meanwhile(monkeypatch, team.world, lambda: bob.post("/sign-in", **form))
    assert answer.status_code == 302


@pytest.mark.parametrize("link", ["/setup/guess", "/invite/guess", "/reset/guess"])
def test_nothing_is_hashed_for_who_has_no_link(
    team: Team, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = Turn(0)
    turn.may_go_on.set()
    monkeypatch.setattr(passwords, "hashing", turn)
    assert team.browser().post(link, **ZOE).status_code == 404
    assert not turn.is_awaited.is_set()


@pytest.mark.parametrize("name", ["zoe", "bob"])
def test_a_link_that_ends_while_its_password_is_hashed_gives_nothing(
    team: Team, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, browser = team.browser("ada"), team.browser()
    link = invite(ada) if name == "zoe" else reset_link(ada, team, name)

    def end_links() -> None:
        with team.world.database.writing() as session:
            session.execute(delete(Link))

    answer = writes_meanwhile(monkeypatch, team.world, lambda: browser.post(link, **ZOE), meanwhile=end_links)
    assert answer.status_code == 404
    assert browser.post("/sign-in", email=f"{name}@example.org", password=NEW).status_code == 422


def writes_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
    world: World,
    send: Send,
    before: int = 0,
    meanwhile: Callable[[], object] | None = None,
) -> TestResponse:
    """The answer to what is sent, while whose password waits to be hashed somebody has to get to write."""
    turn = Turn(before)
    monkeypatch.setattr(passwords, "hashing", turn)
    with ThreadPoolExecutor(2) as pool:
        try:
            sent = pool.submit(send)
            assert turn.is_awaited.wait(DEADLINE_S), "expected a password to be hashed"
            pool.submit(meanwhile or (lambda: world.project("meanwhile"))).result(DEADLINE_S)
            assert not sent.done()
        finally:
            turn.may_go_on.set()
        return sent.result(DEADLINE_S)
