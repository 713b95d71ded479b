"""Accounts: making one, log-in, and what tokens stand for."""

from __future__ import annotations

from uuid import uuid4

import pytest

from devflow.accounts import people, sign_in
from devflow.accounts.sign_in import Candidate
from devflow.errors import Invalid, Unauthorized
from devflow.models import Role
from tests.build import PASSWORD, World

SERVER = uuid4()


@pytest.mark.parametrize(
    ("name", "email", "password", "expected"),
    [
        ("", "ada@example.org", PASSWORD, "1 to 100 characters"),
        ("Ada", "ada", PASSWORD, "e-mail address"),
        ("Ada", "ada @example.org", PASSWORD, "e-mail address"),
        ("Ada", "ada@example.org", "short", "10 to 1024 characters, got 5"),
    ],
)
def test_wrong_input_for_an_account_is_named(name: str, email: str, password: str, expected: str) -> None:
    with pytest.raises(Invalid, match=expected):
        people.newcomer(name=name, email=email, password=password)


def test_an_address_has_one_account_however_it_is_written(world: World) -> None:
    world.person("Ada")
    who = people.newcomer(name="A", email=" ADA@Example.org ", password=PASSWORD)
    with pytest.raises(Invalid, match="nobody has yet"), world.database.writing() as session:
        people.create(session, world.by(session), who, Role.DEVELOPER)


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(world: World) -> None:
    ada = world.person("Ada")
    messages = set()
    for email, password in (("ada@example.org", "wrong password"), ("eve@example.org", PASSWORD)):
        with pytest.raises(Unauthorized) as caught:
            candidate(world, email).check(password)
        messages.add(str(caught.value))
    assert len(messages) == 1
    found = candidate(world, "Ada@example.org ")
    found.check(PASSWORD)
    assert found.who() == ada.public_id


def candidate(world: World, email: str) -> Candidate:
    with world.reading() as session:
        return sign_in.candidate(session, world.vault, email)
