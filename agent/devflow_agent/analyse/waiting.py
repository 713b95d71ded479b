"""What waits to be sent, since when, and why it is not sent yet. Asks only this PC."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from devflow import wire
from devflow.errors import Invalid
from devflow_agent import credentials, daemon_lock, network, outbox
from devflow_agent.config import Home
from devflow_agent.outbox import Kind, Pause
from devflow_agent.settings import Settings
from devflow_agent.store import Level, Project, Store


class Why(StrEnum):
    """Why something waits; the first that holds, from what has to be done first."""

    HELD = "shares nothing"
    DAMAGED = "damaged"
    NO_SERVER = "no server"
    SIGNED_OUT = "signed out"
    NOT_LINKED = "not linked"
    OFF = "sync off"
    BACK_OFF = "back-off"
    NOBODY_SENDS = "nobody sends"
    REFUSED = "refused for now"
    DUE = "due"


STEPS = {
    Why.HELD: "nothing, or `devflow sync share metrics` or `metadata` in the project's folder sends it",
    Why.DAMAGED: "delete the credentials file and run `devflow sync init URL`",
    Why.NO_SERVER: "`devflow sync init URL` sets up a server",
    Why.SIGNED_OUT: "`devflow sync auth` signs in",
    Why.NOT_LINKED: "`devflow sync enable` in the project's folder",
    Why.OFF: "`devflow sync enable` switches it on",
    Why.BACK_OFF: "nothing: `devflow watch` tries again by itself, `devflow sync push` now",
    Why.NOBODY_SENDS: "`devflow watch` sends by itself, `devflow sync push` now",
    Why.REFUSED: "`devflow sync errors` says why",
    Why.DUE: "nothing: `devflow watch` sends it with the next interval",
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """One project's. ``refused`` of them were refused for now, and go out with the others again."""

    project: Project
    by_type: Counter[wire.EventType]
    oldest_ms: int
    refused: int
    why: Why

    @property
    def events(self) -> int:
        return self.by_type.total()


@dataclass(frozen=True, slots=True)
class Queue:
    """``size`` is what is to be sent, as everywhere; ``held`` waits beside it in linked projects that share
    nothing. ``projects`` are all in which something waits."""

    size: int
    held: int
    projects: list[Waiting]
    batch_size: int
    next_batch: int
    pause: Pause | None

    @property
    def oldest_ms(self) -> int | None:
        return min((one.oldest_ms for one in self.projects), default=None)


def queue(home: Home, store: Store, now_ms: int) -> Queue:
    settings, size = Settings.load(store), outbox.counts(store)["pending"]
    batch_size = network.batch_size(store, settings, now_ms)
    general = general_reason(home, store, settings, now_ms)
    kinds = outbox.waiting(store)
    of_each = {
        project: [kind for kind in kinds if kind.project_id == project.id] for project in store.projects()
    }
    return Queue(
        size=size,
        held=outbox.held(store),
        projects=[_of_project(project, found, general) for project, found in of_each.items() if found],
        batch_size=batch_size,
        next_batch=min(batch_size, size),
        pause=outbox.pause(store, now_ms),
    )


def general_reason(home: Home, store: Store, settings: Settings, now_ms: int) -> Why:
    """Why nothing of any linked project has gone out yet; ``DUE`` if it is about to."""
    try:
        server = credentials.load(home.credentials)
    except Invalid:
        return Why.DAMAGED
    if server is None:
        return Why.NO_SERVER
    if server.account is None:
        return Why.SIGNED_OUT
    if not settings.sync_enabled:
        return Why.OFF
    if daemon_lock.running(home) is None:
        return Why.NOBODY_SENDS
    return Why.BACK_OFF if outbox.pause(store, now_ms) is not None else Why.DUE


def of_project(project: Project, general: Why, *, is_refused: bool) -> Why:
    """Why an event of this project waits."""
    if project.level is Level.OFF:
        return Why.HELD
    if project.remote_id is None and general not in (Why.DAMAGED, Why.NO_SERVER, Why.SIGNED_OUT):
        return Why.NOT_LINKED
    return Why.REFUSED if is_refused and general in (Why.DUE, Why.NOBODY_SENDS) else general


def _of_project(project: Project, kinds: list[Kind], general: Why) -> Waiting:
    by_type = Counter({kind.event_type: kind.events for kind in kinds})
    refused = sum(kind.refused for kind in kinds)
    return Waiting(
        project=project,
        by_type=by_type,
        oldest_ms=min(kind.oldest_ms for kind in kinds),
        refused=refused,
        why=of_project(project, general, is_refused=refused == by_type.total()),
    )
