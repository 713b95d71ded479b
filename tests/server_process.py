"""The real server as a process: gunicorn on a loopback port, to be stopped, killed and started again."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.certificates import Files
from tests.postgres import free_port

ROOT: Final = Path(__file__).parent.parent
DEADLINE_S: Final = 30
ATTEMPTS: Final = 5


class ServerProcess:
    """A server on one database, one data folder and, once started, one address for good.

    ``environ`` holds further settings; with a certificate it speaks TLS. ``log`` is the file of all
    it ever printed, ``exit_code`` how a start ended that did not go well.
    """

    def __init__(
        self,
        database_url: str,
        data_dir: Path,
        environ: Mapping[str, str] | None = None,
        certificate: Files | None = None,
    ) -> None:
        self.database_url = database_url
        self.data_dir = data_dir
        self.environ = dict(environ or {}) | ({} if certificate is None else certificate.environ)
        self.certificate = certificate
        self.log = data_dir / "server.log"
        self.port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.exit_code: int | None = None

    @property
    def url(self) -> str:
        """Where people and agents find it, without a slash at the end."""
        assert self.port is not None, "expected a server that was started"
        return f"{'http' if self.certificate is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the process that watches over the workers."""
        assert self._process is not None, "expected a server that was started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def worker(self) -> int:
        """The process id of the one worker."""
        assert self._process is not None, "expected a server that was started"
        master = self._process.pid
        (worker,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return int(worker)

    def memory_mib(self, what: str = "VmRSS") -> int:
        """What the worker has in memory now, or with ``VmHWM`` had at most."""
        status = Path(f"/proc/{self.worker}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith(f"{what}:")]
        return int(line.split()[1]) // 1_024

    def start(self) -> None:
        """Return when it answers. The first start chooses a port, later ones take it again."""
        assert not self.is_running, "expected a server that is not running"
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        chosen = self.port
        for _ in range(ATTEMPTS):
            self.port = chosen or free_port()
            began = self.log.stat().st_size if self.log.exists() else 0
            self._process = self._spawn()
            if self._wait(began):
                return
            self.exit_code = self._process.poll()
            self.kill()
            # Somebody may have taken the port since we looked; nothing else is worth another try.
            if chosen or "in use" not in self._printed(began):
                break
        raise RuntimeError(f"expected a server on port {self.port}, got: {self._printed(began)}")

    def stop(self) -> int:
        """Ask it to end, as a container engine does; return the exit code."""
        assert self._process is not None, "expected a server that was started"
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=DEADLINE_S)

    def kill(self) -> None:
        """End it and its workers with no chance to tidy up."""
        assert self._process is not None, "expected a server that was started"
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=DEADLINE_S)

    def setup_link(self) -> str:
        """The newest link for the first account; only a start without accounts prints one."""
        links = re.findall(r"https?://\S+/setup/\S+", self.printed())
        assert links, f"expected a set-up link, got: {self.printed()}"
        return str(links[-1])

    def printed(self) -> str:
        return self._printed(0)

    def _printed(self, began: int) -> str:
        return self.log.read_bytes()[began:].decode(errors="replace") if self.log.exists() else ""

    def _spawn(self) -> subprocess.Popen[bytes]:
        # What the caller's shell sets for a server of its own is none of ours.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DEVFLOW_")}
        ours = {
            "DEVFLOW_DATABASE_URL": self.database_url,
            "DEVFLOW_DATA_DIR": str(self.data_dir),
            "DEVFLOW_PUBLIC_URL": self.url,
        }
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "gunicorn",
                    "--config=gunicorn.conf.py",
                    f"--bind=127.0.0.1:{self.port}",
                ],
                cwd=ROOT,
                env=inherited | ours | self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # so that kill() reaches the workers too
            )

    def _wait(self, began: int) -> bool:
        """Wait until the port is this process's own, by its log, and the app answers on it."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline and self.is_running:
            if f"Listening at: {self.url}" in self._printed(began) and self._is_healthy():
                return True
            time.sleep(0.02)
        return False

    def _is_healthy(self) -> bool:
        context = None if self.certificate is None else self.certificate.trusting()
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5, context=context) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
