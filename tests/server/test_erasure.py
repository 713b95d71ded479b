"""Deletion of a person: asked for, taken back, carried out; what goes, and what has to stay as it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select

from devflow import audit
from devflow.accounts import erasure, passwords, people, sessions
from devflow.accounts.erasure import WAIT_MS
from devflow.audit import Act
from devflow.errors import Invalid, NotFound, Unauthorized
from devflow.models import (
    BrowserSession,
    Cell,
    DeletionRequest,
    Device,
    Event,
    Grant,
    Link,
    Pairing,
    Person,
    PersonAuthor,
    Project,
    ProjectMember,
    RecoveryCode,
    RefreshToken,
    Role,
    SecondFactor,
    SharedSetting,
    Slice,
    TeamMember,
)
from devflow.rollups import Calendar
from tests.build import DAY_MS, HOUR_MS, MINUTE_MS, NOW_MS, Member, World, commit, saved
from tests.server.test_concurrency import add_authors, wait_for_a_lock
from tests.server.test_links import act, later, make_reset, trail
from tests.server.test_tokens import issue

NAME = "Quetzalcoatlina"


def ask(world: World, member: Member) -> int:
    due_at: int = act(world, member, lambda session, by: erasure.ask(session, by).due_at)
    return due_at


def withdraw(world: World, member: Member) -> None:
    act(world, member, erasure.withdraw)


def confirm(world: World, admin: Member, member: Member) -> None:
    act(world, admin, lambda session, by: erasure.confirm(session, by, member.public_id))


def advance(world: World) -> int:
    """Carry out what is due, as the job does; return the number of steps."""
    steps = 0
    while act(world, None, erasure.advance):
        steps += 1
    return steps


def erase(world: World, admin: Member, member: Member) -> None:
    ask(world, member)
    confirm(world, admin, member)
    assert advance(world)


def cells(world: World) -> list[Any]:
    with world.reading() as session:
        rows = (session.execute(select(table.__table__)) for table in (Cell, Slice))
        return [sorted(tuple(row) for row in some) for some in rows]


def events(world: World) -> Sequence[Event]:
    with world.reading() as session:
        return session.scalars(select(Event).order_by(Event.seq)).all()


def is_erased(world: World, member: Member) -> bool:
    with world.reading() as session:
        return session.get_one(Person, member.id).erased_at is not None


def working_team(world: World) -> tuple[Member, Member, Member, Project]:
    """An admin; somebody with work, some of it told by a colleague's PC alone; and the colleague."""
    ada, eve, bob = world.person("Ada", Role.ADMIN), world.person(NAME), world.person("Bob")
    project = world.project("atlas", ada, eve, bob)
    world.report(eve, project, *((NOW_MS - n * 7 * MINUTE_MS, saved(f"src/{n % 5}.py")) for n in range(40)))
    world.report(eve, project, (NOW_MS - DAY_MS, commit(eve.author, "a.py", "b.py", insertions=9)))
    world.report(bob, project, (NOW_MS - 2 * DAY_MS, commit(eve.author, "c.py", insertions=5, deletions=2)))
    world.report(bob, project, (NOW_MS - HOUR_MS, commit(bob.author, "b.py")), (NOW_MS, saved("src/1.py")))
    world.refresh()
    return ada, eve, bob, project


def test_a_request_is_due_after_thirty_days_and_can_be_taken_back_until_then(world: World) -> None:
    world.person("Ada", Role.ADMIN)
    eve = world.person("Eve")
    assert ask(world, eve) == NOW_MS + 30 * DAY_MS
    assert ask(later(world, DAY_MS), eve) == NOW_MS + 30 * DAY_MS
    withdraw(world, eve)
    with pytest.raises(NotFound):
        withdraw(world, eve)
    assert advance(later(world, WAIT_MS)) == 0
    assert not is_erased(world, eve)
    subjects = [[e.subject for e in trail(world, a)] for a in (Act.DELETION_ASKED, Act.DELETION_WITHDRAWN)]
    assert subjects == [[eve.public_id], [eve.public_id]]


