"""How sync is doing: what waits, what was sent, how the last attempts went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from devflow.errors import Invalid
from devflow_agent import credentials, outbox
from devflow_agent.config import Home
from devflow_agent.outbox import Attempt
from devflow_agent.settings import Settings
from devflow_agent.store import Store

JUDGED_ATTEMPTS: Final = 100


@dataclass(frozen=True, slots=True)
class SyncState:
    """``success_rate`` (0 to 1) and ``average_latency_ms`` are of the last 100 attempts at most, and
    None before the first; ``last_success_ms`` is when the server last took something;
    ``clock_skew_ms`` is how far this PC's clock was ahead of the server's then. ``damage`` says why
    the credentials cannot be read: then server and account are unknown, all else still holds."""

    enabled: bool
    endpoint: str | None
    email: str | None
    linked: list[tuple[str, str]]
    interval_s: int
    batch_size: int
    pending: int
    synced: int
    failed: int
    last_attempt: Attempt | None
    last_success_ms: int | None
    success_rate: float | None
    average_latency_ms: float | None
    clock_skew_ms: int | None
    damage: str | None


def sync_state(home: Home, store: Store) -> SyncState:
    """Reads the store and the credentials file; asks nobody."""
    settings = Settings.load(store)
    server, damage = None, None
    try:
        server = credentials.load(home.credentials)
    except Invalid as error:
        damage = str(error)
    account = None if server is None else server.account
    counts = outbox.counts(store)
    attempts = outbox.attempts(store, JUDGED_ATTEMPTS)
    latencies = [attempt.latency_ms for attempt in attempts if attempt.latency_ms is not None]
    good = [attempt for attempt in attempts if attempt.outcome in ("ok", "partial")]
    return SyncState(
        enabled=settings.sync_enabled,
        endpoint=None if server is None else server.server_url,
        email=None if account is None else account.email,
        linked=[(project.name, project.remote_name) for project in store.projects() if project.remote_name],
        interval_s=settings.sync_interval_s,
        batch_size=settings.sync_batch_size,
        pending=counts["pending"],
        synced=counts["synced"],
        failed=counts["failed"],
        last_attempt=attempts[0] if attempts else None,
        last_success_ms=good[0].timestamp_ms if good else None,
        success_rate=len(good) / len(attempts) if attempts else None,
        average_latency_ms=sum(latencies) / len(latencies) if latencies else None,
        clock_skew_ms=outbox.clock_skew_ms(store),
        damage=damage,
    )
