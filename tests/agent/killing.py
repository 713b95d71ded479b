"""Kills a piece of the agent's work between two of its steps, at whichever one the test names.

Steps are calls into SQLite and calls that give files other names.

The work runs in a process of its own and kills itself, as kill -9 does: no handler, no clean-up.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Final

_CHILD: Final = """
import importlib, os, signal, sqlite3, sys
module, name, at, *arguments = sys.argv[1:]
work = getattr(importlib.import_module(module), name)
calls = 0
def look(frame, what, called):
    global calls
    # Before and after each call of a connection (execute, executemany, close) and of the file system.
    if what in ("c_call", "c_return") and (
        isinstance(getattr(called, "__self__", None), sqlite3.Connection)
        or called in (os.link, os.replace, os.unlink, os.mkdir)
    ):
        calls += 1
        if calls == int(at):
            os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(look)
work(*arguments)
sys.setprofile(None)
print(calls)
"""


def run(work: str, *arguments: str, kill_at: int = 0) -> int | None:
    """``work`` is module:function and gets the arguments; return how many moments it could be killed at.

    None if it was killed, at the moment ``kill_at``.
    """
    module, _, name = work.partition(":")
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, module, name, str(kill_at), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])
