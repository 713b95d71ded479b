"""What is counted: the numbers of one cell, out of events in order."""

from __future__ import annotations

import operator
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from pyroaring import BitMap

from devflow.active_time import WindowOf
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


def by_hour(rows: Iterable[Any], hour_of: WindowOf) -> dict[tuple[int, int], Tally]:
    """Tallies by (project, hour start), without time; rows outside the hours are left out."""
    found: dict[tuple[int, int], tuple[Tally, list[bytes]]] = {}
    hour, project_id = _NEVER, 0
    for row in rows:
        # Most are where the one before was.
        if row.project_id != project_id or not hour.start_ms <= row.timestamp < hour.end_ms:
            if (its := hour_of(row.timestamp)) is None:
                continue
            hour, project_id = its, row.project_id
            tally, files = found.setdefault((project_id, hour.start_ms), (Tally(), []))
        tally.events += 1
        tally.commits += row.event_type in COMMITS
        tally.insertions += row.insertions
        tally.deletions += row.deletions
        files.append(row.files)
    for tally, files in found.values():
        tally.files = BitMap(unpack_files(b"".join(files)))
    return {key: tally for key, (tally, _) in found.items()}


_NEVER: Final = Window(0, 0)
in_order: Final = operator.attrgetter("timestamp", "event_id")
"""How events follow each other, also within a millisecond."""


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
    """Spans, in order of their starts and of their ends, with those that touch or overlap made one."""
    # A new one begins where a start is past the end before it.
    edges = [index for index in range(1, len(spans)) if spans[index][0] > spans[index - 1][1]]
    return [(spans[first][0], spans[after - 1][1]) for first, after in pairwise([0, *edges, len(spans)])]
