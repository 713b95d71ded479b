"""What a project's work is made of: its kinds of events, and the languages of its files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct
from sqlalchemy import bindparam, exists, func, literal, select, union_all
from sqlalchemy.orm import Session

from devflow.activity import periods, shared
from devflow.cache import Cache, Place, Server
from devflow.models import Project, Slice, SliceMark
from devflow.rollups import NOBODY
from devflow.rollups.slices import Dimension
from devflow.windows import SECOND_MS

FEW: Final = -100
"""Stands where a type or a language would: several, each of too few people to be told of alone."""
_FORM: Final = 1


class Cut(Struct, frozen=True, array_like=True):
    """One type or language, ``value`` as of slices, or FEW; no ``active_s`` if nobody known had a part."""

    value: int
    events: int
    insertions: int
    deletions: int
    active_s: int | None


class Cuts(Struct, frozen=True, array_like=True):
    """The largest first; ``is_behind`` while days of the range are still to be cut."""

    first: date
    last: date
    types: list[Cut]
    languages: list[Cut]
    is_behind: bool


def cuts(session: Session, project: Project, first: date, last: date, cache: Cache, server: Server) -> Cuts:
    """Two statements, or none if the project has not changed since; the last days of a range that is long."""
    first = max(first, last - timedelta(days=shared.MOST_DAYS - 1))
    place = Place(
        f"project:{project.public_id}:cuts:{first}..{last}:{server}:form:{_FORM}",
        project.id,
        project.generation,
        costly=False,
    )
    return cache.get(
        session, place, Cuts, lambda: _count(session, project, first, last, server.calendar.zone)
    )


class _Row(NamedTuple):
    """What everybody did of one type or language; ``people`` are those known here."""

    value: int
    people: int
    events: int
    insertions: int
    deletions: int
    active_ms: int


# A SELECT for each dimension, to be sorted by value alone.
_BY_VALUE: Final = union_all(
    *(
        select(
            literal(str(dimension)),
            Slice.value,
            func.count(func.nullif(Slice.person_id, NOBODY).distinct()),
            *map(func.sum, (Slice.events, Slice.insertions, Slice.deletions, Slice.active_ms)),
        )
        .where(
            Slice.project_id == bindparam("project"),
            Slice.dimension == dimension,
            Slice.day >= bindparam("start"),
            Slice.day < bindparam("end"),
        )
        .group_by(Slice.value)
        for dimension in Dimension
    )
)


def _count(session: Session, project: Project, first: date, last: date, zone: ZoneInfo) -> Cuts:
    span = periods.window_of([first, last], zone)
    # Before the slices: a day that is cut in between is told as behind once too often, not too seldom.
    marked = exists().where(
        SliceMark.project_id == project.id, SliceMark.day >= span.start_ms, SliceMark.day < span.end_ms
    )
    is_behind = bool(session.scalar(select(marked)))
    rows = session.execute(_BY_VALUE, {"project": project.id, "start": span.start_ms, "end": span.end_ms})
    found: dict[str, list[_Row]] = {dimension: [] for dimension in Dimension}
    for dimension, *numbers in rows:
        found[dimension].append(_Row(*map(int, numbers)))  # PostgreSQL's sums are decimals
    return Cuts(
        first, last, _told(found[Dimension.TYPE]), _told(found[Dimension.LANGUAGE]), is_behind=is_behind
    )


def _told(rows: Sequence[_Row]) -> list[Cut]:
    few = [row for row in rows if shared.is_too_few(row.people)]
    told = [_cut(row.value, [row]) for row in rows if not shared.is_too_few(row.people)]
    return _largest(told) + ([_cut(FEW, few)] if few else [])


def _largest(found: Iterable[Cut]) -> list[Cut]:
    return sorted(found, key=lambda cut: (-cut.events, cut.value))


def _cut(value: int, rows: Sequence[_Row]) -> Cut:
    return Cut(
        value,
        sum(row.events for row in rows),
        sum(row.insertions for row in rows),
        sum(row.deletions for row in rows),
        sum(row.active_ms for row in rows) // SECOND_MS if any(row.people for row in rows) else None,
    )
