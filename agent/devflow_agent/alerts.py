"""Alerts on sync: each begins at its limit, ends clearly below it, and is said once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from threading import Event
from typing import Final

from devflow_agent import desktop
from devflow_agent.config import iso, now_ms
from devflow_agent.measures import WORKED, Measures, measured
from devflow_agent.settings import Settings
from devflow_agent.store import Store

LOOK_S: Final = 10.0
LEAST_ATTEMPTS: Final = 10
"""Of fewer, one that failed would be an alert."""
ENDS_BELOW: Final = {"queue": 0.8, "failures": 0.5}
"""Parts of the limit. What swings about the limit itself would begin and end without end."""
_RAISED: Final = "sync_alerts"


class Alert(StrEnum):
    QUEUE = "queue"
    FAILURES = "failures"
    OFFLINE = "offline"


Raised = Mapping[Alert, int]
"""The alerts that are on, and since when (Unix milliseconds)."""


def judged(before: Raised, found: Measures, settings: Settings, now_ms: int) -> dict[Alert, int]:
    """The alerts that are on now; none while sync is off, which is somebody's choice."""
    if not settings.sync_enabled:
        return {}
    is_on = {
        Alert.QUEUE: _is_over(
            Alert.QUEUE in before, found.queue_size, settings.alert_queue_size, ENDS_BELOW["queue"]
        ),
        Alert.FAILURES: _is_over(
            Alert.FAILURES in before,
            _failure_rate(found),
            settings.alert_failure_rate,
            ENDS_BELOW["failures"],
        ),
        Alert.OFFLINE: found.offline_since_ms is not None
        and now_ms - found.offline_since_ms > 1_000 * settings.alert_offline_s,
    }
    return {alert: before.get(alert, now_ms) for alert, on in is_on.items() if on}


def current(store: Store, settings: Settings, found: Measures, now_ms: int) -> dict[Alert, int]:
    """The alerts as they would be if somebody looked now; changes nothing."""
    return judged(raised(store), found, settings, now_ms)


def raised(store: Store) -> dict[Alert, int]:
    """Those that were on when ``Watch`` last looked."""
    written = store.setting(_RAISED) or {}
    return {Alert(name): int(since) for name, since in written.items() if name in set(Alert)}


def text(alert: Alert, found: Measures, settings: Settings) -> str:
    """What it means, in numbers, and where to look."""
    match alert:
        case Alert.QUEUE:
            limit = settings.alert_queue_size
            return f"{found.queue_size:,} events wait to be sent, limit {limit:,}: `devflow sync queue`"
        case Alert.FAILURES:
            rate = _failure_rate(found) or 0.0
            return (
                f"{rate:.0%} of the last {len(found.attempts)} attempts failed,"
                f" limit {settings.alert_failure_rate:.0%}: `devflow sync logs`"
            )
        case Alert.OFFLINE:
            since = "" if found.offline_since_ms is None else f" since {iso(found.offline_since_ms)}"
            return f"the server is out of reach{since}, everything is kept: `devflow sync test`"


def _is_over(was_on: bool, value: float | None, limit: float, ends_below: float) -> bool:
    return value is not None and (value > limit or (was_on and value > limit * ends_below))


def _failure_rate(found: Measures) -> float | None:
    if len(found.attempts) < LEAST_ATTEMPTS:
        return None
    return sum(one.outcome not in WORKED for one in found.attempts) / len(found.attempts)


class Watch:
    """What the daemon does beside its sync: looks, and says which alerts have begun or ended."""

    def __init__(
        self,
        store: Store,
        on_message: Callable[[str], None],
        *,
        notify: Callable[[str, str], object] = desktop.notify,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._store = store
        self._on_message = on_message
        self._notify = notify
        self._clock = clock

    def run(self, stop: Event) -> None:
        """Look again and again until ``stop`` is set."""
        while not stop.is_set():
            self.look()
            stop.wait(LOOK_S)

    def look(self) -> None:
        settings, found, before = Settings.load(self._store), measured(self._store), raised(self._store)
        after = judged(before, found, settings, self._clock())
        # First written down: who is killed now says nothing, and nobody says anything twice.
        if after != before:
            self._store.set_settings(**{_RAISED: after})
        self._say(before, after, found, settings)

    def _say(self, before: Raised, after: Raised, found: Measures, settings: Settings) -> None:
        for alert in after.keys() - before.keys():
            said = text(alert, found, settings)
            self._on_message(f"alert: {said}")
            if settings.alert_desktop:
                self._notify("DevFlow sync", said)
        for alert in before.keys() - after.keys():
            self._on_message(f"alert is over: {alert}")
