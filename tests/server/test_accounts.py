"""Accounts: making one, log-in, and what tokens stand for."""

from __future__ import annotations

from uuid import UUID, uuid4

import jwt
import pytest
from sqlalchemy import select

from devflow import context, crypto, wire
from devflow.accounts import devices, people, tokens
from devflow.accounts.tokens import Bearer
from devflow.audit import Actor
from devflow.errors import Invalid, Unauthorized
from devflow.models import Device, Person, RefreshToken, Role
from tests.build import DAY_MS, NOW_MS, PASSWORD, Member, World

SERVER = uuid4()


def issue(world: World, member: Member, *, now_ms: int | None = None) -> wire.Tokens:
    """Tokens of this moment, by the real clock, which PyJWT asks whether they have expired."""
    with world.database.writing() as session:
        by = Actor(None, context.now_ms() if now_ms is None else now_ms, world.vault)
        person, device = session.get_one(Person, member.id), session.get_one(Device, member.device)
        return tokens.issue(session, by, person, device, SERVER)


def renew(world: World, token: str) -> wire.Tokens:
    with world.database.writing() as session:
        renewed = tokens.renew(session, Actor(None, context.now_ms(), world.vault), token, SERVER)
    if renewed is None:
        raise Unauthorized("used before")
    return renewed


def bearer(world: World, token: str, *, audience: UUID = SERVER) -> Bearer:
    """Whom the token stands for; that it has arrived is noted, as at the doors for programs."""
    with world.reading() as session:
        found = tokens.bearer(session, world.vault, token, audience)
    if tokens.needs_confirming(found):
        with world.database.writing() as session:
            tokens.confirm(session, found)
    return found


@pytest.mark.parametrize(
    ("name", "email", "password", "expected"),
    [
        ("", "ada@example.org", PASSWORD, "1 to 100 characters"),
        ("Ada", "ada", PASSWORD, "e-mail address"),
        ("Ada", "ada @example.org", PASSWORD, "e-mail address"),
        ("Ada", "ada@example.org", "short", "10 to 1024 characters, got 5"),
    ],
)
def test_wrong_input_for_an_account_is_named(
    world: World, name: str, email: str, password: str, expected: str
) -> None:
    with pytest.raises(Invalid, match=expected), world.database.writing() as session:
        people.create(
            session, world.by(session), name=name, email=email, password=password, role=Role.DEVELOPER
        )


def test_an_address_has_one_account_however_it_is_written(world: World) -> None:
    world.person("Ada")
    with pytest.raises(Invalid, match="nobody has yet"), world.database.writing() as session:
        people.create(
            session,
            world.by(session),
            name="A",
            email=" ADA@Example.org ",
            password=PASSWORD,
            role=Role.DEVELOPER,
        )


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(world: World) -> None:
    world.person("Ada")
    messages = set()
    for email, password in (("ada@example.org", "wrong password"), ("eve@example.org", PASSWORD)):
        with pytest.raises(Unauthorized) as caught, world.reading() as session:
            people.authenticate(session, world.vault, email, password)
        messages.add(str(caught.value))
    assert len(messages) == 1
    with world.reading() as session:
        assert people.authenticate(session, world.vault, "Ada@example.org ", PASSWORD).name == "Ada"


def test_a_token_stands_for_its_person_and_device(world: World) -> None:
    ada = world.person("Ada")
    found = bearer(world, issue(world, ada).token)
    assert (found.person.public_id, found.device and found.device.public_id) == (ada.public_id, ada.device_id)


def test_a_token_of_another_key_server_or_algorithm_or_with_changes_is_refused(world: World) -> None:
    ada = world.person("Ada")
    token = issue(world, ada).token
    key_id = max(world.vault.ring.tokens)
    key, headers = world.vault.ring.tokens[key_id], {"kid": str(key_id)}
    claims = jwt.decode(token, options={"verify_signature": False})
    forged = [
        jwt.encode(claims, b"x" * 32, algorithm="HS256", headers=headers),
        jwt.encode(claims, key, algorithm="HS256"),
        jwt.encode(claims, key, algorithm="HS256", headers={"kid": "1"}),
        jwt.encode(claims, key * 2, algorithm="HS512", headers=headers),
        jwt.encode(claims, "", algorithm="none", headers=headers),
        jwt.encode(claims | {"sub": "nobody"}, key, algorithm="HS256", headers=headers),
        jwt.encode(claims | {"aud": "elsewhere"}, key, algorithm="HS256", headers=headers),
        *(
            jwt.encode(
                {k: v for k, v in claims.items() if k != left_out}, key, algorithm="HS256", headers=headers
            )
            for left_out in claims
        ),
        token[:-2],
        "",
    ]
    for each in forged:
        with pytest.raises(Unauthorized):
            bearer(world, each)


