"""Digests of days and the question for missing events, told to a device of a member's."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, update

from devflow import digests, retention, wire
from devflow.errors import Invalid
from devflow.models import Device, Event, Project, Workspace
from devflow.wire import EventName
from tests.build import DAY_MS, NOW_MS, STRANGER, Member, World, commit, saved

TODAY = NOW_MS // DAY_MS


def told(world: World, member: Member, project: Project, days: range | None = None) -> wire.Digests:
    with world.reading() as session:
        device = session.get_one(Device, member.device)
        days = range(TODAY - 300, TODAY + 1) if days is None else days
        return digests.of_days(session, device, project, days, NOW_MS)


def tallied(*events: wire.SyncEvent) -> list[wire.Tally]:
    return wire.tallies(
        (event.timestamp // DAY_MS, event.event_type in wire.FACTS, UUID(event.id).bytes) for event in events
    )


def missing(world: World, *events: wire.SyncEvent) -> list[str]:
    with world.reading() as session:
        names = [EventName(id=event.id, timestamp=event.timestamp) for event in events]
        return digests.missing(session, names, NOW_MS)


def test_a_device_and_the_server_agree_on_what_was_taken_also_when_it_was_sent_twice(world: World) -> None:
    ada = world.person("Ada")
    atlas = world.project("atlas", ada)
    events = [
        world.event(ada, atlas, deed, NOW_MS - day * DAY_MS)
        for day in range(5)
        for deed in (saved(), saved("b.py"), commit(STRANGER, "c.py"))
    ]
    for _ in range(2):
        assert world.send(ada, *events).success
    assert told(world, ada, atlas) == wire.Digests(since=(TODAY - 300) * DAY_MS, tallies=tallied(*events))
    assert missing(world, *events) == []


def test_what_a_colleague_did_is_in_no_digest_and_the_facts_they_reported_are(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    atlas, other = world.project("atlas", ada, ben), world.project("other", ada, ben)
    lap = world.second_device(ada)
    fact = commit(STRANGER, "c.py")
    first = world.event(ben, atlas, fact, NOW_MS)
    for member, event in (
        (ben, first),
        (ben, world.event(ben, atlas, saved(), NOW_MS)),
        (lap, world.event(lap, atlas, saved(), NOW_MS)),
        (ada, world.event(ada, other, saved(), NOW_MS)),
    ):
        assert world.send(member, event).success
    seen = [world.event(ada, atlas, fact, NOW_MS), world.event(ada, atlas, saved(), NOW_MS)]
    assert world.send(ada, *seen).success
    assert told(world, ada, atlas).tallies == tallied(*seen)


def test_a_lost_event_changes_the_digest_of_its_day_and_is_the_one_missing(world: World) -> None:
    ada = world.person("Ada")
    atlas = world.project("atlas", ada)
    events = [world.event(ada, atlas, saved(), NOW_MS - day * DAY_MS) for day in range(5)]
    assert world.send(ada, *events).success
    with world.database.writing() as session:
        session.execute(delete(Event).where(Event.timestamp == events[2].timestamp))
    assert [tally.day for tally in tallied(*events) if tally not in told(world, ada, atlas).tallies] == [
        TODAY - 2
    ]
    assert missing(world, *events) == [events[2].id]


def test_an_event_that_was_erased_or_lies_in_another_project_is_not_missing(world: World) -> None:
    ada = world.person("Ada")
    atlas, other = world.project("atlas", ada), world.project("other", ada)
    events = [world.event(ada, place, saved(), NOW_MS) for place in (atlas, other)]
    assert world.send(ada, *events).success
    with world.database.writing() as session:
        session.execute(update(Event).values(data=b""))
    assert missing(world, *events) == []


def test_what_is_older_than_events_are_kept_is_neither_counted_nor_missing(world: World) -> None:
    ada = world.person("Ada")
    atlas = world.project("atlas", ada)
    with world.database.writing() as session:
        session.get_one(Workspace, 1).retention_days = 60
        horizon = retention.hold(session, NOW_MS).horizon
    last, first = (world.event(ada, atlas, saved(), at) for at in (horizon - 1, horizon))
    assert last.timestamp // DAY_MS == first.timestamp // DAY_MS, "the cut is in the middle of a day"
    keep(world, None)
    assert world.send(ada, last, first).success
    keep(world, 60)
    found = told(world, ada, atlas)
    assert found == wire.Digests(since=horizon, tallies=tallied(first))
    assert missing(world, world.event(ada, atlas, saved(), horizon - 1)) == []
    new = world.event(ada, atlas, saved(), horizon)
    assert missing(world, new) == [new.id]
    past = range(TODAY - 300, TODAY - 290)
    assert told(world, ada, atlas, past) == wire.Digests(since=past.stop * DAY_MS, tallies=[])


def keep(world: World, days: int | None) -> None:
    with world.database.writing() as session:
        session.get_one(Workspace, 1).retention_days = days


@pytest.mark.parametrize(
    "days",
    [range(-1, 3), range(5, 5), range(6, 5), range(367), range(10**17, 10**17 + 1)],
)
def test_days_that_are_none_or_too_many_are_refused(world: World, days: range) -> None:
    ada = world.person("Ada")
    with pytest.raises(Invalid, match="expected 1 to 366 days"):
        told(world, ada, world.project("atlas", ada), days)


def test_the_days_at_the_end_of_time_are_answered(world: World) -> None:
    ada = world.person("Ada")
    last = wire.MAX_TIMESTAMP_MS // DAY_MS
    found = told(world, ada, world.project("atlas", ada), range(last, last + 366))
    assert wire.decode(wire.encode(found), wire.Digests) == found


def test_a_question_names_each_event_by_id_and_time_together(world: World) -> None:
    ada = world.person("Ada")
    atlas = world.project("atlas", ada)
    event = world.event(ada, atlas, saved(), NOW_MS)
    assert world.send(ada, event).success
    elsewhen = world.event(ada, atlas, saved(), NOW_MS + 1, uuid4())
    assert missing(world, event, elsewhen, event) == [elsewhen.id]
    assert missing(world) == []


def test_a_thousand_events_are_asked_for_at_once(world: World) -> None:
    ada = world.person("Ada")
    atlas = world.project("atlas", ada)
    events = [world.event(ada, atlas, saved(), NOW_MS + n) for n in range(1_000)]
    assert world.send(ada, *events[:500]).success
    assert missing(world, *events) == [event.id for event in events[500:]]
