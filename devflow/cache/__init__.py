"""What was counted, kept for whoever asks again: in memory, in Redis if there is one, in the database.

A kept value is good for one generation of its project, which moves in the transaction that changes a
number: there is nothing to invalidate, and nothing is good for a time. What comes from outside of
the process is believed only under our seal, for the very question and generation. A layer that is
empty, slow, gone or lies costs the time to count, and changes no answer.

Nothing kept knows who asked; rights are applied to what comes out (``metrics``).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec import Raw, Struct
from sqlalchemy.orm import Session

from devflow.cache.memory import Memory
from devflow.cache.stored import Stored
from devflow.crypto import Vault

if TYPE_CHECKING:
    from devflow.cache.shared import Shared

T = TypeVar("T")
LARGEST_BYTES: Final = 1 << 20
"""Of one value; what is larger is counted each time."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer is kept, and for which generation of the project it must have been counted.

    ``question`` is in words, with all that decides the answer; see ``metrics.kept``. What is
    ``costly`` to count is worth a row in the database.
    """

    question: str
    project_id: int
    generation: int
    costly: bool
    key: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", hashlib.sha256(self.question.encode()).digest())


class _Kept(Struct, frozen=True, rename="camel"):
    """A value as it leaves the process."""

    question: str
    generation: int
    seal: str
    value: Raw


class Cache:
    """The layers of one process. Each may be asked by any thread."""

    def __init__(self, vault: Vault, shared: Shared | None = None, memory: Memory | None = None) -> None:
        self._vault = vault
        self.memory = memory or Memory()
        self.shared = shared
        self.stored = Stored()

    def get(self, session: Session, place: Place, kind: type[T], count: Callable[[], T]) -> T:
        """The value of ``kind`` for the place, counted if no layer has it.

        The place's generation must have been read no later than ``count`` reads: then what is kept is
        at most newer than it says, and goes when the generation moves.
        """
        found = self._find(session, place)
        if found is not None and (value := _read(found, kind)) is not None:
            return value
        value = count()
        self._keep(place, msgspec.json.encode(value))
        return value

    def flush(self, session: Session, now_ms: int) -> int:
        """Store what was costly to count since the last time; return how many. The caller commits."""
        return self.stored.flush(session, now_ms)

    def _find(self, session: Session, place: Place) -> bytes | None:
        if (found := self.memory.get(place.key, place.generation)) is not None:
            return found
        for look in (self._look_in_shared, self._look_in_stored):
            if (kept := look(session, place)) is not None and (value := self._open(place, kept)) is not None:
                self.memory.put(place.key, place.generation, value)
                return value
        return None

    def _look_in_shared(self, _session: Session, place: Place) -> bytes | None:
        return None if self.shared is None else self.shared.get(place.key, LARGEST_BYTES)

    def _look_in_stored(self, session: Session, place: Place) -> bytes | None:
        return self.stored.get(session, place.key) if place.costly else None

    def _keep(self, place: Place, value: bytes) -> None:
        if len(value) > LARGEST_BYTES:
            return
        self.memory.put(place.key, place.generation, value)
        if self.shared is None and not place.costly:
            return
        sealed = self._seal(place, value)
        if self.shared is not None:
            self.shared.put(place.key, sealed)
        if place.costly:
            self.stored.put(place.key, place.project_id, place.generation, sealed)

    def _seal(self, place: Place, value: bytes) -> bytes:
        kept = _Kept(place.question, place.generation, self._mac(place, value), Raw(value))
        return msgspec.json.encode(kept)

    def _open(self, place: Place, found: bytes) -> bytes | None:
        """The value, if this is what we kept for the place in this generation; else None."""
        try:
            kept = msgspec.json.decode(found, type=_Kept)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        value = bytes(kept.value)
        is_ours = hmac.compare_digest(kept.seal.encode(), self._mac(place, value).encode())
        is_for_this = (kept.question, kept.generation) == (place.question, place.generation)
        return value if is_ours and is_for_this else None

    def _mac(self, place: Place, value: bytes) -> str:
        return self._vault.mac("cache", place.key, str(place.generation).encode(), value).hex()


def _read(value: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(value, type=kind)
    except msgspec.MsgspecError:
        return None
