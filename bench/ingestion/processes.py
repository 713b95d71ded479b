"""Servers of others as processes, and what a process has used as Linux tells it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

DEADLINE_S: Final = 60
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Seconds of processor time of all its threads so far, its own and the system's for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def megabytes(pid: int, what: Literal["VmRSS", "VmHWM"]) -> float:
    """What it has in memory now (VmRSS), or had at most (VmHWM), in millions of bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith(f"{what}:")]
    return int(line.split()[1]) * 1_024 / 1e6


def only_child(pid: int) -> int:
    """The one process that it has started, as gunicorn its worker."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


@contextmanager
def answering(
    command: Sequence[str], port: int, folder: Path, environ: Mapping[str, str] | None = None
) -> Iterator[int]:
    """The id of a process that runs in ``folder`` and takes connections on the port; stopped at the end."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | dict(environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        if not _takes_connections(process, port):
            raise SystemExit(f"expected {command[2]} to take connections, got: {log.read_text()[-2_000:]}")
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=DEADLINE_S)


def _takes_connections(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False
