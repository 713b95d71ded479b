"""What tokens stand for, how they rotate, and every way in which one must not be good."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import NoneType
from typing import Any, Final
from uuid import UUID, uuid4

import jwt
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from devflow import audit, crypto, keys, wire
from devflow.accounts import devices, sessions, tokens
from devflow.accounts.tokens import Bearer
from devflow.audit import Act, Actor
from devflow.config import Settings
from devflow.errors import Unauthorized
from devflow.keys import Purpose
from devflow.models import AuditEntry, Device, Grant, Person, RefreshToken, Role
from tests.build import DAY_MS, NOW_MS, SECRET, Member, World

SERVER: Final = uuid4()
STRANGER: Final = "7f3d2c5e-8f0b-4b0e-9d51-6c1a55b3f0aa"


def issue(world: World, member: Member, *, at: int = NOW_MS, device: bool = True) -> wire.Tokens:
    def work(session: Session) -> wire.Tokens:
        person = session.get_one(Person, member.id)
        of = session.get_one(Device, member.device) if device else None
        return tokens.issue(session, Actor(person, at, world.vault), person, of, SERVER)

    return world.database.transact(work)


def renew(world: World, given: wire.Tokens, *, at: int = NOW_MS) -> wire.Tokens:
    renewed = world.database.transact(
        lambda session: tokens.renew(session, Actor(None, at, world.vault), given.refresh_token, SERVER)
    )
    if renewed is None:
        raise Unauthorized("used before")
    return renewed


def bearer(world: World, token: str | wire.Tokens, *, audience: UUID = SERVER, at: int = NOW_MS) -> Bearer:
    """Whom the token stands for; that it has arrived is noted, as at the doors for programs."""
    text = token if isinstance(token, str) else token.token
    with world.reading() as session:
        found = tokens.holder(session, tokens.claims(world.vault, text, audience), at)
    if tokens.needs_confirming(found):
        world.database.transact(lambda writing: tokens.confirm(writing, found))
    return found


def is_good(world: World, given: wire.Tokens) -> bool:
    """Whether its access token opens anything."""
    try:
        return bearer(world, given).number > 0
    except Unauthorized:
        return False


def count(world: World, kind: type[Any]) -> int:
    with world.reading() as session:
        return session.scalar(select(func.count()).select_from(kind)) or 0


def change(world: World, work: Callable[[Session], object]) -> None:
    with world.database.writing() as session:
        work(session)


def test_a_token_stands_for_its_person_and_device(world: World) -> None:
    ada = world.person("Ada")
    found = bearer(world, issue(world, ada))
    assert (found.person.public_id, found.device and found.device.public_id) == (ada.public_id, ada.device_id)


def test_a_token_without_a_device_stands_for_none(world: World) -> None:
    ada = world.person("Ada")
    assert bearer(world, issue(world, ada, device=False)).device is None


def test_only_hashes_of_tokens_are_stored(world: World) -> None:
    given = issue(world, world.person("Ada"))
    with world.reading() as session:
        stored = session.scalars(select(RefreshToken.token_hash)).all()
    assert stored == [crypto.token_hash(given.refresh_token)]


# What was not signed by us for this


def signed(world: World, changes: dict[str, Any]) -> str:
    """A token with these changes, signed with the right key: what a mistake of ours could let out."""
    claims = jwt.decode(issue(world, world.member("Ada")).token, options={"verify_signature": False})
    key_id = max(world.vault.ring.tokens)
    return jwt.encode(
        {name: value for name, value in (claims | changes).items() if value is not None},
        world.vault.ring.tokens[key_id],
        algorithm="HS256",
        headers={"kid": str(key_id)},
    )


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forgeries(world: World, token: str) -> dict[str, str]:
    ring = world.vault.ring
    key_id = max(ring.tokens)
    key, of_fields, named = ring.tokens[key_id], next(iter(ring.fields)), {"kid": str(key_id)}
    claims = jwt.decode(token, options={"verify_signature": False})
    head, body, signature = token.split(".")
    return {
        "another key": jwt.encode(claims, b"x" * 32, "HS256", headers=named),
        "no key id": jwt.encode(claims, key, "HS256"),
        "the key id of another purpose": jwt.encode(claims, key, "HS256", headers={"kid": str(of_fields)}),
        "a key of another purpose": jwt.encode(
            claims, ring.fields[of_fields], "HS256", headers={"kid": str(of_fields)}
        ),
        "a key id that is not there": jwt.encode(claims, key, "HS256", headers={"kid": "99"}),
        "a key id as long as a book": jwt.encode(claims, key, "HS256", headers={"kid": "9" * 5_000}),
        "a key id that is no number": jwt.encode(claims, key, "HS256", headers={"kid": "../../etc"}),
        "a key id that is a list": f"{encoded({'alg': 'HS256', 'kid': [key_id]})}.{body}.{signature}",
        "another algorithm": jwt.encode(claims, key * 2, "HS512", headers=named),
        "no algorithm": jwt.encode(claims, "", "none", headers=named),
        "no algorithm, with our signature": f"{encoded({'alg': 'none', **named})}.{body}.{signature}",
        "no algorithm in capitals": f"{encoded({'alg': 'NONE', **named})}.{body}.",
        "another person put in": f"{head}.{encoded(claims | {'sub': str(uuid4())})}.{signature}",
        "cut short": token[:-2],
        "one part more": f"{token}.{signature}",
        "nothing": "",
        "no token": "a.b.c",
        "odd characters": "\x00.\ud800.\U0001f600",
    }


def test_a_token_that_was_not_signed_by_us_is_refused(world: World) -> None:
    token = issue(world, world.person("Ada")).token
    for name, forged in forgeries(world, token).items():
        with pytest.raises(Unauthorized, match="not valid here"):
            pytest.fail(f"taken: {name} {bearer(world, forged)}")
    assert bearer(world, token)


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in ("exp", "iat", "sub", "aud", "iss", "ver", "grant", "num", "par", "dev")),
        {"sub": "nobody"},
        {"sub": STRANGER},
        {"sub": 7},
        {"aud": STRANGER},
        {"aud": []},
        {"iss": "somebody"},
        {"dev": STRANGER},
        {"dev": 7},
        {"grant": "x"},
        {"num": "x"},
        {"num": []},
        {"par": {}},
        {"exp": "soon"},
    ],
    ids=str,
)
@pytest.mark.parametrize("backend", ["sqlite"])  # refused by what the token says
def test_claims_that_are_missing_or_others_are_refused(world: World, changes: dict[str, Any]) -> None:
    world.person("Ada")
    token = signed(world, changes)
    with pytest.raises(Unauthorized, match="not valid here"):
        bearer(world, token)


def test_what_the_claims_are_compared_with_is_what_makes_a_token_good(world: World) -> None:
    world.person("Ada")
    assert bearer(world, signed(world, {}))
    with pytest.raises(Unauthorized, match="ended"):
        bearer(world, signed(world, {"grant": str(uuid4())}))
    with pytest.raises(Unauthorized, match="replaced"):
        bearer(world, signed(world, {"num": 7, "par": 6}))


def test_a_token_is_for_one_server(world: World) -> None:
    token = issue(world, world.person("Ada")).token
    with pytest.raises(Unauthorized, match="not valid here"):
        bearer(world, token, audience=uuid4())


def test_a_token_expires_by_our_clock_to_the_second(world: World) -> None:
    given = issue(world, world.person("Ada"))
    assert given.expires_at == NOW_MS + 7 * DAY_MS
    assert bearer(world, given, at=given.expires_at - 1_000)
    with pytest.raises(Unauthorized, match="expired"):
        bearer(world, given, at=given.expires_at)


def test_a_clock_set_back_refuses_nobody(world: World) -> None:
    assert bearer(world, issue(world, world.person("Ada")), at=NOW_MS - DAY_MS)


def test_a_key_that_another_process_made_is_found(world: World) -> None:
    ada = world.person("Ada", Role.ADMIN)
    vault = vault_of_another_process(world)
    with world.database.writing() as session:
        keys.rotate(session, world.by(session, ada), Purpose.TOKENS)
    newer = World(world.database, vault_of_another_process(world))
    given = issue(newer, ada)
    with world.reading() as session:
        assert tokens.holder(session, tokens.claims(vault, given.token, SERVER), NOW_MS).person.id == ada.id


def vault_of_another_process(world: World) -> crypto.Vault:
    return keys.open_vault(world.database, Settings(secret_key=SECRET))


# What ended


def test_moving_the_token_version_ends_every_token(world: World) -> None:
    ada = world.person("Ada")
    given = issue(world, ada)
    change(world, lambda session: sessions.end_all(session, session.get_one(Person, ada.id)))
    for ended in (bearer, renew):
        with pytest.raises(Unauthorized, match="ended"):
            ended(world, given)


def test_deactivating_a_person_ends_every_token_and_nobody_elses(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    given, bens = issue(world, ada), issue(world, ben)
    change(world, lambda session: setattr(session.get_one(Person, ada.id), "deactivated_at", NOW_MS))
    for ended in (bearer, renew):
        with pytest.raises(Unauthorized, match="ended"):
            ended(world, given)
        assert ended(world, bens)


def test_revoking_a_device_ends_its_tokens_for_good_and_no_others(world: World) -> None:
    ada = world.person("Ada")
    other = world.second_device(ada)
    given, others = issue(world, ada), issue(world, other)
    change(world, lambda session: devices.revoke(session, world.by(session, ada), ada.device_id))
    for ended in (bearer, renew):
        with pytest.raises(Unauthorized, match="revoked"):
            ended(world, given)
        assert ended(world, others)
    change(world, lambda session: devices.admit(session, world.by(session, ada), ada.device_id, "a PC"))
    for ended in (bearer, renew):
        with pytest.raises(Unauthorized, match="ended"):
            ended(world, given)


def test_logging_out_ends_the_grant(world: World) -> None:
    ada = world.person("Ada")
    given, others = issue(world, ada), issue(world, world.second_device(ada))
    found = bearer(world, given)
    change(world, lambda session: tokens.end(session, world.by(session, ada), found))
    for ended in (bearer, renew):
        with pytest.raises(Unauthorized, match="ended"):
            ended(world, given)
        assert ended(world, others)


def test_a_new_log_in_of_a_device_ends_those_it_had_before(world: World) -> None:
    ada = world.person("Ada")
    first, others = issue(world, ada), issue(world, world.second_device(ada))
    second = issue(world, ada)
    for ended in (bearer, renew):
        with pytest.raises(Unauthorized, match="ended"):
            ended(world, first)
    assert is_good(world, second)
    assert is_good(world, others)


def test_grants_that_ended_and_tokens_that_expired_are_not_kept(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    old = issue(world, ben, at=NOW_MS - 91 * DAY_MS)
    with pytest.raises(Unauthorized, match="not valid"):
        renew(world, old)
    for _ in range(5):
        newest = issue(world, ada)
    assert (count(world, Grant), count(world, RefreshToken)) == (2, 2), "the one in use and the one before"
    assert is_good(world, newest)


# Rotation


def test_a_refresh_token_leads_to_another_and_dies_when_that_is_seen(world: World) -> None:
    ada = world.person("Ada")
    first = issue(world, ada)
    second = renew(world, first)
    assert bearer(world, second).person.id == ada.id
    assert renew(world, second).user_id == ada.public_id
    with pytest.raises(Unauthorized, match="not valid"):
        renew(world, wire.Tokens(token="", user_id=ada.public_id, refresh_token="guess", expires_at=0))


@pytest.mark.parametrize("seen_by", [bearer, renew], ids=["its access token", "its own use"])
def test_a_refresh_token_used_after_its_successor_was_seen_ends_the_whole_grant(
    world: World, seen_by: Callable[..., object]
) -> None:
    ada = world.person("Ada")
    first = issue(world, ada)
    second = renew(world, first)
    third = renew(world, second)
    seen_by(world, third)
    others = issue(world, world.second_device(ada))
    for dead in (first, second):
        with pytest.raises(Unauthorized):
            renew(world, dead)
    for given in (first, second, third):
        for ended in (bearer, renew):
            with pytest.raises(Unauthorized, match="ended"):
                ended(world, given)
    assert is_good(world, others), "another log-in is another matter"
    with world.reading() as session:
        refused = session.scalars(select(AuditEntry).where(AuditEntry.is_refused)).all()
        assert [(entry.act, entry.subject) for entry in refused] == [(Act.TOKEN_REUSED, ada.device_id)]
        assert audit.verify(session, world.vault) is None


def test_any_number_of_lost_answers_costs_nothing(world: World) -> None:
    first = issue(world, world.person("Ada"))
    lost = [renew(world, first) for _ in range(20)]
    second = renew(world, first)
    assert is_good(world, second)
    assert not any(is_good(world, each) for each in lost)
    assert is_good(world, renew(world, second))


def test_of_several_answers_to_one_token_the_first_that_is_seen_goes_on(world: World) -> None:
    """A request that was sent twice, and came to be answered twice: the client may hold either."""
    first = issue(world, world.person("Ada"))
    early, late = renew(world, first), renew(world, first)
    assert is_good(world, early)
    assert not is_good(world, late)
    assert is_good(world, renew(world, early))


def test_the_answer_that_lost_is_a_stolen_one_when_it_is_used(world: World) -> None:
    first = issue(world, world.person("Ada"))
    won, lost = renew(world, first), renew(world, first)
    assert is_good(world, won)
    with pytest.raises(Unauthorized, match="used before"):
        renew(world, lost)
    assert not is_good(world, won)


def test_the_access_token_before_is_good_for_requests_under_way_and_those_before_it_are_not(
    world: World,
) -> None:
    first = issue(world, world.person("Ada"))
    second = renew(world, first)
    assert is_good(world, second)
    assert is_good(world, first)
    third = renew(world, second)
    assert is_good(world, third)
    assert [is_good(world, each) for each in (first, second, third)] == [False, True, True]


def test_of_two_that_are_seen_at_once_one_is_told_it_was_replaced(world: World) -> None:
    first = issue(world, world.person("Ada"))
    both = [renew(world, first), renew(world, first)]
    with world.reading() as session:
        seen = [
            tokens.holder(session, tokens.claims(world.vault, each.token, SERVER), NOW_MS) for each in both
        ]
    world.database.transact(lambda session: tokens.confirm(session, seen[0]))
    world.database.transact(lambda session: tokens.confirm(session, seen[0]))
    with pytest.raises(Unauthorized, match="replaced"):
        world.database.transact(lambda session: tokens.confirm(session, seen[1]))


@pytest.mark.parametrize("attempt", range(5))
def test_refreshes_at_once_with_one_token_log_nobody_out_and_leave_one_chain(
    world: World, attempt: int
) -> None:
    given = issue(world, world.person("Ada"))
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            answers = list(pool.map(lambda _: renew(world, given), range(4)))  # noqa: B023
            assert len({each.refresh_token for each in answers}) == 4
            good = list(pool.map(lambda each: is_good(world, each), answers))
            assert good.count(True) == 1, "the first that is seen"
            given = answers[good.index(True)]
            assert [is_good(world, each) for each in answers] == good
    assert is_good(world, renew(world, given))


def test_a_refresh_at_the_moment_of_another_log_in_ends_in_one_of_both(world: World) -> None:
    ada = world.person("Ada")
    given = issue(world, ada)
    with ThreadPoolExecutor(4) as pool:
        refreshes = [pool.submit(renew, world, given) for _ in range(6)]
        log_ins = [pool.submit(issue, world, ada) for _ in range(3)]
    assert all(isinstance(each.exception(), Unauthorized | NoneType) for each in refreshes)
    assert [is_good(world, each.result()) for each in log_ins].count(True) == 1
    assert not is_good(world, given)
