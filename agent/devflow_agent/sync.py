"""Sends what waits to the team's server and settles each event by the server's own word.

Nothing is given up here: an event leaves ``pending`` only when the enrolled server named it as
stored or as refused for good. Every other outcome, known or not, keeps it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import filelock
import msgspec
import requests

from devflow import wire
from devflow.errors import Busy, DevflowError, Invalid, Offline, TooLarge, Unauthorized
from devflow_agent import batches, comparing, download, levels, line, measures, network, outbox, sharing
from devflow_agent.batches import Sendable
from devflow_agent.config import Home, now_ms
from devflow_agent.outbox import Attempt, Pause, Via, Waiting
from devflow_agent.plain import counted
from devflow_agent.remote import Answer, Remote, Timeouts, Unavailable
from devflow_agent.settings import Settings
from devflow_agent.store import Store

log = logging.getLogger(__name__)
FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 300.0
_KNOWN_CODES: Final = frozenset(wire.ErrorCode)


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of the events one push sent. ``kept`` were refused for now and wait on.

    ``lost`` were confirmed by the server before, and gone from it: they are among those sent.
    """

    synced: int = 0
    failed: int = 0
    kept: int = 0
    lost: int = 0

    def plus(self, other: Pushed) -> Pushed:
        return Pushed(
            self.synced + other.synced,
            self.failed + other.failed,
            self.kept + other.kept,
            self.lost + other.lost,
        )

    @property
    def sent(self) -> int:
        return self.synced + self.failed + self.kept


def push(
    home: Home,
    store: Store,
    http: requests.Session,
    *,
    retry_failed: bool = False,
    clock: Callable[[], int] = now_ms,
    on_progress: Callable[[Pushed], None] = lambda so_far: None,
    timeouts: Timeouts | None = None,
) -> Pushed:
    """Send everything that waits, oldest first; with ``retry_failed`` also what was refused for good.

    Once a day, and when a backup of the server was restored, also what it has lost since it confirmed it.
    Raise Invalid if sync is off, Busy if another process is sending, Unauthorized if
    somebody has to sign in, Offline if the server did not answer as itself. What was
    settled before an error stays settled, everything else stays pending.
    """
    if not Settings.load(store).sync_enabled:
        raise Invalid("sync is off: `devflow sync enable` switches it on")
    with one_sender(home.sync_lock):
        remote = Remote(home.credentials, http, timeouts)
        if retry_failed:
            outbox.retry_failed(store)
        sending = Sending(store, remote, clock, on_progress)
        while not _is_off(store):
            sending.goes_by_levels_of_now()
            try:
                with line.cut_off_when(http, lambda: _is_off(store) or sending.is_outdated()):
                    return _pushed(store, remote, sending, clock)
            except Offline:
                if not _is_off(store) and not sending.is_outdated():
                    raise
        return sending.so_far  # it was cut off


def _pushed(store: Store, remote: Remote, sending: Sending, clock: Callable[[], int]) -> Pushed:
    sending.run()
    lost = look_for_loss(store, remote, clock())
    if lost:
        sending.run()
    _follow_names(store, remote, clock())
    if Settings.load(store).sync_share_settings:
        _share(store, remote, clock())
    if Settings.load(store).sync_download:
        _fetch(store, remote)
    return replace(sending.so_far, lost=lost)


def _is_off(store: Store) -> bool:
    return not Settings.load(store).sync_enabled


def look_for_loss(store: Store, remote: Remote, now_ms: int) -> int:
    """How many events wait again that the server had lost, if it is time to look.

    What waited has been sent before, so that this fails is no failure of the push.
    """
    if not comparing.is_due(store, remote.epoch, now_ms):
        return 0
    try:
        return comparing.compare(store, remote, now_ms)
    except (Offline, Invalid, TooLarge) as error:
        log.warning("could not compare with the server, next try with the next push: %s", error)
        return 0


def _fetch(store: Store, remote: Remote) -> None:
    """What waited has been sent before, so that this fails is no failure of the push."""
    try:
        download.fetch(store, remote)
    except (Offline, Invalid) as error:
        log.warning("could not fetch what other PCs sent, next try with the next push: %s", error)


