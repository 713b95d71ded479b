"""A person's other PCs get what this one sent: all of it, in order, and nobody else anything."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import delete, select, update

from devflow import own_events, wire
from devflow.errors import Invalid, NotFound
from devflow.models import Device, Event, Workspace
from devflow.wire import Counted, EventState
from tests.build import NOW_MS, STRANGER, Member, World, commit, saved


def epoch(world: World) -> UUID:
    with world.reading() as session:
        return session.scalars(select(Workspace.epoch)).one()


def page(world: World, member: Member, since: str = "", limit: int = 1_000) -> wire.OwnEvents:
    now = epoch(world)
    with world.reading() as session:
        this = session.get_one(Device, member.device)
        after = own_events.position(since, now)
        found = own_events.page(session, world.by(session, member), this, after, limit, now)
    return wire.decode(wire.encode(found), wire.OwnEvents)


def updates(world: World, member: Member, since: str = "") -> wire.Updates:
    now = epoch(world)
    with world.reading() as session:
        by, this = world.by(session, member), session.get_one(Device, member.device)
        return own_events.updates(session, by.who(), this, own_events.position(since, now), now)


def trace(world: World, member: Member, event: wire.SyncEvent) -> wire.Trace:
    with world.reading() as session:
        return own_events.trace(session, world.by(session, member), UUID(event.id), event.timestamp)


def ids(found: wire.OwnEvents) -> list[str]:
    return [event.id for event in found.events]


def test_the_other_pc_gets_every_event_page_by_page_in_the_order_it_was_stored(world: World) -> None:
    desk = world.person("Ada")
    lap, atlas = world.second_device(desk), world.project("atlas", desk)
    # Late events: what happened last was sent first.
    sent = [world.event(desk, atlas, saved(f"{n}.py"), NOW_MS - n * 1_000) for n in range(7)]
    for event in sent:
        assert world.send(desk, event).success
    assert world.send(lap, world.event(lap, atlas, saved(), NOW_MS)).success
    got, since = list[wire.OwnEvent](), ""
    for more in (True, True, False):
        found = page(world, lap, since, 3)
        assert found.has_more is more
        got, since = got + found.events, found.cursor
    assert [event.id for event in got] == [event.id for event in sent]
    assert [bytes(event.event_data) for event in got] == [bytes(event.event_data) for event in sent]
    assert {event.state for event in got} == {EventState.WHOLE}
    assert {(event.device_id, event.user_id) for event in got} == {(desk.device_id, desk.public_id)}
    again = page(world, lap, since)
    assert (again.events, again.cursor, again.has_more) == ([], since, False)


def test_updates_say_whether_there_is_anything_and_when_a_pc_last_sent(world: World) -> None:
    desk = world.person("Ada")
    lap, atlas = world.second_device(desk), world.project("atlas", desk)
    nothing = updates(world, lap)
    assert (nothing.has_updates, nothing.last_sync_timestamp) == (False, None)
    assert world.send(desk, world.event(desk, atlas, saved(), NOW_MS)).success
    something = updates(world, lap, nothing.cursor)
    assert (something.has_updates, something.last_sync_timestamp) == (True, NOW_MS)
    assert not updates(world, desk).has_updates
    assert not updates(world, lap, page(world, lap).cursor).has_updates


def test_nobody_else_gets_or_traces_an_event(world: World) -> None:
    ada, lea, eve = (world.person(name) for name in ("Ada", "Lea", "Eve"))
    atlas = world.project("atlas", ada, lea)
    own, fact = world.event(ada, atlas, saved(), NOW_MS), world.event(ada, atlas, commit(STRANGER), NOW_MS)
    assert world.send(ada, own, fact).success
    for other in (lea, eve):
        assert page(world, other).events == []
        assert not updates(world, other).has_updates
    for other, event in ((lea, own), (eve, own), (eve, fact)):
        with pytest.raises(NotFound) as hidden:
            trace(world, other, event)
        absent = world.event(ada, atlas, saved(), NOW_MS)
        with pytest.raises(NotFound) as not_there:
            trace(world, other, absent)
        assert str(hidden.value).replace(event.id, "") == str(not_there.value).replace(absent.id, "")
    known = trace(world, lea, fact)
    assert (known.device_id, known.local_id, known.received_at, known.seq) == (None, None, None, None)


def test_a_trace_tells_what_became_of_an_own_event(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    atlas = world.project("atlas", ada, ben)
    own = world.event(ada, atlas, saved(), NOW_MS)
    theirs, nobodys = (world.event(ada, atlas, commit(who), NOW_MS) for who in (ben.author, STRANGER))
    bens = world.event(ben, atlas, commit(ada.author), NOW_MS)
    assert world.send(ada, own, theirs, nobodys).success
    assert world.send(ben, bens).success
    found = trace(world, ada, own)
    assert (found.counted, found.state, found.received_at) == (Counted.YOU, EventState.WHOLE, NOW_MS)
    assert (found.device_id, found.local_id) == (ada.device_id, own.local_id)
    assert trace(world, ada, nobodys).counted == Counted.NOBODY
    assert trace(world, ada, theirs).counted == Counted.NOBODY, "until Ben's own PC says so"
    assert trace(world, ada, bens).device_id is None
    with pytest.raises(NotFound):
        trace(world, ada, msgspec.structs.replace(own, timestamp=NOW_MS + 1))


def test_what_was_erased_or_damaged_says_so_and_breaks_no_page(world: World) -> None:
    desk = world.person("Ada")
    lap, atlas = world.second_device(desk), world.project("atlas", desk)
    sent = [world.event(desk, atlas, saved(), NOW_MS + n) for n in range(3)]
    assert world.send(desk, *sent).success
    with world.database.writing() as session:
        for event, data in zip(sent, (b"", b"no seal", None), strict=True):
            if data is not None:
                which = Event.event_id == UUID(event.id).bytes
                session.execute(update(Event).where(which).values(data=data))
    found = {event.id: (event.state, bytes(event.event_data)) for event in page(world, lap).events}
    assert found[sent[0].id] == (EventState.ERASED, b"null")
    assert found[sent[1].id] == (EventState.DAMAGED, b"null")
    assert found[sent[2].id] == (EventState.WHOLE, bytes(sent[2].event_data))
    assert trace(world, desk, sent[1]).state == EventState.DAMAGED


def test_a_page_of_large_events_ends_early_and_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = world.person("Ada")
    lap, atlas = world.second_device(desk), world.project("atlas", desk)
    sent = [world.event(desk, atlas, saved("x" * 900), NOW_MS + n) for n in range(5)]
    assert world.send(desk, *sent).success
    monkeypatch.setattr(own_events, "MAX_PAGE_BYTES", 2_000)
    got, since, more = list[str](), "", True
    while more:
        found = page(world, lap, since)
        assert 1 <= len(found.events) <= 2
        got, since, more = got + ids(found), found.cursor, found.has_more
    assert sorted(got) == sorted(event.id for event in sent)
    monkeypatch.setattr(own_events, "MAX_PAGE_BYTES", 1)
    assert len(page(world, lap).events) == 1, "one that is too large alone comes all the same"


def test_a_number_is_never_given_again_when_the_newest_events_are_deleted(world: World) -> None:
    desk = world.person("Ada")
    lap, atlas = world.second_device(desk), world.project("atlas", desk)
    gone = [world.event(desk, atlas, saved(), NOW_MS + n) for n in range(3)]
    assert world.send(desk, *gone).success
    cursor = page(world, lap).cursor
    with world.database.writing() as session:
        session.execute(delete(Event))
    new = world.event(desk, atlas, saved(), NOW_MS)
    assert world.send(desk, new).success
    assert ids(page(world, lap, cursor)) == [new.id]


def test_a_cursor_from_before_a_restore_begins_anew(world: World) -> None:
    desk = world.person("Ada")
    lap, atlas = world.second_device(desk), world.project("atlas", desk)
    event = world.event(desk, atlas, saved(), NOW_MS)
    assert world.send(desk, event).success
    cursor = page(world, lap).cursor
    with world.database.writing() as session:
        session.get_one(Workspace, 1).epoch = uuid4()
    assert ids(page(world, lap, cursor)) == [event.id]


@pytest.mark.parametrize(
    "since",
    ["7", "x.1", f"{'0' * 32}.-1", f"{'0' * 32}.{'9' * 19}", f"{'0' * 32}.\N{ARABIC-INDIC DIGIT ONE}"],
)
def test_what_is_no_cursor_is_refused(world: World, since: str) -> None:
    with pytest.raises(Invalid, match="expected `since` to be a cursor"):
        page(world, world.person("Ada"), since)


def test_a_reader_beside_uploads_from_two_pcs_skips_no_event(world: World) -> None:
    """Numbers that became visible out of their order would be stepped over by the cursor."""
    desk = world.person("Ada")
    lap, tab = world.second_device(desk), world.second_device(desk)
    ben = world.person("Ben")  # whose numbers lie between
    # Uploads to one project wait for each other anyway: only the person is what these have in common.
    projects = {member.device: world.project(f"of {member.device}", member) for member in (desk, lap, ben)}
    batches = [
        (member, [world.event(member, projects[member.device], saved(), NOW_MS + k) for k in range(5)])
        for n in range(25)
        for member in (desk, lap, ben)
    ]
    done, got = threading.Event(), list[str]()

    def read() -> None:
        since, is_last = "", False
        while not is_last:
            is_last = done.is_set()
            more = True
            while more:
                found = page(world, tab, since, 7)
                got.extend(ids(found))
                since, more = found.cursor, found.has_more

    with ThreadPoolExecutor(5) as pool:
        reader = pool.submit(read)
        uploads = [pool.submit(world.send, member, *events) for member, events in batches]
        try:
            results = [upload.result() for upload in uploads]
        finally:
            done.set()
        reader.result()
    assert all(result.success for result in results)
    expected = {event.id for member, events in batches if member is not ben for event in events}
    assert len(got) == len(set(got))
    assert set(got) == expected


@pytest.mark.parametrize("backend", ["postgres"])  # on SQLite one waits before it has begun
def test_an_upload_draws_no_number_while_another_of_its_person_is_not_committed(world: World) -> None:
    desk = world.person("Ada")
    lap, tab = world.second_device(desk), world.second_device(desk)
    early, late = (
        world.event(member, world.project(f"of {member.device}", member), saved(), NOW_MS)
        for member in (desk, lap)
    )
    with ThreadPoolExecutor(1) as pool:
        with world.database.writing() as session:
            world.accept(session, desk, [early])  # has its number, is not committed
            waiting = pool.submit(world.send, lap, late)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
            assert page(world, tab).events == []
        assert waiting.result().success
    assert ids(page(world, tab)) == [early.id, late.id]
