"""Uploads add to the hour cells what their new events change."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

from sqlalchemy import Table, select
from sqlalchemy.orm import Session

from devflow import db, windows
from devflow.models import Cell
from devflow.rollups.cells import mark, row_of
from devflow.rollups.tallies import NOBODY, Calendar, Counted, Tally, active_spans, by_hour, in_order, merged
from devflow.windows import Grain

_CELLS: Final = Cell.__table__.c


def count(session: Session, new: Sequence[Counted], calendar: Calendar) -> None:
    """Add events that are about to be stored to the hour cells, and mark their days for ``refresh``.

    All of them are in open hours (``retention.horizon``). The caller holds what ``ingest`` locks,
    stores them, and commits.
    """
    changed: set[tuple[int, int]] = set()
    for person_id in sorted({event.person_id or NOBODY for event in new}):
        own = sorted((e for e in new if (e.person_id or NOBODY) == person_id), key=in_order)
        changed |= _add_hours(session, person_id, own, calendar)
    mark(session, changed, calendar.zone)


def _add_hours(
    session: Session, person_id: int, new: Sequence[Counted], calendar: Calendar
) -> set[tuple[int, int]]:
    hours = windows.Hours(calendar.zone)
    tallies = by_hour(new, hours)
    if person_id != NOBODY:
        limit = calendar.idle_limit_ms
        for before, after in _replaced(_around(session, person_id, new, limit), new):
            for sign, rows in ((1, after), (-1, before)):
                for start, project_id, active_ms in active_spans(rows, hours, limit):
                    tallies.setdefault((project_id, start), Tally()).active_ms += sign * active_ms
    _add_to_cells(session, person_id, {key: tally for key, tally in tallies.items() if tally != Tally()})
    return set(tallies)


def _replaced(old: Sequence[Any], new: Sequence[Any]) -> Iterator[tuple[list[Any], list[Any]]]:
    """Where new events come between old ones: the old neighbours, and the same with the new in between."""
    is_new = dict.fromkeys(map(id, new), True)
    before: list[Any] = []
    after: list[Any] = []
    for row in sorted(itertools.chain(old, new), key=in_order):
        after.append(row)
        if id(row) in is_new:
            continue
        if len(after) > len(before) + 1:
            yield [*before, row], after
        before, after = [row], [row]
    if len(after) > len(before):
        yield before, after


def _around(session: Session, person_id: int, new: Sequence[Counted], limit: int) -> Sequence[Any]:
    """The person's stored events that one of the new ones, in order, can follow or be followed by."""
    spans = merged([(event.timestamp - limit, event.timestamp + limit + 1) for event in new])
    statement = (
        f"{db.in_ranges(spans)} SELECT events.timestamp, events.event_id, events.project_id FROM ranges "  # noqa: S608 - integers
        f"JOIN events ON events.person_id = {person_id} AND events.timestamp >= ranges.low "
        "AND events.timestamp < ranges.high "
        # Says nothing new, but leaves partitions out before they are opened.
        f"WHERE events.timestamp >= {spans[0][0]} AND events.timestamp < {spans[-1][1]} "
        "ORDER BY events.timestamp, events.event_id"
    )
    return session.connection().exec_driver_sql(statement).all()


def _add_to_cells(session: Session, person_id: int, tallies: dict[tuple[int, int], Tally]) -> None:
    """Add to the hour cells of (project, start) what there is; a cell of nothing goes."""
    starts = {start for _, start in tallies}
    projects = {project_id for project_id, _ in tallies}
    own = (_CELLS.person_id == person_id) & (_CELLS.grain == Grain.HOUR) & _CELLS.project_id.in_(projects)
    rows = session.execute(select(Cell.__table__).where(own, _CELLS.start.in_(starts)))
    for row in rows:
        if (tally := tallies.get((row.project_id, row.start))) is not None:
            tally.add(Tally.of(row))
    empty = [key for key, tally in tallies.items() if tally == Tally()]
    for project_id, start in empty:
        this = (_CELLS.project_id == project_id) & (_CELLS.start == start)
        session.execute(cast(Table, Cell.__table__).delete().where(own, this))
        del tallies[project_id, start]
    db.upsert(
        session,
        Cell,
        [row_of(Grain.HOUR, (*key, person_id), tally) for key, tally in sorted(tallies.items(), key=_by_key)],
        update=["events", "commits", "insertions", "deletions", "active_ms", "files"],
    )


def _by_key(item: tuple[tuple[int, int], Tally]) -> tuple[int, int]:
    return item[0]
