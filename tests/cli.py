"""The installed command line, run as its users run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from devflow_agent.config import Home

ROOT: Final = Path(__file__).parent.parent


class Cli:
    """Runs ``devflow`` with a home of its own."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home = Home(home)
        self.folder = folder
        self.env = {
            **os.environ,
            "DEVFLOW_HOME": str(home),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "agent")]),
            "COLUMNS": "100",
        }

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "devflow_agent", *args],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs the tests in the background has them, and what they start, ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def run(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "devflow_agent", *args],
            cwd=self.folder,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def ok(self, *args: str, stdin: str = "") -> str:
        done = self.run(*args, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *args: str) -> Any:
        return json.loads(self.ok(*args, "--json"))

    def fails(self, code: int, *args: str, stdin: str = "") -> str:
        """The one line on stderr of a run that ends with ``code``."""
        done = self.run(*args, stdin=stdin)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert done.stderr.count("\n") == 1, "one line and no traceback"
        assert done.stderr.startswith("devflow: ")
        return done.stderr.removeprefix("devflow: ").strip()
