"""Which other processes have a SQLite file open: by the locks they hold as long as they do."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import Final

_SHARED_FIRST: Final = 0x4000_0002
_SHARED_BYTES: Final = 510
"""SQLite's own numbers (https://www.sqlite.org/src/file/src/os.h): who has opened a log holds these bytes."""
_FLOCK: Final = "qqihh" if sys.platform == "darwin" else "hhqqi4x"


def holders(paths: list[Path]) -> list[int]:
    """Process ids, 0 for one that cannot be known, as of another container.

    This opens and closes the files, by which this process loses its own locks on them: it must not have
    them open. Where locks cannot be asked for (Windows), files that are open cannot be replaced anyway.
    """
    try:
        import fcntl
    except ImportError:
        return []
    found: set[int] = set()
    for path in paths:
        if path.exists():
            with path.open("r+b") as file:
                answer = fcntl.fcntl(file, fcntl.F_GETLK, _asked(fcntl.F_WRLCK))
            kind, pid = _told(answer)
            if kind != fcntl.F_UNLCK:
                found.add(max(pid, 0))
    return sorted(found)


def _asked(kind: int) -> bytes:
    if sys.platform == "darwin":
        return struct.pack(_FLOCK, _SHARED_FIRST, _SHARED_BYTES, 0, kind, os.SEEK_SET)
    return struct.pack(_FLOCK, kind, os.SEEK_SET, _SHARED_FIRST, _SHARED_BYTES, 0)


def _told(answer: bytes) -> tuple[int, int]:
    fields = struct.unpack(_FLOCK, answer)
    return (fields[3], fields[2]) if sys.platform == "darwin" else (fields[0], fields[4])
