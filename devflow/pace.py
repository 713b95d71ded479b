"""Pace: how much one key may take in an hour, all of it at once or spread out.

A token bucket in the form of one number a key (GCRA, after ATM's generic cell rate algorithm): the
moment at which the bucket is full again. A key whose bucket is full is forgotten, so what is kept
is bounded by who came within the hour.
"""

from __future__ import annotations

import math
import threading
from typing import Final
from uuid import UUID

from devflow.errors import Limited

HOUR_MS: Final = 3_600_000
_SWEEP_AT: Final = 1_024


class Pace:
    """At most ``per_hour`` of ``what`` for each key, 0 for no limit.

    Whoever was away for an hour may take an hour's worth at once.
    """

    def __init__(self, per_hour: int, what: str) -> None:
        self._per_hour = per_hour
        self._what = what
        self._lock = threading.Lock()
        self._full_at: dict[UUID, float] = {}
        self._sweep_at = _SWEEP_AT

    def take(self, key: UUID, amount: int, now_ms: int) -> None:
        """Take ``amount``, which is at most an hour's worth, or raise Limited and take nothing."""
        if self._per_hour == 0:
            return
        with self._lock:
            begins = max(self._full_at.get(key, 0), now_ms)
            if begins > now_ms + HOUR_MS:  # the clock was set back
                begins = now_ms
            full_at = begins + amount * HOUR_MS / self._per_hour
            if full_at > now_ms + HOUR_MS:
                wait_s = math.ceil((full_at - now_ms - HOUR_MS) / 1_000)
                raise Limited(f"more than {self._per_hour} {self._what} an hour: go on in {wait_s} s", wait_s)
            self._full_at[key] = full_at
            if len(self._full_at) >= self._sweep_at:
                self._sweep(now_ms)

    def __len__(self) -> int:
        """How many keys are kept."""
        return len(self._full_at)

    def _sweep(self, now_ms: int) -> None:
        """Forget who may take an hour's worth again; next when twice as many are kept."""
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now_ms}
        self._sweep_at = max(_SWEEP_AT, 2 * len(self._full_at))