def _share(store: Store, remote: Remote, now_ms: int) -> None:
    """What waited has been sent before, so that this fails is no failure of the push."""
    this = sharing.This(f"{remote.server_id}/{remote.user_id}", store.device_id())
    try:
        taken = sharing.agree(store, remote, this, now_ms)
    except (Offline, Invalid, TooLarge) as error:
        log.warning("could not share settings, next try with the next push: %s", error)
        sharing.note_trouble(store, str(error))
        return
    sharing.note_trouble(store, "")
    if taken:
        log.info("settings changed on another PC: %s", ", ".join(taken))


def _follow_names(store: Store, remote: Remote, now_ms: int) -> None:
    """Call linked projects as the server does now."""
    if not outbox.are_names_old(store):
        return
    try:
        outbox.rename(store, remote.projects(), now_ms)
    except (Offline, Invalid, TooLarge) as error:
        log.info("could not ask for the names of projects: %s", error)


@contextmanager
def one_sender(lock: Path) -> Iterator[None]:
    """Hold the sender's lock; raise Busy if another process does."""
    try:
        with filelock.FileLock(lock, blocking=False, mode=0o600):
            yield
    except filelock.Timeout:
        raise Busy("another process is sending right now") from None


class Sending:
    """Goes over the outbox, in which events pass once, whatever the server says of them; settles answers."""

    def __init__(
        self,
        store: Store,
        remote: Remote,
        clock: Callable[[], int],
        on_progress: Callable[[Pushed], None],
    ) -> None:
        self._store = store
        self._remote = remote
        self._clock = clock
        self._on_progress = on_progress
        self._device_id = store.device_id()
        self._so_far = Pushed()
        self._clock_skew_ms = outbox.clock_skew_ms(store)
        self._has_begun = False
        self._levels = levels.changes(store)

    def goes_by_levels_of_now(self) -> None:
        """What is made ready from now on is what its project shares now."""
        self._levels = levels.changes(self._store)

    def is_outdated(self) -> bool:
        """Whether somebody has said since that a project shares more or less: throw away what is ready."""
        return levels.changes(self._store) != self._levels

    @property
    def so_far(self) -> Pushed:
        return self._so_far

    def run(self) -> Pushed:
        """Send what waits now; return what became of it, and of what earlier runs sent."""
        with ThreadPoolExecutor(1) as beside:
            coming = beside.submit(self._packed, 0, self._limit())
            # Asked again before each batch: `sync disable` takes effect at once.
            while not _is_off(self._store):
                packed, last = coming.result()
                if last is None:
                    break
                coming = beside.submit(self._packed, last, self._limit())  # while the server works on these
                for part, body in packed:
                    self._send(part, body)
        return self._so_far

    def _limit(self) -> int:
        return network.batch_size(self._store, Settings.load(self._store), self._clock())

    def _packed(self, after: int, limit: int) -> tuple[list[tuple[list[Sendable], bytes]], int | None]:
        """What waits next, in batches and as it goes out, and the local id it ends at; None for nothing."""
        waiting = outbox.pending(self._store, limit, after=after)
        parts = batches.cut_to_size(self.sendable(waiting))
        return [(part, self._body(part)) for part in parts], waiting[-1].local_id if waiting else None

    def _body(self, part: list[Sendable]) -> bytes:
        return batches.compressed(batches.as_json(part, self._device_id))

    def sendable(self, events: Sequence[Waiting]) -> list[Sendable]:
        return batches.sendable(self._store, self._device_id, self._remote.user_id, events)

    def _send(self, batch: list[Sendable], body: bytes) -> None:
        """Send a batch; where the server refuses it as a whole, find the events it means by halving."""
        if not self._send_part(batch, body):
            for half in batches.halves(batch):
                self._send(half, self._body(half))

    def _send_part(self, part: list[Sendable], body: bytes) -> bool:
        """Send and settle; return False if it has to be halved, raise if nothing can be sent now."""
        if not batches.fits(body, part):
            return False
        if self.is_outdated():
            raise Offline("what a project shares was changed meanwhile")
        attempt = self.begun(part, len(body), "http")
        report = measures.report(self._store, len(part))
        return self.settled(part, attempt, lambda: self._upload(body, attempt.timestamp_ms, report))

    def _upload(self, body: bytes, now_ms: int, report: wire.Report) -> Answer:
        if not self._has_begun:
            self._remote.meet()
            comparing.begin(self._store, self._remote.epoch, now_ms)
            self._has_begun = True
        return self._remote.upload(body, now_ms, report)

    def begun(self, part: Sequence[Sendable], size_bytes: int, via: Via) -> Attempt:
        """An attempt to send these, of which nothing bad is known yet."""
        return Attempt(
            timestamp_ms=self._clock(),
            sent=len(part),
            synced=0,
            failed=0,
            bytes=size_bytes,
            latency_ms=None,
            outcome="ok",
            detail="",
            first_local_id=part[0].event.local_id,
            last_local_id=part[-1].event.local_id,
            via=via,
        )

    def settled(self, part: list[Sendable], attempt: Attempt, ask: Callable[[], Answer]) -> bool:
        """Settle by what is answered; return False if the part has to be halved and sent by an upload.

        Raise Offline or Unauthorized if nothing can be sent now. The attempt is written down in any case.
        """
        try:
            answer = ask()
            attempt = attempt._replace(latency_ms=answer.latency_ms)
            verdicts = read_verdicts(self._remote.checked(answer), [one.event.id for one in part])
            self._note_clock(answer)
        except (Invalid, TooLarge) as error:
            attempt = attempt._replace(
                outcome="refused" if isinstance(error, Invalid) else "too_large", detail=str(error)
            )
            if len(part) > 1:
                outbox.settle(self._store, (), attempt=attempt)
                return False
            reason = f"{attempt.outcome}: {error}"
            verdicts = Verdicts(synced=(), failed={part[0].event.id: reason}, kept={})
        except (Offline, Unauthorized) as error:
            self.lost(attempt, error)
            raise
        self._settle(part, verdicts, attempt)
        return True

    def lost(self, attempt: Attempt, error: Offline | Unauthorized) -> None:
        """Write down an attempt that settles nothing."""
        outcome = "offline" if isinstance(error, Offline) else "unauthorized"
        outbox.settle(self._store, (), attempt=attempt._replace(outcome=outcome, detail=str(error)))

    def _note_clock(self, answer: Answer) -> None:
        """Keep how far our clock is ahead of the server's, for those who ask why times look wrong."""
        ahead = wire.clock_ahead(answer.date, self._clock())
        if ahead is not None and -ahead != self._clock_skew_ms:
            self._clock_skew_ms = -ahead
            outbox.note_clock_skew(self._store, -ahead)

    def _settle(self, part: list[Sendable], verdicts: Verdicts, attempt: Attempt) -> None:
        refused = {**verdicts.failed, **verdicts.kept}
        if refused and attempt.outcome == "ok":
            attempt = attempt._replace(outcome="partial", detail=next(iter(refused.values())))
        outbox.settle(
            self._store,
            [one.event for one in part],
            synced=verdicts.synced,
            failed=verdicts.failed,
            kept=verdicts.kept,
            attempt=attempt._replace(synced=len(verdicts.synced), failed=len(verdicts.failed)),
        )
        settled = Pushed(len(verdicts.synced), len(verdicts.failed), len(verdicts.kept))
        self._so_far = self._so_far.plus(settled)
        self._on_progress(self._so_far)


