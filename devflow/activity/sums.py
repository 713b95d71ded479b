"""Numbers of any part of the work: cells as they are read, and added up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class Part:
    """A cell as it was read: its file set is unpacked once, for all the sums the cell is part of."""

    project_id: int
    start: int
    person_id: int
    tally: Tally
    grain: str


@dataclass(slots=True)
class Sum:
    """Cells united; people's time is known as soon as one of the cells is a person's."""

    tally: Tally = field(default_factory=Tally)
    has_person: bool = False

    def add(self, part: Part) -> None:
        self.tally.add(part.tally)
        self.has_person |= part.person_id != NOBODY

    def numbers(self) -> Numbers:
        tally = self.tally
        is_known = self.has_person or tally.events == 0
        return Numbers(
            events=tally.events,
            commits=tally.commits,
            insertions=tally.insertions,
            deletions=tally.deletions,
            files_changed=len(tally.files),
            active_s=tally.active_ms // 1_000 if is_known else None,
        )


def cells(
    session: Session,
    projects: Sequence[Project],
    grain: Grain,
    span: Window,
    person_id: int | None = None,
) -> list[Part]:
    """The cells of the projects in the span, of everybody or of one person."""
    whose: list[ColumnElement[bool]] = [] if person_id is None else [Cell.person_id == person_id]
    return read(session, [(grain, span)], Cell.project_id.in_([project.id for project in projects]), *whose)


def read(
    session: Session, covered: Iterable[tuple[Grain, Window]], *which: ColumnElement[bool]
) -> list[Part]:
    """The cells of these windows, by one statement."""
    # Rows, not objects of the ORM, which take longer to make than all that follows. And a SELECT for each
    # grain: of windows with OR between them SQLite reads all that the project has.
    selects = [select(Cell.__table__).where(*which, within(grain, span)) for grain, span in covered]
    rows = session.execute(selects[0] if len(selects) == 1 else union_all(*selects))
    return [Part(row.project_id, row.start, row.person_id, Tally.of(row), row.grain) for row in rows]


def within(grain: Grain, span: Window) -> ColumnElement[bool]:
    """Whether a cell is of this grain and begins in the span."""
    return and_(Cell.grain == grain, Cell.start >= span.start_ms, Cell.start < span.end_ms)


def united(parts: Iterable[Part]) -> Numbers:
    """The numbers of all the parts together."""
    found = list(parts)
    tallies = [part.tally for part in found]
    total = Tally(
        events=sum(tally.events for tally in tallies),
        commits=sum(tally.commits for tally in tallies),
        insertions=sum(tally.insertions for tally in tallies),
        deletions=sum(tally.deletions for tally in tallies),
        active_ms=sum(tally.active_ms for tally in tallies),
        files=BitMap.union(*(tally.files for tally in tallies)) if tallies else BitMap(),
    )
    return Sum(total, any(part.person_id != NOBODY for part in found)).numbers()


def is_fresh(session: Session, projects: Sequence[Project]) -> bool:
    """Whether all that was accepted is in the numbers of days, weeks and months."""
    marked = exists().where(Mark.project_id.in_([project.id for project in projects]))
    return not session.scalar(select(marked))