def test_a_request_is_carried_out_by_itself_when_it_is_due(world: World) -> None:
    world.person("Ada", Role.ADMIN)
    eve, bob = world.person("Eve"), world.person("Bob")
    ask(world, eve)
    assert advance(later(world, WAIT_MS - 1)) == 0
    advance(later(world, WAIT_MS))
    assert (is_erased(world, eve), is_erased(world, bob)) == (True, False)
    (entry,) = trail(world, Act.PERSON_ERASED)
    assert (entry.actor, entry.subject) == (None, eve.public_id)


def test_only_another_admin_confirms_and_only_for_who_asked_or_is_deactivated(world: World) -> None:
    ada, lead, eve = world.person("Ada", Role.ADMIN), world.person("Lea", Role.MANAGER), world.person("Eve")
    world.person("Bea", Role.ADMIN)
    world.team("core", {lead: Role.MANAGER, eve: Role.DEVELOPER})
    for member in (eve, ada):
        ask(world, member)
    for member in (lead, eve):
        with pytest.raises(NotFound):
            confirm(world, member, eve)
    with pytest.raises(Invalid, match="another administrator"):
        confirm(world, ada, ada)
    with pytest.raises(Invalid, match="who asked to be deleted"):
        confirm(world, ada, lead)
    act(world, ada, lambda s, by: people.deactivate(s, by, lead.public_id))
    confirm(world, ada, lead)
    confirm(world, ada, eve)
    advance(world)
    assert [is_erased(world, member) for member in (ada, lead, eve)] == [False, True, True]
    asked = {entry.subject: entry.detail for entry in trail(world, Act.DELETION_CONFIRMED)}
    assert asked == {lead.public_id: '{"was_asked":false}', eve.public_id: '{"was_asked":true}'}


def test_the_last_active_admin_cannot_ask_and_is_not_erased_when_due(world: World) -> None:
    ada, bea, eve = world.person("Ada", Role.ADMIN), world.person("Bea", Role.ADMIN), world.person("Eve")
    ask(world, ada)
    act(world, ada, lambda s, by: people.deactivate(s, by, bea.public_id))
    ask(world, eve)
    advance(later(world, WAIT_MS))
    assert (is_erased(world, ada), is_erased(world, eve)) == (False, True)
    withdraw(world, ada)
    with pytest.raises(Invalid, match="last one"):
        ask(world, ada)
    act(world, ada, lambda s, by: people.reactivate(s, by, bea.public_id))
    ask(world, ada)
    advance(later(world, WAIT_MS))
    assert is_erased(world, ada)


def test_of_two_admins_who_are_due_at_once_one_stays(world: World) -> None:
    ada, bea = world.person("Ada", Role.ADMIN), world.person("Bea", Role.ADMIN)
    ask(world, ada)
    ask(world, bea)
    due = later(world, WAIT_MS)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(advance, due) for _ in range(4)]:
            done.result()
    assert [is_erased(world, ada), is_erased(world, bea)] == [True, False]


def test_whoever_is_being_deleted_is_not_let_in_again(world: World) -> None:
    ada, eve = world.person("Ada", Role.ADMIN), world.person("Eve")
    ask(world, eve)
    confirm(world, ada, eve)
    with pytest.raises(Invalid, match="being deleted"):
        act(world, ada, lambda s, by: people.reactivate(s, by, eve.public_id))


def test_every_total_of_every_window_stays_exactly_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, eve, _, _ = working_team(world)
    before = cells(world)
    monkeypatch.setattr(erasure, "STEP", 10)
    ask(world, eve)
    confirm(world, ada, eve)
    assert advance(world) == len(events(world)) // 10 + 1
    assert cells(world) == before
    world.refresh()
    assert cells(world) == before
    world.adopt(Calendar(ZoneInfo("Asia/Kathmandu"), MINUTE_MS))
    world.adopt(Calendar(ZoneInfo("UTC"), 15 * MINUTE_MS))
    assert cells(world) == before


