"""New events as rows: sealed, with their files, their lines, and whose they are."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import repeat
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from devflow import wire
from devflow.accounts import people
from devflow.crypto import Vault
from devflow.ingest.files import Files
from devflow.ingest.sender import Sender
from devflow.models import PersonAuthor
from devflow.rollups import TYPE_NUMBER
from devflow.wire import Received

DATA: Final = "events.data"
_IN_ORDER: Final = operator.attrgetter("timestamp", "id")
_KEYS: Final = select(PersonAuthor.author_key).where(PersonAuthor.person_id == bindparam("person_id"))
_NUMBER: Final = {data: TYPE_NUMBER[kind] for kind, data in wire.DATA.items()}


_Whose = tuple[int | None, bytes | None]
"""The person's id, None for somebody else, and the author's key, if one is named."""


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
    session: Session,
    sender: Sender,
    events: Iterable[Received],
    project_ids: Mapping[str, int],
    files: Files,
) -> list[Row]:
    """Rows of ``events``, each id once, in the order of time."""
    unique = sorted({event.id: event for event in events}.values(), key=_IN_ORDER)
    data = [event.event_data for event in unique]
    event_ids = wire.binary_ids(unique)
    projects = [project_ids[event.project_id] for event in unique]
    authors = _Authors(session, sender)
    whose = [authors.of(each) if wire.names_author(each) else authors.sender for each in data]
    lines = [wire.lines_of(each) for each in data]
    columns = (
        event_ids,
        [event.timestamp for event in unique],
        projects,
        repeat(sender.device.id),
        [event.local_id for event in unique],
        [_NUMBER[type(each)] for each in data],
        map(sender.vault.sealer(DATA), event_ids, map(wire.encode, data)),
        repeat(sender.by.now_ms),
        [person_id for person_id, _ in whose],
        [author_key for _, author_key in whose],
        [insertions for insertions, _ in lines],
        [deletions for _, deletions in lines],
        files.packed(session, sender.vault, projects, list(map(wire.paths_of, data))),
    )
    return list(map(Row._make, zip(*columns, strict=False)))


class _Authors:
    """Who did what an event says: its sender, unless it names an author whom the sender is not."""

    def __init__(self, session: Session, sender: Sender) -> None:
        self.sender: _Whose = sender.person.id, None
        self._person_id = sender.person.id
        self._session = session
        self._vault = sender.vault
        self._found: dict[str, _Whose] = {}

    def of(self, data: wire.EventData) -> _Whose:
        """Of an event that names an author."""
        if (author := wire.author_of(data)) is None:
            return None, None
        if (found := self._found.get(author)) is None:
            found = self._found[author] = self._look_up(author)
        return found

    def _look_up(self, author: str) -> _Whose:
        key = people.author_key(self._vault, bytes.fromhex(author))
        return (self._person_id if key in self._own else None), key

    @cached_property
    def _own(self) -> frozenset[bytes]:
        return own_keys(self._session, self._person_id)


def own_keys(session: Session, person_id: int) -> frozenset[bytes]:
    """The author keys that are the person."""
    return frozenset(session.connection().scalars(_KEYS, {"person_id": person_id}))


def content(vault: Vault, row: Any) -> bytes | None:
    """What a stored row says: nothing if it was erased, None if it cannot be read."""
    return vault.open_or_none(DATA, row.event_id, row.data) if row.data else b""
