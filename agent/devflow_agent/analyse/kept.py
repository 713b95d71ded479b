"""What this process has counted already, for a short while: in SQLite's memory, up to a number of bytes.

A value is good for one sequence of the store, so that a new event shows at once. Whatever happens in
here costs the time to count and changes no answer: when there is no room, the oldest go.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import weakref
from typing import Final

KEPT_FOR_MS: Final = 300_000
MOST_BYTES: Final = 100_000_000
_SMALLEST_BYTES: Final = 16 * 4_096
"""For the tables themselves."""
_SHARE: Final = 4
"""One in so many goes at once, lest each that comes has to wait for others to go; nothing larger is kept."""
_SCHEMA: Final = """
CREATE TABLE kept (
    number      INTEGER PRIMARY KEY,        -- in the order of keeping
    key         BLOB NOT NULL UNIQUE,
    sequence    INTEGER NOT NULL,
    at_ms       INTEGER NOT NULL,
    value       BLOB NOT NULL
) STRICT
"""
log = logging.getLogger(__name__)


class Kept:
    """Values by key. Any thread may use it; ``now_ms`` is the caller's clock."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._connection.close)
        self._most_bytes = max(most_bytes, _SMALLEST_BYTES)
        (page_bytes,) = self._connection.execute("PRAGMA page_size").fetchone()
        pages = self._most_bytes // page_bytes
        self._connection.execute(f"PRAGMA max_page_count = {pages}")
        self._connection.execute(_SCHEMA)

    def get(self, key: bytes, sequence: int, now_ms: int) -> bytes | None:
        """What was kept of this sequence at most ``KEPT_FOR_MS`` ago, if it still is."""
        with self._lock:
            try:
                row = self._connection.execute(
                    "SELECT value FROM kept WHERE key = ? AND sequence = ? AND at_ms BETWEEN ? AND ?",
                    # A clock that was set back does not make it younger.
                    (key, sequence, now_ms - KEPT_FOR_MS, now_ms),
                ).fetchone()
            except sqlite3.Error:
                log.debug("what was counted cannot be read", exc_info=True)
                return None
        return None if row is None else bytes(row[0])

    def put(self, key: bytes, sequence: int, now_ms: int, value: bytes) -> None:
        """Keep it, in the place of what was under the key, unless it alone takes too much of the room."""
        if len(value) > self._most_bytes // _SHARE:
            return
        with self._lock:
            try:
                self._put(key, sequence, now_ms, value)
            except (sqlite3.Error, MemoryError):
                log.debug("what was counted is not kept", exc_info=True)

    def _put(self, key: bytes, sequence: int, now_ms: int, value: bytes) -> None:
        # What is too old goes first, and of one question only the last answer stays.
        self._connection.execute(
            "DELETE FROM kept WHERE key = ? OR at_ms NOT BETWEEN ? AND ?", (key, now_ms - KEPT_FOR_MS, now_ms)
        )
        row = (key, sequence, now_ms, value)
        while not self._insert(row):
            if not self._evict():
                return

    def _insert(self, row: tuple[bytes, int, int, bytes]) -> bool:
        """Whether there was room."""
        try:
            self._connection.execute(
                "INSERT INTO kept (key, sequence, at_ms, value) VALUES (?, ?, ?, ?)", row
            )
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            return False
        return True

    def _evict(self) -> int:
        """Let the oldest go; return how many went."""
        return self._connection.execute(
            "DELETE FROM kept WHERE number IN (SELECT number FROM kept ORDER BY number"
            " LIMIT (SELECT count(*) / ? + 1 FROM kept))",
            (_SHARE,),
        ).rowcount

    def __len__(self) -> int:
        with self._lock:
            return int(self._connection.execute("SELECT count(*) FROM kept").fetchone()[0])

    @property
    def size(self) -> int:
        """Bytes that are taken, also by what has gone since: their room is used again."""
        with self._lock:
            (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
            (page_bytes,) = self._connection.execute("PRAGMA page_size").fetchone()
        return int(pages * page_bytes)
