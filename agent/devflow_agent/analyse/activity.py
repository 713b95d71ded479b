"""The developer's own numbers by hour, day, week or month, from the local store alone.

They are the server's, by the same definitions: what the developer did is what the server has as the
person's, and what others did is what it has as nobody's, as far as no PC of theirs reports it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec

from devflow import windows
from devflow.windows import Grain, Window
from devflow_agent import downloaded
from devflow_agent.analyse import counting, hours
from devflow_agent.analyse.counting import Rules, Tallies
from devflow_agent.analyse.kept import Kept
from devflow_agent.local_calendar import Calendar
from devflow_agent.store import Store


@dataclass(slots=True)
class Numbers:
    """What happened in one window: the developer's own and, apart, what others did.

    Merges are commits too, as in `git log`, without lines of their own. ``files`` counts each file
    once, a renamed one under its new name; ``files_by_others`` are those the developer did not change.
    So each number and that of others add up to what the server tells of the whole project. Others'
    commits came by pull or import, and how long they took nobody knows.
    """

    events: int = 0
    commits: int = 0
    insertions: int = 0
    deletions: int = 0
    files: int = 0
    active_ms: int = 0
    events_by_others: int = 0
    commits_by_others: int = 0
    files_by_others: int = 0

    @property
    def are_empty(self) -> bool:
        # A gap may reach into a window without any event.
        return not (self.events or self.events_by_others or self.active_ms)


@dataclass(frozen=True, slots=True)
class Part:
    """A window by its name (2026-11-19T15:00+01:00, 2026-11-19, 2026-W47, 2026-11), and its numbers."""

    group: str
    start_ms: int
    end_ms: int
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class Activity:
    """Numbers of a time range and of each window in it, oldest first; ``zone`` is that of the windows.

    In ``total`` a file that was changed in several windows is one file.
    """

    by: Grain
    zone: str
    idle_limit_ms: int
    total: Numbers
    parts: list[Part]

    @property
    def start_ms(self) -> int:
        return self.parts[0].start_ms

    @property
    def end_ms(self) -> int:
        return self.parts[-1].end_ms


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, made explicit: nothing in it moves with time.

    Windows are whole, as the server's: those that hold an instant of ``since_ms <= t < until_ms``.
    Without ``project_id`` all projects are one; active time is cut out of the person's time over all
    of them either way, so that projects add up.
    """

    by: Grain
    since_ms: int
    until_ms: int
    calendar: Calendar
    author_keys: tuple[str, ...]
    project_id: UUID | None = None
    all_devices: bool = False
    """With what other PCs of the developer sent, as far as it was downloaded."""

    def windows(self) -> list[Window]:
        return windows.spans_of(self.by, self.since_ms, self.until_ms - 1, self.calendar.zone)

    def rules(self) -> Rules:
        return Rules(frozenset(self.author_keys), self.calendar.idle_limit_ms)

    def key(self, store: Store) -> bytes:
        parts = [
            str(store.path),
            self.by,
            self.since_ms,
            self.until_ms,
            str(self.calendar.zone),
            self.calendar.idle_limit_ms,
            sorted(self.author_keys),
            self.project_id,
            downloaded.cursor(store) if self.all_devices else None,
        ]
        return hashlib.sha256(msgspec.json.encode(parts)).digest()


def answer(store: Store, asked: Question, kept: Kept, now_ms: int) -> Activity:
    """What was counted last, if nothing was recorded since and it is not too old; else counted now."""
    # Before the events: one that is recorded in between is counted twice rather than never.
    sequence, key = store.sequence(), asked.key(store)
    if (found := kept.get(key, sequence, now_ms)) is not None:
        return _decode(found)
    counted = count(store, asked)
    kept.put(key, sequence, now_ms, msgspec.json.encode(counted))
    return counted


def count_ahead(store: Store, asked: Question) -> None:
    """Have so much kept of what is going to be asked that counting takes no time by then."""
    with store.read() as connection:
        is_worth_it = hours.are_worth_keeping(connection, asked.windows())
    if is_worth_it:
        count(store, asked)


def count(store: Store, asked: Question) -> Activity:
    """Counted from the events, each read once; where there are very many, by hours that are kept."""
    spans, rules = asked.windows(), asked.rules()
    fresh: list[hours.Counted] = []
    with store.read() as connection:
        if not asked.all_devices and hours.are_worth_keeping(connection, spans):
            found, fresh = hours.count(connection, spans, asked.calendar.zone, rules)
        else:
            found = counting.count(connection, spans, rules, all_devices=asked.all_devices)
    hours.keep(store, fresh, rules)
    if asked.project_id is not None:
        found = {start_ms: _only(str(asked.project_id), tallies) for start_ms, tallies in found.items()}
    whole: Tallies = {}
    for tallies in found.values():
        counting.unite(whole, tallies)
    return Activity(
        by=asked.by,
        zone=str(asked.calendar.zone),
        idle_limit_ms=rules.idle_limit_ms,
        total=_numbers(whole),
        parts=[
            Part(
                windows.label(asked.by, span.start_ms, asked.calendar.zone),
                span.start_ms,
                span.end_ms,
                _numbers(found[span.start_ms]),
            )
            for span in spans
        ],
    )


def _only(project_id: str, tallies: Tallies) -> Tallies:
    return {one: tally for one, tally in tallies.items() if one == project_id}


def _numbers(tallies: Tallies) -> Numbers:
    """Of all projects together, in which the same path is another file."""
    all_of = tallies.values()
    return Numbers(
        events=sum(one.events for one in all_of),
        commits=sum(one.commits for one in all_of),
        insertions=sum(one.insertions for one in all_of),
        deletions=sum(one.deletions for one in all_of),
        files=sum(len(one.files) for one in all_of),
        active_ms=sum(one.active_ms for one in all_of),
        events_by_others=sum(one.events_by_others for one in all_of),
        commits_by_others=sum(one.commits_by_others for one in all_of),
        files_by_others=sum(len(one.files_by_others - one.files) for one in all_of),
    )


_decode: Final = msgspec.json.Decoder(Activity).decode
