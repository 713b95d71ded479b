"""Restores: whether the database is an older copy of what was served before, and what is done about it.

A backup that was put back has lost what was acknowledged after it was taken, and does not know. So
a small file in the data folder, beside the database and in no backup of it, holds how far the
database had come; one that has come less far is an older copy. Then the epoch, which every answer
names, changes: agents compare what they were confirmed with what is there, and send the rest again.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from devflow import audit
from devflow.audit import Act, Actor
from devflow.db import Database
from devflow.models import Device, Workspace

FILE: Final = "served.json"
log = logging.getLogger(__name__)


@dataclass
class Epoch:
    """The epoch that this process names in its answers; ``jobs.look_for_restore`` keeps it up to date."""

    value: UUID


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """How far a database has come: acts in its trail, and when it last took an upload.

    Both only grow. What takes events or devices away leaves an act, which is why those come first.
    """

    server_id: UUID
    acts: int
    uploaded_at: int

    @classmethod
    def of(cls, session: Session) -> Self:
        row = session.execute(select(Workspace.server_id, Workspace.audit_count)).one()
        uploaded_at = session.scalar(select(func.max(Device.last_seen_at)))
        return cls(server_id=row.server_id, acts=row.audit_count, uploaded_at=uploaded_at or 0)

    def is_before(self, other: Served) -> bool:
        """Whether this is an older copy of the other; no other server's database is."""
        came = (self.acts, self.uploaded_at) < (other.acts, other.uploaded_at)
        return came and self.server_id == other.server_id


def epoch(session: Session) -> UUID:
    return session.scalars(select(Workspace.epoch)).one()


def look(database: Database, folder: Path, actor: Callable[[], Actor]) -> UUID:
    """The epoch, which is a new one if the database is older than what was served from ``folder`` before.

    ``actor`` is asked for only then.
    """
    seen = _read(folder)  # before the database, which another process may move on meanwhile
    with database.reading() as session:
        served, current = Served.of(session), epoch(session)
    if seen is not None and served.is_before(seen):
        log.warning("this database is an older copy of the one served before: agents send again what it lost")
        return declare(database, folder, actor(), why="older")
    if served != seen:
        _write(folder, served)
    return current


def declare(database: Database, folder: Path, by: Actor, *, why: str) -> UUID:
    """Begin a new epoch; ``why`` is our own word for who says that a backup was restored."""
    begun = database.transact(lambda session: _begin(session, by, why))
    with database.reading() as session:
        _write(folder, Served.of(session))
    return begun


def _begin(session: Session, by: Actor, why: str) -> UUID:
    workspace = session.get_one(Workspace, 1, with_for_update=True)
    # By chance and not by counting: two restores of one backup must not come to the same number.
    workspace.epoch = uuid4()
    audit.record(session, by, Act.RESTORED, why=why)
    return workspace.epoch


def _read(folder: Path) -> Served | None:
    """What ``_write`` wrote, None if nothing can be read: then only the agents' own look finds a loss."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Served)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _write(folder: Path, served: Served) -> None:
    """Replace the file as a whole. Where that cannot be done the server serves all the same."""
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{FILE}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(served))
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(folder / FILE)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise
    except OSError as error:
        log.warning("could not note how far the database has come: %s", error)
