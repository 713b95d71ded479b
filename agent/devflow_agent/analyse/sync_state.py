"""How sync is doing: what waits, what was sent, how the last attempts went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from devflow.errors import Invalid
from devflow_agent import alerts, credentials, network, outbox, sharing
from devflow_agent.alerts import Alert
from devflow_agent.config import Home, now_ms
from devflow_agent.measures import measured
from devflow_agent.network import Quality
from devflow_agent.outbox import Attempt
from devflow_agent.settings import Settings
from devflow_agent.store import Level, Store


@dataclass(frozen=True, slots=True)
class SyncState:
    """The numbers are as in ``Measures``, ``alerts`` those on now with since when and what they mean;
    ``linked`` are projects as (name, the server's name, level), and ``held`` events wait, beside those
    ``pending``, in such of them as share nothing;
    ``batch_size`` is the developer's limit, ``current_batch_size`` what the network takes now;
    ``clock_skew_ms`` is how far this PC's clock was ahead of the server's then; ``sharing_trouble`` why
    settings could not be shared the last time, None if they could. ``damage`` says why
    the credentials cannot be read: then server and account are unknown, all else still holds."""

    enabled: bool
    endpoint: str | None
    email: str | None
    linked: list[tuple[str, str, Level]]
    interval_s: int
    batch_size: int
    current_batch_size: int
    network: Quality
    alerts: list[tuple[Alert, int, str]]
    pending: int
    held: int
    synced: int
    failed: int
    last_attempt: Attempt | None
    last_success_ms: int | None
    success_rate: float | None
    average_latency_ms: float | None
    clock_skew_ms: int | None
    shares_settings: bool
    sharing_trouble: str | None
    damage: str | None


def sync_state(home: Home, store: Store, clock: Callable[[], int] = now_ms) -> SyncState:
    """Reads the store and the credentials file; asks nobody."""
    settings = Settings.load(store)
    server, damage = None, None
    try:
        server = credentials.load(home.credentials)
    except Invalid as error:
        damage = str(error)
    account = None if server is None else server.account
    counts = outbox.counts(store)
    found, now = measured(store), clock()
    on = alerts.current(store, settings, found, now)
    return SyncState(
        enabled=settings.sync_enabled,
        endpoint=None if server is None else server.server_url,
        email=None if account is None else account.email,
        linked=[
            (project.name, project.remote_name, project.level)
            for project in store.projects()
            if project.remote_name
        ],
        interval_s=settings.sync_interval_s,
        batch_size=settings.sync_batch_size,
        current_batch_size=network.batch_size(store, settings, now),
        network=network.quality(network.judged(store, now)),
        alerts=[(alert, since, alerts.text(alert, found, settings)) for alert, since in on.items()],
        pending=counts["pending"],
        held=outbox.held(store),
        synced=counts["synced"],
        failed=counts["failed"],
        last_attempt=found.attempts[0] if found.attempts else None,
        last_success_ms=found.last_success_ms,
        success_rate=found.success_rate,
        average_latency_ms=found.average_latency_ms,
        clock_skew_ms=outbox.clock_skew_ms(store),
        shares_settings=settings.sync_share_settings,
        sharing_trouble=sharing.trouble(store) if settings.sync_share_settings else None,
        damage=damage,
    )
