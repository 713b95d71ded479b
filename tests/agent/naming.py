"""Events of every type with names by chance, each of which would be known again wherever it appeared."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final
from uuid import UUID

from devflow import pseudonyms, wire
from devflow_agent.store import Observation
from tests.agent.outbox import START_MS

# Nothing of it stands in an envelope: neither in ids nor in the names of fields.
LETTERS: Final = "QWXZÄßéжщ中文🦊 '\"\\\n\t<>&%~"
ENDINGS: Final = (".py", ".TSX", ".tar.gz", ".c++", "", ".ЖЖЖ", ".sekretno")


class Named:
    """Observations, and every name that stands in one of them."""

    def __init__(self, chance: random.Random) -> None:
        self.names: set[str] = set()
        self._chance = chance

    def one(self, data: type[wire.EventData]) -> Observation:
        made = _MADE[data](self)
        return Observation(self._id(), START_MS + self._chance.randrange(10**9), made)

    def parts(self) -> set[str]:
        """The names and all they are made of, but the endings that tell a language."""
        pieces = {piece for name in self.names for piece in name.split("/")}
        stems = {piece.rpartition(".")[0] or piece for piece in pieces}
        return self.names | {piece for piece in stems if len(piece) > 3}

    def path(self) -> str:
        folders = [self._word() for _ in range(self._chance.randrange(4))]
        return self._noted("/".join([*folders, self._word() + self._chance.choice(ENDINGS)]))

    def ref(self) -> str:
        return self._noted("/".join(self._word() for _ in range(self._chance.randrange(1, 3))))

    def maybe(self, name: Callable[[], str]) -> str | None:
        return name() if self._chance.random() < 0.7 else None

    def number(self) -> int:
        return self._chance.randrange(10**6)

    def sha(self) -> str:
        return f"{self._chance.getrandbits(160):040x}"

    def author(self) -> str:
        return f"{self._chance.getrandbits(128):032x}"

    def changes(self) -> list[wire.FileChange]:
        return [
            wire.FileChange(
                path=self.path(),
                insertions=self._chance.choice([None, self.number()]),
                deletions=self._chance.choice([None, self.number()]),
                old_path=self.maybe(self.path),
            )
            for _ in range(self._chance.randrange(1, 6))
        ]

    def _word(self) -> str:
        return "".join(self._chance.choices(LETTERS, k=self._chance.randrange(5, 12)))

    def _noted(self, name: str) -> str:
        self.names.add(name)
        return name

    def _id(self) -> UUID:
        return UUID(int=self._chance.getrandbits(128), version=4)


def nameless(data: wire.EventData) -> wire.EventData:
    """All that is no name."""
    return pseudonyms.renamed(data, lambda path: "-", lambda ref: "-")


def names_in(data: wire.EventData) -> list[str]:
    found: list[str] = []

    def noted(name: str) -> str:
        found.append(name)
        return name

    pseudonyms.renamed(data, noted, noted)
    return found


def _commit(by: Named) -> wire.Commit:
    return wire.Commit(
        sha=by.sha(),
        parents=[by.sha()],
        author=by.author(),
        committer=by.author(),
        committed_at=START_MS,
        insertions=by.number(),
        deletions=by.number(),
        files_changed=by.number(),
        files=by.changes(),
    )


def _merge(by: Named) -> wire.Merge:
    parents = [by.sha(), by.sha()]
    return wire.Merge(
        sha=by.sha(), parents=parents, author=by.author(), committer=by.author(), committed_at=START_MS
    )


_MADE: Final[dict[type[wire.EventData], Callable[[Named], wire.EventData]]] = {
    wire.FileSaved: lambda by: wire.FileSaved(path=by.path(), size_bytes=by.number()),
    wire.FileCreated: lambda by: wire.FileCreated(path=by.path(), size_bytes=by.number()),
    wire.FileDeleted: lambda by: wire.FileDeleted(path=by.path()),
    wire.FileRenamed: lambda by: wire.FileRenamed(path=by.path(), old_path=by.path()),
    wire.Commit: _commit,
    wire.Merge: _merge,
    wire.CommitFiles: lambda by: wire.CommitFiles(
        sha=by.sha(), author=by.author(), part=2, files=by.changes()
    ),
    wire.BranchSwitched: lambda by: wire.BranchSwitched(branch=by.maybe(by.ref), previous=by.maybe(by.ref)),
    wire.BranchCreated: lambda by: wire.BranchCreated(branch=by.ref(), sha=by.sha()),
    wire.BranchDeleted: lambda by: wire.BranchDeleted(branch=by.ref(), sha=by.sha()),
    wire.TagCreated: lambda by: wire.TagCreated(tag=by.ref(), sha=by.sha(), author=by.maybe(by.author)),
}
