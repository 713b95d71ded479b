"""The second factor: codes that are good once, recovery codes, and what is stored of both."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyotp
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow.accounts import second_factor
from devflow.audit import Act, Actor
from devflow.crypto import Damaged
from devflow.errors import CodeNeeded, Invalid, NotFound
from devflow.models import AuditEntry, Person, RecoveryCode, SecondFactor
from tests.build import NOW_MS, Member, World

T = TypeVar("T")
STEP_S = 30


def act(
    world: World, member: Member, work: Callable[[Session, Actor], T], *, at_s: int = NOW_MS // 1_000
) -> T:
    def transaction(session: Session) -> T:
        return work(session, Actor(session.get_one(Person, member.id), at_s * 1_000, world.vault))

    return world.database.transact(transaction)


def offer(world: World, member: Member) -> str:
    act(world, member, second_factor.offer)
    return act(world, member, lambda session, by: second_factor.offered(session, by.vault, by.who()))


def code(secret: str, at_s: int = NOW_MS // 1_000) -> str:
    return pyotp.TOTP(secret).at(at_s)


def switch_on(world: World, member: Member) -> tuple[str, list[str]]:
    """The secret, and the recovery codes."""
    secret = offer(world, member)
    return secret, act(world, member, lambda session, by: second_factor.switch_on(session, by, code(secret)))


def check(world: World, member: Member, given: str, *, at_s: int = NOW_MS // 1_000) -> bool:
    try:
        act(world, member, lambda session, by: second_factor.check(session, by, by.who(), given), at_s=at_s)
    except CodeNeeded:
        return False
    return True


def renew(world: World, member: Member, given: str) -> list[str]:
    return act(world, member, lambda session, by: second_factor.renew_recovery_codes(session, by, given))


def is_on(world: World, member: Member) -> bool:
    return act(world, member, lambda session, by: second_factor.is_on(session, by.who()))


def acts(world: World) -> list[str]:
    with world.reading() as session:
        return list(session.scalars(select(AuditEntry.act).order_by(AuditEntry.id)))


def test_it_is_in_force_once_a_code_was_shown(world: World) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    secret = offer(world, ada)
    assert not is_on(world, ada)
    assert not check(world, ada, code(secret))
    with pytest.raises(CodeNeeded):
        act(world, ada, lambda session, by: second_factor.switch_on(session, by, "000000"))
    made = act(world, ada, lambda session, by: second_factor.switch_on(session, by, code(secret)))
    assert is_on(world, ada) and not is_on(world, bob)
    assert len(set(made)) == 10
    with pytest.raises(Invalid, match="yours is on"):
        offer(world, ada)
    with pytest.raises(NotFound):
        act(world, ada, lambda session, by: second_factor.offered(session, by.vault, by.who()))
    assert acts(world)[-2:] == [Act.SECOND_FACTOR_OFFERED, Act.SECOND_FACTOR_ON]


def test_an_offer_is_replaced_by_the_next(world: World) -> None:
    ada = world.person("Ada")
    first, second = offer(world, ada), offer(world, ada)
    assert first != second
    with pytest.raises(CodeNeeded):
        act(world, ada, lambda session, by: second_factor.switch_on(session, by, code(first)))
    act(world, ada, lambda session, by: second_factor.switch_on(session, by, code(second)))


def test_a_code_is_good_once_and_those_before_it_no_more(world: World) -> None:
    ada = world.person("Ada")
    secret, _ = switch_on(world, ada)
    now = NOW_MS // 1_000
    assert not check(world, ada, code(secret))
    assert check(world, ada, code(secret, now + STEP_S), at_s=now)
    assert not check(world, ada, code(secret, now + STEP_S), at_s=now)
    assert not check(world, ada, code(secret, now), at_s=now + STEP_S)
    assert check(world, ada, f" {code(secret, now + 90)[:3]} {code(secret, now + 90)[3:]} ", at_s=now + 90)


@pytest.mark.parametrize(("steps", "is_good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_clocks_may_differ_by_one_step(world: World, steps: int, is_good: bool) -> None:
    ada = world.person("Ada")
    secret, _ = switch_on(world, ada)
    later = NOW_MS // 1_000 + 3_600
    assert check(world, ada, code(secret, later + steps * STEP_S), at_s=later) is is_good


@pytest.mark.parametrize(
    "given", ["", "   ", "12345", "1234567", "\u0661\u0662\u0663\u0664\u0665\u0666", "a" * 5_000, "\0"]
)
def test_what_is_no_code_is_a_wrong_one(world: World, given: str) -> None:
    ada = world.person("Ada")
    switch_on(world, ada)
    assert not check(world, ada, given)


def test_of_two_that_use_one_code_at_once_one_gets_in(world: World) -> None:
    ada = world.person("Ada")
    secret, recovery = switch_on(world, ada)
    later = NOW_MS // 1_000 + 3_600
    with ThreadPoolExecutor(8) as pool:
        for given in (code(secret, later), recovery[0]):
            let_in = pool.map(lambda _, given=given: check(world, ada, given, at_s=later), range(8))
            assert sum(let_in) == 1


def test_a_recovery_code_works_once_however_it_is_typed_and_for_nobody_else(world: World) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    (_, made), (_, of_bob) = switch_on(world, ada), switch_on(world, bob)
    assert not check(world, ada, of_bob[0])
    assert check(world, ada, made[0])
    assert not check(world, ada, made[0])
    assert check(world, ada, made[1].upper().replace("-", " "))
    assert check(world, ada, made[2].replace("-", ""))
    left = act(world, ada, lambda session, by: second_factor.recovery_codes_left(session, by.who()))
    assert left == 7
    assert acts(world).count(Act.RECOVERY_CODE_USED) == 3


def test_new_recovery_codes_end_those_before(world: World) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    _, before = switch_on(world, ada)
    after = renew(world, ada, before[0])
    assert not any(check(world, ada, each) for each in before)
    assert check(world, ada, after[9])
    with pytest.raises(Invalid, match="yours is off"):
        renew(world, bob, "000000")
    assert Act.RECOVERY_CODES_MADE in acts(world)


def test_new_recovery_codes_take_a_code_of_now(world: World) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    (secret, before), (_, of_bob) = switch_on(world, ada), switch_on(world, bob)
    for wrong in ("", "000000", code(secret), of_bob[0]):
        with pytest.raises(CodeNeeded):
            renew(world, ada, wrong)
    assert check(world, ada, before[0])
    assert Act.RECOVERY_CODES_MADE not in acts(world)


def test_switching_off_takes_a_code_and_leaves_nothing(world: World) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    (_, made), _ = switch_on(world, ada), switch_on(world, bob)
    with pytest.raises(CodeNeeded):
        act(world, ada, lambda session, by: second_factor.switch_off(session, by, "000000"))
    assert is_on(world, ada)
    act(world, ada, lambda session, by: second_factor.switch_off(session, by, made[0]))
    assert not is_on(world, ada) and is_on(world, bob)
    assert not check(world, ada, made[1])
    with world.reading() as session:
        assert set(session.scalars(select(RecoveryCode.person_id))) == {bob.id}
        assert set(session.scalars(select(SecondFactor.person_id))) == {bob.id}
    assert acts(world)[-2:] == [Act.RECOVERY_CODE_USED, Act.SECOND_FACTOR_OFF]


def test_the_secret_is_sealed_for_its_person_and_recovery_codes_are_hashed(world: World) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    secret, made = switch_on(world, ada)
    with world.reading() as session:
        sealed = session.get_one(SecondFactor, ada.id).secret
        stored = b"".join(session.scalars(select(RecoveryCode.code_hash)))
    assert secret.encode() not in sealed
    assert world.vault.open(second_factor.SECRET, ada.public_id.bytes, sealed).decode() == secret
    with pytest.raises(Damaged):
        world.vault.open(second_factor.SECRET, bob.public_id.bytes, sealed)
    assert not any(each.encode() in stored for each in made)


def test_authenticator_apps_are_told_whose_it_is(world: World) -> None:
    ada = world.person("Ada")
    secret = offer(world, ada)
    uri = act(world, ada, lambda session, by: second_factor.uri(by.vault, by.who(), secret))
    read = pyotp.parse_uri(uri)
    assert isinstance(read, pyotp.TOTP)
    assert (read.secret, read.name, read.issuer) == (secret, "ada@example.org", "DevFlow Monitor")
    assert read.at(NOW_MS // 1_000) == code(secret)
