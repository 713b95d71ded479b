"""The audit trail: gapless whatever runs beside it, and never changed unnoticed."""

from __future__ import annotations

import itertools
import json
import logging
import random
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from devflow import audit, jobs, projects
from devflow.accounts import devices, sessions, tokens
from devflow.audit import Act, Actor, Filter, Flaw, Head
from devflow.cache import Cache
from devflow.context import Context
from devflow.errors import Invalid
from devflow.live import Hub
from devflow.models import AuditEntry, Person, Role, Workspace
from devflow.restores import Epoch
from devflow.rollups.slicing import Slicer
from tests.build import NOW_MS, Member, World, saved

SERVER_ID: Final = UUID(int=7)


def entries(world: World) -> list[AuditEntry]:
    with world.reading() as session:
        return list(session.scalars(select(AuditEntry).order_by(AuditEntry.id)))


def flaw(world: World) -> Flaw | None:
    with world.reading() as session:
        return audit.verify(session, world.vault)


def write(world: World, count: int, who: Member | None = None) -> None:
    """So many entries, each of an act of its own, with the subject and detail that entries have."""
    for number in range(count):
        with world.database.writing() as session:
            audit.record(session, world.by(session, who), Act.PROJECT_MADE, uuid4(), number=number)


# Written with the act, and only with it


def test_an_entry_says_who_did_what_to_whom_and_when(world: World) -> None:
    ada, subject = world.person("Ada"), uuid4()
    with world.database.writing() as session:
        audit.record(session, world.by(session, ada), Act.PROJECT_MADE, subject, role=Role.LEAD, of=subject)
    entry = entries(world)[-1]
    assert (entry.at, entry.actor, entry.act, entry.subject) == (
        NOW_MS,
        ada.public_id,
        "project.made",
        subject,
    )
    assert (entry.is_refused, json.loads(entry.detail)) == (False, {"role": "lead", "of": str(subject)})
    assert flaw(world) is None


def test_an_act_that_fails_leaves_no_entry_and_no_gap(world: World) -> None:
    write(world, 2)
    with pytest.raises(ZeroDivisionError), world.database.writing() as session:
        audit.record(session, world.by(session), Act.PROJECT_MADE)
        raise ZeroDivisionError
    write(world, 1)
    assert [entry.id for entry in entries(world)] == [1, 2, 3]
    assert flaw(world) is None


def test_a_savepoint_that_is_rolled_back_takes_its_entries_along_and_no_others(world: World) -> None:
    with world.database.writing() as session:
        by = world.by(session)
        audit.record(session, by, Act.PROJECT_MADE, n=1)
        with session.begin_nested():
            audit.record(session, by, Act.PROJECT_MADE, n=2)
        with session.begin_nested() as outer:
            audit.record(session, by, Act.PROJECT_MADE, n=3)
            with session.begin_nested():
                audit.record(session, by, Act.PROJECT_MADE, n=4)
            outer.rollback()
        audit.record(session, by, Act.PROJECT_MADE, n=5)
    assert [json.loads(entry.detail)["n"] for entry in entries(world)] == [1, 2, 5]
    assert flaw(world) is None


def test_a_transaction_that_is_tried_again_leaves_one_entry(world: World) -> None:
    attempts = itertools.count()

    def work(session: Session) -> None:
        audit.record(session, world.by(session), Act.PROJECT_MADE)
        if next(attempts) == 0:
            passing = Exception()
            passing.sqlstate = "40001"  # type: ignore[attr-defined]
            raise DBAPIError("", {}, passing)

    world.database.transact(work)
    assert len(entries(world)) == 1


def test_acts_of_all_kinds_at_once_make_one_gapless_trail_and_nobody_waits_in_a_circle(world: World) -> None:
    """Also where acts are put together so that one records before the other has taken its locks."""
    people = [world.person(name, Role.MANAGER) for name in ("Ada", "Ben", "Cem")]
    one = world.project("one", *people)
    conflicting = {member: world.event(member, one, saved(), NOW_MS) for member in people}
    for member, event in conflicting.items():
        world.send(member, event)
    began = len(entries(world))
    attempts, names, broken = itertools.count(), itertools.count(), itertools.count()

    def once(work: Callable[[Session], object]) -> Callable[[], object]:
        """Count how often it is tried: a deadlock would be tried again."""

        def counted(session: Session) -> object:
            next(attempts)
            return work(session)

        return lambda: world.database.transact(counted)

    def conflict(member: Member) -> Callable[[Session], object]:
        changed = replace_path(conflicting[member])
        return lambda session: world.accept(session, member, [changed])

    def sign_in(member: Member) -> Callable[[Session], object]:
        return lambda session: sessions.begin(
            session, world.by(session), session.get_one(Person, member.id), "a browser"
        )

    def log_in(member: Member) -> Callable[[Session], object]:
        def work(session: Session) -> object:
            person = session.get_one(Person, member.id)
            by = Actor(person, NOW_MS, world.vault)
            device = devices.enrol(session, by, person, uuid4(), "PC")
            tokens.issue(session, by, person, device, SERVER_ID)
            return conflict(member)(session)  # which locks the person, as others do before they record

        return work

    def make(member: Member) -> Callable[[Session], object]:
        return lambda session: projects.create(session, world.by(session, member), f"p{next(names)}")

    def fail(member: Member) -> Callable[[Session], object]:
        def work(session: Session) -> object:
            audit.record(session, world.by(session, member), Act.PROJECT_MADE)
            raise Invalid(f"no {next(broken)}")

        return work

    kinds = {conflict: 1, sign_in: 1, log_in: 3, make: 1, fail: 0}
    chosen = [(kind, member) for kind in kinds for member in people for _ in range(8)]
    random.Random(5).shuffle(chosen)
    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(once(kind(member))) for kind, member in chosen]
    failed = [each.exception() for each in done if each.exception() is not None]
    assert {type(each) for each in failed} == {Invalid}
    assert len(failed) == 24
    assert next(attempts) == len(chosen)
    found = entries(world)
    assert [entry.id for entry in found] == list(range(1, len(found) + 1))
    assert len(found) - began == sum(kinds[kind] for kind, _ in chosen)
    assert flaw(world) is None


def replace_path(event: Any) -> Any:
    """The event with another content under the same id."""
    return type(event)(
        **{name: getattr(event, name) for name in event.__struct_fields__ if name != "timestamp"},
        timestamp=event.timestamp + 1,
    )


def test_a_conflict_of_many_events_is_one_small_entry(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    events = [world.event(ada, one, saved(), NOW_MS) for _ in range(30)]
    world.send(ada, *events)
    world.send(ada, *(replace_path(event) for event in events))
    detail = json.loads(entries(world)[-1].detail)
    assert (detail["count"], len(detail["events"])) == (30, 20)


# Append-only


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET detail = '{}'",
        "UPDATE audit SET at = at + 1 WHERE id = 2",
        "DELETE FROM audit WHERE id = 3",
        "DELETE FROM audit",
    ],
)
def test_the_database_refuses_to_change_or_delete_entries(world: World, statement: str) -> None:
    write(world, 3)
    with pytest.raises(DBAPIError, match="append-only"), world.database.writing() as session:
        session.execute(text(statement))
    assert (len(entries(world)), flaw(world)) == (3, None)


@pytest.mark.parametrize(
    ("backend", "statement"),
    [
        ("postgres", "TRUNCATE audit"),
        ("postgres", "TRUNCATE audit CASCADE"),
        (
            "postgres",
            "INSERT INTO audit SELECT * FROM audit ON CONFLICT (id) DO UPDATE SET detail = '{}'",
        ),
        ("sqlite", "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE id = 2"),
        (
            "sqlite",
            "INSERT OR REPLACE INTO audit (rowid, id, at, act, is_refused, detail, hash) "
            "VALUES (2, 9, 0, 'x', 0, '', x'00')",
        ),
    ],
)
def test_the_database_refuses_what_would_delete_in_passing(world: World, statement: str) -> None:
    write(world, 3)
    with pytest.raises(DBAPIError, match="append-only"), world.database.writing() as session:
        session.execute(text(statement))
    assert (len(entries(world)), flaw(world)) == (3, None)


# Tampering, with the triggers gone


@dataclass(frozen=True)
class Tampering:
    """One random change, by somebody who can write the database and knows its older states."""

    chance: random.Random
    session: Session
    count: int
    ends: list[dict[str, Any]]  # what the workspace said at each number of entries

    def any_id(self) -> int:
        return self.chance.randrange(1, self.count + 1)

    def row(self, number: int) -> dict[str, Any]:
        row = self.session.execute(select(AuditEntry.__table__).where(AuditEntry.id == number)).one()
        return dict(row._mapping)

    def set(self, number: int, **values: Any) -> None:
        self.session.execute(update(AuditEntry).where(AuditEntry.id == number).values(**values))

    def set_end(self, **values: Any) -> None:
        self.session.execute(update(Workspace).values(**values))

    def change_a_column(self) -> None:
        number = self.any_id()
        row = self.row(number)
        column = self.chance.choice(sorted(row.keys() - {"id"}))
        others: dict[str, Any] = {
            "at": row["at"] + self.chance.choice([-1, 1, 86_400_000]),
            "actor": self.chance.choice([uuid4(), row["subject"] if row["actor"] is None else None]),
            "act": self.chance.choice(sorted(set(Act) - {row["act"]})),
            "subject": self.chance.choice([uuid4(), None, row["actor"] or uuid4()]),
            "person": self.chance.choice([uuid4(), row["subject"] or uuid4()]),
            "is_refused": not row["is_refused"],
            "detail": row["detail"].replace("number", "numbed") + self.chance.choice(["", " ", "\n"]) + " ",
            "hash": bytes(reversed(row["hash"])),
        }
        self.set(number, **{column: others[column]})

    def delete_first(self) -> None:
        self.session.execute(delete(AuditEntry).where(AuditEntry.id == 1))

    def delete_one(self) -> None:
        self.session.execute(delete(AuditEntry).where(AuditEntry.id == self.any_id()))

    def delete_one_and_close_the_gap(self) -> None:
        number = self.any_id()
        self.session.execute(delete(AuditEntry).where(AuditEntry.id == number))
        for later in range(number + 1, self.count + 1):
            self.set(later, id=later - 1)
        if self.chance.random() < 0.5:
            self.set_end(audit_count=self.count - 1)

    def cut_the_tail(self) -> None:
        kept = self.chance.randrange(self.count)
        self.session.execute(delete(AuditEntry).where(AuditEntry.id > kept))
        for name in self.chance.sample(["audit_count", "audit_head"], self.chance.randrange(3)):
            self.set_end(**{name: self.ends[kept][name]})

    def add_to_the_end(self) -> None:
        row = self.row(self.any_id()) | {"id": self.count + 1}
        row["hash"] = self.chance.choice(
            [row["hash"], self.ends[-1]["audit_head"], self.chance.randbytes(32)]
        )
        self.session.execute(insert(AuditEntry).values(row))
        for name, value in (("audit_count", row["id"]), ("audit_head", row["hash"])):
            if self.chance.random() < 0.5:
                self.set_end(**{name: value})

    def add_before_the_start(self) -> None:
        row = self.row(self.any_id()) | {"id": self.chance.choice([0, -1, -(2**40)])}
        self.session.execute(insert(AuditEntry).values(row))

    def add_far_behind(self) -> None:
        row = self.row(self.any_id()) | {"id": self.count + self.chance.randrange(2, 10**9)}
        self.session.execute(insert(AuditEntry).values(row))

    def insert_between(self) -> None:
        number = self.any_id()
        row = self.row(number)
        for later in range(self.count, number - 1, -1):
            self.set(later, id=later + 1)
        self.session.execute(insert(AuditEntry).values(row | {"detail": "{}"}))
        self.set_end(audit_count=self.count + 1)

    def swap_two(self) -> None:
        one, other = self.chance.sample(range(1, self.count + 1), 2)
        first, second = self.row(one), self.row(other)
        keep = {"id"} if self.chance.random() < 0.5 else {"id", "hash"}
        self.set(one, **{name: value for name, value in second.items() if name not in keep})
        self.set(other, **{name: value for name, value in first.items() if name not in keep})

    def renumber(self) -> None:
        number = self.any_id()
        for later in range(self.count, number - 1, -1):
            self.set(later, id=later + 1)

    def roll_the_end_back(self) -> None:
        self.set_end(**self.ends[self.chance.randrange(self.count)])

    def change_the_end(self) -> None:
        name = self.chance.choice(["audit_count", "audit_head", "audit_seal"])
        self.set_end(**{name: self.ends[self.chance.randrange(self.count)][name]})

    def empty_all(self) -> None:
        self.session.execute(delete(AuditEntry))
        self.set_end(audit_count=0, audit_head=audit.FIRST)


KINDS: Final = tuple(
    name
    for name, kind in vars(Tampering).items()
    if callable(kind) and not name.startswith("_") and name not in ("any_id", "row", "set", "set_end")
)


def ends_of(world: World, count: int) -> list[dict[str, Any]]:
    """Write so many entries; return what the workspace said before the first and after each."""

    def end() -> dict[str, Any]:
        columns = (Workspace.audit_count, Workspace.audit_head, Workspace.audit_seal)
        with world.reading() as session:
            return dict(session.execute(select(*columns)).one()._mapping)

    found = [end()]
    for _ in range(count):
        write(world, 1)
        found.append(end())
    return found


def drop_triggers(world: World) -> None:
    with world.database.writing() as session:
        if world.database.is_sqlite:
            for name in session.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
                session.execute(text(f"DROP TRIGGER {name}"))
        else:
            session.execute(text("DROP TRIGGER audit_append_only ON audit"))


def test_every_one_of_many_random_tamperings_is_found(world: World) -> None:
    ends = ends_of(world, 9)
    drop_triggers(world)
    chance = random.Random(20_261_119)
    unnoticed = []
    for number in range(40 * len(KINDS)):
        kind = KINDS[number % len(KINDS)]
        with Session(world.database.engine) as session:
            getattr(Tampering(chance, session, 9, ends), kind)()
            if audit.verify(session, world.vault) is None:
                unnoticed.append((number, kind))
            session.rollback()
    assert unnoticed == []
    assert len(KINDS) >= 14
    assert flaw(world) is None


@pytest.mark.parametrize("backend", ["sqlite"])  # PostgreSQL holds columns to their types
@pytest.mark.parametrize(
    "change",
    [
        "actor = 'nobody'",
        "subject = x'00'",
        "detail = CAST(detail AS BLOB)",
        "act = 7",
        "at = 'yesterday'",
        "id = 'four'",
        "id = 4.5",
        "hash = 'text'",
    ],
)
def test_what_no_column_should_hold_is_a_flaw_and_no_fault(world: World, change: str) -> None:
    write(world, 5, world.person("Ada"))
    drop_triggers(world)
    with world.database.writing() as session:
        session.execute(text(f"UPDATE audit SET {change} WHERE id = 4"))  # noqa: S608
    assert isinstance(flaw(world), Flaw)


def test_an_old_copy_put_back_whole_is_found_by_an_end_that_was_written_down(world: World) -> None:
    ends = ends_of(world, 6)
    with world.reading() as session:
        noted = audit.head(session)
    drop_triggers(world)
    with world.database.writing() as session:
        session.execute(delete(AuditEntry).where(AuditEntry.id > 4))
        session.execute(update(Workspace).values(**ends[4]))
    with world.reading() as session:
        assert audit.examine(session, world.vault) == Head(4, ends[4]["audit_head"])
        found = audit.examine(session, world.vault, noted)
        assert isinstance(found, Flaw)
        assert found.what == "expected at least 6 entries, found 4"
    write(world, 2)  # so many again, but others
    with world.reading() as session:
        found = audit.examine(session, world.vault, noted)
        assert isinstance(found, Flaw)
        assert found.what == "entry 6 is not the one that was written down"


def test_an_end_written_down_earlier_stays_good_as_the_trail_grows(world: World) -> None:
    write(world, 3)
    with world.reading() as session:
        noted = audit.head(session)
    write(world, 3)
    with world.reading() as session:
        assert audit.examine(session, world.vault, noted) == audit.head(session)
        assert audit.examine(session, world.vault, Head(0, audit.FIRST)) == audit.head(session)


def test_the_first_flaw_is_the_one_that_is_told(world: World) -> None:
    write(world, 8)
    drop_triggers(world)
    with world.database.writing() as session:
        session.execute(update(AuditEntry).where(AuditEntry.id.in_([3, 6])).values(at=0))
    found = flaw(world)
    assert found is not None
    assert (found.id, found.what) == (3, "entry 3 is not what was written, or not after entry 2")


