"""Keys that change while servers run: who may, what seals from when on, and what is kept for how long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from devflow import audit, crypto, jobs, keys, secret, workspace
from devflow.accounts import people, sign_in, tokens
from devflow.audit import Act, Actor
from devflow.config import Settings
from devflow.context import Context
from devflow.crypto import Damaged
from devflow.errors import Invalid, Unauthorized
from devflow.keys import Purpose
from devflow.models import AuditEntry, Device, Event, Key, Person, Role
from tests import build
from tests.build import DAY_MS, HOUR_MS, NOW_MS, Member, World, saved


@contextmanager
def process(url: str, folder: Path) -> Iterator[Context]:
    """What one server process is made of; all have one operator's secret, and clocks that stand still."""
    settings = Settings(data_dir=str(folder), database_url=url, secret_key=build.SECRET)
    workspace.prepare(settings, NOW_MS)
    opened = Context.open(settings, lambda: NOW_MS)
    yield opened
    opened.database.close()


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Context]:
    with process(database_url, tmp_path / "one") as opened:
        yield opened


@pytest.fixture
def second(server: Context, database_url: str, tmp_path: Path) -> Iterator[Context]:
    """Another process on the same database."""
    with process(database_url, tmp_path / "two") as opened:
        yield opened


def rotate(server: Context, member: Member, purpose: Purpose = Purpose.FIELDS) -> None:
    world = World.of(server)
    server.database.transact(lambda session: keys.rotate(session, world.by(session, member), purpose))


def at(server: Context, now_ms: int) -> Context:
    """The same process at another time."""
    return replace(server, now=lambda: now_ms)


def sealed_with(server: Context) -> set[int]:
    """The ids of the keys that e-mail addresses are sealed with."""
    with server.database.reading() as session:
        return {int.from_bytes(email[:4], "big") for email in session.scalars(select(Person.email))}


def reseal(server: Context) -> None:
    """Until there is nothing to do right now."""
    while keys_left(server):
        jobs.reseal(server)


def keys_left(server: Context) -> bool:
    jobs.reseal(server)
    before = replace(server.resealing)
    jobs.reseal(server)
    return server.resealing != before


def test_an_admin_replaces_a_key_and_it_is_recorded_by_number(server: Context) -> None:
    ada = World.of(server).person("Ada", Role.ADMIN)
    assert server.vault.current == 1
    rotate(server, ada)
    assert server.vault.current == 4
    with server.database.reading() as session:
        rows = [(key.id, key.purpose, key.retired_at) for key in keys.listed(session)]
        entry = session.scalars(select(AuditEntry).where(AuditEntry.act == Act.KEY_ROTATED)).one()
        assert audit.verify(session, server.vault) is None
    assert rows == [
        (4, "fields", None),
        (1, "fields", NOW_MS),
        (2, "tokens", None),
        (3, "hashes", None),
    ]
    assert (entry.actor, entry.detail) == (ada.public_id, '{"key":4,"purpose":"fields"}')


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.MANAGER])
def test_nobody_else_replaces_a_key(server: Context, role: Role) -> None:
    bob = World.of(server).person("Bob", role)
    with pytest.raises(Unauthorized):
        rotate(server, bob)
    with pytest.raises(Unauthorized), server.database.writing() as session:
        keys.rotate(session, World.of(server).by(session), Purpose.FIELDS)
    assert server.vault.current == 1


def test_the_key_of_hashes_stays_for_good(server: Context) -> None:
    ada = World.of(server).person("Ada", Role.ADMIN)
    with pytest.raises(Invalid, match="would be lost"):
        rotate(server, ada, Purpose.HASHES)


def test_a_key_is_not_used_before_it_is_stored(server: Context) -> None:
    world = World.of(server)
    ada = world.person("Ada", Role.ADMIN)
    with server.database.writing() as session:
        keys.rotate(session, world.by(session, ada), Purpose.FIELDS)
        assert server.vault.current == 1
    assert server.vault.current == 4
    with pytest.raises(RuntimeError), server.database.writing() as session:
        keys.rotate(session, world.by(session, ada), Purpose.FIELDS)
        raise RuntimeError
    assert server.vault.current == 4
    world.person("Bob")
    assert sealed_with(server) == {1, 4}


def test_of_two_processes_one_rotates_and_the_other_reads_at_once_and_soon_seals_with_it(
    server: Context, second: Context
) -> None:
    here, there = World.of(server), World.of(second)
    ada = here.person("Ada", Role.ADMIN)
    project = here.project("atlas", ada)
    rotate(server, ada)
    event = here.event(ada, project, saved("new.py"), NOW_MS)
    assert here.send(ada, event).success
    there.person("Ben")
    assert sealed_with(second) == {1}
    # Sent again to the other process, which has to read what was stored: it looks for the key.
    assert there.send(ada, event).success
    assert second.vault.current == 4
    there.person("Cem")
    assert sealed_with(second) == {1, 4}


def test_a_process_that_reads_nothing_new_takes_the_key_by_its_job(server: Context, second: Context) -> None:
    rotate(server, World.of(server).person("Ada", Role.ADMIN))
    assert second.vault.current == 1
    jobs.tend_keys(second)
    assert second.vault.current == 4
    assert jobs.TEND_EVERY_S <= 60


def test_a_token_of_the_new_key_is_good_in_the_other_process_and_one_of_the_old_key_in_both(
    server: Context, second: Context
) -> None:
    ada = World.of(server).person("Ada", Role.ADMIN)
    before = issue(server, ada)
    rotate(server, ada, Purpose.TOKENS)
    after = issue(server, World.of(server).second_device(ada))
    for process_ in (second, server):
        assert bearer(process_, before) == bearer(process_, after) == ada.public_id


