"""An agent's home with events in it, signed in at a scripted server: the noise of the sync tests."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import requests

from devflow import wire
from devflow_agent import credentials
from devflow_agent.config import Home
from devflow_agent.credentials import Account, Credentials
from devflow_agent.outbox import link, report_to
from devflow_agent.store import Observation, Project, Store
from devflow_agent.sync import Pushed, push
from tests.agent.recorded import assert_counters_are_true
from tests.agent.scripted_server import ScriptedServer

START_MS = 1_700_000_000_000


@dataclass
class Outbox:
    home: Home
    store: Store
    project: Project
    server: ScriptedServer

    @classmethod
    def signed_in(cls, folder: Path, server: ScriptedServer) -> Outbox:
        """Sync is on and the one project is linked to the server's first."""
        home = Home(folder)
        store = home.store()
        project = store.add_project("shop", folder / "shop", folder / "shop/.git", START_MS)
        outbox = cls(home, store, project, server)
        signed_in = Credentials(
            server_url=server.url,
            server_id=server.server_id,
            account=Account(
                user_id=server.user_id,
                email="ada@example.org",
                token=server.token,
                refresh_token=server.refresh_token,
                expires_at=0,
            ),
        )
        credentials.save(home.credentials, signed_in)
        store.set_settings(sync_enabled=True)
        report_to(store, server.server_id)
        outbox.link(project)
        return outbox

    def link(self, project: Project, index: int = 0) -> None:
        remote = self.server.projects[index]
        link(self.store, project.id, wire.Project(project_id=UUID(remote["projectId"]), name=remote["name"]))

    def record(self, count: int, project: Project | None = None, path: str = "src/a.py") -> list[UUID]:
        """Record ``count`` saves, a second apart; return their ids in that order."""
        observed = [
            Observation.own(START_MS + 1_000 * number, wire.FileSaved(path=path, size_bytes=number))
            for number in range(count)
        ]
        self.store.add((project or self.project).id, observed)
        return [one.id for one in observed]

    def record_long(self, count: int) -> None:
        """Record ``count`` commits of nearly the largest size an event may have."""
        files = [wire.FileChange(path=f"{number:04}" * 90) for number in range(75)]
        observed = [
            Observation.own(
                START_MS,
                wire.Commit(
                    sha=f"{number:040x}",
                    parents=[],
                    author="0" * 32,
                    committer="0" * 32,
                    committed_at=START_MS,
                    insertions=0,
                    deletions=0,
                    files_changed=len(files),
                    files=files,
                ),
            )
            for number in range(count)
        ]
        self.store.add(self.project.id, observed)

    def push(self, **options: Any) -> Pushed:
        with requests.Session() as http:
            return push(self.home, self.store, http, **options)

    def rows(self) -> list[sqlite3.Row]:
        """The events in order of recording, read past our own code."""
        with closing(sqlite3.connect(self.home.database)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute("SELECT * FROM events ORDER BY local_id").fetchall()

    def statuses(self) -> Counter[str]:
        return Counter(row["sync_status"] for row in self.rows())

    def assert_counters_are_true(self) -> None:
        assert_counters_are_true(self.home.database)
