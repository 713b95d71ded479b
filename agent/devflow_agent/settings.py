"""The settings a developer may change, checked whenever they come in or go out."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Final, Self

from devflow import wire
from devflow.errors import Invalid
from devflow_agent.store import Store

MIN_INTERVAL_S: Final = 10
MAX_INTERVAL_S: Final = 86_400


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
    sync_batch_size: int = 500
    sync_download: bool = False
    """Whether what the person's other PCs sent is fetched after each push."""
    sync_mode: SyncMode = SyncMode.AUTO
    author_keys: tuple[str, ...] = ()
    """``wire.author_key`` of the developer's own git addresses."""

    def __post_init__(self) -> None:
        _whole_number("interval", self.sync_interval_s, MIN_INTERVAL_S, MAX_INTERVAL_S, " seconds")
        _whole_number("batch size", self.sync_batch_size, 1, wire.MAX_BATCH_EVENTS, " events")

    @classmethod
    def load(cls, store: Store) -> Self:
        """Raise Invalid if a stored value is not what this agent understands."""
        stored = store.settings()
        known = {field.name: stored[field.name] for field in fields(cls) if field.name in stored}
        for name in ("sync_enabled", "sync_download"):
            if not isinstance(known.get(name, False), bool):
                raise Invalid(f"setting {name}: expected true or false, got {known[name]!r}")
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
        return replace(
            self,
            sync_enabled=self.sync_enabled if enabled is None else enabled,
            sync_interval_s=self.sync_interval_s if interval_s is None else interval_s,
            sync_batch_size=self.sync_batch_size if batch_size is None else batch_size,
            sync_mode=self.sync_mode if mode is None else _mode(mode),
        )

    def save_sync(self, store: Store) -> None:
        """Store what ``changed`` can change, and only that: others are written elsewhere meanwhile."""
        store.set_settings(
            sync_enabled=self.sync_enabled,
            sync_interval_s=self.sync_interval_s,
            sync_batch_size=self.sync_batch_size,
            sync_mode=self.sync_mode,
        )


def _mode(value: object) -> SyncMode:
    try:
        return SyncMode(value)  # type: ignore[arg-type]
    except ValueError:
        raise Invalid(f"mode: expected {', '.join(SyncMode)}, got {value!r}") from None


def _whole_number(name: str, value: object, least: int, most: int, unit: str) -> None:
    # A bool is an int in Python, not in a settings file.
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Invalid(f"{name}: expected a whole number from {least} to {most}{unit}, got {value!r}")