def test_the_content_of_all_events_by_the_person_goes_and_that_of_others_stays(world: World) -> None:
    ada, eve, _, _ = working_team(world)
    before = {event.seq: event for event in events(world)}
    with world.reading() as session:
        keys = set(session.scalars(select(PersonAuthor.author_key).filter_by(person_id=eve.id)))
    theirs = {seq for seq, event in before.items() if event.person_id == eve.id or event.author_key in keys}
    assert len(theirs) == 42
    erase(world, ada, eve)
    for event in events(world):
        was = before[event.seq]
        if event.seq in theirs:
            assert (event.data, event.author_key) == (b"", None)
        else:
            assert (event.data, event.author_key) == (was.data, was.author_key)
        kept = ("timestamp", "project_id", "device_id", "person_id", "insertions", "deletions", "files")
        assert [getattr(event, name) for name in kept] == [getattr(was, name) for name in kept]


def test_the_same_commit_sent_again_by_a_colleague_is_acknowledged_and_changes_nothing(world: World) -> None:
    ada, eve, bob, project = working_team(world)
    seen = [commit(eve.author, "x.py", insertions=3), commit(eve.author, "y.py")]
    world.report(eve, project, (NOW_MS, seen[0]))
    world.report(bob, project, (NOW_MS, seen[1]))
    world.refresh()
    before = cells(world)
    erase(world, ada, eve)
    answer = world.send(bob, *(world.event(bob, project, data, NOW_MS) for data in seen))
    assert answer.success and len(answer.synced_ids) == 2
    # Nor does whoever takes the address over get the work that was done with it.
    add_authors(world, bob, eve.author)
    assert world.send(bob, *(world.event(bob, project, data, NOW_MS) for data in seen)).success
    world.refresh()
    assert cells(world) == before


def leave_traces(world: World, ada: Member, eve: Member) -> None:
    """Something in every table that can tell of a person."""
    world.team("core", {eve: Role.LEAD})
    issue(world, eve)
    make_reset(world, ada, eve.public_id)
    with world.database.writing() as session:
        person = session.get_one(Person, eve.id)
        sessions.begin(session, world.by(session), person, "Firefox/140.0 (X11; Linux)")
        session.add(SecondFactor(person_id=eve.id, secret=b"sealed-secret", confirmed_at=1, last_step=0))
        session.add(RecoveryCode(code_hash=b"c" * 32, person_id=eve.id))
        grant = session.scalars(select(Grant.id).filter_by(person_id=eve.id)).first()
        session.add(
            Pairing(
                secret_hash=b"s" * 32,
                code_hash=b"h" * 32,
                device_public_id=eve.device_id,
                device_name="pc of " + NAME,
                created_at=NOW_MS,
                expires_at=NOW_MS,
                person_id=None,
                grant_id=grant,
            )
        )
        session.add(
            Link(token_hash=b"l" * 32, public_id=UUID(int=7), purpose="invite", role="developer",
                 created_by=eve.id, created_at=NOW_MS, expires_at=NOW_MS)
        )  # fmt: skip
        session.get_one(Device, eve.device).name = "pc of " + NAME
        session.add(
            SharedSetting(
                person_id=eve.id, key="syncInterval", value="60", changed_at=NOW_MS, device_id=eve.device
            )
        )


def test_nothing_that_lets_in_or_names_the_person_is_left(world: World) -> None:
    ada, eve, bob, _ = working_team(world)
    leave_traces(world, ada, eve)
    issue(world, bob)
    erase(world, ada, eve)
    with world.reading() as session:
        person, device = session.get_one(Person, eve.id), session.get_one(Device, eve.device)
        assert (person.name, person.email_key, person.password_hash) == ("", None, "")
        assert people.email_of(world.vault, person) == ""
        assert person.public_id != eve.public_id
        assert (person.role, person.deactivated_at) == (Role.DEVELOPER, NOW_MS)
        assert (device.name, device.revoked_at) == ("", NOW_MS)
        assert device.public_id != eve.device_id
        for kind in (
            PersonAuthor,
            SecondFactor,
            RecoveryCode,
            BrowserSession,
            Grant,
            Pairing,
            Link,
            TeamMember,
            ProjectMember,
            DeletionRequest,
            SharedSetting,
        ):
            assert session.scalar(select(func.count()).select_from(kind).filter_by(person_id=eve.id)) == 0
        assert session.scalar(select(func.count()).select_from(Pairing)) == 0
        assert session.scalar(select(func.count()).select_from(Link)) == 0
        assert session.scalar(select(func.count()).select_from(RefreshToken)) == 1  # Bob's
        assert audit.verify(session, world.vault) is None
    world.person(NAME)  # the address and the name are free again


