"""What is counted: the numbers of one cell, out of events in order."""

from __future__ import annotations

import itertools
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from pyroaring import BitMap

from devflow.windows import Window
from devflow.wire import EventType

NOBODY: Final = 0
"""The ``person_id`` of cells for what nobody known to this server did."""


# Stored numbers; never reuse or reorder.
TYPE_NUMBER: Final = {
    EventType.FILE_SAVED: 1,
    EventType.FILE_CREATED: 2,
    EventType.FILE_DELETED: 3,
    EventType.FILE_RENAMED: 4,
    EventType.COMMIT: 5,
    EventType.MERGE: 6,
    EventType.COMMIT_FILES: 7,
    EventType.BRANCH_SWITCHED: 8,
    EventType.BRANCH_CREATED: 9,
    EventType.BRANCH_DELETED: 10,
    EventType.TAG_CREATED: 11,
}


COMMITS: Final = {TYPE_NUMBER[EventType.COMMIT], TYPE_NUMBER[EventType.MERGE]}


@dataclass(frozen=True, slots=True)
class Calendar:
    """What the windows are cut by."""

    zone: ZoneInfo
    idle_limit_ms: int


@dataclass(slots=True)
class Tally:
    """The numbers of one cell while they are counted."""

    events: int = 0
    commits: int = 0
    insertions: int = 0
    deletions: int = 0
    active_ms: int = 0
    files: BitMap = field(default_factory=BitMap)

    def add(self, other: Tally) -> None:
        self.events += other.events
        self.commits += other.commits
        self.insertions += other.insertions
        self.deletions += other.deletions
        self.active_ms += other.active_ms
        self.files |= other.files

    @classmethod
    def of(cls, cell: Any) -> Tally:
        """Of a row of ``cells``."""
        return cls(
            cell.events,
            cell.commits,
            cell.insertions,
            cell.deletions,
            cell.active_ms,
            BitMap.deserialize(cell.files),
        )


class Counted(Protocol):
    """What is counted of an event; ``person_id`` is None where nobody known did it."""

    @property
    def event_id(self) -> bytes: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def project_id(self) -> int: ...
    @property
    def person_id(self) -> int | None: ...
    @property
    def event_type(self) -> int: ...
    @property
    def insertions(self) -> int: ...
    @property
    def deletions(self) -> int: ...
    @property
    def files(self) -> bytes: ...


class HourOf(Protocol):
    """Finds the hour that holds an instant, None for one that is not counted, and the next hour after it."""

    def __call__(self, timestamp: int) -> Window | None: ...
    def next(self, timestamp: int) -> Window | None: ...


class Finder:
    """Which of the ordered windows holds an instant."""

    def __init__(self, spans: Sequence[Window]) -> None:
        self._spans = spans
        self._starts = [span.start_ms for span in spans]

    def __call__(self, timestamp: int) -> Window | None:
        index = bisect_right(self._starts, timestamp) - 1
        return self._spans[index] if index >= 0 and timestamp < self._spans[index].end_ms else None

    def next(self, timestamp: int) -> Window | None:
        index = bisect_right(self._starts, timestamp)
        return self._spans[index] if index < len(self._spans) else None


def by_hour(rows: Sequence[Any], hour_of: HourOf) -> dict[tuple[int, int], Tally]:
    """Tallies by (project, hour start), without time; rows outside the hours are left out."""
    tallies: dict[tuple[int, int], Tally] = {}
    for row in rows:
        if (hour := hour_of(row.timestamp)) is None:
            continue
        tally = tallies.setdefault((row.project_id, hour.start_ms), Tally())
        tally.events += 1
        tally.commits += row.event_type in COMMITS
        tally.insertions += row.insertions
        tally.deletions += row.deletions
        if row.files:
            tally.files.update(unpack_files(row.files))
    return tallies


def active_spans(rows: Sequence[Any], hour_of: HourOf, idle_limit_ms: int) -> Iterator[tuple[int, int, int]]:
    """(hour start, project, milliseconds) of every gap of work, cut at the edges of the hours.

    ``rows`` are one person's, in order of time; a gap belongs to the project of its earlier event.
    """
    for earlier, later in itertools.pairwise(rows):
        if later.timestamp - earlier.timestamp > idle_limit_ms:
            continue
        at = earlier.timestamp
        while at < later.timestamp:
            hour = hour_of(at)
            until = later.timestamp if hour is None else min(later.timestamp, hour.end_ms)
            if hour is not None:
                yield hour.start_ms, earlier.project_id, until - at
            elif (follows := hour_of.next(at)) is not None and follows.start_ms < until:
                until = follows.start_ms
            at = until


def in_order(event: Any) -> tuple[int, bytes]:
    return event.timestamp, event.event_id


def pack_files(ids: Iterable[int]) -> bytes:
    """File ids as little-endian 32-bit integers, the form of ``Event.files``."""
    packed = array("I", ids)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def unpack_files(packed: bytes) -> array[int]:
    ids = array("I", packed)
    if sys.byteorder == "big":
        ids.byteswap()
    return ids


def merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ordered spans with those that touch or overlap made one, so that no row is read twice."""
    merged: list[tuple[int, int]] = []
    for low, high in spans:
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged
