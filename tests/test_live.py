"""Live sync from end to end: a real work tree, the installed agent, a real server, and faults between."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import func, select

from devflow.db import Database
from devflow.models import Event
from tests.cli import Cli
from tests.repo import Repo
from tests.server_process import ServerProcess
from tests.visitor import EMAIL, Visitor, enrol, within

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])  # the door is that of uploads, tested on both


@pytest.fixture
def visitor(server: ServerProcess) -> Iterator[Visitor]:
    with requests.Session() as http:
        visitor = Visitor(server, http)
        visitor.set_up()
        yield visitor


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "shop")
    repo.git("config", "user.email", EMAIL)
    repo.write("shop.py", "one\n")
    repo.commit()
    return repo


@pytest.fixture
def cli(tmp_path: Path, repo: Repo) -> Cli:
    return Cli(tmp_path / "home", repo.path)


@contextmanager
def watching(cli: Cli) -> Iterator[Any]:
    daemon = cli.start("watch")
    try:
        within(30, lambda: cli.json("status")["watching"])
        yield daemon
    finally:
        daemon.terminate()
        said, _ = daemon.communicate(timeout=20)
        print(said)


def local(cli: Cli, query: str) -> list[Any]:
    with closing(sqlite3.connect(cli.home.database)) as connection:
        return connection.execute(query).fetchall()


def stored(server: ServerProcess) -> int:
    database = Database(server.database_url)
    with database.reading() as session:
        found = session.scalar(select(func.count()).select_from(Event)) or 0
    database.close()
    return found


def ways(cli: Cli) -> list[str]:
    """How each attempt went that settled something, oldest first."""
    return [via for (via,) in local(cli, "SELECT via FROM sync_logs WHERE synced > 0 ORDER BY id")]


def pending(cli: Cli) -> int:
    return int(local(cli, "SELECT count(*) FROM events WHERE sync_status = 'pending'")[0][0])


def live(cli: Cli) -> None:
    """Wait until saves go out over the stream."""

    def went_live() -> bool:
        (cli.folder / "mark").write_bytes(bytes(time.monotonic_ns() // 300_000_000 % 1_000))
        return "live" in ways(cli)

    within(30, went_live)
    within(10, lambda: pending(cli) == 0)


def test_a_save_is_on_the_server_within_a_second(
    server: ServerProcess, visitor: Visitor, cli: Cli, repo: Repo, record_property: Any
) -> None:
    enrol(cli, visitor)
    with watching(cli):
        live(cli)
        took_s = []
        for number in range(5):
            before = stored(server)
            began = time.monotonic()
            repo.write("shop.py", "x" * number)
            within(10, lambda: stored(server) > before)  # noqa: B023
            took_s.append(time.monotonic() - began)
        within(10, lambda: pending(cli) == 0)
    print(took_s)
    record_property("seconds", took_s)
    # The promise is one second; a machine that runs two test suites gets three.
    assert sorted(took_s)[2] < 3
    assert ways(cli)[-1] == "live"
