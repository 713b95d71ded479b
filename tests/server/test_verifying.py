"""Cells that somebody has broken: each way is found, named, and put right; what is whole is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import pytest
from pyroaring import BitMap
from sqlalchemy import and_, delete, func, insert, select, update
from sqlalchemy.orm import Session

from devflow import jobs, retention, wire
from devflow.audit import Act
from devflow.models import AuditEntry, Cell, Event, Mark, Project, Slice, SliceMark, Workspace
from devflow.rollups import verifying
from devflow.rollups.differences import Difference
from devflow.rollups.slices import Dimension
from devflow.rollups.verifying import verify
from devflow.windows import Grain
from tests import slicing
from tests.build import DAY_MS, HOUR_MS, MINUTE_MS, NOW_MS, STRANGER, Member, World, commit, saved
from tests.server.test_audit import context_of
from tests.server.test_rollups import stored

Break = Callable[[Session], Any]
HOUR_START: Final = NOW_MS - NOW_MS % HOUR_MS


def working(world: World) -> tuple[Member, Project]:
    """Ada has worked in an hour of today and one of last month, and nobody known has as well."""
    ada = world.person("Ada")
    one = world.project("one", ada)
    for at in (HOUR_START, HOUR_START - 35 * DAY_MS):
        deeds: list[wire.EventData] = [saved("a.py"), commit(ada.author, "b.py", insertions=3)]
        deeds.append(commit(STRANGER, "c.py"))
        world.report(ada, one, *((at + n * MINUTE_MS, deed) for n, deed in enumerate(deeds)))
    world.refresh()
    return ada, one


def repaired(world: World) -> list[Difference]:
    """What a repair found."""
    with world.reading() as session:
        by = world.by(session)
    return list(verify(world.database, by))


def ways(ada: Member, one: Project, grain: Grain, start: int) -> dict[str, Break]:
    """To break a cell of hers: what is to be said of it, by what was done."""
    cell = (
        (Cell.project_id == one.id)
        & (Cell.person_id == ada.id)
        & (Cell.grain == grain)
        & (Cell.start == start)
    )
    row = {
        "project_id": one.id,
        "person_id": ada.id,
        "grain": grain,
        "events": 1,
        "commits": 0,
        "insertions": 0,
        "deletions": 0,
        "active_ms": 0,
        "files": BitMap([1]).serialize(),
    }

    def too_many(at: int) -> Break:
        return lambda session: session.execute(insert(Cell).values(row | {"start": at}))

    return {
        "events 3, counted 2": lambda s: s.execute(update(Cell).where(cell).values(events=3)),
        "commits 0, counted 1": lambda s: s.execute(update(Cell).where(cell).values(commits=0)),
        "insertions 4, counted 3": lambda s: s.execute(update(Cell).where(cell).values(insertions=4)),
        "deletions 1, counted 0": lambda s: s.execute(update(Cell).where(cell).values(deletions=1)),
        "activeMs 1, counted 60000": lambda s: s.execute(update(Cell).where(cell).values(active_ms=1)),
        "of 2 files others": lambda s: s.execute(
            update(Cell).where(cell).values(files=BitMap([8, 9]).serialize())
        ),
        "missing": lambda s: s.execute(delete(Cell).where(cell)),
        "should not be": too_many(start - 70 * DAY_MS),
        "should not be ": too_many(start + 1),  # where no window begins
    }


@pytest.mark.parametrize("grain", Grain)
def test_each_way_to_break_a_cell_is_found_named_and_put_right(world: World, grain: Grain) -> None:
    ada, one = working(world)
    with world.reading() as session:
        whole = stored(session)
        start = session.scalar(select(func.max(Cell.start)).where(Cell.grain == grain)) or 0
    for what, wrong in ways(ada, one, grain, start).items():
        with world.database.writing() as session:
            wrong(session)
            before = session.get_one(Project, one.id).generation
        found = [str(each) for each in verify(world.database) if each.key.grain == grain]
        assert len(found) == 1, what
        assert found[0].startswith(f"project {one.public_id} person {ada.public_id} {grain} 20")
        assert found[0].endswith(f"Z: {what.strip()}")
        assert [str(each) for each in repaired(world) if each.key.grain == grain] == found
        with world.reading() as session:
            assert stored(session) == whole, what
            assert session.get_one(Project, one.id).generation > before
            entries = select(AuditEntry).filter_by(act=Act.ROLLUPS_REPAIRED).order_by(AuditEntry.id.desc())
            last = session.scalars(entries.limit(1)).one()
            assert set(json.loads(last.detail)) == {"cells", "projects"}
            assert list(json.loads(last.detail)["projects"]) == [str(one.public_id)]
        assert list(verify(world.database)) == []


@pytest.mark.parametrize("dimension", Dimension)
def test_each_way_to_break_a_slice_is_found_named_and_put_right(world: World, dimension: str) -> None:
    ada, one = working(world)
    name = {"type": "git.commit", "language": "Python"}[dimension]
    with world.reading() as session:
        whole = slicing.stored(session)
        its = select(Slice).filter_by(person_id=ada.id, dimension=dimension).order_by(Slice.day.desc())
        row = next(each for each in session.scalars(its) if each.insertions == 3)
        columns = {column.key: getattr(row, column.key) for column in Slice.__table__.columns}
    own = and_(*(getattr(Slice, key.name) == columns[key.name] for key in Slice.__table__.primary_key))
    ways: dict[str, Any] = {
        f"{name} insertions 9, counted 3": update(Slice).where(own).values(insertions=9),
        f"{name} missing": delete(Slice).where(own),
        "99 should not be": insert(Slice).values(columns | {"value": 99}),
        f"{name} should not be": insert(Slice).values(columns | {"day": row.day + 1}),
    }
    for what, wrong in ways.items():
        with world.database.writing() as session:
            session.execute(wrong)
        found = list(verify(world.database))
        assert len(found) == 1, what
        told = str(found[0]).split()
        assert told[:7] == f"project {one.public_id} person {ada.public_id} day of {dimension}".split()
        assert " ".join([told[7], *told[9:]]) == what
        assert [str(each) for each in repaired(world)] == [str(found[0])]
        with world.reading() as session:
            assert slicing.stored(session) == whole, what
            assert session.scalar(select(SliceMark)) is None
        assert list(verify(world.database)) == []


def test_slices_that_are_marked_or_follow_a_day_that_is_are_no_difference(world: World) -> None:
    _, one = working(world)
    with world.database.writing() as session:
        session.execute(update(Slice).values(events=9))
        for day in session.scalars(select(Slice.day).distinct()).all():
            session.add(SliceMark(project_id=one.id, day=day - DAY_MS))
    assert list(verify(world.database)) == []


def test_what_nobody_known_did_and_a_cell_of_a_person_there_never_was_are_checked_too(world: World) -> None:
    _, one = working(world)
    with world.database.writing() as session:
        session.execute(update(Cell).where(Cell.person_id == 0, Cell.start == HOUR_START).values(commits=0))
        row = session.execute(select(Cell.__table__).limit(1)).one()._asdict()
        session.execute(insert(Cell).values(row | {"person_id": 999, "grain": Grain.HOUR}))
    told = [str(each) for each in repaired(world) if each.key.grain == Grain.HOUR]
    assert [line.split()[3] for line in told] == ["unknown", "nobody"]
    assert all(line.startswith(f"project {one.public_id}") for line in told)
    assert list(verify(world.database)) == []


def test_a_day_that_is_marked_is_no_difference_and_stays_marked(world: World) -> None:
    ada, one = working(world)
    world.send(ada, world.event(ada, one, saved(), HOUR_START + HOUR_MS))
    assert list(verify(world.database)) == []
    with world.reading() as session:
        assert session.scalar(select(func.count()).select_from(Mark)) == 1


def test_a_history_in_many_parts_is_whole_and_its_middle_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    world.report(ada, one, *((NOW_MS + n * 14 * MINUTE_MS, saved()) for n in range(60)))
    world.refresh()
    monkeypatch.setattr(verifying, "PART", 3)
    assert list(verify(world.database)) == []
    middle = HOUR_START + 6 * HOUR_MS
    with world.database.writing() as session:
        session.execute(delete(Cell).where(Cell.grain == Grain.HOUR, Cell.start == middle))
    assert [each.key.start for each in repaired(world) if each.key.grain == Grain.HOUR] == [middle]
    assert list(verify(world.database)) == []


def test_closed_hours_are_held_against_their_days_alone(world: World) -> None:
    ada, one = working(world)
    old = NOW_MS - 200 * DAY_MS
    world.report(ada, one, (old, saved()), (old + 10 * MINUTE_MS, saved()))
    world.refresh()
    with world.database.writing() as session:
        session.get_one(Workspace, 1).retention_days = 30
    with world.reading() as session:
        by = world.by(session)
    assert retention.run(world.database, by) == 2
    assert list(verify(world.database)) == []
    with world.database.writing() as session:
        session.execute(update(Cell).where(Cell.start <= old, Cell.grain == Grain.DAY).values(events=9))
    assert [each.key.grain for each in repaired(world)] == [Grain.DAY]
    with world.reading() as session:
        assert session.scalar(select(func.sum(Cell.events)).where(Cell.grain == Grain.DAY)) == 8
        assert session.scalar(select(func.count()).select_from(Event)) == 6


def test_the_nightly_sample_says_what_it_finds_once_a_day_and_puts_nothing_right(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ada, one = working(world)
    context = context_of(world, NOW_MS)
    assert jobs.verify_rollups(context) == 0
    with world.database.writing() as session:
        mine = (Cell.person_id == ada.id) & (Cell.grain == Grain.HOUR) & (Cell.start == HOUR_START)
        session.execute(update(Cell).where(mine).values(events=7))
    assert jobs.verify_rollups(context) is None
    found = jobs.verify_rollups(context_of(world, NOW_MS + DAY_MS))
    assert found and "numbers are not what the events say" in caplog.text
    with world.reading() as session:
        assert session.scalar(select(Cell.events).where(mine)) == 7
        (entry,) = session.scalars(select(AuditEntry).filter_by(act=Act.ROLLUPS_WRONG))
        assert json.loads(entry.detail) == {"cells": found, "projects": {str(one.public_id): found}}
        assert session.get_one(Workspace, 1).rollups_wrong == found
    assert repaired(world)
    with world.reading() as session:
        assert session.get_one(Workspace, 1).rollups_wrong == 0


def test_a_difference_is_told_to_programs_by_public_ids_alone(world: World) -> None:
    ada, one = working(world)
    with world.database.writing() as session:
        session.execute(update(Cell).where(Cell.grain == Grain.MONTH).values(events=9))
    found = list(verify(world.database))
    assert {each.person for each in found} == {ada.public_id, None}
    assert {each.project for each in found} == {UUID(str(one.public_id))}
