"""Numbers that are not what was counted, and how they are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import languages
from devflow.models import Person, Project
from devflow.rollups.slices import Dimension
from devflow.rollups.tallies import NOBODY, TYPE_NUMBER, Tally
from devflow.windows import Grain


class Key(NamedTuple):
    """Which cell."""

    project_id: int
    grain: Grain
    start: int
    person_id: int

    def columns(self) -> dict[str, Any]:
        """Its primary key in ``cells``."""
        return self._asdict()


class SliceKey(NamedTuple):
    """Which slice of a day."""

    project_id: int
    start: int
    person_id: int
    dimension: str
    value: int

    @property
    def grain(self) -> str:
        """Such as ``day of type git.commit``; a value without a name is its number."""
        names = _TYPES if self.dimension == Dimension.TYPE else languages.NAME
        return f"day of {self.dimension} {names.get(self.value, self.value)}"

    def columns(self) -> dict[str, Any]:
        """Its primary key in ``slices``."""
        columns = self._asdict()
        return columns | {"day": columns.pop("start")}


_TYPES = {number: str(kind) for kind, number in TYPE_NUMBER.items()}
AnyKey = TypeVar("AnyKey", Key, SliceKey)


@dataclass(frozen=True, slots=True)
class Difference:
    """A number that is not what was counted; None for one that is not there, or should not be."""

    key: Key | SliceKey
    project: UUID
    person: UUID | None  # None for nobody known here
    stored: Tally | None
    counted: Tally | None

    def __str__(self) -> str:
        """``project P person Q hour 2026-11-19T14:00:00Z: events 3, counted 2``."""
        start = datetime.fromtimestamp(self.key.start / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        person = self.person or ("nobody" if self.key.person_id == NOBODY else "unknown")
        return f"project {self.project} person {person} {self.key.grain} {start}: {self._what()}"

    def _what(self) -> str:
        if self.stored is None:
            return "missing"
        if self.counted is None:
            return "should not be"
        stored, counted = amounts(self.stored), amounts(self.counted)
        wrong = [
            f"{name} {amount}, counted {counted[name]}"
            for name, amount in stored.items()
            if amount != counted[name]
        ]
        return "; ".join(wrong) or f"of {counted['files']} files others"


def amounts(tally: Tally) -> dict[str, int]:
    """What the cell says, of the files how many."""
    return {
        "events": tally.events,
        "commits": tally.commits,
        "insertions": tally.insertions,
        "deletions": tally.deletions,
        "activeMs": tally.active_ms,
        "files": len(tally.files),
    }


def differences(
    session: Session, stored: Mapping[AnyKey, Tally], counted: Mapping[AnyKey, Tally]
) -> list[Difference]:
    """In order of key."""
    wrong = sorted(key for key in stored.keys() | counted.keys() if stored.get(key) != counted.get(key))
    if not wrong:
        return []
    projects = _public_ids(session, Project, {key.project_id for key in wrong})
    people = _public_ids(session, Person, {key.person_id for key in wrong})
    return [
        Difference(
            key, projects[key.project_id], people.get(key.person_id), stored.get(key), counted.get(key)
        )
        for key in wrong
    ]


def _public_ids(session: Session, kind: type[Project | Person], ids: Iterable[int]) -> dict[int, UUID]:
    found = session.execute(select(kind.id, kind.public_id).where(kind.id.in_(ids)))
    return {row.id: row.public_id for row in found}


def counts(wrong: Sequence[Difference]) -> dict[str, Any]:
    """How many, and of which projects, for the trail."""
    return {"cells": len(wrong), "projects": dict(Counter(str(each.project) for each in wrong))}
