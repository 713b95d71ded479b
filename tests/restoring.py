"""A team's server of which a backup is restored, and two PCs that sent to it: on either database."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
from sqlalchemy import select

from devflow import wire
from devflow.db import Database
from devflow.models import Event
from devflow_agent import outbox
from devflow_agent.remote import Remote
from devflow_agent.store import Observation, Store
from devflow_agent.sync import Pushed, push
from tests.cli import Cli
from tests.postgres import Postgres
from tests.server_process import ServerProcess
from tests.visitor import EMAIL, PASSWORD, Visitor

START_MS = 1_790_000_000_000


@dataclass
class Backup:
    """A copy of the server's database, which must not run while it is taken or put back."""

    server: ServerProcess
    copy: Path
    postgres: Postgres | None

    @property
    def _name(self) -> str:
        return urlsplit(self.server.database_url).path.removeprefix("/")

    def take(self) -> None:
        if self.postgres is None:
            with closing(sqlite3.connect(self._file)) as connection:
                connection.execute("VACUUM INTO ?", [str(self.copy)])
        else:
            self.postgres.create(f"{self._name}_backup", self._name)

    def restore(self) -> None:
        if self.postgres is None:
            for left in self._file.parent.glob(f"{self._file.name}-*"):
                left.unlink()
            shutil.copyfile(self.copy, self._file)
        else:
            self.postgres.drop(self._name)
            self.postgres.create(self._name, f"{self._name}_backup")
            self.postgres.drop(f"{self._name}_backup")

    @property
    def _file(self) -> Path:
        return Path(self.server.database_url.removeprefix("sqlite:///"))


@dataclass
class Pc:
    """An agent's home that reports to a project of the server."""

    cli: Cli
    store: Store

    @classmethod
    def enrolled(cls, server: ServerProcess, folder: Path, page: str) -> Pc:
        folder.mkdir()
        cli = Cli(folder / "home", folder)
        cli.ok("sync", "init", server.url)
        cli.ok("sync", "auth", "--email", EMAIL, "--password-stdin", stdin=PASSWORD + "\n")
        store = cli.home.store()
        project = store.add_project("shop", folder, folder / ".git", START_MS)
        with requests.Session() as http:
            (remote,) = [
                each
                for each in Remote(cli.home.credentials, http).projects()
                if str(each.project_id) == page.rpartition("/")[2]
            ]
        outbox.link(store, project.id, remote)
        store.set_settings(sync_enabled=True, sync_batch_size=wire.MAX_BATCH_EVENTS)
        return cls(cli, store)

    def record(self, count: int, *, first_commit: int) -> None:
        """As many saves as commits, over a hundred days; commits of one number are one everywhere."""
        (project,) = self.store.projects()
        saves = [_save(number) for number in range(count - count // 2)]
        commits = [_commit(first_commit + number) for number in range(count // 2)]
        assert self.store.add(project.id, saves + commits) == count

    def push(self) -> Pushed:
        with requests.Session() as http:
            return push(self.cli.home, self.store, http)

    def ids(self) -> set[str]:
        with closing(sqlite3.connect(self.cli.home.database)) as connection:
            return {row[0].replace("-", "") for row in connection.execute("SELECT id FROM events")}


def _save(number: int) -> Observation:
    at = START_MS + number % 100 * wire.DAY_MS + number
    return Observation.own(at, wire.FileSaved(path="a.py", size_bytes=number))


def _commit(number: int) -> Observation:
    sha, at = f"{number:040x}", START_MS + number % 100 * wire.DAY_MS + number
    data = wire.Commit(
        sha=sha,
        parents=[],
        author="0" * 32,
        committer="0" * 32,
        committed_at=at,
        insertions=1,
        deletions=0,
        files_changed=0,
        files=[],
    )
    return Observation(wire.fact_id(wire.EventType.COMMIT, sha), at, data)


def stored(server: ServerProcess) -> Counter[str]:
    """How often the server has each event id."""
    database = Database(server.database_url)
    with database.reading() as session:
        found = Counter(event_id.hex() for event_id in session.scalars(select(Event.event_id)))
    database.close()
    return found


@contextmanager
def set_up(server: ServerProcess) -> Iterator[str]:
    """The page of a project on a server whose first account is made."""
    with requests.Session() as http:  # closed before the server, which would wait for it
        visitor = Visitor(server, http)
        visitor.set_up()
        page = visitor.new_project("shop")
    yield page


def lose_and_find(
    server: ServerProcess,
    folder: Path,
    postgres: Postgres | None,
    *,
    before: int,
    after: int,
    is_noticed: bool,
) -> None:
    """Two PCs send, a backup is taken, they send more, the backup is restored: nothing may be missing then.

    Half of what each sends is commits, of which the PCs share half. If the restore is not
    ``is_noticed`` the agents find the loss on their daily look.
    """
    backup = Backup(server, folder / "backup.db", postgres)
    with set_up(server) as page:
        desk, lap = (Pc.enrolled(server, folder / name, page) for name in ("desk", "lap"))
    for number, pc in enumerate((desk, lap)):
        pc.record(before, first_commit=number * before // 4)
        assert pc.push().synced == before
    server.stop()
    backup.take()
    server.start()
    for number, pc in enumerate((desk, lap)):
        pc.record(after, first_commit=before + number * after // 4)
        assert pc.push().synced == after
    everything = desk.ids() | lap.ids()
    assert stored(server) == Counter(everything)

    server.stop()
    backup.restore()
    assert len(stored(server)) < len(everything)
    if is_noticed:
        server.start()
        for pc in (desk, lap):
            pc.record(1, first_commit=0)  # a new save: whatever it is, its answer names the new epoch
    else:
        (server.data_dir / "served.json").unlink()
        server.start()
        for pc in (desk, lap):
            pc.store.set_settings(sync_compared={**pc.store.setting("sync_compared"), "at_ms": 0})
    pushed = [pc.push() for pc in (desk, lap)]
    # The commits that both know are sent again by whoever comes first.
    assert [each.lost for each in pushed] == [after, after - after // 4], pushed
    everything = desk.ids() | lap.ids()
    assert stored(server) == Counter(everything), "nothing is lost and nothing is doubled"
    assert [pc.push() for pc in (desk, lap)] == [Pushed(), Pushed()]
