"""Taking one's events along: all of one's own, nothing of others', as they were sent, page by page."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from sqlalchemy import Engine, event, update

from devflow import crypto, export, wire
from devflow.audit import Act
from devflow.db import Database
from devflow.export import Exported
from devflow.models import AuditEntry, Event, Person
from tests.build import NOW_MS, Member, World, commit, saved


def exported(world: World, member: Member) -> list[Exported]:
    with world.reading() as session:
        which = export.numbers(session, session.get_one(Person, member.id))
    found = export.pages(world.database, world.vault, member.id, which)
    return [row.event for page in found for row in page]


def as_sent(sent: wire.SyncEvent) -> bytes:
    """The wire's own bytes and the one field more."""
    return wire.encode(sent)[:-1] + b',"receivedAt":%d}' % NOW_MS


def test_every_event_comes_back_byte_for_byte_in_the_order_it_came(world: World) -> None:
    ada = world.person("Ada")
    laptop, atlas = world.second_device(ada), world.project("atlas", ada)
    deeds: list[tuple[Member, wire.EventData]] = [
        (ada, saved("=cmd|' /C calc'!A0")),
        (laptop, saved('a "quoted"\nname\u202e\\.py')),
        (ada, commit(ada.author, "\N{SNOWMAN}.py", insertions=3)),
        (laptop, commit(wire.author_key("stranger@example.net"), "b.py")),
        (ada, wire.BranchSwitched(branch=None, previous="main")),
        (ada, wire.TagCreated(tag="v1", sha="a" * 40, author=None)),
    ]
    # Later events come first, and one by one: of one upload's, the server chooses the order.
    sent = [
        (member, world.event(member, atlas, data, NOW_MS - at)) for at, (member, data) in enumerate(deeds)
    ]
    for member, one in sent:
        assert world.send(member, one).success
    assert [msgspec.json.encode(found) for found in exported(world, ada)] == [as_sent(one) for _, one in sent]


def test_what_others_sent_is_not_in_it(world: World) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    atlas = world.project("atlas", ada, bob)
    world.report(ada, atlas, (NOW_MS, saved()))
    world.report(bob, atlas, (NOW_MS, saved()), (NOW_MS, commit(bob.author, "b.py")))
    assert {(one.device_id, one.user_id) for one in exported(world, ada)} == {(ada.device_id, ada.public_id)}
    assert len(exported(world, ada)) == 1
    assert len(exported(world, bob)) == 2


def test_own_work_that_a_colleague_reported_is_in_it_without_the_colleague(world: World) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    atlas = world.project("atlas", ada, bob)
    deed = commit(ada.author, "a.py")
    world.report(bob, atlas, (NOW_MS, deed))
    assert exported(world, ada) == []
    world.report(ada, atlas, (NOW_MS, deed))
    (one,) = exported(world, ada)
    assert (one.user_id, one.device_id, one.local_id) == (ada.public_id, None, None)
    assert bytes(one.event_data) == wire.encode(deed)
    # It was on Bob's PC, too, and that PC's events are his to take along.
    (same,) = exported(world, bob)
    assert (same.id, same.user_id, same.device_id) == (one.id, bob.public_id, bob.device_id)


def test_an_erased_event_says_so_and_a_damaged_one_that_it_cannot_be_read(world: World) -> None:
    ada = world.person("Ada")
    world.report(ada, world.project("atlas", ada), *((NOW_MS + at, saved()) for at in range(4)))
    with world.database.writing() as session:
        session.execute(update(Event).where(Event.seq == 2).values(data=b""))
        session.execute(update(Event).where(Event.seq == 3).values(data=crypto.prefix(1) + bytes(60)))
        session.execute(update(Event).where(Event.seq == 4).values(data=b"cut"))
    whole, erased, *damaged = exported(world, ada)
    assert b'"path":"src/app.py"' in msgspec.json.encode(whole)
    assert b"unreadable" not in msgspec.json.encode(whole) + msgspec.json.encode(erased)
    assert (bytes(erased.event_data), erased.unreadable) == (b"null", False)
    for one in damaged:
        said = msgspec.json.encode(one)
        assert said.endswith(b',"eventData":null,"receivedAt":%d,"unreadable":true}' % NOW_MS)


def test_an_export_is_an_audited_act(world: World) -> None:
    ada = world.person("Ada")
    with world.database.writing() as session:
        export.note(session, world.by(session, ada), "jsonl", 7)
    with world.reading() as session:
        entry = session.query(AuditEntry).order_by(AuditEntry.id.desc()).limit(1).one()
        assert (entry.act, entry.actor, entry.subject) == (Act.DATA_EXPORTED, ada.public_id, ada.public_id)
        assert entry.detail == '{"events":7,"form":"jsonl"}'


@pytest.fixture
def reads(database: Database) -> Iterator[list[str]]:
    """Every statement that asks for events, on whatever connection."""
    sent: list[str] = []

    def record(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("SELECT") and "FROM events" in statement:
            sent.append(statement)

    event.listen(Engine, "before_cursor_execute", record)
    yield sent
    event.remove(Engine, "before_cursor_execute", record)


def test_ten_thousand_events_are_never_held_at_once(world: World, reads: list[str]) -> None:
    ada = world.person("Ada")
    many = 10_000
    world.report(ada, world.project("atlas", ada), *((NOW_MS + at, saved()) for at in range(many)))
    reads.clear()
    with world.reading() as session:
        which = export.numbers(session, session.get_one(Person, ada.id))
    assert len(reads) == 2
    pages = export.pages(world.database, world.vault, ada.id, which)
    assert len(reads) == 2
    for turned, page in enumerate(pages, start=1):
        assert len(page) == export.PAGE_EVENTS
        # Nothing is read ahead of what was asked for.
        assert len(reads) == 2 + turned
    assert turned == many / export.PAGE_EVENTS


def test_what_comes_while_it_runs_is_for_the_next_export(world: World) -> None:
    ada = world.person("Ada")
    atlas = world.project("atlas", ada)
    world.report(ada, atlas, *((NOW_MS, saved()) for _ in range(300)))
    with world.reading() as session:
        which = export.numbers(session, session.get_one(Person, ada.id))
    pages = export.pages(world.database, world.vault, ada.id, which)
    first = len(next(pages))
    world.report(ada, atlas, *((NOW_MS, saved()) for _ in range(300)))
    assert first + sum(len(page) for page in pages) == 300