def secrets_of(world: World, member: Member) -> dict[str, bytes]:
    """Every form in which the file says who the person is, and a part of what they did."""
    with world.reading() as session:
        person = session.get_one(Person, member.id)
        assert person.email_key is not None
        found = {
            "name": person.name.encode(),
            "e-mail": member.email.encode(),
            "sealed e-mail": person.email,
            "key of the e-mail": person.email_key,
            "hash of the password": person.password_hash.encode(),
            "id": person.public_id.hex.encode(),
            "id with dashes": str(person.public_id).encode(),
            "id of the PC": member.device_id.hex.encode(),
            "browser": b"Firefox on Linux",
            "second factor": b"sealed-secret",
            "link": b"l" * 32,
        }
        keys = session.scalars(select(PersonAuthor.author_key).filter_by(person_id=member.id))
        found |= {f"author {n}": key for n, key in enumerate(keys)}
        rows = session.execute(select(Event.seq, Event.data).filter_by(person_id=member.id))
        return found | {f"event {seq}": data for seq, data in rows}


@pytest.mark.parametrize("backend", ["sqlite"])
def test_no_file_of_the_database_holds_the_person_any_more(world: World, tmp_path: Path) -> None:
    ada, eve, _, _ = working_team(world)
    leave_traces(world, ada, eve)
    with world.database.writing() as session:  # one that nobody else's is like
        session.get_one(Person, eve.id).password_hash = passwords.kept("Eve's and nobody else's: 7Q")
    sought = secrets_of(world, eve)
    file = Path(str(world.database.engine.url.database))
    written = file.read_bytes() + file.with_name(file.name + "-wal").read_bytes()
    never_plain = {"e-mail", "id with dashes"}
    assert {what for what, text in sought.items() if text not in written} == never_plain

    erase(world, ada, eve)
    world.database.empty_log()
    assert file.with_name(file.name + "-wal").stat().st_size == 0
    left = {what for what, text in sought.items() if text in file.read_bytes()}
    assert left == {"id", "id of the PC"}  # as the trail has them

    # Outside of the trail the ids are not there either.
    copy = tmp_path / "copy.db"
    with sqlite3.connect(file) as connection:
        connection.execute("VACUUM INTO ?", [str(copy)])
    connection.close()
    with sqlite3.connect(copy, isolation_level=None) as connection:
        connection.execute("DROP TABLE audit")
        connection.execute("VACUUM")
    connection.close()
    assert not {what for what, text in sought.items() if text in copy.read_bytes()}


@pytest.mark.parametrize("backend", ["postgres"])  # on SQLite one waits before it has begun
def test_an_upload_under_way_while_a_person_is_erased_stores_nothing(world: World) -> None:
    ada, eve, _, project = working_team(world)
    ask(world, eve)
    confirmed = world.event(eve, project, saved("late.py"), NOW_MS)
    with ThreadPoolExecutor(1) as pool:
        with world.database.writing() as session:
            erasure.confirm(session, world.by(session, ada), eve.public_id)
            session.flush()
            upload = pool.submit(world.send, eve, confirmed)
            wait_for_a_lock(world)
        with pytest.raises(Unauthorized):
            upload.result()
    advance(world)
    assert not any(event.data for event in events(world) if event.person_id == eve.id)


@pytest.mark.parametrize("backend", ["postgres"])
def test_an_upload_that_was_first_is_erased_with_the_rest(world: World) -> None:
    world.person("Ada", Role.ADMIN)
    eve = world.person("Eve")
    project = world.project("atlas", eve)
    ask(world, eve)
    due = later(world, WAIT_MS)
    with ThreadPoolExecutor(1) as pool:
        with world.database.writing() as session:
            world.accept(session, eve, [world.event(eve, project, saved(), NOW_MS)])
            erasing = pool.submit(advance, due)
            wait_for_a_lock(world)
        erasing.result()
    (event,) = events(world)
    assert (event.person_id, event.data) == (eve.id, b"")