def test_a_replaced_key_of_tokens_is_deleted_when_its_last_token_has_expired(
    server: Context, second: Context
) -> None:
    ada = World.of(server).person("Ada", Role.ADMIN)
    token = issue(server, ada)
    rotate(server, ada, Purpose.TOKENS)
    jobs.tend_keys(at(server, NOW_MS + 7 * DAY_MS - 1))
    assert bearer(server, token) == ada.public_id
    jobs.tend_keys(at(server, NOW_MS + 7 * DAY_MS))
    jobs.tend_keys(second)
    for process_ in (server, second):
        with pytest.raises(Unauthorized):
            bearer(process_, token)
    with server.database.reading() as session:
        deleted = session.scalars(select(AuditEntry).where(AuditEntry.act == Act.KEY_DELETED)).one()
        assert (deleted.actor, deleted.detail) == (None, '{"key":2,"purpose":"tokens"}')


def test_a_key_of_fields_is_replaced_by_itself_after_a_year(server: Context, second: Context) -> None:
    jobs.tend_keys(at(server, NOW_MS + keys.LIFETIME_MS - 1))
    assert server.vault.current == 1
    for process_ in (server, second):
        jobs.tend_keys(at(process_, NOW_MS + keys.LIFETIME_MS))
        assert process_.vault.current == 4
    with server.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Key)) == 4


def test_a_retired_key_goes_only_when_all_is_sealed_anew_and_an_hour_has_passed(server: Context) -> None:
    world = World.of(server)
    ada = world.person("Ada", Role.ADMIN)
    rotate(server, ada)
    reseal(server)
    assert sealed_with(server) == {4}
    # Another process that has not heard of the new key yet seals one more with the old one.
    old = crypto.Vault(replace(server.vault.ring, fields={1: server.vault.ring.fields[1]}), b"")
    with server.database.writing() as session:
        session.execute(
            update(Person).values(email=old.seal(people.EMAIL, ada.public_id.bytes, b"ada@example.org"))
        )
    reseal(at(server, NOW_MS + HOUR_MS - 1))
    assert set(server.vault.ring.fields) == {1, 4}
    late = at(server, NOW_MS + 3 * HOUR_MS)
    reseal(late)
    assert (sealed_with(server), set(server.vault.ring.fields)) == ({4}, {4})
    with server.database.reading() as session:
        assert [key.id for key in keys.listed(session)] == [4, 2, 3]
        assert people.email_of(server.vault, session.get_one(Person, ada.id)) == "ada@example.org"
        assert audit.verify(session, server.vault) is None


def test_keys_stay_readable_when_the_secret_changes_after_they_were_replaced(
    server: Context, database_url: str, tmp_path: Path
) -> None:
    ada = World.of(server).person("Ada", Role.ADMIN)
    for purpose in keys.ROTATING:
        rotate(server, ada, purpose)
    changed = Settings(data_dir=str(tmp_path / "new"), database_url=database_url, old_secret_key=build.SECRET)
    workspace.prepare(changed, NOW_MS)
    opened = Context.open(replace(changed, old_secret_key=""))
    with opened.database.reading() as session:
        assert people.email_of(opened.vault, session.get_one(Person, ada.id)) == "ada@example.org"
    opened.database.close()


def test_a_process_with_yesterdays_secret_makes_no_key_that_today_could_not_open(
    server: Context, database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ada = World.of(server).person("Ada", Role.ADMIN)
    settings = Settings(data_dir=str(tmp_path / "new"), database_url=database_url)
    (tmp_path / "new").mkdir(mode=0o700)
    secret.make(tmp_path / "new")
    workspace.prepare(replace(settings, old_secret_key=build.SECRET), NOW_MS)
    with pytest.raises(Damaged, match="start the server anew"):
        rotate(server, ada)
    jobs.tend_keys(server)
    assert "could not read the keys anew" in caplog.text and "start the server anew" in caplog.text
    World.of(server).person("Ben")
    opened = Context.open(settings)
    with opened.database.reading() as session:
        emails = {people.email_of(opened.vault, each) for each in session.scalars(select(Person))}
    assert emails == {"ada@example.org", "ben@example.org"}
    opened.database.close()


def test_what_is_found_by_keyed_hash_is_found_after_any_rotation(server: Context) -> None:
    world = World.of(server)
    ada = world.person("Ada", Role.ADMIN)
    project = world.project("atlas", ada)
    event = world.event(ada, project, saved("a.py"), NOW_MS)
    assert world.send(ada, event).success
    rotate(server, ada)
    reseal(server)
    assert world.send(ada, event).success
    with server.database.reading() as session:
        found = sign_in.candidate(session, server.vault, ada.email)
        found.check(build.PASSWORD)
        assert found.person_id == ada.id
        assert session.scalar(select(func.count()).select_from(Event)) == 1


def issue(server: Context, member: Member) -> str:
    def work(session: Session) -> str:
        by = Actor(None, server.now(), server.vault)
        person, device = session.get_one(Person, member.id), session.get_one(Device, member.device)
        return tokens.issue(session, by, person, device, server.server_id).token

    return server.database.transact(work)


def bearer(server: Context, token: str) -> UUID:
    with server.database.reading() as session:
        return tokens.holder(
            session, tokens.claims(server.vault, token, server.server_id), server.now()
        ).person.public_id
