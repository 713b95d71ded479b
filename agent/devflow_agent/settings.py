"""The settings a developer may change, checked whenever they come in or go out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from devflow import wire
from devflow.errors import Invalid
from devflow_agent.config import now_ms
from devflow_agent.store import Store

MIN_INTERVAL_S: Final = 10
MAX_INTERVAL_S: Final = 86_400
MAX_ALERT_QUEUE: Final = 10_000_000
MIN_ALERT_OFFLINE_S: Final = 60
MAX_ALERT_OFFLINE_S: Final = 30 * 86_400
ONLY_HTTP_PROXIES: Final = (
    "and only those by http and https are supported:"
    " name an HTTP proxy, or let the server's name pass by NO_PROXY"
)
SHARES: Final = "sync_share_settings"
SHARED: Final = "sync_shared"
"""In the store: what ``sharing`` knows of changes, here and elsewhere."""
CHANGED_AT: Final = "sync_changed_at"
"""In the store: by field, when it was changed on this PC and ``sharing`` did not take it up yet."""


class SyncMode(StrEnum):
    """How events are sent while the daemon runs."""

    AUTO = "auto"
    """As they happen while that works, else every ``sync_interval_s``."""
    LIVE = "live"
    """As ``auto``, but tried again and again where something on the way breaks it."""
    BATCH = "batch"
    """Every ``sync_interval_s``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One consistent set of settings; a field's name is its key in the store."""

    sync_enabled: bool = False
    """Nothing leaves this PC while it is False, whatever is linked."""
    sync_interval_s: int = 300
    sync_batch_size: int = wire.MAX_BATCH_EVENTS
    """The most events of a request; how many it is within that, the network's quality decides."""
    sync_mode: SyncMode = SyncMode.AUTO
    sync_download: bool = False
    """Whether what the person's other PCs sent is fetched after each push."""
    sync_on_start: bool = True
    """Whether the daemon sends as soon as it starts, or one interval later."""
    sync_share_settings: bool = False
    """Whether the person's other PCs that share theirs have these settings too, and this PC theirs."""
    sync_proxy: str | None = None
    """Instead of what HTTPS_PROXY says."""
    sync_ca_file: str | None = None
    """The certificate authorities to trust, instead of the usual ones and what REQUESTS_CA_BUNDLE says."""
    alert_queue_size: int = 1_000
    alert_failure_rate: float = 0.1
    alert_offline_s: int = 3_600
    alert_desktop: bool = True
    author_keys: tuple[str, ...] = ()
    """``wire.author_key`` of the developer's own git addresses."""

    def __post_init__(self) -> None:
        _boolean("sync", self.sync_enabled)
        _whole_number("interval", self.sync_interval_s, MIN_INTERVAL_S, MAX_INTERVAL_S, " seconds")
        _whole_number("batch size", self.sync_batch_size, 1, wire.MAX_BATCH_EVENTS, " events")
        _mode(self.sync_mode)
        _boolean("download", self.sync_download)
        _boolean("on start", self.sync_on_start)
        _boolean("share settings", self.sync_share_settings)
        _proxy(self.sync_proxy)
        _ca_file(self.sync_ca_file)
        _whole_number("alert at a queue of", self.alert_queue_size, 1, MAX_ALERT_QUEUE, " events")
        _share("alert at a failure rate of", self.alert_failure_rate)
        _whole_number(
            "alert when offline for",
            self.alert_offline_s,
            MIN_ALERT_OFFLINE_S,
            MAX_ALERT_OFFLINE_S,
            " seconds",
        )
        _boolean("desktop notifications", self.alert_desktop)

    @classmethod
    def load(cls, store: Store) -> Self:
        """Raise Invalid if a stored value is not what this agent understands."""
        stored = store.settings()
        known = {field.name: stored[field.name] for field in fields(cls) if field.name in stored}
        if "sync_mode" in known:
            known["sync_mode"] = _mode(known["sync_mode"])
        if "author_keys" in known:
            known["author_keys"] = tuple(known["author_keys"])
        return cls(**known)

    def changed(
        self,
        *,
        enabled: bool | None = None,
        interval_s: int | None = None,
        batch_size: int | None = None,
        mode: str | None = None,
    ) -> Self:
        """These settings with what is not None replaced; raise Invalid if that is out of range."""
        given = {
            "sync_enabled": enabled,
            "sync_interval_s": interval_s,
            "sync_batch_size": batch_size,
            "sync_mode": None if mode is None else _mode(mode),
        }
        return self.with_values({name: value for name, value in given.items() if value is not None})

    def with_values(self, values: dict[str, Any]) -> Self:
        """These settings with these fields replaced; raise Invalid if one is out of range."""
        return replace(self, **values)

    def save_sync(self, store: Store) -> None:
        """Store what differs from what is stored, or from the default where nothing is.

        ``author_keys`` are left alone: they are written elsewhere meanwhile.
        """
        before = asdict(Settings.load(store))
        now = asdict(self)
        del now["author_keys"]
        keep(store, {name: value for name, value in now.items() if value != before[name]})


