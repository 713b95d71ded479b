"""Numbers of any part of the work: cells as they are read, and added up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from msgspec import Struct
from pyroaring import BitMap
from sqlalchemy import ColumnElement, and_, exists, select, union_all
from sqlalchemy.orm import Session

from devflow.models import Cell, Mark, Project
from devflow.rollups import NOBODY, Tally
from devflow.windows import Grain, Window


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of one window. ``files_changed`` is of distinct files, so it adds up to less.

    ``active_s`` is the time of people known here; None where the window holds work, but only
    of people who do not report to this server: how long they worked is not known.
    """

    events: int
    commits: int
    insertions: int
    deletions: int
    files_changed: int
    active_s: int | None

    @property
    def is_empty(self) -> bool:
        return self.events == 0


NOTHING: Final = Numbers(0, 0, 0, 0, 0, 0)
_CELLS: Final = Cell.__table__.c
_COLUMNS: Final = (
    *(_CELLS.project_id, _CELLS.start, _CELLS.person_id, _CELLS.grain),
    *(_CELLS.events, _CELLS.commits, _CELLS.insertions, _CELLS.deletions, _CELLS.active_ms, _CELLS.files),
)


class Part(NamedTuple):
    """A cell as it was read: its file set is unpacked once, for all the sums the cell is part of."""

    project_id: int
    start: int
    person_id: int
    tally: Tally
    grain: str


class Count(Struct, frozen=True, array_like=True):
    """What ``Numbers`` are made of, and can be added up of parts that have no file in common."""

    events: int
    commits: int
    insertions: int
    deletions: int
    active_ms: int
    files: int
    has_person: bool
    """Whether any of the work is of a person known here, and so the time at it known."""

    def numbers(self) -> Numbers:
        is_known = self.has_person or self.events == 0
        return Numbers(
            events=self.events,
            commits=self.commits,
            insertions=self.insertions,
            deletions=self.deletions,
            files_changed=self.files,
            active_s=self.active_ms // 1_000 if is_known else None,
        )


def cells(
    session: Session,
    projects: Sequence[Project],
    grain: Grain,
    span: Window,
    person_id: int | None = None,
) -> list[Part]:
    """The cells of the projects in the span, of everybody or of one person."""
    whose: list[ColumnElement[bool]] = [] if person_id is None else [_CELLS.person_id == person_id]
    return read(session, [(grain, span)], _CELLS.project_id.in_([project.id for project in projects]), *whose)


def read(
    session: Session, covered: Iterable[tuple[Grain, Window]], *which: ColumnElement[bool]
) -> list[Part]:
    """The cells of these windows, by one statement."""
    # Columns of the table, not of the ORM, which would look at each row once more. And a SELECT for each
    # grain: of windows with OR between them SQLite reads all that the project has.
    selects = [select(*_COLUMNS).where(*which, within(grain, span)) for grain, span in covered]
    rows = session.execute(selects[0] if len(selects) == 1 else union_all(*selects))
    # By their places: to ask each row by name takes longer than to make all that follows.
    return [
        Part(
            project_id,
            start,
            person_id,
            Tally(events, commits, up, down, ms, BitMap.deserialize(files)),
            grain,
        )
        for project_id, start, person_id, grain, events, commits, up, down, ms, files in rows
    ]


def within(grain: Grain, span: Window) -> ColumnElement[bool]:
    """Whether a cell is of this grain and begins in the span."""
    return and_(_CELLS.grain == grain, _CELLS.start >= span.start_ms, _CELLS.start < span.end_ms)


def united(parts: Iterable[Part]) -> Numbers:
    """The numbers of all the parts together."""
    return counted(parts).numbers()


def counted(parts: Iterable[Part]) -> Count:
    found = list(parts)
    tallies = [part.tally for part in found]
    return Count(
        events=sum([tally.events for tally in tallies]),
        commits=sum([tally.commits for tally in tallies]),
        insertions=sum([tally.insertions for tally in tallies]),
        deletions=sum([tally.deletions for tally in tallies]),
        active_ms=sum([tally.active_ms for tally in tallies]),
        files=len(BitMap.union(*(tally.files for tally in tallies))) if tallies else 0,
        has_person=any(part.person_id != NOBODY for part in found),
    )


def added(counts: Iterable[Count]) -> Numbers:
    """The numbers of parts that have no file in common, as different projects."""
    found = list(counts)
    return Count(
        events=sum([each.events for each in found]),
        commits=sum([each.commits for each in found]),
        insertions=sum([each.insertions for each in found]),
        deletions=sum([each.deletions for each in found]),
        active_ms=sum([each.active_ms for each in found]),
        files=sum([each.files for each in found]),
        has_person=any(each.has_person for each in found),
    ).numbers()


def is_fresh(session: Session, projects: Sequence[Project]) -> bool:
    """Whether all that was accepted is in the numbers of days, weeks and months."""
    marked = exists().where(Mark.project_id.in_([project.id for project in projects]))
    return not session.scalar(select(marked))
