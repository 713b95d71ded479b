"""Ids that are known: whatever changed of an event, however it came, its id stands for one event only."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest
from sqlalchemy import delete, func, select

from devflow import wire
from devflow.ingest import known
from devflow.models import Event, Person, Project
from devflow.wire import ErrorCode
from tests.build import MINUTE_MS, NOW_MS, Member, World, saved


@pytest.fixture
def ada(world: World) -> Member:
    return world.person("Ada")


@pytest.fixture
def one(world: World, ada: Member) -> Project:
    return world.project("one", ada)


def beside(world: World) -> World:
    """Another process on the same database, which knows nothing yet."""
    return World(world.database, world.vault, world.now_ms)


def moved(event: wire.SyncEvent) -> wire.SyncEvent:
    """The id with another time, as another row of the PC's store."""
    return msgspec.structs.replace(
        event, timestamp=event.timestamp + MINUTE_MS, local_id=event.local_id + 500
    )


def codes(result: wire.BatchResult) -> list[ErrorCode]:
    return [error.code for error in result.errors]


def stored(world: World) -> int:
    with world.reading() as session:
        return session.scalar(select(func.count()).select_from(Event)) or 0


def test_an_id_with_another_time_is_a_conflict_whichever_device_sends_it(
    world: World, ada: Member, one: Project
) -> None:
    event = world.event(ada, one, saved(), NOW_MS)
    world.send(ada, event)
    laptop = world.second_device(ada)
    for sender in (ada, laptop):
        other = msgspec.structs.replace(moved(event), device_id=sender.device_id)
        assert codes(world.send(sender, other)) == [ErrorCode.CONFLICT]
    assert stored(world) == 1


def test_a_server_that_was_started_again_knows_what_was_stored_before(
    world: World, ada: Member, one: Project
) -> None:
    events = [world.event(ada, one, saved(), NOW_MS + n) for n in range(20)]
    world.send(ada, *events)
    again = beside(world)
    again.intake.known.load(world.database)
    assert again.send(ada, *events).synced_ids == [event.id for event in events]
    assert codes(again.send(ada, *map(moved, events))) == [ErrorCode.CONFLICT] * 20
    assert stored(world) == 20


def test_what_another_process_stores_is_known_at_the_next_upload(
    world: World, ada: Member, one: Project
) -> None:
    other = beside(world)
    for turn in range(3):
        event = world.event(ada, one, saved(), NOW_MS + turn)
        assert world.send(ada, event).success
        assert codes(other.send(ada, moved(event))) == [ErrorCode.CONFLICT]
        event = world.event(ada, one, saved(), NOW_MS + 100 + turn)
        assert other.send(ada, event).success
        assert codes(world.send(ada, moved(event))) == [ErrorCode.CONFLICT]


def test_a_transaction_that_fails_leaves_no_id_known_and_hides_none(
    world: World, ada: Member, one: Project
) -> None:
    event, others = world.event(ada, one, saved(), NOW_MS), world.event(ada, one, saved(), NOW_MS + 1)
    with pytest.raises(ZeroDivisionError), world.database.writing() as session:
        assert world.accept(session, ada, [event]).success
        raise ZeroDivisionError
    # The number that the lost row had is given to a row of somebody else's.
    assert beside(world).send(ada, others).success
    assert codes(world.send(ada, moved(others))) == [ErrorCode.CONFLICT]
    assert world.send(ada, event).success
    assert stored(world) == 2


def test_ids_that_begin_alike_are_different_events(world: World, ada: Member, one: Project) -> None:
    ids = [UUID(int=(0x1234 << 112) | (4 << 76) | (1 << 63) | number) for number in range(5)]
    for number, event_id in enumerate(ids):
        assert world.send(ada, world.event(ada, one, saved(), NOW_MS + number, event_id)).success
    assert stored(world) == 5


def test_a_number_of_a_row_is_never_given_again(world: World, ada: Member, one: Project) -> None:
    """It is the cursor of those who download."""
    world.send(ada, *(world.event(ada, one, saved(), NOW_MS + n) for n in range(3)))
    with world.database.writing() as session:
        newest = session.scalar(select(func.max(Event.seq))) or 0
        session.execute(delete(Event))
    world.send(ada, world.event(ada, one, saved(), NOW_MS))
    with world.reading() as session:
        assert session.scalars(select(Event.seq)).one() > newest


def test_a_deactivated_person_is_told_so_and_nothing_is_stored(
    world: World, ada: Member, one: Project
) -> None:
    event = world.event(ada, one, saved(), NOW_MS)
    with world.database.writing() as session:
        session.get_one(Person, ada.id).deactivated_at = NOW_MS
    with pytest.raises(Exception, match="deactivated"):
        world.send(ada, event)
    assert stored(world) == 0


def test_of_many_ids_exactly_those_that_were_added_are_seen() -> None:
    ids = [known_id.to_bytes(16, "big") for known_id in range(1 << 120, 1 << 121, 1 << 110)]
    fingerprints = known.Fingerprints()
    fingerprints.add(ids[::2])
    fingerprints.add(ids[::4])
    assert fingerprints.seen(ids) == [number % 2 == 0 for number in range(len(ids))]
