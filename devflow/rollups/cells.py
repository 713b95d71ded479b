"""Cells as they are stored, the marks of days to derive anew, and the generations of projects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias, cast
from zoneinfo import ZoneInfo

from sqlalchemy import Table, bindparam, insert
from sqlalchemy.orm import Session

from devflow import db, windows
from devflow.models import Cell, Mark, NextCell, NextDay, Project
from devflow.rollups.tallies import Tally
from devflow.windows import Grain

_PROJECTS: Final = cast(Table, Project.__table__)
_MOVED: Final = (
    _PROJECTS.update()
    .where(_PROJECTS.c.id == bindparam("moved"))
    .values(generation=_PROJECTS.c.generation + 1)
)


Cells: TypeAlias = type[Cell] | type[NextCell]
"""Those of the calendar in force, or of the one to come."""


def insert_cells(
    session: Session, grain: Grain, tallies: dict[tuple[int, int, int], Tally], cells: Cells = Cell
) -> None:
    """One cell for each (project, start, person)."""
    if not tallies:
        return
    session.execute(insert(cells), [row_of(grain, key, tally) for key, tally in tallies.items()])


def row_of(grain: Grain, key: tuple[int, int, int], tally: Tally) -> dict[str, Any]:
    """A row of ``cells``; the key is project, start, person."""
    project_id, start, person_id = key
    return {
        "project_id": project_id,
        "grain": grain,
        "start": start,
        "person_id": person_id,
        "events": tally.events,
        "commits": tally.commits,
        "insertions": tally.insertions,
        "deletions": tally.deletions,
        "active_ms": tally.active_ms,
        "files": tally.files.serialize(),
    }


def mark(session: Session, changed: Iterable[tuple[int, int]], zone: ZoneInfo) -> None:
    """Leave a mark for each day of the changed (project, hour start), and move the projects' generations."""
    days = {(project_id, windows.window(Grain.DAY, hour, zone).start_ms) for project_id, hour in changed}
    db.upsert(
        session,
        Mark,
        [{"project_id": project_id, "day": day} for project_id, day in sorted(days)],
        update=("day",),
    )
    move_generations(session, {project_id for project_id, _ in days})


def note_days(session: Session, project_id: int, days: Iterable[int]) -> None:
    """Have these days counted by the calendar to come, again if they were."""
    rows = [{"day": day, "project_id": project_id} for day in sorted(days)]
    db.upsert(session, NextDay, rows, update=("project_id",))


def move_generations(session: Session, project_ids: Iterable[int]) -> None:
    """The last thing a transaction does, in order of id: so no two wait for each other."""
    for project_id in sorted(project_ids):
        session.connection().execute(_MOVED, {"moved": project_id})
