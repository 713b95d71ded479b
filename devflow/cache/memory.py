"""The first layer: what this process used last, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

MOST_BYTES: Final = 32 << 20
ENTRY_BYTES: Final = 300
"""What Python takes for an entry beside its value."""


class Memory:
    """Values by key, each of one generation; the one that was not used for longest goes first."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, tuple[int, bytes]] = OrderedDict()
        self.size = 0

    def get(self, key: bytes, generation: int) -> bytes | None:
        with self._lock:
            generation_of, value = self._entries.get(key, (None, b""))
            if generation_of != generation:
                return None
            self._entries.move_to_end(key)
            return value

    def put(self, key: bytes, generation: int, value: bytes) -> None:
        """Keep the value; of one question only one generation, so one that changes takes no more room."""
        cost = len(value) + ENTRY_BYTES
        if cost > self._most_bytes:
            return
        with self._lock:
            self._drop(key)
            self._entries[key] = (generation, value)
            self.size += cost
            while self.size > self._most_bytes:
                self._drop(next(iter(self._entries)))

    def __len__(self) -> int:
        return len(self._entries)

    def _drop(self, key: bytes) -> None:
        dropped = self._entries.pop(key, None)
        if dropped is not None:
            self.size -= len(dropped[1]) + ENTRY_BYTES
