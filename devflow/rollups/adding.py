"""Uploads add to the hour cells what their new events change."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Session

from devflow import db, windows
from devflow.active_time import active_ms
from devflow.models import Cell
from devflow.rollups.cells import mark, row_of
from devflow.rollups.tallies import NOBODY, Calendar, Counted, Tally, by_hour, in_order, merged
from devflow.windows import Grain

_CELLS: Final = Cell.__table__.c
_OWN: Final = (
    (_CELLS.person_id == bindparam("person_id"))
    & (_CELLS.grain == Grain.HOUR)
    & _CELLS.project_id.in_(bindparam("projects", expanding=True))
    & _CELLS.start.in_(bindparam("starts", expanding=True))
)
_THESE: Final = select(Cell.__table__).where(_OWN)
_THESE_GO: Final = delete(Cell).where(_OWN)


def count(session: Session, new: Sequence[Counted], calendar: Calendar) -> None:
    """Add events that are about to be stored to the hour cells, and mark their days for ``refresh``.

    They are in order, and all of them in open hours (``retention.hold``). The caller holds what
    ``ingest`` locks, stores them, and commits.
    """
    by_person: dict[int, list[Counted]] = {}
    for event in new:
        by_person.setdefault(event.person_id or NOBODY, []).append(event)
    hours = windows.Hours(calendar.zone)
    changed: set[tuple[int, int]] = set()
    for person_id, own in sorted(by_person.items()):
        tallies = by_hour(own, hours)
        if person_id != NOBODY:
            _add_time(tallies, _around(session, person_id, own, calendar.idle_limit_ms), own, hours, calendar)
        changed |= tallies.keys()  # also those that become empty, and go
        _add_to_cells(session, person_id, tallies)
    mark(session, changed, calendar.zone)


def _add_time(
    tallies: dict[tuple[int, int], Tally],
    old: Sequence[Any],
    new: Sequence[Any],
    hours: windows.Hours,
    calendar: Calendar,
) -> None:
    """What all of them give, less what the old ones gave: an event in a gap hands the rest of it over."""
    limit = calendar.idle_limit_ms
    before = active_ms(old, hours, limit)
    after = active_ms(sorted(itertools.chain(old, new), key=in_order), hours, limit)
    for key in before.keys() | after.keys():
        if difference := after.get(key, 0) - before.get(key, 0):
            tallies.setdefault(key, Tally()).active_ms += difference


def _around(session: Session, person_id: int, new: Sequence[Counted], limit: int) -> Sequence[Any]:
    """The person's stored events between the new ones, in order, and the nearest before and after.

    Some may come twice, which adds no time.
    """
    spans = [(low, high - limit) for low, high in merged([(e.timestamp, e.timestamp + limit) for e in new])]
    connection = session.connection()
    own = f"events.person_id = {person_id} AND events.timestamp"
    known = db.between(connection, spans[0][0] - limit, spans[-1][1] + limit)
    before = f"SELECT max(timestamp) FROM events WHERE {known} AND {own} >= low - {limit} AND {own} < low"  # noqa: S608
    after = f"SELECT min(timestamp) FROM events WHERE {known} AND {own} > high AND {own} <= high + {limit}"  # noqa: S608
    statement = (
        f"{db.in_ranges(spans)}, wide(low, high) AS "  # noqa: S608 - integers
        f"(SELECT coalesce(({before}), low), coalesce(({after}), high) FROM ranges) "
        "SELECT events.timestamp, events.event_id, events.project_id FROM wide "
        f"JOIN events ON {own} BETWEEN wide.low AND wide.high WHERE {known} "
        "ORDER BY events.timestamp, events.event_id"
    )
    return connection.exec_driver_sql(statement).all()


def _add_to_cells(session: Session, person_id: int, tallies: dict[tuple[int, int], Tally]) -> None:
    """Add to the hour cells of (project, start) what there is; a cell of nothing goes."""
    connection = session.connection()
    projects, starts = zip(*tallies, strict=True)
    these = {"person_id": person_id, "projects": set(projects), "starts": set(starts)}
    for row in connection.execute(_THESE, these):
        if (tally := tallies.get((row.project_id, row.start))) is not None:
            tally.add(Tally.of(row))
    empty = [key for key, tally in tallies.items() if tally == Tally()]
    for project_id, start in empty:
        one = {"person_id": person_id, "projects": [project_id], "starts": [start]}
        connection.execute(_THESE_GO, one)
        del tallies[project_id, start]
    db.upsert(
        session,
        Cell,
        [row_of(Grain.HOUR, (*key, person_id), tally) for key, tally in sorted(tallies.items(), key=_by_key)],
        update=("events", "commits", "insertions", "deletions", "active_ms", "files"),
    )


def _by_key(item: tuple[tuple[int, int], Tally]) -> tuple[int, int]:
    return item[0]