class _Refusal(msgspec.Struct, frozen=True):
    """``wire.Refusal`` as an older agent has to read it: a newer server may know more codes."""

    id: str
    code: str
    message: str
    retryable: bool


class _Result(msgspec.Struct, frozen=True, rename="camel"):
    synced_ids: list[str]
    errors: list[_Refusal]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The server's word on each event of a batch: stored, refused for good, refused for now."""

    synced: Sequence[str]
    failed: Mapping[str, str]
    kept: Mapping[str, str]


def read_verdicts(body: bytes, sent: Sequence[str]) -> Verdicts:
    """Raise Offline unless the answer names exactly the ids sent, each once.

    Only a code this agent knows can end an event; one it does not know keeps it.
    """
    try:
        result = wire.decode(body, _Result)
    except Invalid as error:
        raise Offline(f"expected verdicts on {len(sent)} events, got something else: {error}") from error
    named = [*result.synced_ids, *(refusal.id for refusal in result.errors)]
    if len(named) != len(sent) or set(named) != set(sent):
        raise Offline(
            f"expected a verdict on each of {len(sent)} events, got {len(named)}"
            " that are not exactly those: nothing is settled"
        )
    failed: dict[str, str] = {}
    kept: dict[str, str] = {}
    for refusal in result.errors:
        final = not refusal.retryable and refusal.code in _KNOWN_CODES
        reasons = failed if final else kept
        reasons[refusal.id] = f"{refusal.code}: {refusal.message}"[:500]
    return Verdicts(result.synced_ids, failed, kept)


