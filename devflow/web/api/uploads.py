"""Uploads under way: how much memory they may take, how fast one PC may send, and when there is no room.

Whoever is sent away is told when to come again, and has lost nothing: agents keep what was not
acknowledged.
"""

from __future__ import annotations

import random
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast
from uuid import UUID

from flask import Flask, current_app
from sqlalchemy import make_url
from werkzeug.exceptions import ServiceUnavailable

from devflow.context import Context
from devflow.errors import Limited
from devflow.pace import Pace

# As many as the database is busy with. A body takes 8 MiB inflated, and little more decoded.
AT_WORK: Final = 4
WAITING_BYTES: Final = 64 << 20
"""Of bodies as they are sent, being received or waiting for their turn; usual ones have 60 kB."""
WAIT_S: Final = 20
"""For a turn. Shorter than what programs and proxies wait for an answer, which is 30 s and more."""
OF_ONE_DEVICE: Final = 8
"""At a time. An agent sends one; more come from connections that a network cut unnoticed."""
RETRY_S: Final = (2, 10)
"""Not the same for all, so that those who were sent away together do not come back together."""


class Uploads:
    """What ``POST /sync/events`` of one server holds in memory."""

    def __init__(self, context: Context) -> None:
        settings = context.settings
        self._now = context.now
        self._uploads = Pace(settings.uploads_an_hour, "uploads of one device")
        self._events = Pace(settings.events_an_hour, "events of one device")
        self._reserve_bytes = settings.disk_reserve_bytes
        self._folder = _folder(settings.database)
        self._turns = threading.BoundedSemaphore(AT_WORK)
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._of_device: Counter[UUID] = Counter()

    @contextmanager
    def admitted(self, device: UUID, size: int) -> Iterator[None]:
        """Around a body of ``size`` bytes, from before it comes; raise Limited or ServiceUnavailable."""
        self._check_disk()
        self._uploads.take(device, 1, self._now())
        with self._lock:
            if self._of_device[device] >= OF_ONE_DEVICE:
                raise Limited(f"expected at most {OF_ONE_DEVICE} uploads of one device at a time", 1)
            if self._waiting_bytes + size > WAITING_BYTES:
                raise unavailable("the server has as many uploads as it can hold")
            self._waiting_bytes += size
            self._of_device[device] += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting_bytes -= size
                self._of_device[device] -= 1
                self._of_device += Counter()  # drops what is down to nothing

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Around what inflates a body and stores it; raise ServiceUnavailable if others take too long."""
        if not self._turns.acquire(timeout=WAIT_S):
            raise unavailable("the server is busy with other uploads")
        try:
            yield
        finally:
            self._turns.release()

    def count(self, device: UUID, events: int) -> None:
        """Raise Limited if these events of the device are more than its pace."""
        self._events.take(device, events, self._now())

    def _check_disk(self) -> None:
        """Leave the last of the disk to what is small and lets people look after it: sign-in, the trail."""
        if self._folder is not None and shutil.disk_usage(self._folder).free < self._reserve_bytes:
            raise unavailable("the server's disk is almost full")


def init_app(app: Flask) -> None:
    app.extensions["devflow_uploads"] = Uploads(app.extensions["devflow"])


def current() -> Uploads:
    return cast(Uploads, current_app.extensions["devflow_uploads"])


def unavailable(why: str) -> ServiceUnavailable:
    """503 and when to come again."""
    retry_s = random.randint(*RETRY_S)  # noqa: S311 - jitter, not a secret
    return ServiceUnavailable(f"{why}: nothing was stored, try again", retry_after=retry_s)


def _folder(database: str) -> Path | None:
    """Where SQLite writes; None for PostgreSQL, whose disk is not seen from here."""
    url = make_url(database)
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return Path(url.database).parent
