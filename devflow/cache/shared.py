"""The second layer: a Redis that several processes share, never waited for long.

The first failure closes it for a while; then one request tries again, and all others do without it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

T = TypeVar("T")
TIMEOUT_S: Final = 0.1
"""To connect, and for each answer; counting anew takes about as long at worst."""
PAUSE_S: Final = 10
"""After a failure."""
KEPT_FOR_S: Final = 86_400
"""For room alone: what a value is good for is its generation."""
PREFIX: Final = b"devflow:"
log = logging.getLogger(__name__)


class Shared:
    """Sealed values by key in the Redis of ``url``."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = TIMEOUT_S,
        pause_s: float = PAUSE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._pause_s = pause_s
        self._clock = clock
        self._closed_until: float | None = None
        self._trying = threading.Lock()

    def get(self, key: bytes, most_bytes: int) -> bytes | None:
        """What is there, or None; of what is longer than could be ours, only so much."""
        # Not GET: whoever can write there could have us take gigabytes.
        found = self._run(lambda: self._redis.getrange(PREFIX + key, 0, 2 * most_bytes))
        return cast(bytes, found) or None

    def put(self, key: bytes, value: bytes) -> None:
        self._run(lambda: self._redis.set(PREFIX + key, value, ex=KEPT_FOR_S))

    def close(self) -> None:
        self._redis.close()

    def _run(self, work: Callable[[], T]) -> T | None:
        """What ``work`` gives; None if Redis does not answer, or is not to be asked for now."""
        if self._closed_until is None:
            return self._try(work)
        if self._clock() < self._closed_until or not self._trying.acquire(blocking=False):
            return None
        try:
            return self._try(work)
        finally:
            self._trying.release()

    def _try(self, work: Callable[[], T]) -> T | None:
        try:
            done = work()
        except redis.ResponseError:  # something else lies there, or there is no room: it does answer
            done = None
        except (redis.RedisError, OSError, ValueError) as error:
            if self._closed_until is None:
                log.warning("doing without Redis: %s", type(error).__name__)
            self._closed_until = self._clock() + self._pause_s
            return None
        if self._closed_until is not None:
            log.warning("Redis answers again")
            self._closed_until = None
        return done
