"""A restored backup is noticed at the start, or said by the operator; nothing else is taken for one."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from devflow import jobs, restores, workspace
from devflow.audit import Actor
from devflow.config import Settings
from devflow.context import Context
from devflow.models import AuditEntry, Project, Workspace
from tests import build
from tests.build import NOW_MS, Member, World, saved


@dataclass
class Site:
    """A server's data folder with a SQLite file that can be backed up and restored."""

    settings: Settings

    @property
    def file(self) -> Path:
        return self.settings.data_path / "devflow.db"

    def start(self) -> UUID:
        """The epoch that a server which starts now names."""
        workspace.prepare(self.settings, NOW_MS)
        context = Context.open(self.settings)
        context.database.close()
        return context.epoch.value

    def work(self) -> tuple[World, Member, Project]:
        context = Context.open(self.settings, lambda: NOW_MS)
        world = World.of(context)
        ada = world.person("Ada")
        return world, ada, world.project("atlas", ada)

    def back_up(self, copy: Path) -> None:
        with closing(sqlite3.connect(self.file)) as connection:
            connection.execute("VACUUM INTO ?", [str(copy)])

    def restore(self, copy: Path) -> None:
        for left in self.file.parent.glob("devflow.db-*"):
            left.unlink()
        shutil.copyfile(copy, self.file)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(Settings(data_dir=str(tmp_path / "data")))
    site.start()
    yield site


def acts(site: Site) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(site.file)) as connection:
        return connection.execute("SELECT act, detail FROM audit WHERE act = 'workspace.restored'").fetchall()


def test_an_epoch_lasts_as_long_as_no_backup_is_restored(site: Site) -> None:
    first = site.start()
    world, ada, atlas = site.work()
    assert world.send(ada, world.event(ada, atlas, saved(), NOW_MS)).success
    world.database.close()
    assert site.start() == site.start() == first
    assert acts(site) == []


def test_a_restored_file_is_noticed_by_the_acts_it_lacks(site: Site, tmp_path: Path) -> None:
    first = site.start()
    site.back_up(tmp_path / "copy.db")
    site.work()[0].database.close()
    assert site.start() == first  # which is when it was last looked at
    site.restore(tmp_path / "copy.db")
    second = site.start()
    assert second != first
    assert acts(site) == [("workspace.restored", '{"why":"older"}')]
    assert site.start() == second


def test_a_restored_file_is_noticed_by_the_uploads_it_lacks(site: Site, tmp_path: Path) -> None:
    world, ada, atlas = site.work()
    first = site.start()
    site.back_up(tmp_path / "copy.db")
    world.send(ada, world.event(ada, atlas, saved(), NOW_MS))
    world.database.close()
    assert site.start() == first
    site.restore(tmp_path / "copy.db")
    assert site.start() != first


def test_two_restores_of_one_backup_are_two_epochs(site: Site, tmp_path: Path) -> None:
    site.back_up(tmp_path / "copy.db")
    site.work()[0].database.close()
    epochs = {site.start()}
    for _ in range(2):
        site.restore(tmp_path / "copy.db")
        epochs.add(site.start())
    assert len(epochs) == 3


def test_another_servers_database_is_no_older_copy(site: Site, tmp_path: Path) -> None:
    site.work()[0].database.close()
    site.start()
    other = Site(Settings(data_dir=str(tmp_path / "other")))
    epoch = other.start()
    other.back_up(tmp_path / "copy.db")
    shutil.copyfile(other.settings.data_path / "secret.key", site.settings.data_path / "secret.key")
    site.restore(tmp_path / "copy.db")
    assert site.start() == epoch


@pytest.mark.parametrize("left", [None, b"", b"{}", b"\xff", b'{"server_id": 7}'])
def test_a_file_that_is_lost_or_damaged_stops_no_server(site: Site, left: bytes | None) -> None:
    first = site.start()
    file = site.settings.data_path / restores.FILE
    file.unlink()
    if left is not None:
        file.write_bytes(left)
    assert site.start() == first
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes() != left


def test_a_folder_that_takes_no_file_stops_no_server(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = Context.open(site.settings)
    found = restores.look(context.database, tmp_path / "nowhere", lambda: pytest.fail("nobody acts"))
    assert found == context.epoch.value
    assert "could not note how far the database has come" in caplog.text
    context.database.close()


def test_a_database_replaced_under_a_running_server_is_noticed_by_the_job(
    tmp_path: Path, database_url: str
) -> None:
    context, _ = build.context(tmp_path, database_url=database_url)
    world = World.of(context)
    first = context.epoch.value
    with world.reading() as session:
        before = restores.Served.of(session)
    world.person("Ada")
    jobs.look_for_restore(context)
    assert context.epoch.value == first
    _take_back(context, before)
    jobs.look_for_restore(context)
    second = context.epoch.value
    assert second != first
    jobs.look_for_restore(context)
    assert context.epoch.value == second
    with world.reading() as session:
        assert session.scalars(select(Workspace.epoch)).one() == second
    context.database.close()


def _take_back(context: Context, served: restores.Served) -> None:
    """Make the folder say that more acts were seen than there are: the database cannot lose any."""
    more = restores.Served(server_id=served.server_id, acts=served.acts + 100, uploaded_at=0)
    restores._write(context.settings.data_path, more)


def test_what_the_operator_says_begins_an_epoch_that_other_processes_take(
    tmp_path: Path, database_url: str
) -> None:
    context, _ = build.context(tmp_path, database_url=database_url)
    first = context.epoch.value
    by = Actor(None, NOW_MS, context.vault)
    said = restores.declare(context.database, context.settings.data_path, by, why="told")
    assert said != first
    jobs.look_for_restore(context)
    assert context.epoch.value == said
    with context.database.reading() as session:
        (entry,) = session.scalars(select(AuditEntry).filter_by(act="workspace.restored"))
        assert (entry.actor, entry.detail) == (None, '{"why":"told"}')
    context.database.close()