class Backoff:
    """How long to leave a server alone that did not answer.

    Full jitter (each delay is drawn from 0 up to a bound that doubles), so that agents
    which lost the server together do not come back together. The clock is monotonic: setting
    the PC's clock neither ends nor prolongs a pause.
    """

    def __init__(
        self,
        *,
        uniform: Callable[[float, float], float] = random.uniform,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._uniform = uniform
        self._monotonic = monotonic
        self._failures = 0
        self._until = monotonic()

    def failed(self, error: Offline) -> float:
        """Note a failure; return the seconds to wait, no less than the server asked for."""
        bound = min(FIRST_DELAY_S * 2.0 ** min(self._failures, 16), LONGEST_DELAY_S)
        self._failures += 1
        asked = error.retry_after_s if isinstance(error, Unavailable) else None
        delay = max(self._uniform(0.0, bound), asked or 0.0)
        self._until = self._monotonic() + delay
        return delay

    def succeeded(self) -> None:
        self._failures = 0
        self._until = self._monotonic()

    def remaining_s(self) -> float:
        """Seconds until the next try is due, 0 if it is."""
        return max(self._until - self._monotonic(), 0.0)


class PeriodicPush:
    """What the daemon calls again and again: a push that waits longer after each failure.

    It never raises what only means "later", and says what lasts once, not at every try. ``outcome`` is how
    the last one went: all was sent, it is too early or the server did not answer, somebody has to do
    something first, or another process is sending.
    """

    def __init__(
        self,
        home: Home,
        store: Store,
        http: requests.Session,
        on_message: Callable[[str], None],
        backoff: Backoff | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._home = home
        self._store = store
        self._http = http
        self._on_message = on_message
        self._backoff = backoff or Backoff()
        self._timeouts = timeouts
        self._said = ""
        self._paused_by: type[DevflowError] | None = None
        self.outcome: Literal["sent", "later", "paused", "busy"] = "later"

    def __call__(self) -> float | None:
        """Return in how many seconds to call again; None if the usual interval will do."""
        self.outcome = "later"
        if (pause_s := self._backoff.remaining_s()) > 0:
            return pause_s
        try:
            pushed = push(self._home, self._store, self._http, timeouts=self._timeouts)
        except Offline as error:
            self._say_once(f"sync: {error}; everything is kept")
            delay_s = self._backoff.failed(error)
            outbox.note_pause(self._store, Pause(now_ms() + round(delay_s * 1000), str(error)))
            return delay_s
        except (Unauthorized, Invalid) as error:
            # Whom one try has signed out the next one does not find: that is no news.
            if type(error) is not self._paused_by:
                self._say_once(f"sync is paused: {error}")
            self._paused_by = type(error)
            self.outcome = "paused"
            return None
        except Busy:  # that process sends what we would
            self.outcome = "busy"
            return None
        self._backoff.succeeded()
        self._paused_by = None
        self.outcome = "sent"
        if (ended := outbox.pause(self._store, now_ms())) is not None:
            outbox.note_pause(self._store, Pause(0, ended.why))
        if self._said:
            self._say_once("")
            self._on_message("sync works again")
        if pushed.lost:
            self._on_message(f"the server had lost {counted(pushed.lost, 'event')} it confirmed; sent again")
        if pushed.sent:
            self._on_message(f"synced {counted(pushed.synced, 'event')}" + self._refused(pushed))
        return None

    def _refused(self, pushed: Pushed) -> str:
        refused = pushed.failed + pushed.kept
        return f", {refused} refused: see `devflow sync status`" if refused else ""

    def _say_once(self, message: str) -> None:
        if message and message != self._said:
            self._on_message(message)
        self._said = message
