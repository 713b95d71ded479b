"""Finds what the server has lost of what it confirmed, as a server does whose backup was restored.

Both sides make a digest of each day. Where they differ the day's events are named, and those that
the server does not have wait to be sent again. What it refused for good is none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final
from uuid import UUID

from devflow import wire
from devflow.errors import Invalid, NotFound, Offline
from devflow_agent import levels, outbox
from devflow_agent.outbox import Synced
from devflow_agent.remote import Remote
from devflow_agent.settings import Settings
from devflow_agent.store import Store

EVERY_MS: Final = wire.DAY_MS
"""A loss that no new epoch tells of - the operator said nothing, the data folder is new - waits no longer."""


def is_due(store: Store, epoch: UUID | None, now_ms: int) -> bool:
    """Whether it is time to compare; ``epoch`` is what the server says now, None if it was not asked."""
    last = outbox.compared(store)
    if last is None:
        return True
    last_epoch, at_ms = last
    is_new = epoch is not None and epoch != last_epoch
    return is_new or not 0 <= now_ms - at_ms < EVERY_MS


def begin(store: Store, epoch: UUID | None, now_ms: int) -> None:
    """Before anything is sent: where nothing was ever confirmed, nothing is lost so far."""
    if outbox.compared(store) is None and not outbox.counts(store)["synced"]:
        outbox.note_compared(store, epoch, now_ms)


def compare(store: Store, remote: Remote, now_ms: int) -> int:
    """Let everything that the server has lost wait to be sent again; return how many events that are.

    May be killed at any moment: it counts as done only once all of it is. Raise Offline if the
    server does not answer as itself, Invalid if sync is switched off meanwhile, or another level chosen.
    """
    lost, epochs = 0, {remote.epoch} - {None}
    chosen = levels.changes(store)
    for remote_id in outbox.linked(store):
        try:
            lost += _compare_project(store, remote, remote_id, chosen)
        except NotFound:  # deleted, or no longer ours to send to: what was there is not missed
            continue
        finally:
            epochs.add(remote.epoch)
    # Restored while we compared: what was found whole before may be gone, so it stays due. So does what
    # begins to be shared only now.
    if len(epochs - {None}) < 2 and levels.changes(store) == chosen:
        outbox.note_compared(store, remote.epoch, now_ms)
    return lost


def _compare_project(store: Store, remote: Remote, remote_id: UUID, chosen: int) -> int:
    lost, since_ms = 0, 0
    while (first_ms := outbox.first_synced(store, remote_id, since_ms)) is not None:
        _still_on(store, chosen)
        first_day = first_ms // wire.DAY_MS
        days = range(first_day, first_day + wire.MAX_DIGEST_DAYS)
        theirs = remote.digests(remote_id, days)
        since_ms = days.stop * wire.DAY_MS
        ours = wire.tallies(map(_named, outbox.synced(store, remote_id, theirs.since, since_ms)))
        differing = [tally for tally in ours if tally not in {*theirs.tallies}]
        for part in _parts(_events(store, remote_id, theirs.since, differing)):
            _still_on(store, chosen)
            lost += outbox.send_again(store, _missing(remote, remote_id, part))
    return lost


def _still_on(store: Store, chosen: int) -> None:
    if not Settings.load(store).sync_enabled:
        raise Invalid("sync was switched off meanwhile")
    if levels.changes(store) != chosen:
        raise Invalid("what a project shares was changed meanwhile")


def _events(
    store: Store, remote_id: UUID, since_ms: int, differing: Iterable[wire.Tally]
) -> Iterator[Synced]:
    """What ``differing`` are the tallies of; never more than a day of it is held."""
    for tally in differing:
        start_ms = tally.day * wire.DAY_MS
        of_day = outbox.synced(store, remote_id, max(since_ms, start_ms), start_ms + wire.DAY_MS)
        yield from [event for event in of_day if (event.event_type in wire.FACTS) == tally.are_facts]


def _parts(events: Iterator[Synced]) -> Iterator[list[Synced]]:
    while part := list(islice(events, wire.MAX_BATCH_EVENTS)):
        yield part


def _named(event: Synced) -> tuple[int, bool, bytes]:
    """What ``wire.tallies`` takes of an event."""
    is_fact = event.event_type in wire.FACTS
    return event.timestamp_ms // wire.DAY_MS, is_fact, bytes.fromhex(event.id.replace("-", ""))


def _missing(remote: Remote, remote_id: UUID, asked: Sequence[Synced]) -> list[Synced]:
    by_id = {event.id: event for event in asked}
    names = [wire.EventName(id=event.id, timestamp=event.timestamp_ms) for event in asked]
    missing = remote.missing(remote_id, wire.AskMissing(events=names))
    if not by_id.keys() >= {*missing}:
        raise Offline("expected the server to miss only events that it was asked for: nothing is sent again")
    return [by_id[event_id] for event_id in missing]