def are_set(store: Store) -> frozenset[str]:
    """The fields that somebody chose; all others are as they come."""
    return frozenset(store.settings()) & {field.name for field in fields(Settings)}


def keep(
    store: Store, values: Mapping[str, Any], forgotten: Sequence[str] = (), *, at_ms: int | None = None
) -> None:
    """Store these fields, and let others be as they come, all or none; they are checked already.

    ``at_ms`` is when somebody chose so, on this PC's clock; now if it is None. Where settings are shared
    the last change wins.
    """
    at_ms = now_ms() if at_ms is None else at_ms
    with store.write() as connection:
        was_shared = _get(connection, SHARES) is True
        for name, value in values.items():
            _set(connection, name, value)
        connection.executemany("DELETE FROM settings WHERE key = ?", [(name,) for name in forgotten])
        is_shared = _get(connection, SHARES) is True
        if was_shared != is_shared:  # what was chosen while nothing was shared has no place in the order
            connection.execute("DELETE FROM settings WHERE key IN (?, ?)", (SHARED, CHANGED_AT))
        if is_shared:
            noted = _get(connection, CHANGED_AT) or {}
            _set(connection, CHANGED_AT, noted | dict.fromkeys([*values, *forgotten], at_ms))


def _get(connection: sqlite3.Connection, key: str) -> Any:
    row = connection.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
    return None if row is None else json.loads(row["value"])


def _set(connection: sqlite3.Connection, key: str, value: Any) -> None:
    connection.execute("INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)", (key, json.dumps(value)))


def _boolean(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise Invalid(f"{name}: expected true or false, got {value!r}")


def _mode(value: object) -> SyncMode:
    try:
        return SyncMode(value)  # type: ignore[arg-type]
    except ValueError:
        raise Invalid(f"mode: expected {', '.join(SyncMode)}, got {value!r}") from None


def _whole_number(name: str, value: object, least: int, most: int, unit: str) -> None:
    # A bool is an int in Python, not in a settings file.
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Invalid(f"{name}: expected a whole number from {least} to {most}{unit}, got {value!r}")


def _share(name: str, value: object) -> None:
    # NaN is in no range.
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
        raise Invalid(f"{name}: expected a number above 0 and at most 1, got {value!r}")


def _proxy(value: object) -> None:
    if value is None:
        return
    example = "expected an address like http://proxy.example.org:3128"
    if not isinstance(value, str):
        raise Invalid(f"proxy: {example}, got {value!r}")
    try:
        parts = urlsplit(value)
        if parts.scheme.lower().startswith("socks"):
            raise Invalid(f"proxy: this is one by SOCKS, {ONLY_HTTP_PROXIES}")
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port is not None
    except ValueError:
        usable = False
    # It is not repeated: there may be a password in it.
    if not usable or not value.isprintable() or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise Invalid(f"proxy: {example}, with a port and nothing behind it")


def _ca_file(value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not value.isprintable() or not Path(value).is_absolute():
        raise Invalid(f"CA file: expected the whole path of a file of certificates, got {value!r}")


def without_password(address: str) -> str:
    """A proxy's address as it may be shown."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{'***@' if '@' in parts.netloc else ''}{host}"
