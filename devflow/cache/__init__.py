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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar, cast
from uuid import UUID

import msgspec
from msgspec import Raw, Struct
from sqlalchemy.orm import Session

from devflow.cache.memory import Memory
from devflow.cache.stored import Stored
from devflow.crypto import Vault
from devflow.rollups import Calendar

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


@dataclass(frozen=True, slots=True)
class Server:
    """Whose numbers they are: several servers, and one before and after a restore, may share a Redis."""

    id: UUID
    epoch: UUID
    calendar: Calendar

    def __str__(self) -> str:
        calendar = f"{self.calendar.zone.key}:{self.calendar.idle_limit_ms}"
        return f"server:{self.id}:epoch:{self.epoch}:calendar:{calendar}"


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
        (value,) = self.get_all(session, [place], kind, lambda _: [count()])
        return value

    def get_all(
        self,
        session: Session,
        places: Sequence[Place],
        kind: type[T],
        count: Callable[[Sequence[int]], Sequence[T]],
    ) -> list[T]:
        """As ``get`` for each of the places; ``count`` is called with the indexes of what no layer has."""
        values = [self._find_value(session, place, kind) for place in places]
        missing = [index for index, value in enumerate(values) if value is None]
        for index, value in zip(missing, count(missing) if missing else (), strict=True):
            self._keep(places[index], msgspec.json.encode(value))
            values[index] = value
        return cast(list[T], values)

    def _find_value(self, session: Session, place: Place, kind: type[T]) -> T | None:
        found = self._find(session, place)
        return None if found is None else _read(found, kind)

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
