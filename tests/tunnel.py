"""A stream through a proxy that fails: bytes both ways, until the proxy cuts it in the middle of them."""

from __future__ import annotations

import random
import selectors
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_AT_ONCE: Final = struct.pack("ii", 1, 0)
_A_BATCH: Final = 200
"""What comes from an agent in more bytes than these holds a batch: pongs and closes are shorter."""


class Tunnel:
    """Between an agent and its server, from the handshake on.

    ``cuts_up`` and ``cuts_down`` say after how many bytes in that direction it is cut, None for never;
    what came too much is passed on up to there.
    """

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        chance: random.Random,
        on_batch: Callable[[], None],
        *,
        cuts_up: int | None = None,
        cuts_down: int | None = None,
    ) -> None:
        self._client = client
        self._server = server
        self._chance = chance
        self._on_batch = on_batch
        self._left: dict[socket.socket, int | None] = {client: cuts_up, server: cuts_down}

    def run(self) -> None:
        """Until either side ends it, or the time for the cut has come."""
        with selectors.DefaultSelector() as waiting, suppress(OSError):
            waiting.register(self._client, selectors.EVENT_READ)
            waiting.register(self._server, selectors.EVENT_READ)
            while all(self._passed(cast_socket(key.fileobj)) for key, _ in waiting.select()):
                pass
        for end in (self._client, self._server):
            with suppress(OSError):
                if self._chance.random() < 0.5:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                end.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _passed(self, source: socket.socket) -> bool:
        """Pass on what has come; return False at the end."""
        data = source.recv(65_536)
        if source is self._client and len(data) > _A_BATCH:
            self._on_batch()
        left = self._left[source]
        if left is not None:
            data = data[:left]
            self._left[source] = left - len(data)
        (self._server if source is self._client else self._client).sendall(data)
        return bool(data) and self._left[source] != 0


def cast_socket(found: object) -> socket.socket:
    assert isinstance(found, socket.socket)
    return found
