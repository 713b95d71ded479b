"""New events as rows: sealed, with their files, their lines, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from devflow import db, rollups, wire
from devflow.accounts import people
from devflow.crypto import Vault
from devflow.ingest.sender import Sender
from devflow.models import File, PersonAuthor
from devflow.rollups import TYPE_NUMBER
from devflow.wire import Received

DATA: Final = "events.data"
PATH: Final = "files.path"
_FILES: Final = File.__table__.c


class Row(NamedTuple):
    """A row of ``events``; its number is the database's to give."""

    event_id: bytes
    timestamp: int
    project_id: int
    device_id: int
    local_id: int
    event_type: int
    data: bytes
    received_at: int
    person_id: int | None
    author_key: bytes | None
    insertions: int
    deletions: int
    files: bytes


def make(
    session: Session, sender: Sender, events: Iterable[Received], project_ids: Mapping[str, int]
) -> list[Row]:
    """Rows of ``events``, each id once, in the order of time."""
    unique = [(event, wire.paths_of(event.event_data)) for event in {e.id: e for e in events}.values()]
    pairs = {(project_ids[event.project_id], path) for event, paths in unique for path in paths}
    file_ids = _file_ids(session, sender.vault, pairs)
    whose, seal = _Authors(session, sender).of, sender.vault.sealer(DATA)
    now_ms, device_id = sender.by.now_ms, sender.device.id
    rows = []
    for event, paths in unique:
        data, event_id, project_id = event.event_data, event.id_bytes, project_ids[event.project_id]
        person_id, author_key = whose(data)
        insertions, deletions = wire.lines_of(data)
        rows.append(
            Row(
                event_id,
                event.timestamp,
                project_id,
                device_id,
                event.local_id,
                TYPE_NUMBER[wire.TYPE_OF[type(data)]],
                seal(event_id, wire.encode(data)),
                now_ms,
                person_id,
                author_key,
                insertions,
                deletions,
                rollups.pack_files([file_ids[project_id, path] for path in paths]),
            )
        )
    rows.sort(key=lambda row: (row.timestamp, row.event_id))
    return rows


class _Authors:
    """Who did what an event says: its sender, unless it names an author whom the sender is not."""

    def __init__(self, session: Session, sender: Sender) -> None:
        self._session = session
        self._vault = sender.vault
        self._person_id = sender.person.id
        self._own: frozenset[bytes] | None = None

    def of(self, data: wire.EventData) -> tuple[int | None, bytes | None]:
        """The person's id, None for somebody else, and the author's key, if one is named."""
        if not wire.names_author(data):
            return self._person_id, None
        author = wire.author_of(data)
        if author is None:
            return None, None
        key = people.author_key(self._vault, bytes.fromhex(author))
        if self._own is None:
            self._own = own_keys(self._session, self._person_id)
        return (self._person_id if key in self._own else None), key


def own_keys(session: Session, person_id: int) -> frozenset[bytes]:
    """The author keys that are the person."""
    return frozenset(session.scalars(select(PersonAuthor.author_key).filter_by(person_id=person_id)))


def content(vault: Vault, row: Any) -> bytes | None:
    """What a stored row says: nothing if it was erased, None if it cannot be read."""
    return vault.open_or_none(DATA, row.event_id, row.data) if row.data else b""


def _file_ids(session: Session, vault: Vault, paths: set[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """The File id of every (project id, path); new ones are made."""
    keys = {pair: file_key(vault, *pair) for pair in paths}
    ids = _find_files(session, keys)
    missing = sorted(keys.keys() - ids.keys())
    if not missing:
        return ids
    db.insert_new(
        session,
        File,
        [
            {
                "project_id": project_id,
                "path_key": keys[project_id, path],
                "path": vault.seal(PATH, keys[project_id, path], path.encode()),
            }
            for project_id, path in missing
        ],
        unique=["project_id", "path_key"],
    )
    return ids | _find_files(session, {pair: keys[pair] for pair in missing})


def file_key(vault: Vault, project_id: int, path: str) -> bytes:
    """What a path is found by; another one in each project, so that files of two cannot be matched."""
    return vault.key_of(PATH, project_id.to_bytes(8, "big") + path.encode())


def _find_files(session: Session, keys: dict[tuple[int, str], bytes]) -> dict[tuple[int, str], int]:
    pair_of = {key: pair for pair, key in keys.items()}
    found: dict[tuple[int, str], int] = {}
    for chunk in _chunks(sorted(pair_of), 10_000):
        by_project: dict[int, list[bytes]] = {}
        for key in chunk:
            by_project.setdefault(pair_of[key][0], []).append(key)
        rows = session.execute(
            select(_FILES.id, _FILES.path_key).where(
                or_(
                    *(
                        (_FILES.project_id == project_id) & _FILES.path_key.in_(wanted)
                        for project_id, wanted in by_project.items()
                    )
                )
            )
        )
        found.update({pair_of[row.path_key]: row.id for row in rows})
    return found


def _chunks(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
