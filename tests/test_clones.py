"""Two PCs from one disk: a copied data folder is one device to the server, and neither loses what it saw."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
import requests

from devflow import wire
from devflow.errors import Unauthorized
from devflow_agent import credentials, enrolment
from devflow_agent.analyse.sync_state import sync_state
from devflow_agent.collect import git
from devflow_agent.config import Home, now_ms
from devflow_agent.store import Observation, Project
from devflow_agent.sync import push
from tests.agent.recorded import assert_counters_are_true
from tests.delivery import DAY_MS, Content, arrived, assert_same, content, enrol, recorded, wait_until_counted
from tests.repo import Repo
from tests.server_process import ServerProcess
from tests.visitor import EMAIL, PASSWORD, Visitor

MINUTE_MS = 60_000


@dataclass
class Pc:
    """A PC with its own folder and its own clock, ``off_ms`` ahead of the right time."""

    home: Home
    project: Project
    http: requests.Session
    off_ms: int = 0

    def now(self) -> int:
        return now_ms() + self.off_ms

    def clone(self, folder: Path) -> Pc:
        shutil.copytree(self.home.path, folder)
        return Pc(Home(folder), self.project, self.http)

    def save(self, *paths: str) -> None:
        """Save the files, a minute apart, the last one now."""
        began = self.now() - MINUTE_MS * len(paths)
        self.home.store().add(
            self.project.id,
            [
                Observation.own(began + MINUTE_MS * number, wire.FileSaved(path=path, size_bytes=number))
                for number, path in enumerate(paths)
            ],
        )

    def import_history(self, repo: Repo) -> None:
        repository = git.open_repository(repo.path)
        git.collect(repository, self.home.store(), self.project.id, self.now())

    def push(self) -> None:
        push(self.home, self.home.store(), self.http, clock=self.now)

    def spoil_token(self) -> None:
        """Let the access token be as good as expired."""
        with credentials.changing(self.home.credentials):
            found = credentials.enrolled(self.home.credentials)
            account = msgspec.structs.replace(found.signed_in(), token="expired")
            credentials.save(self.home.credentials, msgspec.structs.replace(found, account=account))

    def sign_in(self) -> None:
        enrolment.sign_in(self.home, self.home.store(), self.http, EMAIL, PASSWORD)

    def statuses(self) -> Counter[str]:
        return Counter(row["sync_status"] for row in recorded(self.home.store()).values())


@pytest.fixture
def visitor(server: ServerProcess) -> Iterator[Visitor]:
    with requests.Session() as http:
        yield Visitor(server, http)


@pytest.fixture
def pc(visitor: Visitor, tmp_path: Path) -> Pc:
    """Half of what it recorded is sent, the other half waits."""
    home = Home(tmp_path / "disk")
    project, _ = enrol(home, visitor, visitor.server.url)
    pc = Pc(home, project, visitor.http)
    pc.save("a.py", "b.py")
    pc.push()
    pc.save("c.py", "d.py")
    return pc


def assert_all_arrived(server: ServerProcess, *pcs: Pc) -> None:
    """The server has what the PCs have, all of it and nothing else, and counts it once."""
    seen: dict[UUID, Content] = {}
    for pc in pcs:
        rows = recorded(pc.home.store())
        assert {row["sync_status"] for row in rows.values()} == {"synced"}
        assert_counters_are_true(pc.home.database)
        seen |= {event_id: content(row) for event_id, row in rows.items()}
    wait_until_counted(server)
    assert_same(seen, arrived(server))


def test_a_cloned_disk_and_one_history_are_counted_once_with_clocks_two_days_off(
    pc: Pc, visitor: Visitor, tmp_path: Path
) -> None:
    repo = Repo(tmp_path / "shop")
    repo.write("a.py", "one\n")
    repo.commit()
    clone = pc.clone(tmp_path / "copy")
    pc.off_ms, clone.off_ms = 2 * DAY_MS, -2 * DAY_MS
    for number in range(3):
        repo.write("a.py", f"{number}\n")
        repo.commit()
        repo.git("tag", f"v{number}")
        for one in (pc, clone):
            one.save("a.py", f"{number}.py")
            one.import_history(repo)
            one.push()
            page = visitor.get("/me/devices")
            told = [notice.get_text() for notice in page.select(".device .notice")]
            assert [("2 days ahead" in text, "2 days behind" in text) for text in told] == [
                (one is pc, one is clone)
            ]
            skew_ms = sync_state(one.home, one.home.store()).clock_skew_ms
            assert skew_ms == one.off_ms
    assert_all_arrived(visitor.server, pc, clone)
    project = next(project for project in pc.home.store().projects() if project.id == pc.project.id)
    assert visitor.figures(f"/projects/{project.remote_id}")["Commits"] == "4"


def test_what_a_clone_says_otherwise_is_refused_and_shown_and_overwrites_nothing(
    pc: Pc, visitor: Visitor, tmp_path: Path
) -> None:
    clone = pc.clone(tmp_path / "copy")
    with closing(sqlite3.connect(clone.home.database)) as connection, connection:
        connection.execute(
            "UPDATE events SET event_data = replace(event_data, 'c.py', 'other.py')"
            " WHERE sync_status = 'pending'"
        )
    pc.push()
    clone.push()
    assert pc.statuses() == {"synced": 4}
    assert clone.statuses() == {"synced": 3, "failed": 1}, "d.py is the same event on both"
    (failed,) = [row for row in recorded(clone.home.store()).values() if row["sync_status"] == "failed"]
    assert failed["last_sync_error"].startswith("conflict: ")
    assert "other.py" in failed["event_data"], "kept as it is"
    state = sync_state(clone.home, clone.home.store())
    assert (state.failed, state.last_attempt and state.last_attempt.outcome) == (1, "partial")
    assert "other content under ids already stored" in visitor.get("/audit").get_text()
    assert_all_arrived(visitor.server, pc)


def test_clones_that_renew_one_token_are_signed_out_and_still_lose_nothing(
    pc: Pc, visitor: Visitor, tmp_path: Path
) -> None:
    clone = pc.clone(tmp_path / "copy")
    pc.spoil_token()
    clone.spoil_token()
    pc.push()
    clone.save("e.py")
    with pytest.raises(Unauthorized):  # a used refresh token looks stolen, and one of the two is
        clone.push()
    pc.save("f.py")
    with pytest.raises(Unauthorized):
        pc.push()
    assert clone.statuses() == {"synced": 2, "pending": 3}
    assert pc.statuses() == {"synced": 4, "pending": 1}
    for one in (pc, clone):  # the later log-in of one device ends the one before
        one.sign_in()
        one.push()
    assert_all_arrived(visitor.server, pc, clone)
