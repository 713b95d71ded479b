"""A repository together with the store that the git collector fills from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from devflow import wire
from devflow_agent.collect import git
from devflow_agent.store import Event, Store
from tests.repo import Repo

NOW_MS = 1_800_000_000_000

_T = TypeVar("_T", bound=wire.EventData)


class Watched:
    """``repo`` as a project of a store of its own in ``folder``."""

    def __init__(self, repo: Repo, folder: Path) -> None:
        self.repo = repo
        self.repository = git.open_repository(repo.path)
        self.store = Store(folder / "devflow.db")
        self.project = self.store.add_project(
            self.repository.name, self.repository.top, self.repository.git_dir, NOW_MS
        )

    def collect(self, progress: Callable[[int], None] = lambda _commits: None) -> git.Collected:
        return git.collect(self.repository, self.store, self.project.id, NOW_MS, progress=progress)

    def count_new(self) -> int:
        return git.count_new(self.repository, self.store, self.project.id)

    def events(self) -> list[Event]:
        return self.store.events(limit=1_000_000)

    def data(self, kind: type[_T]) -> list[_T]:
        """The recorded data of one type, oldest first."""
        event_type = next(name for name, data in wire.DATA.items() if data is kind)
        found = [event for event in reversed(self.events()) if event.event_type == event_type]
        return [wire.decode(event.data_json.encode(), kind) for event in found]

    def commit(self, sha: str) -> wire.Commit:
        (found,) = [data for data in self.data(wire.Commit) if data.sha == sha]
        return found

    def shas(self) -> list[str]:
        """Every commit and merge, as often as it is recorded, in the order of hashes."""
        commits = [data.sha for data in self.data(wire.Commit)]
        return sorted(commits + [data.sha for data in self.data(wire.Merge)])
