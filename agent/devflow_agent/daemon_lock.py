"""Whether a daemon watches, told by the lock it holds; kept apart so that asking loads no watcher."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from devflow.errors import Busy
from devflow_agent.config import Home

LOCK_S: Final = 0.5
"""``running`` holds the lock for a moment to see whether it is free: that is no daemon."""


class AlreadyRunning(Busy):
    """Another daemon watches for this user: leave it, or stop it first."""


@dataclass(frozen=True, slots=True)
class Daemon:
    pid: int
    since_ms: int


def running(home: Home) -> Daemon | None:
    """The daemon that watches now. The lock it holds decides: nothing that a killed one left behind does."""
    if not is_held(home):
        return None
    written = home.store().setting("daemon")
    found = None if written is None else Daemon(int(written["pid"]), int(written["since_ms"]))
    # Between taking the lock and writing this, a daemon starts but does not watch yet.
    return found if found is not None and _is_alive(found.pid) else None


def is_held(home: Home) -> bool:
    """Whether a daemon runs, also beside a store that cannot be read."""
    return home.daemon_lock.exists() and not _is_free(home)


@contextmanager
def only_daemon(home: Home) -> Iterator[None]:
    """Hold the lock; raise AlreadyRunning if another daemon does."""
    import filelock

    lock = filelock.FileLock(home.daemon_lock)
    try:
        lock.acquire(timeout=LOCK_S)
    except filelock.Timeout:
        other = running(home)
        who = "one is starting" if other is None else f"one is running with pid {other.pid}"
        raise AlreadyRunning(f"expected no other daemon of this user, {who}") from None
    try:
        yield
    finally:
        lock.release()


def _is_free(home: Home) -> bool:
    import filelock

    try:
        with filelock.FileLock(home.daemon_lock).acquire(blocking=False):
            return True
    except filelock.Timeout:
        return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
