"""The third layer: a table, for what is costly to count and should survive a restart.

A page that is read must not wait for its turn to write: what is to be stored waits in memory, a
little of it, until a job writes it all in one transaction.
"""

from __future__ import annotations

import threading
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from devflow import db
from devflow.models import KeptAnswer, Project

MOST_ROWS: Final = 500
LARGEST_BYTES: Final = 128 << 10
"""Of one value: with all rows, 64 MB."""
MOST_WAITING: Final = 50


class Stored:
    """Sealed values by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[bytes, dict[str, Any]] = {}

    def get(self, session: Session, key: bytes) -> bytes | None:
        return session.scalar(select(KeptAnswer.value).where(KeptAnswer.key == key))

    def put(self, key: bytes, project_id: int, generation: int, value: bytes) -> None:
        """Have it stored some time soon, if there is room to wait."""
        row = {"key": key, "project_id": project_id, "generation": generation, "value": value}
        with self._lock:
            if len(value) <= LARGEST_BYTES and (key in self._waiting or len(self._waiting) < MOST_WAITING):
                self._waiting[key] = row

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def flush(self, session: Session, now_ms: int) -> int:
        """Write what waits, and delete what was written longest ago; the caller commits."""
        with self._lock:
            rows, self._waiting = sorted(self._waiting.items()), {}
        there = _held(session, {row["project_id"] for _, row in rows})
        kept = [row | {"kept_at": now_ms} for _, row in rows if row["project_id"] in there]
        db.upsert(session, KeptAnswer, kept, update=("generation", "kept_at", "value"))
        newest = select(KeptAnswer.key).order_by(KeptAnswer.kept_at.desc(), KeptAnswer.key).limit(MOST_ROWS)
        session.execute(delete(KeptAnswer).where(KeptAnswer.key.not_in(newest)))
        return len(kept)


def _held(session: Session, project_ids: set[int]) -> set[int]:
    """Those of the projects that are there, and stay until the caller commits."""
    ordered = select(Project.id).where(Project.id.in_(project_ids)).order_by(Project.id)
    return set(session.scalars(ordered.with_for_update(read=True, key_share=True)))
