"""Slices by a slow and obvious count of the events, an event and a gap at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from pyroaring import BitMap
from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import rollups
from devflow.models import Cell, Event, File, Slice
from devflow.rollups import NOBODY, Calendar
from devflow.windows import Grain, window

COMMITS = (5, 6)
NO_FILE, NOT_KEPT, SEVERAL = 0, -1, -2
Key = tuple[int, str, int, int, int]
"""Project, dimension, start of the day, value, person."""


@dataclass
class Plain:
    """A slice as plain numbers."""

    events: int = 0
    commits: int = 0
    insertions: int = 0
    deletions: int = 0
    active_ms: int = 0
    files: set[int] = field(default_factory=set)

    def add(self, other: Plain) -> None:
        self.events += other.events
        self.commits += other.commits
        self.insertions += other.insertions
        self.deletions += other.deletions
        self.active_ms += other.active_ms
        self.files |= other.files


def of(row: Slice | Cell) -> Plain:
    files = set(BitMap.deserialize(row.files))
    return Plain(row.events, row.commits, row.insertions, row.deletions, row.active_ms, files)


def stored(session: Session) -> dict[Key, Plain]:
    return {
        (row.project_id, row.dimension, row.day, row.value, row.person_id): of(row)
        for row in session.scalars(select(Slice))
    }


def recounted(session: Session, calendar: Calendar) -> dict[Key, Plain]:
    """Every slice straight from the events that are stored."""
    languages = {file.id: file.language for file in session.scalars(select(File))}
    return recounted_from(session.scalars(select(Event)), languages, calendar)


def recounted_from(
    events: Iterable[Event], languages: dict[int, int], calendar: Calendar
) -> dict[Key, Plain]:
    slices: dict[Key, Plain] = defaultdict(Plain)
    people: dict[int, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: (event.timestamp, event.event_id)):
        person_id, files = event.person_id or NOBODY, set(rollups.unpack_files(event.files))
        people[person_id].append(event)
        day = window(Grain.DAY, event.timestamp, calendar.zone).start_ms
        commits = int(event.event_type in COMMITS)
        both = Plain(1, commits, event.insertions, event.deletions, 0, files)
        slices[event.project_id, "type", day, event.event_type, person_id].add(both)
        for language in {languages[file] for file in files} or {NO_FILE}:
            own = {file for file in files if languages[file] == language}
            slices[event.project_id, "language", day, language, person_id].add(
                Plain(1, commits, 0, 0, 0, own)
            )
        if event.insertions or event.deletions:
            lines = Plain(insertions=event.insertions, deletions=event.deletions)
            slices[event.project_id, "language", day, only_language(event, languages), person_id].add(lines)
    for person_id in people.keys() - {NOBODY}:
        for earlier, later in pairwise(people[person_id]):
            if later.timestamp - earlier.timestamp > calendar.idle_limit_ms:
                continue
            at = earlier.timestamp
            while at < later.timestamp:
                span = window(Grain.DAY, at, calendar.zone)
                time = Plain(active_ms=min(span.end_ms, later.timestamp) - at)
                for dimension, value in (
                    ("type", earlier.event_type),
                    ("language", only_language(earlier, languages)),
                ):
                    slices[earlier.project_id, dimension, span.start_ms, value, person_id].add(time)
                at = span.end_ms
    return dict(slices)


def only_language(event: Event, languages: dict[int, int]) -> int:
    found = {languages[file] for file in rollups.unpack_files(event.files)}
    return SEVERAL if len(found) > 1 else next(iter(found), NO_FILE)


def check_they_add_up(session: Session) -> None:
    """Slices of each day and person are together its cell; by language events and commits may be more."""
    cells = {
        (row.project_id, row.start, row.person_id): of(row)
        for row in session.scalars(select(Cell).where(Cell.grain == Grain.DAY))
    }
    for dimension in ("type", "language"):
        sums: dict[tuple[int, int, int], Plain] = defaultdict(Plain)
        for (project_id, of_dimension, day, _, person_id), plain in stored(session).items():
            if of_dimension == dimension:
                sums[project_id, day, person_id].add(plain)
        if dimension == "language":
            for key, plain in sums.items():
                assert plain.events >= cells[key].events
                assert plain.commits >= cells[key].commits
                plain.events, plain.commits = cells[key].events, cells[key].commits
        assert dict(sums) == cells
