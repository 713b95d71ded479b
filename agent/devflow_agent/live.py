"""Sync as the daemon does it: events as they happen, over a stream, and by uploads where that is better.

Uploads take what has piled up, and everything when something on the way breaks streams. Which of
the two sends is decided here, and nothing else: both settle by the same rules.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Final

import requests

from devflow.errors import Busy, DevflowError, Invalid, Offline, Unauthorized
from devflow_agent import outbox, sync
from devflow_agent import stream as streams
from devflow_agent.config import Home, now_ms
from devflow_agent.plain import counted
from devflow_agent.remote import Remote, Timeouts, Unavailable
from devflow_agent.settings import Settings, SyncMode
from devflow_agent.store import Store
from devflow_agent.stream import NeedsUpload, Stream
from devflow_agent.sync import Backoff, PeriodicPush

BUSY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Patience:
    """When streams are given up for a while: after ``tries`` in a row that did not open or died young."""

    tries: int = 3
    young_s: float = 60.0
    pause_s: float = 900.0


@dataclass(frozen=True, slots=True)
class _Uploaded:
    """What an upload has found that began then: events up to a local id, and ``outbox.old_ones``."""

    sequence: int
    old_ones: int


class Live:
    """In the place of ``PeriodicPush``, and around one. A call returns when no stream is open any more."""

    def __init__(
        self,
        home: Home,
        store: Store,
        http: requests.Session,
        on_message: Callable[[str], None],
        stop: Event,
        *,
        push: PeriodicPush | None = None,
        backoff: Backoff | None = None,
        timeouts: Timeouts | None = None,
        patience: Patience | None = None,
        clock: Callable[[], int] = now_ms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home = home
        self._store = store
        self._http = http
        self._on_message = on_message
        self._stop = stop
        self._timeouts = timeouts or Timeouts()
        self._push = push or PeriodicPush(home, store, http, on_message, timeouts=self._timeouts)
        self._backoff = backoff or Backoff()
        self._patience = patience or Patience()
        self._clock = clock
        self._monotonic = monotonic
        self._failures = 0
        self._given_up_until: float | None = None

    def __call__(self) -> float | None:
        """Return in how many seconds to call again; None if the usual interval will do."""
        before = self._before()
        wait_s = self._push()
        if self._push.outcome == "busy":
            return BUSY_S
        if self._push.outcome != "sent" or not self._is_wanted():
            return wait_s
        if (pause_s := self._pause_s()) > 0:
            return min(pause_s, self._settings().sync_interval_s)
        return self._stream(before)

    def _before(self) -> _Uploaded:
        return _Uploaded(self._store.sequence(), outbox.old_ones(self._store))

    def _stream(self, uploaded: _Uploaded) -> float | None:
        """Open a stream and use it until it ends."""
        began = None
        try:
            remote = Remote(self._home.credentials, self._http, self._timeouts)
            with streams.opened(
                self._home, self._store, remote, self._http, self._clock, self._timeouts
            ) as stream:
                began = self._monotonic()
                stream.after = uploaded.sequence
                return self._use(stream, remote, uploaded)
        except Unauthorized:
            # An upload finds out whether another token will do, and says what is to be done if not.
            self._push()
            return self._backoff.failed(Offline("unauthorized"))
        except Invalid:
            self._push()  # which says what is wrong with settings or credentials
            return None
        except Offline as error:
            self._failed(error, 0.0 if began is None else self._monotonic() - began)
            return 0.0  # what was on its way goes by an upload, at once

    def _use(self, stream: Stream, remote: Remote, uploaded: _Uploaded) -> float | None:
        """Return as ``__call__`` does, when the stream is to be closed."""
        if self._look_for_loss(remote):
            return 0.0
        due = self._monotonic() + self._settings().sync_interval_s
        while not self._is_over():
            needs_upload = self._monotonic() >= due or outbox.old_ones(self._store) != uploaded.old_ones
            try:
                stream.carry(self._is_over)
            except NeedsUpload:
                needs_upload = True
            except Busy:
                self._stop.wait(BUSY_S)
            if stream.has_settled:
                self._works()
            if needs_upload:
                before = self._before()
                wait_s = self._push()
                if self._push.outcome in ("later", "paused"):
                    return wait_s
                if self._push.outcome == "sent":
                    uploaded = before
                    stream.after = max(stream.after, before.sequence)
                    due = self._monotonic() + self._settings().sync_interval_s
            stream.rest()
        return None

    def _look_for_loss(self, remote: Remote) -> bool:
        """Whether the server, which has just said its epoch, lost anything: that waits again now."""
        try:
            with sync.one_sender(self._home.sync_lock):
                lost = sync.look_for_loss(self._store, remote, self._clock())
        except Busy:
            return False
        if lost:
            self._on_message(f"the server had lost {counted(lost, 'event')} it confirmed; sending again")
        return lost > 0

    def _is_over(self) -> bool:
        return self._stop.is_set() or not self._is_wanted()

    def _is_wanted(self) -> bool:
        settings = self._settings()
        return settings.sync_enabled and settings.sync_mode is not SyncMode.BATCH

    def _settings(self) -> Settings:
        return Settings.load(self._store)

    def _pause_s(self) -> float:
        """How long to leave streams alone."""
        given_up_s = 0.0
        if self._given_up_until is not None and self._settings().sync_mode is SyncMode.AUTO:
            given_up_s = self._given_up_until - self._monotonic()
        return max(given_up_s, self._backoff.remaining_s())

    def _works(self) -> None:
        self._failures = 0
        self._backoff.succeeded()
        if self._given_up_until is not None:
            self._given_up_until = None
            self._on_message("live sync works again")

    def _failed(self, error: Offline, lived_s: float) -> None:
        self._backoff.failed(error)
        if isinstance(error, Unavailable):  # the server's own word: nothing on the way is to blame
            return
        self._failures = 1 if lived_s >= self._patience.young_s else self._failures + 1
        if self._failures < self._patience.tries or not self._uploads_work():
            return
        if self._given_up_until is None:
            self._on_message(
                f"live sync does not get through ({error}): sending every"
                f" {self._settings().sync_interval_s} s instead, and trying again later"
            )
        self._given_up_until = self._monotonic() + self._patience.pause_s

    def _uploads_work(self) -> bool:
        """Whether the server answers requests: if not, streams are not what is broken."""
        try:
            Remote(self._home.credentials, self._http, self._timeouts).projects()
        except DevflowError:
            return False
        return True
