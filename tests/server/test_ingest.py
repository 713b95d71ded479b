"""Acceptance: every id gets one verdict, and sending anything again changes nothing."""

from __future__ import annotations

from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from devflow import pseudonyms, rollups, wire
from devflow.errors import Invalid
from devflow.ingest import authors, files, rows
from devflow.models import Cell, Event, File
from devflow.wire import ErrorCode
from tests.build import HOUR_MS, NOW_MS, STRANGER, World, commit, saved


def count(world: World, table: type) -> int:
    with world.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_new_events_are_stored_and_acknowledged(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    events = [world.event(ada, one, saved(f"{n}.py"), NOW_MS + n) for n in range(3)]
    result = world.send(ada, *events)
    assert result == wire.BatchResult(success=True, synced_ids=[e.id for e in events], errors=[])
    assert count(world, Event) == 3


def test_sending_a_batch_again_changes_nothing_and_is_acknowledged_again(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    events = [world.event(ada, one, commit(ada.author, "a.py"), NOW_MS + n) for n in range(5)]
    first = world.send(ada, *events)
    with world.reading() as session:
        before = session.execute(select(Event.__table__)).all(), session.execute(select(Cell.__table__)).all()
    assert world.send(ada, *reversed(events)).synced_ids == list(reversed(first.synced_ids))
    with world.reading() as session:
        after = session.execute(select(Event.__table__)).all(), session.execute(select(Cell.__table__)).all()
    assert before == after


def test_an_event_twice_in_one_batch_is_stored_once_and_named_once(world: World) -> None:
    ada = world.person("Ada")
    event = world.event(ada, world.project("one", ada), saved(), NOW_MS)
    assert world.send(ada, event, event).synced_ids == [event.id]
    assert count(world, Event) == 1


def test_the_same_id_with_other_content_is_a_conflict_and_overwrites_nothing(world: World) -> None:
    ada = world.person("Ada")
    one, two = world.project("one", ada), world.project("two", ada)
    event = world.event(ada, one, saved("a.py"), NOW_MS)
    world.send(ada, event)
    others = [
        msgspec.structs.replace(event, timestamp=NOW_MS + 1),
        msgspec.structs.replace(event, project_id=two.public_id),
        msgspec.structs.replace(event, event_data=msgspec.Raw(wire.encode(saved("b.py")))),
    ]
    for other in others:
        result = world.send(ada, other)
        assert (result.synced_ids, [error.code for error in result.errors]) == ([], [ErrorCode.CONFLICT])
    with world.reading() as session:
        (kept,) = session.scalars(select(Event))
        assert world.vault.open(rows.DATA, kept.event_id, kept.data) == wire.encode(saved("a.py"))


@pytest.mark.parametrize("is_named_first", [True, False])
def test_the_same_event_with_and_without_names_is_one_and_what_came_first_stays(
    world: World, is_named_first: bool
) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    one = world.project("one", ada, bob)
    named = commit(ada.author, "src/a.py", "src/b.py")
    forms = [named, pseudonyms.without_names(bytes(32), named)]
    first, second = forms if is_named_first else forms[::-1]
    event = world.event(ada, one, first, NOW_MS)
    world.send(ada, event)
    of_bob = world.event(bob, one, second, NOW_MS)
    again = msgspec.structs.replace(of_bob, id=event.id)
    of_a_shallow_clone = pseudonyms.without_names(bytes(31), named)
    third = msgspec.structs.replace(event, event_data=msgspec.Raw(wire.encode(of_a_shallow_clone)))
    for sender, sent in ((bob, again), (ada, third), (ada, event)):
        assert world.send(sender, sent) == wire.BatchResult(success=True, synced_ids=[event.id], errors=[])
    with world.reading() as session:
        (kept,) = session.scalars(select(Event))
        assert world.vault.open(rows.DATA, kept.event_id, kept.data) == wire.encode(first)
    assert count(world, File) == 2


def test_without_names_other_numbers_are_a_conflict_all_the_same(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    named = commit(ada.author, "src/a.py", "src/b.py", insertions=3)
    event = world.event(ada, one, named, NOW_MS)
    world.send(ada, event)
    more, fewer = (
        msgspec.structs.replace(named, insertions=4),
        msgspec.structs.replace(named, files=named.files[:1]),
    )
    for other in (more, fewer):
        hidden = msgspec.Raw(wire.encode(pseudonyms.without_names(bytes(32), other)))
        result = world.send(ada, msgspec.structs.replace(event, event_data=hidden))
        assert [error.code for error in result.errors] == [ErrorCode.CONFLICT]


def test_an_id_with_two_contents_in_one_batch_is_refused_both_times(world: World) -> None:
    ada = world.person("Ada")
    event = world.event(ada, world.project("one", ada), saved(), NOW_MS)
    result = world.send(ada, event, msgspec.structs.replace(event, timestamp=NOW_MS + 1))
    assert result.synced_ids == []
    assert [(error.id, error.code) for error in result.errors] == [(event.id, ErrorCode.CONFLICT)] * 2
    assert count(world, Event) == 0


def test_a_bad_event_refuses_itself_and_never_its_neighbours(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    good = [world.event(ada, one, saved(f"{n}.py"), NOW_MS) for n in range(2)]
    bad_id = str(uuid4())
    bad = (
        wire.encode(good[0])
        .replace(good[0].id.encode(), bad_id.encode())
        .replace(b"file.saved", b"file.eaten")
    )
    result = world.send(ada, good[0], bad, good[1])
    assert result.synced_ids == [event.id for event in good]
    assert [(error.id, error.index, error.code, error.retryable) for error in result.errors] == [
        (bad_id, 1, ErrorCode.INVALID, False)
    ]
    assert "file.eaten" in result.errors[0].message


HOSTILE = {
    "no object": b"7",
    "no fields": b"{}",
    "an unknown field": b'{"code":"import os"}',
    "a nest": b'{"id":' + b"[" * 500 + b"]" * 500 + b"}",
    "an overlong integer": b'{"timestamp":1' + b"0" * 400 + b"}",
    "too many bytes": b'{"id":"' + b"a" * 40_000 + b'"}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_nonsense_in_the_place_of_an_event_is_refused_by_its_place(world: World, body: bytes) -> None:
    ada = world.person("Ada")
    good = world.event(ada, world.project("one", ada), saved(), NOW_MS)
    result = world.send(ada, body, good)
    assert result.synced_ids == [good.id]
    assert [(error.index, error.code, error.retryable) for error in result.errors] == [(0, "invalid", False)]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("id", "7F9C24E5-2A4F-4B1E-9F6E-0123456789AB", "regex"),
        ("id", "7f9c24e5-2a4f-1b1e-9f6e-0123456789ab", "regex"),
        ("timestamp", -1, ">= 0"),
        ("timestamp", wire.MAX_TIMESTAMP_MS + 1, "<= "),
        ("timestamp", 1.5, "int"),
        ("localId", 0, ">= 1"),
        ("eventData", {"path": "", "sizeBytes": 1}, ">= 1"),
        ("eventData", {"path": "a\x00b", "sizeBytes": 1}, "NUL"),
        ("eventData", {"path": "x" * 4_097, "sizeBytes": 1}, "<= 4096"),
        ("eventData", {"path": "a", "sizeBytes": 1, "content": "import os"}, "content"),
        ("eventData", {"path": "a"}, "sizeBytes"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(
    world: World, field: str, value: object, expected: str
) -> None:
    ada = world.person("Ada")
    event = world.event(ada, world.project("one", ada), saved(), NOW_MS)
    raw = msgspec.json.decode(wire.encode(event)) | {field: value}
    result = world.send(ada, msgspec.json.encode(raw))
    assert expected in result.errors[0].message


@pytest.mark.parametrize("path", [r"\u0000", r"\\u0000", "a\nb", "\x7f\u202e", "데브플로우.py", "x" * 4_096])
def test_any_name_a_file_can_have_is_taken_as_it_is(world: World, path: str) -> None:
    ada = world.person("Ada")
    assert world.send(ada, world.event(ada, world.project("one", ada), saved(path), NOW_MS)).success
    with world.reading() as session:
        (file,) = session.scalars(select(File))
        assert world.vault.open(files.PATH, file.path_key, file.path).decode() == path


def test_what_another_person_or_device_is_said_to_have_done_is_refused(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    one = world.project("one", ada, ben)
    laptop = world.second_device(ada)
    result = world.send(
        ada, world.event(ben, one, saved(), NOW_MS), world.event(laptop, one, saved(), NOW_MS)
    )
    assert [error.code for error in result.errors] == [ErrorCode.DEVICE, ErrorCode.DEVICE]
    disguised = msgspec.structs.replace(world.event(ada, one, saved(), NOW_MS), user_id=ben.public_id)
    assert [error.code for error in world.send(ada, disguised).errors] == [ErrorCode.PERSON]
    assert count(world, Event) == 0


def test_a_project_of_others_and_one_that_is_not_there_are_refused_alike_for_now(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    theirs = world.project("theirs", ben)
    nowhere = msgspec.structs.replace(world.event(ada, theirs, saved(), NOW_MS), project_id=uuid4())
    result = world.send(ada, world.event(ada, theirs, saved(), NOW_MS), nowhere)
    assert [(error.code, error.retryable) for error in result.errors] == [(ErrorCode.PROJECT, True)] * 2
    assert result.errors[0].message == result.errors[1].message


def test_the_same_commit_seen_on_two_pcs_is_one_event(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    one = world.project("one", ada, ben)
    deed = commit(STRANGER, "a.py")
    for member in (ada, ben):
        assert world.send(member, world.event(member, one, deed, NOW_MS)).success
    assert count(world, Event) == 1


def test_a_strangers_commit_is_nobodys_work(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    world.send(ada, *(world.event(ada, one, commit(STRANGER, "a.py"), NOW_MS + n) for n in range(3)))
    with world.reading() as session:
        assert session.scalars(select(Event.person_id)).all() == [None] * 3
        assert session.scalars(select(Cell.active_ms)).all() == [0]


def test_a_colleagues_pc_does_not_count_my_commit_as_mine_but_my_own_does(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    one = world.project("one", ada, ben)
    deed = commit(ada.author, "a.py")
    world.send(ben, world.event(ben, one, deed, NOW_MS))
    assert _people(world) == [None]
    world.send(ada, world.event(ada, one, deed, NOW_MS))
    assert _people(world) == [ada.id]
    with world.reading() as session:
        assert [(c.person_id, c.commits) for c in session.scalars(select(Cell))] == [(ada.id, 1)]


def test_an_address_told_later_claims_what_the_own_pc_sent_and_not_what_others_sent(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    one = world.project("one", ada, ben)
    key = wire.author_key("ada@home.example")
    world.send(ada, world.event(ada, one, commit(key, "a.py"), NOW_MS))
    world.send(ben, world.event(ben, one, commit(key, "b.py"), NOW_MS + HOUR_MS))
    with world.database.writing() as session:
        authors.add(session, world.by(session, ada), [bytes.fromhex(key)])
    assert _people(world) == [ada.id, None]
    with world.reading() as session:
        cells = session.scalars(select(Cell).order_by(Cell.start)).all()
        assert [(cell.person_id, cell.commits) for cell in cells] == [(ada.id, 1), (0, 1)]


def test_an_address_is_one_persons_only(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    with pytest.raises(Invalid, match="another person"), world.database.writing() as session:
        authors.add(session, world.by(session, ben), [bytes.fromhex(ada.author)])


def test_a_path_is_kept_once_however_often_it_changes(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    for n in range(3):
        world.send(ada, world.event(ada, one, commit(ada.author, "a.py", "b.py"), NOW_MS + n))
    assert count(world, File) == 2


@pytest.mark.parametrize("size", [1, 249, 250, 251, 999, 1_000])
def test_a_batch_of_any_size_is_stored_whole(world: World, size: int) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    events = [world.event(ada, one, saved(f"{number % 7}.py"), NOW_MS + number) for number in range(size)]
    assert world.send(ada, *reversed(events)).success
    with world.reading() as session:
        found = session.execute(select(Event.event_id, Event.local_id).order_by(Event.timestamp)).all()
    assert [tuple(row) for row in found] == [(UUID(each.id).bytes, each.local_id) for each in events]


def test_files_of_an_upload_that_came_to_nothing_are_found_anew(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    first, second = (world.event(ada, one, saved(path), NOW_MS) for path in ("a.py", "b.py"))

    def broken(session: Session) -> None:
        world.accept(session, ada, [first])
        raise ValueError("the disk is full")

    for _ in range(2):
        with pytest.raises(ValueError, match="full"):
            world.database.transact(broken)
    world.send(ada, second, first)
    with world.reading() as session:
        named = {
            world.vault.open(files.PATH, file.path_key, file.path).decode(): rollups.pack_files([file.id])
            for file in session.scalars(select(File))
        }
        stored = {row.event_id: row.files for row in session.execute(select(Event.event_id, Event.files))}
    assert stored == {UUID(first.id).bytes: named["a.py"], UUID(second.id).bytes: named["b.py"]}


def test_a_batch_takes_the_same_number_of_statements_whatever_its_size(
    world: World, statements: list[str]
) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    counts = []
    world.make_partitions(*(NOW_MS + start * HOUR_MS for start in range(0, 1_100, 24)))
    for start, size in ((0, 10), (100, 1_000)):
        events = [
            world.event(ada, one, commit(ada.author, f"{size}/{n}.py"), NOW_MS + (start + n) * HOUR_MS)
            for n in range(size)
        ]
        statements.clear()
        assert world.send(ada, *events).success
        counts.append(len(statements))
    assert counts[0] == counts[1]


def _people(world: World) -> list[int | None]:
    with world.reading() as session:
        return list(session.scalars(select(Event.person_id).order_by(Event.seq)))
