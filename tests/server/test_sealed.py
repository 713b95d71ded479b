"""Sealing rows anew: no column is forgotten, no row is lost, and nobody who reads notices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import LargeBinary, func, inspect, select, update
from sqlalchemy.orm import Session

from devflow import crypto, keys, sealed
from devflow.audit import Actor
from devflow.crypto import Vault
from devflow.ingest.rows import DATA
from devflow.keys import Purpose
from devflow.models import Base, Event, File, Person, Project, Role, SecondFactor
from devflow.sealed import SEALED, Resealing
from devflow.wire import ErrorCode
from tests.build import HOUR_MS, NOW_MS, Member, World, commit, saved

# Every binary column that is not sealed, and why it need not be.
NOT_SEALED = {
    "workspace.kdf_salt": "random",
    "workspace.audit_head": "a keyed hash",
    "workspace.audit_seal": "a keyed hash",
    "keys.sealed": "sealed by the wrapping key, and anew when the secret changes",
    "people.email_key": "a keyed hash",
    "person_authors.author_key": "a keyed hash",
    "recovery_codes.code_hash": "the hash of a random code",
    "links.token_hash": "the hash of a random token",
    "sessions.token_hash": "the hash of a random token",
    "refresh_tokens.token_hash": "the hash of a random token",
    "pairings.secret_hash": "the hash of a random token",
    "pairings.code_hash": "the hash of a random code",
    "audit.hash": "a keyed hash",
    "files.path_key": "a keyed hash",
    "events.event_id": "a random id, or a keyless hash of public facts",
    "events.author_key": "a keyed hash",
    "events.files": "row numbers",
    "cells.files": "row numbers",
    "slices.files": "row numbers",
    "next_cells.files": "row numbers",
    "kept_answers.key": "the hash of a question",
    "kept_answers.value": "numbers, under our signature",
}


def test_every_binary_column_is_in_the_table_of_sealed_ones_or_named_as_none() -> None:
    binary = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }
    listed = [each.field for each in SEALED]
    assert len(set(listed)) == len(listed)
    assert not set(listed) & set(NOT_SEALED)
    assert set(listed) | set(NOT_SEALED) == binary


def test_the_table_names_each_column_as_it_is_and_a_key_that_is_one_number() -> None:
    for each in SEALED:
        table = each.model.__table__
        assert each.field == f"{table.name}.{each.column.key}"
        assert [column.name for column in inspect(each.model).primary_key] == [each.key.key]


@pytest.fixture
def admin(world: World) -> Member:
    return world.person("Ada", Role.ADMIN)


@pytest.fixture
def project(world: World, admin: Member) -> Project:
    """A project with something in every sealed column."""
    project = world.project("atlas", admin)
    report(world, admin, project, 30)
    with world.database.writing() as session:
        text = world.vault.seal(sealed.SECRET, admin.public_id.bytes, b"JBSWY3DPEHPK3PXP")
        session.add(SecondFactor(person_id=admin.id, secret=text, confirmed_at=NOW_MS, last_step=0))
    return project


def report(world: World, member: Member, project: Project, count: int) -> None:
    world.report(member, project, *((NOW_MS - n, saved(f"src/part{n}.py")) for n in range(count)))


def rotate(world: World, member: Member) -> None:
    world.database.transact(lambda session: keys.rotate(session, world.by(session, member), Purpose.FIELDS))


def run(world: World, resealing: Resealing, now_ms: int = NOW_MS) -> int:
    """Until there is no more to do now; return the steps it took."""
    steps = 1
    while sealed.step(world.database, Actor(None, now_ms, world.vault), resealing):
        steps += 1
    return steps


def prefixes(world: World) -> dict[str, set[int]]:
    """The ids of keys that each column is sealed with; -1 stands for an empty one."""
    with world.reading() as session:
        return {
            each.field: {
                int.from_bytes(text[:4], "big") if text else -1
                for text in session.scalars(select(each.column))
            }
            for each in SEALED
        }


def opened(world: World) -> dict[str, dict[int, bytes]]:
    """What every sealed row says, which fails if one does not open."""
    with world.reading() as session:
        return {each.field: dict(_open(session, world.vault, each)) for each in SEALED}


def _open(session: Session, vault: Vault, each: sealed.Sealed) -> Iterator[tuple[int, bytes]]:
    for number, row, text in session.execute(each.rows()):
        bound = row.bytes if isinstance(row, UUID) else row
        yield number, vault.open(each.field, bound, text) if text else b""


def test_all_four_columns_are_sealed_anew_and_say_the_same(
    world: World, admin: Member, project: Project
) -> None:
    before = opened(world)
    assert all(before.values()) and set().union(*prefixes(world).values()) == {1}
    rotate(world, admin)
    resealing = Resealing()
    run(world, resealing)
    assert set().union(*prefixes(world).values()) == {4}
    assert opened(world) == before
    assert resealing.damaged == 0


def test_an_erased_event_stays_empty(world: World, admin: Member, project: Project) -> None:
    with world.database.writing() as session:
        session.execute(update(Event).where(Event.seq == 3).values(data=b""))
    rotate(world, admin)
    run(world, Resealing())
    assert prefixes(world)["events.data"] == {4, -1}
    with world.reading() as session:
        assert session.scalars(select(Event.seq).where(Event.data == b"")).all() == [3]


def test_it_is_finished_after_being_killed_at_any_step(
    world: World, admin: Member, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "CHUNK", 4)
    monkeypatch.setattr(sealed, "WINDOW", 7)
    before = opened(world)
    for survived in range(1, 12):
        rotate(world, admin)
        resealing = Resealing()
        for _ in range(survived):
            sealed.step(world.database, Actor(None, NOW_MS, world.vault), resealing)
        assert opened(world) == before
        run(world, Resealing())  # another process: it knows nothing of how far the first one came
        assert set().union(*prefixes(world).values()) == {world.vault.current}
        assert opened(world) == before


def test_what_is_done_is_gone_past_without_being_written(
    world: World, admin: Member, project: Project, statements: list[str]
) -> None:
    rotate(world, admin)
    run(world, Resealing())
    statements.clear()
    run(world, Resealing())
    assert [text for text in statements if text.startswith("UPDATE")] == []


def test_a_row_that_is_damaged_is_left_named_and_keeps_its_key(
    world: World, admin: Member, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    with world.database.writing() as session:
        row = session.get_one(File, 5)
        row.path = row.path[:-1] + bytes([row.path[-1] ^ 1])
        path_key = row.path_key
    rotate(world, admin)
    resealing = Resealing()
    run(world, resealing)
    assert resealing.damaged == 1
    assert path_key.hex() in caplog.text and "src/part" not in caplog.text
    found = prefixes(world)
    assert (found.pop("files.path"), set().union(*found.values())) == ({1, 4}, {4})
    run(world, resealing, NOW_MS + 5 * HOUR_MS)
    assert set(world.vault.ring.fields) == {1, 4}
    with world.reading() as session:
        assert [key.id for key in keys.listed(session)][:2] == [4, 1]
    assert run(world, resealing, NOW_MS + 5 * HOUR_MS + 1) == 1, "it should rest, not look all the time"


def test_one_damaged_event_refuses_itself_and_is_asked_for_again(world: World, admin: Member) -> None:
    project = world.project("atlas", admin)
    events = [world.event(admin, project, saved(f"{n}.py"), NOW_MS) for n in range(3)]
    assert world.send(admin, *events).success
    with world.database.writing() as session:
        session.execute(update(Event).where(Event.seq == 2).values(data=crypto.prefix(1) + bytes(60)))
    new = world.event(admin, project, commit(admin.author), NOW_MS)
    result = world.send(admin, *events, new)
    damaged = [event.id for event in events if event.id not in result.synced_ids]
    assert [(error.id, error.code, error.retryable) for error in result.errors] == [
        (damaged[0], ErrorCode.DAMAGED, True)
    ]
    assert len(result.synced_ids) == 3 and new.id in result.synced_ids
    with world.reading() as session:
        assert session.scalar(select(func.count()).select_from(Event)) == 4


def test_how_much_is_left_falls_to_nothing_and_is_never_said_too_low(
    world: World, admin: Member, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "CHUNK", 5)
    rotate(world, admin)
    resealing = Resealing()

    def old_rows(session: Session) -> int:
        counts = (select(func.count()).where(each.is_with([1])) for each in SEALED)
        return sum(session.scalar(count) or 0 for count in counts)

    said = []
    while True:
        with world.reading() as session:
            said.append(resealing.left(session, world.vault))
            assert said[-1] >= old_rows(session)
        if not sealed.step(world.database, Actor(None, NOW_MS, world.vault), resealing):
            break
    assert said[0] >= 62 and said[-1] == 0
    assert said == sorted(said, reverse=True)


@pytest.mark.parametrize("backend", ["postgres"])  # on SQLite a writer holds all rows at once
def test_a_row_somebody_holds_is_left_for_later_and_not_waited_for(
    world: World, admin: Member, project: Project
) -> None:
    rotate(world, admin)
    resealing = Resealing()
    with world.database.writing() as session:
        session.get_one(Person, admin.id, with_for_update=True)
        for _ in range(2 * len(SEALED)):
            sealed.step(world.database, Actor(None, NOW_MS, world.vault), resealing)
        assert prefixes(world) == {
            "people.email": {1},
            "second_factors.secret": {4},
            "files.path": {4},
            "events.data": {4},
        }
    run(world, resealing)
    assert prefixes(world)["people.email"] == {4}


def test_two_thousand_rows_are_sealed_anew_under_readers_and_uploads(world: World, admin: Member) -> None:
    rotate_under_load(world, admin, world.project("atlas", admin), rows=2_000)


def rotate_under_load(world: World, admin: Member, project: Project, rows: int) -> None:
    """Rotate while readers open rows all the time and a PC sends more; none may fail, none be lost."""
    for start in range(0, rows, 1_000):
        world.report(
            admin,
            project,
            *((NOW_MS - n * 1_000, saved(f"src/{n % 977}.py")) for n in range(start, start + 1_000)),
        )
    done = threading.Event()
    reads: list[int] = []

    def read(number: int) -> None:
        while not done.is_set():
            reads.append(read_some(world, number * 977 + len(reads) * 31, rows))

    def send() -> int:
        sent = 0
        while not done.is_set():
            world.report(admin, project, *((NOW_MS + sent + n, saved("src/late.py")) for n in range(50)))
            sent += 50
        return sent

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read, number) for number in range(2)]
        sender = pool.submit(send)
        try:
            rotate(world, admin)
            run(world, Resealing())
        finally:
            done.set()
        for reader in readers:
            reader.result()
        sent = sender.result()
    assert len(reads) > 10 and sent
    run(world, Resealing())
    assert set().union(*prefixes(world).values()) == {4}
    assert len(opened(world)["events.data"]) == rows + sent


def read_some(world: World, start: int, rows: int) -> int:
    """Open some rows in the middle of it all; raise Damaged if one cannot be read."""
    first = start % rows
    with world.reading() as session:
        query = select(Event.event_id, Event.data).where(Event.seq.between(first, first + 50))
        found = session.execute(query).all()
        for row in found:
            assert b'"path"' in world.vault.open(DATA, row.event_id, row.data)
    return len(found)
