"""The files that events are about: found by a keyed hash of their paths, and made where they are new."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

from sqlalchemy.orm import Session

from devflow import db, languages, rollups
from devflow.crypto import Vault
from devflow.models import File

PATH: Final = "files.path"
_AT_ONCE: Final = 10_000
_KEPT: Final = 20_000
Named = tuple[int, str]
"""A project's number and a path in it."""


class Files:
    """The numbers of the files of a database.

    ``is_alone`` is for a database that nobody else restores while this process runs, SQLite: then
    numbers that were found are kept in memory. Files go only with their project, whose number is
    never given again.
    """

    def __init__(self, *, is_alone: bool) -> None:
        self._found: dict[Named, int] = {}
        self._kept = _KEPT if is_alone else 0

    def packed(
        self, session: Session, vault: Vault, projects: Sequence[int], paths: Sequence[Sequence[str]]
    ) -> list[bytes]:
        """``Event.files`` of events in these projects about these paths; new files are made."""
        named = [
            [(project_id, path) for path in some] for project_id, some in zip(projects, paths, strict=True)
        ]
        numbers = self._numbers(session, vault, set(chain.from_iterable(named)))
        packed = {each: rollups.pack_files([number]) for each, number in numbers.items()}
        return [b"".join([packed[each] for each in some]) for some in named]

    def _numbers(self, session: Session, vault: Vault, wanted: set[Named]) -> dict[Named, int]:
        found = self._found
        numbers = {each: found[each] for each in wanted if each in found}
        if len(numbers) == len(wanted):
            return numbers
        keys = {(each[0], _key(vault, *each)): each for each in wanted - numbers.keys()}
        stored = _find(session, keys)
        if self._kept:  # not what is made below: the transaction may come to nothing
            if len(found) + len(stored) > self._kept:
                self._found = {}
            self._found.update(stored)
        missing = {key: each for key, each in sorted(keys.items()) if each not in stored}
        return numbers | stored | _make(session, vault, missing)


def _make(session: Session, vault: Vault, missing: dict[tuple[int, bytes], Named]) -> dict[Named, int]:
    if not missing:
        return {}
    seal = vault.sealer(PATH)
    db.insert_new(
        session,
        File,
        [
            {
                "project_id": project_id,
                "path_key": key,
                "path": seal(key, path.encode()),
                "language": languages.of(path),
            }
            for (project_id, key), (_, path) in missing.items()
        ],
        unique=("project_id", "path_key"),
    )
    return _find(session, missing)


def _key(vault: Vault, project_id: int, path: str) -> bytes:
    """What a path is found by; another one in each project, so that files of two cannot be matched."""
    return vault.key_of(PATH, project_id.to_bytes(8, "big") + path.encode())


def _find(session: Session, keys: dict[tuple[int, bytes], Named]) -> dict[Named, int]:
    found: dict[Named, int] = {}
    connection = session.connection()
    for some in db.in_steps(list(keys), _AT_ONCE):
        wanted: dict[int, list[str]] = {}
        for project_id, key in some:
            wanted.setdefault(project_id, []).append(db.literal(connection, key))
        # Written out, as building so long a statement would take longer than running it.
        named = " OR ".join(
            f"project_id = {project_id} AND path_key IN ({','.join(literals)})"
            for project_id, literals in wanted.items()
        )
        statement = f"SELECT project_id, path_key, id FROM files WHERE {named}"  # noqa: S608 - integers and hex
        for project_id, key, number in connection.exec_driver_sql(statement).all():
            found[keys[project_id, key]] = number
    return found
