"""What each project shares with the server: nothing, its numbers, or all of its metadata.

A level is for what is not sent yet. Events are recorded alike at every level: pseudonyms are made when an
event goes out, and what a project that shares nothing records waits.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from devflow.errors import Invalid
from devflow_agent import outbox
from devflow_agent.collect import git_program
from devflow_agent.store import Level, Project, Store

_CHANGES: Final = "sync_level_changes"
_LABEL: Final = b"devflow-monitor pseudonyms 1\x00"
_EMPTY_TREES: Final = (
    b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n",
    b"tree 6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321\n",
)


class Key(NamedTuple):
    """Of a project's pseudonyms; ``is_common`` if every whole clone of the repository has the same."""

    secret: bytes
    is_common: bool


class Shared(NamedTuple):
    """What a project shares; ``is_key_common`` is None while it has no key, ``held`` events are not sent."""

    project: Project
    is_key_common: bool | None
    held: int


def shared(store: Store) -> list[Shared]:
    """Of each project, linked or not."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT project_id, is_key_common, coalesce(count, 0) AS pending FROM sync_levels"
            " LEFT JOIN (SELECT * FROM sync_counts WHERE sync_status = 'pending') USING (project_id)"
        )
        known = {UUID(row["project_id"]): row for row in rows}
    return [_of_project(project, known.get(project.id)) for project in store.projects()]


def choose(store: Store, projects: Mapping[UUID, Path], level: Level) -> None:
    """From now on these projects, by their folders, share so much; all of them or, with Invalid, none.

    Whoever is sending notices at once (``changes``), and throws away what it has made ready.
    """
    keys = {
        project_id: _key(store, project_id) or found_key(path)
        for project_id, path in projects.items()
        if level is Level.METRICS
    }
    with store.write() as connection:
        for project_id in projects:
            key = keys.get(project_id)
            connection.execute(
                "INSERT INTO sync_levels (project_id, level, pseudonym_key, is_key_common)"
                " VALUES (?, ?, ?, ?)"
                " ON CONFLICT (project_id) DO UPDATE SET level = excluded.level,"
                " pseudonym_key = coalesce(pseudonym_key, excluded.pseudonym_key),"
                " is_key_common = coalesce(is_key_common, excluded.is_key_common)",
                (
                    str(project_id),
                    level,
                    None if key is None else key.secret.hex(),
                    None if key is None else key.is_common,
                ),
            )
        connection.execute(
            "INSERT INTO settings (key, value) VALUES (?, '1')"
            " ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1",
            (_CHANGES,),
        )
        if level is not Level.OFF:
            # What was held back is older than a stream that is open, and was left out of the last comparison.
            outbox.note_old_ones(connection)
            outbox.forget_compared(connection)


def changes(store: Store) -> int:
    """Another number whenever somebody has chosen a level: what was made ready before is not to be sent."""
    return store.setting(_CHANGES) or 0


def found_key(folder: Path) -> Key:
    """The key of the repository's pseudonyms, drawn from what its clones share and no event holds.

    That is the oldest commit itself: of what is in it an event tells the hash, and not its tree. A clone
    that lacks it, a folder without commits, and a first commit of nothing, which could be guessed, get a
    key of this PC. Raise Invalid if git cannot read the folder.
    """
    root = _root_commit(folder)
    if root is None or root.startswith(_EMPTY_TREES):
        return Key(secrets.token_bytes(32), is_common=False)
    return Key(hashlib.sha256(_LABEL + root).digest(), is_common=True)


def _root_commit(folder: Path) -> bytes | None:
    """The raw commit with the smallest hash of those that HEAD's history begins with."""
    if not folder.is_dir():
        raise Invalid(f"expected the folder of a git repository at {folder}, got nothing there")
    if git_program.run(folder, "rev-parse", "--is-shallow-repository") != b"false\n":
        return None
    if git_program.ask(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}") is None:
        return None
    roots = git_program.run(folder, "rev-list", "--max-parents=0", "HEAD").split()
    return git_program.run(folder, "cat-file", "commit", min(roots).decode())


def _key(store: Store, project_id: UUID) -> Key | None:
    with store.read() as connection:
        row = connection.execute(
            "SELECT pseudonym_key, is_key_common FROM sync_levels"
            " WHERE project_id = ? AND pseudonym_key IS NOT NULL",
            (str(project_id),),
        ).fetchone()
    return None if row is None else Key(bytes.fromhex(row["pseudonym_key"]), bool(row["is_key_common"]))


def _of_project(project: Project, row: Mapping[str, int | None] | None) -> Shared:
    if row is None:
        return Shared(project, None, 0)
    is_common = row["is_key_common"]
    held = row["pending"] or 0 if project.level is Level.OFF else 0
    return Shared(project, None if is_common is None else bool(is_common), held)
