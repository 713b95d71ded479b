"""Throttling guesses: so many failures in a time, then no more tries until some of them are past.

Failures count, in several windows at once: the longer somebody goes on, the longer the wait.
Strangers share one bucket an account, so guessing from a thousand addresses is no faster. A browser
that has signed in to the account before has a bucket of its own, so nobody can lock its owner out.

The counts are in this process's memory: a restart forgets them.
"""

from __future__ import annotations

import ipaddress
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.storage.memory import Entry
from limits.strategies import MovingWindowRateLimiter

from devflow.errors import DevflowError, Limited, Unauthorized

GUESSES: Final = (
    RateLimitItemPerMinute(5),
    RateLimitItemPerMinute(10, multiples=15),
    RateLimitItemPerDay(50),
)
FROM_ADDRESS: Final = (RateLimitItemPerMinute(60, multiples=15),)
"""Looser: behind one address there may be a whole office."""
PENDING: Final = (RateLimitItemPerMinute(5, multiples=10),)
"""Codes for one right password."""
PAIRINGS: Final = (RateLimitItemPerMinute(5),)
"""PCs that ask to be paired, from one address."""
PAIRING_CODES: Final = (RateLimitItemPerMinute(10, multiples=15),)
_ONCE: Final = RateLimitItemPerMinute(1, multiples=15)
_SWEEP_AT: Final = 1_024


@dataclass(frozen=True, slots=True)
class Bucket:
    """What failures, or uses, are counted in: whose they are, and how many there may be."""

    kind: str
    key: str
    limits: tuple[RateLimitItem, ...]


def account(email_key: bytes) -> Bucket:
    """Strangers who try passwords for an e-mail address, whether there is such an account or not."""
    return Bucket("account", email_key.hex(), GUESSES)


def known_browser(nonce: str) -> Bucket:
    """A browser that has signed in to the very account before."""
    return Bucket("known browser", nonce, GUESSES)


def address(remote: str | None) -> Bucket:
    """Everybody who comes from an address."""
    return Bucket("address", _customer(remote), FROM_ADDRESS)


def pairings(remote: str | None) -> Bucket:
    """PCs that ask from an address to be paired; every one counts."""
    return Bucket("pairings", _customer(remote), PAIRINGS)


def pairing_codes(person: UUID) -> Bucket:
    """Codes of PCs that somebody who is signed in tries, be it to let in the PC of somebody else."""
    return Bucket("pairing codes", str(person), PAIRING_CODES)


def codes(person: UUID) -> Bucket:
    """Strangers who know a person's password and try codes."""
    return Bucket("codes", str(person), GUESSES)


def codes_of_known_browser(nonce: str) -> Bucket:
    return Bucket("codes of known browser", nonce, GUESSES)


def pending(session: UUID) -> Bucket:
    """Codes after one right password."""
    return Bucket("pending", str(session), PENDING)


def confirmation(session: UUID) -> Bucket:
    """Passwords and codes asked for again within a session: whoever stole it locks out nobody else."""
    return Bucket("confirmation", str(session), GUESSES)


def _customer(remote: str | None) -> str:
    """Who comes from an address: of IPv6 the /64, which is what one customer gets."""
    try:
        parsed = ipaddress.ip_address((remote or "").partition("%")[0])
    except ValueError:
        return remote or "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.ip_network((parsed, 64), strict=False))
        parsed = parsed.ipv4_mapped
    return str(parsed)


class Throttle:
    """Counts failures, and uses; ``now`` is the clock, in Unix milliseconds UTC."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._windows = MovingWindowRateLimiter(_Memory(self._now_s))
        self._under_way: Counter[Bucket] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def attempt(self, *buckets: Bucket, failure: type[DevflowError] = Unauthorized) -> Iterator[None]:
        """Around one try: what is a ``failure`` in it is counted in each bucket.

        Raise Limited, and let nothing be tried, if a bucket is full. One that could be full once
        the tries under way have failed is waited for, so many at once are no way around.
        """
        with self._changed:
            while not self._has_room(buckets):
                self._changed.wait()
            self._under_way.update(buckets)
        is_failure = False
        try:
            yield
        except failure:
            is_failure = True
            raise
        finally:
            with self._changed:
                self._under_way.subtract(buckets)
                self._under_way += Counter()  # drops what is down to nothing
                if is_failure:
                    self._count(buckets)
                self._changed.notify_all()

    def use(self, bucket: Bucket) -> None:
        """Count this, whatever comes of it; raise Limited if the bucket is full."""
        with self._changed:
            self._check((bucket,))
            self._count((bucket,))

    def is_full(self, bucket: Bucket) -> bool:
        """Whether no more tries are let through now."""
        with self._changed:
            return self._wait_s(bucket) is not None

    def is_news(self, *buckets: Bucket) -> bool:
        """Whether this is asked of a full one of the buckets for the first time in a quarter of an hour.

        For the audit trail, which a flood of refusals must not fill.
        """
        full = next(filter(self.is_full, buckets), None)
        with self._changed:
            return full is not None and self._windows.hit(_ONCE, "told", full.kind, full.key)

    def _has_room(self, buckets: tuple[Bucket, ...]) -> bool:
        """Whether one more try fits beside those under way; raise Limited if it would not without them."""
        self._check(buckets)
        return all(
            self._windows.test(limit, bucket.kind, bucket.key, cost=1 + self._under_way[bucket])
            for bucket in buckets
            for limit in bucket.limits
        )

    def _check(self, buckets: tuple[Bucket, ...]) -> None:
        waits = [wait for bucket in buckets if (wait := self._wait_s(bucket)) is not None]
        if waits:
            raise Limited(f"too many attempts: try again in {max(waits)} s", max(waits))

    def _wait_s(self, bucket: Bucket) -> int | None:
        """Whole seconds until the bucket has room again; None if it has."""
        stats = [self._windows.get_window_stats(limit, bucket.kind, bucket.key) for limit in bucket.limits]
        ends = [window.reset_time for window in stats if window.remaining == 0]
        return max(1, math.ceil(max(ends) - self._now_s())) if ends else None

    def _count(self, buckets: tuple[Bucket, ...]) -> None:
        for bucket in buckets:
            for limit in bucket.limits:
                self._windows.hit(limit, bucket.kind, bucket.key)

    def _now_s(self) -> float:
        return self._now() / 1_000


class _Memory(MemoryStorage):
    """The library's memory on the clock passed in, tidied up as it grows instead of by a thread at every hit.

    ``Throttle`` holds its lock around every call.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        super().__init__()
        self.timer.cancel()  # it would drop what is past by the wall clock, and hold no lock of ours
        self._now_s = now_s
        self._sweep_at = _SWEEP_AT

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        _, taken = self.get_moving_window(key, limit, expiry)
        if taken + amount > limit:
            return False
        entry = Entry(expiry)
        entry.atime = self._now_s()
        entry.expiry = entry.atime + expiry
        self.events[key] = [entry] * amount + self.events.get(key, [])[:taken]
        if len(self.events) >= self._sweep_at:
            self._sweep()
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        now = self._now_s()
        inside = [entry for entry in self.events.get(key, []) if entry.expiry > now]
        return (inside[-1].atime if inside else now), len(inside)

    def _sweep(self) -> None:
        """Drop what is past; next when twice as much is kept."""
        now = self._now_s()
        self.events = {key: kept for key, kept in self.events.items() if kept[0].expiry > now}
        self._sweep_at = max(_SWEEP_AT, 2 * len(self.events))
