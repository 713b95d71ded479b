"""Slices while others write: what happens between the view that is counted and its being stored."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from devflow import jobs, projects, rollups, wire
from devflow.models import Cell, Mark, Project, Slice, SliceMark, Workspace
from devflow.rollups import Calendar
from devflow.rollups import slicing as under_test
from devflow.rollups.slicing import Piece, Slicer, pieces
from devflow.rollups.verifying import verify
from devflow.windows import Grain
from tests import slicing
from tests.build import DAY_MS, HOUR_MS, MINUTE_MS, NOW_MS, Member, World, saved
from tests.server.test_audit import context_of

T = TypeVar("T")
NOON = NOW_MS - NOW_MS % DAY_MS - DAY_MS + 12 * HOUR_MS


class Between:
    """The world's database, where something happens before the first so many transactions."""

    def __init__(self, world: World, happens: Callable[[], object], times: int = 1) -> None:
        self._world, self._happens = world, [happens] * times

    def reading(self) -> AbstractContextManager[Session]:
        return self._world.database.reading()

    def transact(self, work: Callable[[Session], T]) -> T:
        if self._happens:
            self._happens.pop()()
        return self._world.database.transact(work)


def slicer(world: World, happens: Callable[[], object]) -> Slicer:
    between: Any = Between(world, happens)
    return Slicer(between)


def cast(world: World) -> tuple[Member, Project]:
    """Ada, who has done something that no slice tells yet."""
    ada = world.person("Ada")
    one = world.project("one", ada)
    world.report(ada, one, (NOON, saved()), (NOON + MINUTE_MS, wire.FileDeleted(path="a.ts")))
    refresh(world)
    return ada, one


def refresh(world: World) -> None:
    while world.database.transact(rollups.refresh):
        pass


def upload(world: World, ada: Member, one: Project) -> None:
    world.report(ada, one, (NOON + 2 * MINUTE_MS, saved("b.css")))
    refresh(world)


def marks(world: World) -> list[int]:
    with world.reading() as session:
        return list(session.scalars(select(SliceMark.day).order_by(SliceMark.day)))


def is_right(world: World) -> bool:
    with world.reading() as session:
        return slicing.stored(session) == slicing.recounted(session, world.calendar)


def test_what_came_meanwhile_is_counted_in_the_next_round(world: World) -> None:
    ada, one = cast(world)
    busy = slicer(world, lambda: upload(world, ada, one))
    assert busy.go_on() == 1
    with world.reading() as session:
        assert sum(row.events for row in session.scalars(select(Slice).filter_by(dimension="type"))) == 2
    assert len(marks(world)) == 1
    assert busy.go_on() == 1
    assert marks(world) == []
    assert is_right(world)


def test_an_older_view_never_takes_the_place_of_a_later_one(world: World) -> None:
    ada, one = cast(world)

    def overtake() -> None:
        upload(world, ada, one)
        assert Slicer(world.database).go_on() == 1

    assert slicer(world, overtake).go_on() == 0
    assert is_right(world)
    assert marks(world) == []


def test_what_was_counted_by_another_calendar_is_not_stored(world: World) -> None:
    cast(world)
    shorter = Calendar(world.calendar.zone, 30_000)

    def switch() -> None:
        """The same days are marked anew."""
        world.database.transact(lambda session: rollups.want(session, world.by(session), shorter))
        while world.database.transact(rollups.advance) or not _is_switched(world):
            refresh(world)

    assert slicer(world, switch).go_on() == 0
    assert len(marks(world)) == 1
    assert Slicer(world.database).go_on() == 1
    assert is_right(world)


def _is_switched(world: World) -> bool:
    world.database.transact(lambda session: rollups.switch(session, world.by(session)))
    with world.reading() as session:
        return rollups.wanted(session) is None


def test_a_project_that_is_gone_meanwhile_leaves_nothing(world: World) -> None:
    cast(world)

    def end() -> None:
        with world.database.writing() as session:
            session.execute(update(Project).values(deleted_at=NOW_MS))
        with world.reading() as session:
            by = world.by(session)
        while world.database.transact(lambda session: projects.purge(session, by)):
            refresh(world)

    assert slicer(world, end).go_on() == 0
    with world.reading() as session:
        assert session.scalar(select(Slice)) is None
        assert session.scalar(select(SliceMark)) is None


