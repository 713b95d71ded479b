"""Throttling: how many wrong guesses there may be, whose they are, and when there may be more."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from devflow.accounts import known_browsers, sign_in, throttle
from devflow.accounts.sign_in import Visitor
from devflow.accounts.throttle import Bucket, Throttle
from devflow.errors import Limited, Unauthorized
from tests.build import World
from tests.clock import Clock

ADA = throttle.account(b"ada")


def guess(guard: Throttle, *buckets: Bucket, right: bool = False) -> bool:
    """Whether the guess was let through."""
    try:
        with guard.attempt(*buckets):
            if not right:
                raise Unauthorized("wrong")
    except Limited:
        return False
    except Unauthorized:
        return True
    return True


def guesses(guard: Throttle, clock: Clock, seconds: int, every: int) -> int:
    """How many of the guesses made in so many seconds were let through."""
    through = 0
    for _ in range(0, seconds, every):
        through += guess(guard, ADA)
        clock.move(every)
    return through


def test_five_wrong_guesses_a_minute_and_then_the_wait_is_said() -> None:
    clock = Clock()
    guard = Throttle(clock)
    for _ in range(5):
        assert guess(guard, ADA)
        clock.move(2)
    with pytest.raises(Limited, match="try again in 50 s") as refused, guard.attempt(ADA):
        pytest.fail("this was let through")
    assert refused.value.retry_after_s == 50
    clock.move(49)
    assert not guess(guard, ADA)
    clock.move(1)
    assert guess(guard, ADA)


@pytest.mark.parametrize(("hours", "most"), [(0.25, 10), (1, 40), (24, 50)])
def test_who_goes_on_guessing_waits_longer(hours: float, most: int) -> None:
    clock = Clock()
    assert guesses(Throttle(clock), clock, int(hours * 3_600), every=10) == most


def test_a_day_later_there_may_be_more() -> None:
    clock = Clock()
    guard = Throttle(clock)
    assert guesses(guard, clock, 86_400, every=60) == 50
    assert guess(guard, ADA)


def test_only_failures_count() -> None:
    guard = Throttle(Clock())
    assert all(guess(guard, ADA, right=True) for _ in range(100))
    assert all(guess(guard, ADA) for _ in range(5))
    assert not guess(guard, ADA, right=True)


def test_what_is_no_failure_of_its_kind_does_not_count() -> None:
    guard = Throttle(Clock())
    for _ in range(10):
        with pytest.raises(ValueError, match="other"), guard.attempt(ADA):
            raise ValueError("other")
    assert guess(guard, ADA)


def test_every_bucket_of_a_guess_has_to_have_room() -> None:
    guard = Throttle(Clock())
    from_here = throttle.address("192.0.2.7")
    names = [throttle.account(bytes([number])) for number in range(100)]
    assert sum(guess(guard, name, from_here) for name in names) == 60
    assert guess(guard, names[99], throttle.address("192.0.2.8"))
    assert not guess(guard, names[98], from_here)


def test_many_guesses_at_once_are_no_way_around() -> None:
    guard, tried = Throttle(Clock()), threading.Semaphore(0)

    def one(_: int) -> bool:
        try:
            with guard.attempt(ADA):
                tried.release()
                raise Unauthorized("wrong")
        except Limited:
            return False
        except Unauthorized:
            return True

    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(one, range(200))) == 5


def test_guesses_wait_for_those_under_way_that_could_fill_the_bucket() -> None:
    guard, release, inside = Throttle(Clock()), threading.Event(), threading.Semaphore(0)

    def one(number: int) -> bool:
        with guard.attempt(ADA):
            inside.release()
            return release.wait(20) and number >= 0

    with ThreadPoolExecutor(7) as pool:
        found = [pool.submit(one, number) for number in range(7)]
        for _ in range(5):
            assert inside.acquire(timeout=20)
        assert not inside.acquire(blocking=False)
        release.set()
        assert all(each.result() for each in found)


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("192.0.2.7", "192.0.2.8", False),
        (None, None, True),
    ],
)
def test_an_address_is_what_one_customer_has(one: str | None, other: str | None, are_one: bool) -> None:
    assert (throttle.address(one) == throttle.address(other)) is are_one
    assert (throttle.pairings(one) == throttle.pairings(other)) is are_one


def test_where_every_use_counts_no_more_than_its_share_gets_through() -> None:
    clock = Clock()
    guard, bucket = Throttle(clock), throttle.pairings("2001:db8:1:2::1")
    for _ in range(5):
        guard.use(bucket)
        clock.move(2)
    for _ in range(3):
        with pytest.raises(Limited) as refused:
            guard.use(bucket)
        assert refused.value.retry_after_s == 50, "what is refused does not count"
    guard.use(throttle.pairings("2001:db8:1:3::1"))
    clock.move(50)
    guard.use(bucket)


def test_of_many_uses_at_once_no_more_than_their_share_gets_through() -> None:
    guard, bucket = Throttle(Clock()), throttle.pairings("192.0.2.7")

    def one(_: int) -> bool:
        try:
            guard.use(bucket)
        except Limited:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(one, range(200))) == 5


def test_a_refusal_is_news_once_in_a_quarter_of_an_hour() -> None:
    clock = Clock()
    guard = Throttle(clock)
    assert not guard.is_news(ADA)
    for _ in range(10):
        guess(guard, ADA)
        clock.move(13)
    assert [guard.is_news(ADA) for _ in range(20)] == [True] + [False] * 19
    clock.move(900)
    for _ in range(10):
        guess(guard, ADA)
        clock.move(13)
    assert guard.is_news(ADA)


def test_what_is_past_is_forgotten() -> None:
    clock = Clock()
    guard = Throttle(clock)
    for number in range(3_000):
        guess(guard, Bucket("account", str(number), throttle.PENDING))
    assert len(guard._windows.storage.events) == 3_000  # type: ignore[attr-defined]
    clock.move(601)
    for number in range(6_000):
        guess(guard, Bucket("account", f"later {number}", throttle.PENDING))
    assert len(guard._windows.storage.events) == 6_000  # type: ignore[attr-defined]


def test_a_known_browser_has_a_bucket_of_its_own_for_its_own_account_alone(world: World) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    cookie = known_browsers.cookie(world.vault, ada.public_id)
    nonce, _, mac = cookie.partition(".")
    with world.reading() as session:
        of_ada = sign_in.candidate(session, world.vault, "ada@example.org")
        of_bob = sign_in.candidate(session, world.vault, "bob@example.org")
        of_nobody = sign_in.candidate(session, world.vault, "eve@example.org")

    def kinds(who: sign_in.Candidate, given: str) -> list[str]:
        buckets = sign_in.password_buckets(world.vault, who, Visitor("192.0.2.7", given))
        return [bucket.kind for bucket in buckets]

    strangers = ["account", "address"]
    assert kinds(of_ada, cookie) == ["known browser"]
    assert kinds(of_bob, cookie) == kinds(of_nobody, cookie) == strangers
    forged = [
        "",
        ".",
        nonce,
        f"{nonce}.",
        f"x{cookie}",
        f"{nonce}x.{mac}",
        f"{nonce}.{'0' * 64}",
        "\xff.\xff",
    ]
    assert [kinds(of_ada, each) for each in forged] == [strangers] * len(forged)
    codes = sign_in.code_buckets(world.vault, ada.public_id, Visitor("192.0.2.7", cookie))
    assert [bucket.kind for bucket in codes] == ["codes of known browser"]
    codes = sign_in.code_buckets(world.vault, bob.public_id, Visitor("192.0.2.7", cookie))
    assert [bucket.kind for bucket in codes] == ["codes", "address"]
    assert known_browsers.cookie(world.vault, ada.public_id) != cookie
