"""Where the agent keeps its files, and the settings a developer may change."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

from devflow_agent.store import Store


@dataclass(frozen=True, slots=True)
class Home:
    """The agent's private folder (0700), outside every repository; ``DEVFLOW_HOME`` moves it."""

    path: Path

    @classmethod
    def default(cls) -> Home:
        chosen = os.environ.get("DEVFLOW_HOME")
        return cls(Path(chosen) if chosen else Path(platformdirs.user_data_dir("devflow", appauthor=False)))

    @property
    def database(self) -> Path:
        return self.path / "devflow.db"

    @property
    def credentials(self) -> Path:
        return self.path / "credentials.json"

    @property
    def daemon_lock(self) -> Path:
        return self.path / "daemon.lock"

    @property
    def sync_lock(self) -> Path:
        return self.path / "sync.lock"

    def store(self) -> Store:
        return Store(self.database)


def now_ms() -> int:
    """The wall clock in Unix milliseconds UTC."""
    return time.time_ns() // 1_000_000


def iso(timestamp_ms: int) -> str:
    """Unix milliseconds as local time with its offset, ISO 8601 to the second."""
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).astimezone().isoformat(timespec="seconds")