def test_a_day_whose_events_are_gone_waits_for_its_cell(world: World) -> None:
    """Else what its cells do not show yet would pass for what was never told apart."""
    _, one = cast(world)
    Slicer(world.database).go_on()
    with world.reading() as session:
        before = slicing.stored(session)
        day = session.scalars(select(Slice.day)).first()
    with world.database.writing() as session:
        session.execute(update(Workspace).values(events_since=NOON + DAY_MS))
        session.add(SliceMark(project_id=one.id, day=day))
        session.add(Mark(project_id=one.id, day=day))
    assert Slicer(world.database).go_on() == 0
    assert marks(world) == [day]
    refresh(world)
    assert Slicer(world.database).go_on() == 1
    with world.reading() as session:
        assert slicing.stored(session) == before


def test_the_day_before_takes_no_slices_from_a_day_whose_cell_is_behind(world: World) -> None:
    ada, one = cast(world)
    world.report(ada, one, (NOON + DAY_MS, saved()))
    world.refresh()
    with world.reading() as session:
        before = slicing.stored(session)
        first, second = session.scalars(select(Slice.day).distinct().order_by(Slice.day))
    with world.database.writing() as session:
        session.execute(update(Workspace).values(events_since=NOON + 3 * DAY_MS))
        session.add(SliceMark(project_id=one.id, day=first))
        session.add(Mark(project_id=one.id, day=second))
        session.execute(update(Cell).where(Cell.start == second, Cell.grain == Grain.DAY).values(events=0))
    assert Slicer(world.database).go_on() == 1
    with world.reading() as session:
        assert slicing.stored(session) == before


def test_a_day_that_is_marked_again_waits_until_all_others_had_their_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "EVENTS_AT_ONCE", 1)
    ada, one = cast(world)
    world.report(ada, one, *((NOON + day * DAY_MS, saved()) for day in range(-20, 0, 7)))
    refresh(world)
    every = marks(world)
    assert len(every) == 4

    def again() -> None:
        world.report(ada, one, (NOON - 20 * DAY_MS + 1, saved()))
        refresh(world)

    assert slicer(world, again).go_on() == 4
    assert marks(world) == every[:1]


def test_a_round_goes_on_where_time_was_up(world: World) -> None:
    cast(world)
    own = Slicer(world.database)
    assert own.go_on(0) == 0
    assert len(marks(world)) == 1
    assert own.go_on() == 1


def test_days_are_taken_together_up_to_so_many_events_and_one_of_more_alone() -> None:
    most = under_test.EVENTS_AT_ONCE
    days = [(1, 10, 5), (1, 20, most - 5), (1, 30, 1), (1, 40, most + 1), (1, 50, 1), (2, 50, 1)]
    assert list(pieces(days)) == [
        Piece(1, [10, 20]),
        Piece(1, [30]),
        Piece(1, [40]),
        Piece(1, [50]),
        Piece(2, [50]),
    ]
    assert [len(piece.days) for piece in pieces((1, day, 0) for day in range(40))] == [31, 9]
    assert list(pieces([])) == []


def test_the_job_works_a_tenth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, ran = [0.0], []

    def work(_context: object) -> None:
        ran.append(now[0])
        now[0] += 2

    monkeypatch.setattr("devflow.jobs.time.monotonic", lambda: now[0])
    job: Any = jobs.Modest(work)
    for now[0] in (0, 4, 19.9, 20, 22, 50):
        job(None)
    assert ran == [0, 20, 50]


def test_days_that_are_marked_without_a_pause_do_not_keep_a_run_from_ending(world: World) -> None:
    ada, one = cast(world)

    def upload_again() -> None:
        world.report(ada, one, (NOON, saved()))

    upload_again()
    between: Any = Between(world, upload_again, times=5)
    assert jobs.refresh(replace(context_of(world, NOW_MS), database=between)) == 1
    with world.reading() as session:
        assert session.scalar(select(Mark)) is None
    upload_again()
    assert jobs.refresh(context_of(world, NOW_MS)) == 1
    assert jobs.refresh(context_of(world, NOW_MS)) == 0


def test_the_job_moves_the_projects_generation(world: World) -> None:
    _, one = cast(world)
    with world.reading() as session:
        before = session.get_one(Project, one.id).generation
    assert jobs.derive_slices(context_of(world, NOW_MS)) == 1
    with world.reading() as session:
        assert session.get_one(Project, one.id).generation == before + 1
    assert list(verify(world.database)) == []
