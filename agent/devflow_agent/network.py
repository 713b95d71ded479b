"""How good the network to the server is, by the last uploads, and how many events it can take at once.

The thresholds and their reasons: docs/decisions/0020-batches-follow-the-network.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from statistics import median
from typing import Final

from devflow_agent import outbox
from devflow_agent.outbox import Attempt
from devflow_agent.settings import Settings
from devflow_agent.store import Store

JUDGED: Final = 10
LEAST_JUDGED: Final = 3
JUDGED_FOR_MS: Final = 3_600_000
"""An older attempt may have been made from another place."""


class Quality(StrEnum):
    EXCELLENT = "excellent"
    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"
    UNKNOWN = "unknown"


BATCH_SIZES: Final = {
    Quality.EXCELLENT: 1_000,
    Quality.GOOD: 500,
    Quality.FAIR: 100,
    Quality.POOR: 50,
    Quality.UNKNOWN: 100,
}
# The best one whose two limits hold: the share of attempts that got an answer, and its median latency.
_LIMITS: Final = (
    (Quality.EXCELLENT, 1.0, 500),
    (Quality.GOOD, 0.9, 1_500),
    (Quality.FAIR, 0.7, 5_000),
)


def quality(attempts: Sequence[Attempt]) -> Quality:
    """What these attempts say; unknown if they are fewer than three."""
    if len(attempts) < LEAST_JUDGED:
        return Quality.UNKNOWN
    # What answered and was not the server, or said to come later, has a latency too.
    latencies = [
        one.latency_ms for one in attempts if one.latency_ms is not None and one.outcome != "offline"
    ]
    answered = len(latencies) / len(attempts)
    for level, share, latency_ms in _LIMITS:
        if answered >= share and median(latencies) <= latency_ms:
            return level
    return Quality.POOR


def judged(store: Store, now_ms: int) -> list[Attempt]:
    """The attempts that count: ten at most, of the last hour."""
    return outbox.attempts(store, JUDGED, since_ms=now_ms - JUDGED_FOR_MS)


def batch_size(store: Store, settings: Settings, now_ms: int) -> int:
    """How many events the next upload takes at most."""
    attempts = judged(store, now_ms)
    return min(settings.sync_batch_size, BATCH_SIZES[quality(attempts)], _taken(attempts))


def _taken(attempts: Sequence[Attempt]) -> int:
    """Half of the smallest batch that was too large for somebody on the way.

    Where one of at least that size got through, it was an event that was too large, not the batch.
    """
    largest = max((one.sent for one in attempts if one.outcome in ("ok", "partial")), default=1)
    too_large = [one.sent for one in attempts if one.outcome == "too_large" and one.sent > largest]
    return min(too_large, default=2 * BATCH_SIZES[Quality.EXCELLENT]) // 2
