"""Counts events, each read once: what the developer and others did in some windows, by project."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec

from devflow import active_time, wire
from devflow.windows import Finder, Window


class Tally(msgspec.Struct, array_like=True):
    """Of one project. Files are sets of paths, so that tallies of several windows unite to that of all."""

    events: int = 0
    commits: int = 0
    insertions: int = 0
    deletions: int = 0
    active_ms: int = 0
    events_by_others: int = 0
    commits_by_others: int = 0
    files: set[str] = msgspec.field(default_factory=set)
    files_by_others: set[str] = msgspec.field(default_factory=set)

    def add(self, data: wire.EventData) -> None:
        """Something the developer did."""
        self.events += 1
        if isinstance(data, wire.Commit | wire.Merge):
            insertions, deletions = wire.lines_of(data)
            self.commits += 1
            self.insertions += insertions
            self.deletions += deletions
        self.files.update(wire.paths_of(data))

    def add_of_others(self, data: wire.EventData) -> None:
        self.events_by_others += 1
        self.commits_by_others += isinstance(data, wire.Commit | wire.Merge)
        self.files_by_others.update(wire.paths_of(data))

    def unite(self, other: Tally) -> None:
        self.events += other.events
        self.commits += other.commits
        self.insertions += other.insertions
        self.deletions += other.deletions
        self.active_ms += other.active_ms
        self.events_by_others += other.events_by_others
        self.commits_by_others += other.commits_by_others
        self.files |= other.files
        self.files_by_others |= other.files_by_others


Tallies = dict[str, Tally]
"""By the id of the project."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What numbers depend on beside events and windows: who the developer is, and which gaps are work."""

    author_keys: frozenset[str]
    idle_limit_ms: int


def unite(into: Tallies, tallies: Tallies) -> None:
    for project_id, tally in tallies.items():
        into.setdefault(project_id, Tally()).unite(tally)


def count(
    connection: sqlite3.Connection, spans: Sequence[Window], rules: Rules, *, all_devices: bool = False
) -> dict[int, Tallies]:
    """By the start of each of ``spans``, which are in order and lie close together."""
    found: dict[int, Tallies] = {span.start_ms: {} for span in spans}
    find, moments = Finder(spans), list[_Moment]()
    # As far beyond as a gap may reach; what happened there is not counted.
    reach = spans[0].start_ms - rules.idle_limit_ms, spans[-1].end_ms + rules.idle_limit_ms
    span: Window | None = _NEVER
    for timestamp, project_id, kind, data_json in _events(connection, reach, all_devices=all_devices):
        if span is None or not span.start_ms <= timestamp < span.end_ms:
            span = find(timestamp)
        if span is None and kind not in _OF_SOMEBODY:
            moments.append(_Moment(timestamp, project_id))
            continue
        data = _decoder(kind).decode(data_json)
        is_own = kind not in _OF_SOMEBODY or wire.author_of(data) in rules.author_keys
        if is_own:
            moments.append(_Moment(timestamp, project_id))
        if span is not None:
            tallies = found[span.start_ms]
            if (tally := tallies.get(project_id)) is None:
                tally = tallies[project_id] = Tally()
            (tally.add if is_own else tally.add_of_others)(data)
    active = active_time.active_ms(moments, find, rules.idle_limit_ms)
    for (project_id, start_ms), active_ms in active.items():
        found[start_ms].setdefault(project_id, Tally()).active_ms += active_ms
    return found


_NEVER: Final = Window(0, 0)


class _Moment(NamedTuple):
    timestamp: int
    project_id: str


_OF_SOMEBODY: Final = wire.FACTS
"""Types whose events say whose they are, which may be somebody else; all others are the developer's own."""

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


def _events(
    connection: sqlite3.Connection, reach: tuple[int, int], *, all_devices: bool
) -> Iterator[tuple[int, str, str, str]]:
    cursor = connection.cursor()
    cursor.row_factory = None  # a plain tuple is taken apart in half the time
    return cursor.execute(_OF_ALL_DEVICES if all_devices else _IN_ORDER, reach)


@cache
def _decoder(kind: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(wire.DATA[wire.EventType(kind)])
