"""What was sent day by day, from the attempts that are kept (``outbox.KEPT_ATTEMPTS``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import groupby

from devflow_agent import outbox
from devflow_agent.measures import WORKED
from devflow_agent.outbox import Attempt
from devflow_agent.store import Store


@dataclass(frozen=True, slots=True)
class Day:
    """``events`` are those taken, ``batches`` the attempts that worked; ``bytes`` are of all attempts."""

    date: str
    attempts: int
    batches: int
    events: int
    bytes: int
    average_latency_ms: float | None

    @property
    def success_rate(self) -> float:
        return self.batches / self.attempts


def by_day(store: Store, days: int, now_ms: int) -> list[Day]:
    """The last ``days`` of this PC's calendar in which anything was tried, newest first."""
    today = _local(now_ms).date()
    since = datetime.combine(today - timedelta(days=days - 1), time()).astimezone()
    attempts = outbox.attempts(store, outbox.KEPT_ATTEMPTS, since_ms=round(since.timestamp() * 1000))
    # By date and not by order alone: a clock that was set back repeats one.
    attempts.sort(key=_date, reverse=True)
    return [_day(date, found) for date, found in groupby(attempts, key=_date)]


def _day(date: str, found: Iterable[Attempt]) -> Day:
    attempts = list(found)
    latencies = [one.latency_ms for one in attempts if one.latency_ms is not None]
    return Day(
        date=date,
        attempts=len(attempts),
        batches=sum(one.outcome in WORKED for one in attempts),
        events=sum(one.synced for one in attempts),
        bytes=sum(one.bytes for one in attempts),
        average_latency_ms=sum(latencies) / len(latencies) if latencies else None,
    )


def _date(attempt: Attempt) -> str:
    return _local(attempt.timestamp_ms).date().isoformat()


def _local(timestamp_ms: int) -> datetime:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).astimezone()
