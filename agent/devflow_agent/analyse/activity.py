"""The developer's own numbers by hour, day, week or month, from the local store alone.

They are the server's, by the same definitions: what the developer did is what the server has as the
person's, and what others did is what it has as nobody's, as far as no PC of theirs reports it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from devflow import active_time, windows, wire
from devflow.windows import Finder, Grain, Window
from devflow_agent import downloaded
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


def count(store: Store, asked: Question) -> Activity:
    """Counted from the events, each read once."""
    spans = asked.windows()
    find, limit_ms = Finder(spans), asked.calendar.idle_limit_ms
    tallies = {span.start_ms: _Tally() for span in spans}
    whole, moments = _Tally(), list[_Moment]()
    project_id = None if asked.project_id is None else str(asked.project_id)
    author_keys = frozenset(asked.author_keys)
    statement = _OF_ALL_DEVICES if asked.all_devices else _IN_ORDER
    for event in _events(store, statement, spans[0].start_ms - limit_ms, spans[-1].end_ms + limit_ms):
        data = _decoder(event.event_type).decode(event.data_json)
        is_own = not wire.names_author(data) or wire.author_of(data) in author_keys
        if is_own:
            moments.append(_Moment(event.timestamp, event.project_id))
        if project_id in (None, event.project_id) and (span := find(event.timestamp)) is not None:
            for tally in (tallies[span.start_ms], whole):
                tally.add(event.project_id, data, is_own=is_own)
    for (its_project, start_ms), active_ms in active_time.active_ms(moments, find, limit_ms).items():
        if project_id in (None, its_project):
            for tally in (tallies[start_ms], whole):
                tally.numbers.active_ms += active_ms
    return Activity(
        by=asked.by,
        zone=str(asked.calendar.zone),
        idle_limit_ms=limit_ms,
        total=whole.counted(),
        parts=list(_parts(asked, spans, tallies)),
    )


class _Event(NamedTuple):
    timestamp: int
    project_id: str
    event_type: str
    data_json: str


class _Moment(NamedTuple):
    timestamp: int
    project_id: str


@dataclass(slots=True)
class _Tally:
    """Numbers while they are counted; a file is known by its project and path."""

    numbers: Numbers = field(default_factory=Numbers)
    files: set[tuple[str, str]] = field(default_factory=set)
    files_by_others: set[tuple[str, str]] = field(default_factory=set)

    def add(self, project_id: str, data: wire.EventData, *, is_own: bool) -> None:
        numbers = self.numbers
        is_commit = isinstance(data, wire.Commit | wire.Merge)
        if not is_own:
            numbers.events_by_others += 1
            numbers.commits_by_others += is_commit
            self.files_by_others.update((project_id, path) for path in wire.paths_of(data))
            return
        insertions, deletions = wire.lines_of(data)
        numbers.events += 1
        numbers.commits += is_commit
        numbers.insertions += insertions
        numbers.deletions += deletions
        self.files.update((project_id, path) for path in wire.paths_of(data))

    def counted(self) -> Numbers:
        self.numbers.files = len(self.files)
        self.numbers.files_by_others = len(self.files_by_others - self.files)
        return self.numbers


# Within a millisecond by their ids, as the server has them: the last one decides whose the gap after it is.
_IN_ORDER: Final = (
    "SELECT timestamp, project_id, event_type, event_data FROM all_events"
    " WHERE timestamp >= ? AND timestamp < ?"
    " ORDER BY timestamp, id"
)
# What several PCs report, such as a commit, is one event. A project that is not linked here is one more.
_OF_ALL_DEVICES: Final = """
    SELECT timestamp, project_id, event_type, event_data FROM (
        SELECT id, timestamp, project_id, event_type, event_data FROM all_events
        WHERE timestamp >= ?1 AND timestamp < ?2
        UNION ALL
        SELECT id, timestamp,
            coalesce((SELECT min(project_id) FROM sync_projects
                      WHERE sync_projects.remote_id = downloaded.remote_id), remote_id),
            event_type, event_data
        FROM downloaded
        WHERE timestamp >= ?1 AND timestamp < ?2
            AND NOT EXISTS (SELECT 1 FROM all_events WHERE all_events.id = downloaded.id)
    ) ORDER BY timestamp, id"""


def _events(store: Store, statement: str, since_ms: int, until_ms: int) -> Iterator[_Event]:
    with store.read() as connection:
        for row in connection.execute(statement, (since_ms, until_ms)):
            yield _Event(*row)


def _parts(asked: Question, spans: Sequence[Window], tallies: dict[int, _Tally]) -> Iterator[Part]:
    for span in spans:
        group = windows.label(asked.by, span.start_ms, asked.calendar.zone)
        yield Part(group, span.start_ms, span.end_ms, tallies[span.start_ms].counted())


@cache
def _decoder(kind: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(wire.DATA[wire.EventType(kind)])


_decode: Final = msgspec.json.Decoder(Activity).decode
