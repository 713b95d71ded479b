"""The agent as this server gives it away: the wheel of the server's own version, in a folder."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import devflow

NAME: Final = f"devflow_monitor-{devflow.__version__}-py3-none-any.whl"


@dataclass(frozen=True, slots=True)
class Wheel:
    """``content`` is kept with its ``sha256`` (hex), so that both are of one file."""

    content: bytes
    sha256: str


def find(folder: Path) -> Wheel | None:
    """The wheel in the folder, None if it has none of this version: a source checkout that built none."""
    path = folder / NAME
    try:
        seen = path.stat()
        return _read(path, seen.st_mtime_ns, seen.st_size)
    except OSError:
        return None


@functools.lru_cache(maxsize=1)
def _read(path: Path, _changed_ns: int, _size: int) -> Wheel:
    content = path.read_bytes()
    return Wheel(content, hashlib.sha256(content).hexdigest())
