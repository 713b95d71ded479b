"""What a running server is made of, put together once and handed to all that needs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from devflow import keys, restores, workspace
from devflow.accounts.throttle import Throttle
from devflow.cache import Cache, Server
from devflow.config import Settings
from devflow.crypto import Vault
from devflow.db import Database
from devflow.ingest import Intake
from devflow.live import Hub
from devflow.restores import Epoch
from devflow.rollups import Calendar
from devflow.rollups.slicing import Slicer
from devflow.sealed import Resealing

if TYPE_CHECKING:
    from devflow.cache.shared import Shared


def now_ms() -> int:
    """The wall clock in Unix milliseconds UTC."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Context:
    """Settings, database and keys of one server; ``now`` is its clock, in Unix milliseconds UTC.

    Can be printed: what is secret in it does not show.
    """

    settings: Settings
    database: Database
    server_id: UUID
    epoch: Epoch
    vault: Vault
    throttle: Throttle
    now: Callable[[], int]
    intake: Intake
    cache: Cache
    slicer: Slicer
    hub: Hub
    on_upload: list[Callable[[], None]] = field(default_factory=list)
    """Called when an upload is stored, by whoever stored it: so they must be quick."""
    resealing: Resealing = field(default_factory=Resealing)

    def server(self, calendar: Calendar) -> Server:
        """Whose numbers are shown, by the calendar in force."""
        return Server(self.server_id, self.epoch.value, calendar)

    @classmethod
    def open(cls, settings: Settings, now: Callable[[], int] = now_ms) -> Context:
        """Open what the settings name; the database must be migrated. Raise Invalid if it is not."""
        settings.data_path.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = Database(settings.database)
        with database.reading() as session:
            server_id, epoch = workspace.server_id(session), restores.epoch(session)
        vault = keys.open_vault(database, settings)
        return cls(
            settings=settings,
            database=database,
            server_id=server_id,
            epoch=Epoch(epoch),
            vault=vault,
            throttle=Throttle(now),
            now=now,
            intake=Intake.of(database),
            cache=Cache(vault, _shared(settings.redis_url)),
            slicer=Slicer(database),
            hub=Hub(database, now),
        )


def _shared(redis_url: str) -> Shared | None:
    if not redis_url:
        return None
    from devflow.cache.shared import Shared  # its library takes 12 MB, which most servers need not

    return Shared(redis_url)
