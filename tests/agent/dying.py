"""Pushes that kill themselves at a chosen moment: a process that forks one for each order it reads.

Starting Python for each would take most of the time; one process without threads can fork safely.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import requests

from devflow.errors import DevflowError
from devflow_agent import outbox, sync
from devflow_agent.config import Home
from devflow_agent.remote import Remote, Timeouts

MOMENTS: Final = ("before sending", "after sending", "before settling", "after settling")
QUICK: Final = Timeouts(connect_s=5, read_s=0.15, answer_s=5)


class Pushes:
    """Orders pushes, one at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def push(self, home: Path, *, dies: str | None, request: int) -> bool:
        """Push from a process of its own, killed at that moment of that request; True if it came to that."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(home), dies, request]) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        assert status in (0, -signal.SIGKILL), "it ended in another way"
        return status != 0


@contextmanager
def pushes() -> Iterator[Pushes]:
    command = [sys.executable, "-m", "tests.agent.dying"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Pushes(process)
        assert process.stdin is not None
        process.stdin.close()


def _main() -> None:
    for line in sys.stdin:
        home, dies, request = json.loads(line)
        child = os.fork()
        if child == 0:
            _push(Path(home), dies, request)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _push(home: Path, dies: str | None, request: int) -> None:
    """Ends the process."""
    status = 1
    try:
        if dies is not None:
            _die(dies, request)
        where = Home(home)
        with requests.Session() as http, suppress(DevflowError):
            sync.push(where, where.store(), http, timeouts=QUICK)
        status = 0
    finally:
        os._exit(status)


def _die(moment: str, request: int) -> None:
    numbers, at = itertools.count(1), 0
    upload, settle = Remote.upload, outbox.settle

    def reach(this: str) -> None:
        if (this, at) == (moment, request):
            os.kill(os.getpid(), signal.SIGKILL)

    def upload_and_die(self: Remote, *args: Any, **options: Any) -> Any:
        nonlocal at
        at = next(numbers)
        reach("before sending")
        answer = upload(self, *args, **options)
        reach("after sending")
        return answer

    def settle_and_die(*args: Any, **options: Any) -> None:
        reach("before settling")
        settle(*args, **options)
        reach("after settling")

    Remote.upload = upload_and_die  # type: ignore[method-assign]
    outbox.settle = settle_and_die


if __name__ == "__main__":
    _main()
