"""The files of a project that are changed again and again, by many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from pyroaring import BitMap
from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow.activity import periods, shared
from devflow.activity.occurrences import Occurrences
from devflow.activity.sums import Part
from devflow.crypto import Vault
from devflow.ingest.files import PATH
from devflow.models import File
from devflow.rollups import NOBODY

MOST: Final = 20


@dataclass(frozen=True, slots=True)
class HotFile:
    """In how many periods it was changed, and by how many people known here.

    ``path`` is None if it cannot be read.
    """

    path: str | None
    periods: int
    people: int


def hot_files(
    session: Session,
    vault: Vault,
    parts: Sequence[Part],
    spans: Sequence[tuple[date, date]],
    zone: ZoneInfo,
    of_person: int | None = None,
) -> list[HotFile]:
    """Those changed in the most of the spans that the parts lie in; one statement, and no more names opened.

    A file that only one or two people changed would say what one of them works on: it is left out, but
    for who asks for their own: ``of_person`` counts that person's parts alone, and leaves out none.
    """
    if of_person is not None:
        parts = [part for part in parts if part.person_id == of_person]
    changed_by = _by_person(parts)
    told = _told(changed_by) if of_person is None else changed_by.get(of_person, BitMap())
    in_periods = Occurrences(periods.by_span(parts, spans, zone, _united))
    by = Occurrences(files for person_id, files in changed_by.items() if person_id != NOBODY)
    found = hottest(told, in_periods, by)
    names = _names(session, vault, found)
    return [HotFile(names.get(file), in_periods.of(file), by.of(file)) for file in found]


def hottest(files: BitMap, in_periods: Occurrences, by: Occurrences) -> list[int]:
    """Those of the most periods; of as many, those of the most people; and of as many, the first."""
    hotter, as_hot = in_periods.most(files, MOST)
    of_more, of_as_many = by.most(as_hot, MOST - len(hotter))
    found = hotter | of_more
    found |= of_as_many[: MOST - len(found)]
    return sorted(found, key=lambda file: (-in_periods.of(file), -by.of(file), file))


def _told(changed_by: dict[int, BitMap]) -> BitMap:
    """The files of enough people, and those that nobody known here changed."""
    # How many have changed a file, counted by sets: in the last of these are those of enough.
    reached = [BitMap() for _ in range(shared.FEWEST)]
    for person_id, files in changed_by.items():
        if person_id != NOBODY:
            for more in reversed(range(1, shared.FEWEST)):
                reached[more] |= reached[more - 1] & files
            reached[0] |= files
    return reached[-1] | (changed_by.get(NOBODY, BitMap()) - reached[0])


def _by_person(parts: Iterable[Part]) -> dict[int, BitMap]:
    found: dict[int, list[Part]] = {}
    for part in parts:
        found.setdefault(part.person_id, []).append(part)
    return {person_id: _united(own) for person_id, own in found.items()}


def _united(parts: Sequence[Part]) -> BitMap:
    return BitMap.union(*(part.tally.files for part in parts)) if parts else BitMap()


def _names(session: Session, vault: Vault, files: Sequence[int]) -> dict[int, str]:
    rows = session.execute(select(File.id, File.path_key, File.path).where(File.id.in_(files)))
    opened = {row.id: vault.open_or_none(PATH, row.path_key, row.path) for row in rows}
    return {file: name.decode() for file, name in opened.items() if name is not None}
