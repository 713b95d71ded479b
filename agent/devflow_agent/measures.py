"""How sync is doing, in numbers: what waits, what worked, how long it took, since when the server is away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import takewhile
from typing import Final

from devflow import wire
from devflow_agent import outbox
from devflow_agent.outbox import Attempt
from devflow_agent.settings import Settings
from devflow_agent.store import Store

JUDGED_ATTEMPTS: Final = 100
WORKED: Final = frozenset({"ok", "partial"})
"""Outcomes of an attempt in which the server judged the batch."""


@dataclass(frozen=True, slots=True)
class Measures:
    """``success_rate`` (0 to 1) and ``average_latency_ms`` are of the last 100 attempts at most, and
    None before the first; ``last_success_ms`` is when the server last took something;
    ``offline_since_ms`` the first attempt since which none has reached it, None if the last one did."""

    queue_size: int
    attempts: Sequence[Attempt]
    success_rate: float | None
    average_latency_ms: float | None
    last_success_ms: int | None
    offline_since_ms: int | None


def measured(store: Store) -> Measures:
    attempts = outbox.attempts(store, JUDGED_ATTEMPTS)
    latencies = [one.latency_ms for one in attempts if one.latency_ms is not None]
    good = [one for one in attempts if one.outcome in WORKED]
    offline = list(takewhile(lambda one: one.outcome == "offline", attempts))
    return Measures(
        queue_size=outbox.counts(store)["pending"],
        attempts=attempts,
        success_rate=len(good) / len(attempts) if attempts else None,
        average_latency_ms=sum(latencies) / len(latencies) if latencies else None,
        last_success_ms=good[0].timestamp_ms if good else None,
        offline_since_ms=offline[-1].timestamp_ms if offline else None,
    )


def report(store: Store, sending: int) -> wire.Report:
    """What the server is told with so many events on their way to it. Nothing else of this PC is in it."""
    found, settings = measured(store), Settings.load(store)
    return wire.Report(
        queue=max(found.queue_size - sending, 0),
        success=None if found.success_rate is None else round(1_000 * found.success_rate),
        latency=None
        if found.average_latency_ms is None
        else min(round(found.average_latency_ms), wire.DAY_MS),
        interval=settings.sync_interval_s,
        batch=settings.sync_batch_size,
        start=int(settings.sync_on_start),
        version=_release(),
    )


@cache
def _release() -> int:
    """The agent's own, as reports say it."""
    return wire.version_number(version("devflow-monitor"))
