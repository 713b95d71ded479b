"""What the developer's other PCs sent and the server gave us, beside the events of this PC.

Nothing of it is sent again, and no local number changes by it unless it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

import msgspec

from devflow import wire
from devflow_agent.store import Store

_CURSOR: Final = "sync_download_cursor"


def cursor(store: Store) -> str | None:
    """Where the server said to go on, None before anything was fetched."""
    found: str | None = store.setting(_CURSOR)
    return found


def count(store: Store) -> int:
    """How many events of other PCs lie here."""
    with store.read() as connection:
        return int(connection.execute("SELECT count(*) FROM downloaded").fetchone()[0])


def keep(store: Store, events: Iterable[wire.OwnEvent], end: str) -> int:
    """Store the events and where to go on, in one transaction; return how many were new."""
    rows = [
        (
            event.id,
            event.timestamp,
            str(event.device_id),
            str(event.project_id),
            event.event_type,
            bytes(event.event_data).decode(),
        )
        for event in events
        if _is_whole(event)
    ]
    with store.write() as connection:
        before = connection.total_changes
        connection.executemany(
            "INSERT INTO downloaded (id, timestamp, device_id, remote_id, event_type, event_data)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            rows,
        )
        added = connection.total_changes - before
        connection.execute(
            "INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)", (_CURSOR, json.dumps(end))
        )
    return added


def _is_whole(event: wire.OwnEvent) -> bool:
    """Whether its data can be counted: the server says null for what it could not open any more."""
    try:
        msgspec.json.decode(event.event_data, type=wire.DATA[event.event_type])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True