def test_an_expired_token_says_so(world: World) -> None:
    ada = world.person("Ada")
    old = issue(world, ada, now_ms=context.now_ms() - 8 * DAY_MS)
    with pytest.raises(Unauthorized, match="expired"):
        bearer(world, old.token)


def test_moving_the_token_version_or_revoking_the_device_ends_its_tokens(world: World) -> None:
    ada = world.person("Ada")
    given = issue(world, ada)
    with world.database.writing() as session:
        session.get_one(Device, ada.device).revoked_at = NOW_MS
    with pytest.raises(Unauthorized, match="revoked"):
        bearer(world, given.token)
    with pytest.raises(Unauthorized, match="revoked"):
        renew(world, given.refresh_token)
    with world.database.writing() as session:
        session.get_one(Device, ada.device).revoked_at = None
        session.get_one(Person, ada.id).token_version += 1
    with pytest.raises(Unauthorized, match="ended"):
        bearer(world, given.token)
    with pytest.raises(Unauthorized, match="ended"):
        renew(world, given.refresh_token)


def test_a_refresh_token_works_once_and_leads_to_another(world: World) -> None:
    ada = world.person("Ada")
    first = issue(world, ada)
    second = renew(world, first.refresh_token)
    assert bearer(world, second.token).person.id == ada.id
    with pytest.raises(Unauthorized, match="not valid"):
        renew(world, "guess")
    assert renew(world, second.refresh_token).user_id == ada.public_id


def test_a_refresh_token_used_again_after_its_successor_was_seen_ends_the_whole_grant(world: World) -> None:
    ada = world.person("Ada")
    first = issue(world, ada)
    second = renew(world, first.refresh_token)
    bearer(world, second.token)
    with pytest.raises(Unauthorized, match="used before"):
        renew(world, first.refresh_token)
    for ended in (second.refresh_token, first.refresh_token):
        with pytest.raises(Unauthorized, match="ended"):
            renew(world, ended)
    with pytest.raises(Unauthorized, match="ended"):
        bearer(world, second.token)


def test_a_lost_answer_costs_nothing_and_what_was_in_it_is_void(world: World) -> None:
    ada = world.person("Ada")
    first = issue(world, ada)
    lost = renew(world, first.refresh_token)
    second = renew(world, first.refresh_token)
    with pytest.raises(Unauthorized, match="replaced"):
        bearer(world, lost.token)
    assert bearer(world, second.token).person.id == ada.id
    with pytest.raises(Unauthorized, match="used before"):
        renew(world, lost.refresh_token)
    with pytest.raises(Unauthorized, match="ended"):
        bearer(world, second.token)


def test_expired_refresh_tokens_are_refused_and_not_kept(world: World) -> None:
    ada = world.person("Ada")
    old = issue(world, ada, now_ms=context.now_ms() - 91 * DAY_MS)
    with pytest.raises(Unauthorized):
        renew(world, old.refresh_token)
    new = issue(world, ada)
    with world.reading() as session:
        stored = session.scalars(select(RefreshToken.token_hash)).all()
    assert stored == [crypto.token_hash(new.refresh_token)]


def test_only_hashes_of_tokens_and_passwords_are_stored(world: World) -> None:
    ada = world.person("Ada")
    given = issue(world, ada)
    with world.reading() as session:
        stored = session.scalars(select(RefreshToken.token_hash)).all()
        assert stored == [crypto.token_hash(given.refresh_token)]
        assert session.get_one(Person, ada.id).password_hash.startswith("$argon2id$")


def test_a_device_of_somebody_else_cannot_be_taken_over(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    with pytest.raises(Invalid, match="somebody else"), world.database.writing() as session:
        person = session.get_one(Person, ben.id)
        devices.enrol(session, world.by(session, ben), person, ada.device_id, "mine now")