def test_entries_that_are_written_during_a_walk_are_no_flaw(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_STEP", 7)
    write(world, 20)
    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, world, 30) for _ in range(2)]
        walks = [pool.submit(flaw, world) for _ in range(30)]
    for writer in writers:
        writer.result()
    assert {walk.result() for walk in walks} == {None}
    assert flaw(world) is None


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_walk_takes_no_more_memory_for_a_longer_trail(world: World) -> None:
    def peak() -> int:
        tracemalloc.start()
        assert flaw(world) is None
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    def grow() -> None:
        with world.database.writing() as session:
            for number in range(3_000):
                audit.record(session, world.by(session), Act.PROJECT_MADE, uuid4(), number=number)

    grow()
    flaw(world)
    short = peak()
    grow()
    grow()
    assert peak() < 1.5 * short


# The job


def context_of(world: World, now_ms: int) -> Context:
    settings: Any = None
    throttle: Any = None
    return Context(
        settings,
        world.database,
        SERVER_ID,
        Epoch(SERVER_ID),
        world.vault,
        throttle,
        lambda: now_ms,
        world.intake,
        Cache(world.vault),
        Slicer(world.database),
        Hub(world.database, lambda: now_ms),
    )


def test_the_job_walks_once_a_day_and_logs_the_end(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "devflow.anchors")
    write(world, 3)
    with world.reading() as session:
        end = audit.head(session)
    assert jobs.examine_trail(context_of(world, NOW_MS)) == end
    assert jobs.examine_trail(context_of(world, NOW_MS + jobs.DAY_MS - 1)) is None
    assert jobs.examine_trail(context_of(world, NOW_MS + jobs.DAY_MS)) == end
    said = [record.message for record in caplog.records]
    assert said == [f"the audit trail is whole: 3 entries, head 3:{end.hash.hex()}"] * 2


def test_the_job_logs_an_error_and_keeps_the_flaw_until_it_is_mended(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    write(world, 3)
    drop_triggers(world)
    with world.database.writing() as session:
        session.execute(update(AuditEntry).where(AuditEntry.id == 2).values(is_refused=True))

    def kept() -> tuple[int | None, str | None]:
        with world.reading() as session:
            workspace = session.get_one(Workspace, 1)
            return workspace.audit_examined_at, workspace.audit_flaw

    assert isinstance(jobs.examine_trail(context_of(world, NOW_MS)), Flaw)
    assert kept() == (NOW_MS, "entry 2 is not what was written, or not after entry 1")
    (record,) = caplog.records
    assert (record.levelname, record.message) == (
        "ERROR",
        "the audit trail is broken: entry 2 is not what was written, or not after entry 1",
    )
    with world.database.writing() as session:
        session.execute(update(AuditEntry).where(AuditEntry.id == 2).values(is_refused=False))
    jobs.examine_trail(context_of(world, NOW_MS + jobs.DAY_MS))
    assert kept() == (NOW_MS + jobs.DAY_MS, None)


# Reading


def test_entries_are_found_by_each_filter_and_in_pages(world: World) -> None:
    ada, subject = world.person("Ada"), uuid4()
    for number in range(6):
        with world.database.writing() as session:
            by = Actor(session.get_one(Person, ada.id) if number % 2 else None, NOW_MS + number, world.vault)
            audit.record(
                session, by, Act.PROJECT_MADE, subject if number < 3 else None, is_refused=number == 4
            )
    base = len(entries(world)) - 6

    def found(which: Filter, before: int | None = None, limit: int = 100) -> list[int]:
        with world.reading() as session:
            return [e.id - base for e in audit.entries(session, which, before, limit) if e.id > base]

    assert found(Filter(), limit=2) == [6, 5]
    assert found(Filter(), before=base + 5, limit=2) == [4, 3]
    assert found(Filter(actor=ada.public_id)) == [6, 4, 2]
    assert found(Filter(subject=subject)) == [3, 2, 1]
    assert found(Filter(since_ms=NOW_MS + 2, until_ms=NOW_MS + 4)) == [4, 3]
    assert found(Filter(act=Act.PROJECT_MADE, refused_only=True)) == [5]
    with world.reading() as session:
        assert [e.id - base for e in audit.entries(session, Filter(subject=subject), base + 3, 1)] == [2]
        between = audit.entries_between(session, Filter(subject=subject), base + 1, base + 2)
        assert [e.id - base for e in between] == [2]
        assert session.scalar(select(func.count()).select_from(AuditEntry)) == base + 6
