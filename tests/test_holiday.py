"""After a long holiday nobody is signed in any more: what was recorded waits, and goes once somebody is."""

from __future__ import annotations

import signal
from pathlib import Path

import msgspec
import pytest
import requests
from sqlalchemy import func, select, update

from devflow.db import Database
from devflow.models import Event, Grant
from devflow_agent import credentials
from tests.cli import Cli
from tests.repo import Repo
from tests.server_process import ServerProcess
from tests.visitor import EMAIL, PASSWORD, Visitor, enrol, within


@pytest.mark.parametrize("backend", ["sqlite"])  # a matter of the PC
def test_sync_pauses_says_so_once_and_goes_on_by_itself_after_signing_in(
    server: ServerProcess, tmp_path: Path
) -> None:
    repo = Repo(tmp_path / "shop")
    cli = Cli(tmp_path / "home", repo.path)
    with requests.Session() as http:
        visitor = Visitor(server, http)
        visitor.set_up()
        enrol(cli, visitor)
    expire(cli, server)
    watch = cli.start("watch")
    try:
        within(20, lambda: repo.write("a.py", "1") and waiting(cli) > 0)
        within(20, lambda: credentials.enrolled(cli.home.credentials).account is None)
        cli.ok("sync", "auth", "--email", EMAIL, "--password-stdin", stdin=PASSWORD + "\n")
        within(20, lambda: waiting(cli) == 0)
    finally:
        watch.send_signal(signal.SIGTERM)
        said, _ = watch.communicate(timeout=20)
    assert said.count("sync is paused") == 1
    database = Database(server.database_url)
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Event)) == synced(cli) > 0
    database.close()


def expire(cli: Cli, server: ServerProcess) -> None:
    """Let neither token be good any more, as after months."""
    database = Database(server.database_url)
    with database.writing() as session:
        session.execute(update(Grant).values(ended_at=1))
    database.close()
    with credentials.changing(cli.home.credentials):
        found = credentials.enrolled(cli.home.credentials)
        account = msgspec.structs.replace(found.signed_in(), token="expired")
        credentials.save(cli.home.credentials, msgspec.structs.replace(found, account=account))


def waiting(cli: Cli) -> int:
    return int(cli.json("sync", "status")["syncQueueSize"])


def synced(cli: Cli) -> int:
    return int(cli.json("sync", "status")["synced"])
