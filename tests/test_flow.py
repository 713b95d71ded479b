"""The main job from end to end: a repository, the agent, HTTP, the server, and the page."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import requests
from mcp import ClientSession, StdioServerParameters, stdio_client
from sqlalchemy import MetaData, create_engine, select

from devflow import keys
from devflow.config import Settings
from devflow.db import Database
from devflow.ingest.files import PATH
from devflow.ingest.rows import DATA
from devflow.models import Event, File
from tests.cli import Cli
from tests.recorder import recording
from tests.repo import Repo
from tests.server_process import ServerProcess
from tests.visitor import EMAIL, Visitor, enrol, within


@pytest.fixture
def visitor(server: ServerProcess) -> Iterator[Visitor]:
    with requests.Session() as http:  # closed before the server, which would wait for it
        visitor = Visitor(server, http)
        visitor.set_up()
        yield visitor


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "shop")
    repo.git("config", "user.email", EMAIL)
    repo.git("config", "user.name", "Alice")
    repo.write(".gitignore", "build/\n*.log\n")
    repo.write("shop.py", "one\ntwo\nthree\n")
    repo.commit()
    repo.write("shop.py", "one\n2\nthree\nfour\n")
    repo.commit()
    return repo


@pytest.fixture
def cli(tmp_path: Path, repo: Repo) -> Cli:
    return Cli(tmp_path / "home", repo.path)


def tables(server: ServerProcess) -> dict[str, list[Any]]:
    """Every row of every table of the server."""
    engine = create_engine(server.database_url)
    metadata = MetaData()
    metadata.reflect(engine)
    with engine.connect() as connection:
        found = {
            name: sorted(map(tuple, connection.execute(select(table)).all()), key=repr)
            for name, table in metadata.tables.items()
        }
    engine.dispose()
    return found


def opened_texts(server: ServerProcess) -> bytes:
    """What the server has sealed, opened: paths and event data."""
    database = Database(server.database_url)
    vault = keys.open_vault(database, Settings(data_dir=str(server.data_dir)))
    with database.reading() as session:
        texts = [vault.open(PATH, file.path_key, file.path) for file in session.scalars(select(File))]
        texts += [vault.open(DATA, event.event_id, event.data) for event in session.scalars(select(Event))]
    database.close()
    return b"\n".join(texts)


def test_a_history_reaches_the_page_with_the_numbers_git_tells(
    visitor: Visitor, cli: Cli, repo: Repo
) -> None:
    page = enrol(cli, visitor)
    assert "No events" in visitor.get(page).get_text() or "devflow init" in visitor.get(page).get_text()
    cli.ok("import", "git")
    cli.ok("sync", "push")
    figures = visitor.figures(page)
    assert figures["Commits"] == "2"
    assert figures["Lines"].replace(" ", "") == "+7−1"  # noqa: RUF001 - the minus sign of the page
    assert figures["Files changed"] == "2"
    assert "shop" in visitor.get("/").get_text()


def test_a_save_and_a_commit_are_rows_within_a_second_and_on_the_page_after_the_next_sync(
    visitor: Visitor, cli: Cli, repo: Repo
) -> None:
    page = enrol(cli, visitor)
    cli.ok("sync", "disable")
    with watching(cli):
        began = time.monotonic()
        repo.write("shop.py", "changed\n")
        repo.write(".env", "SECRET=1\n")
        repo.write("node_modules/left-pad/index.js", "x\n")
        repo.write("build/out.js", "x\n")
        repo.write("debug.log", "x\n")
        repo.git("commit", "--quiet", "--all", "--message", "change")
        sha = repo.head()
        within(10, lambda: "file.saved" in rows(cli) and sha in rows(cli))
        took_s = time.monotonic() - began
        # The promise is one second; a machine that runs two test suites gets three.
        assert took_s < 3, took_s
        status = cli.json("status")
        assert "git.commit" in json.dumps(status)
        assert sha[:7] in (answer := asyncio.run(get_activity(cli))), answer
        recorded = rows(cli)
    for unseen in (".env", "left-pad", "out.js", "debug.log"):
        assert unseen not in recorded
    cli.ok("sync", "enable", "--project-id", page.rpartition("/")[2])
    cli.ok("sync", "push")
    assert visitor.figures(page)["Commits"] == "3"


@contextmanager
def watching(cli: Cli) -> Iterator[None]:
    daemon = subprocess.Popen(
        [sys.executable, "-m", "devflow_agent", "watch"],
        cwd=cli.folder,
        env=cli.env,
        stdout=subprocess.DEVNULL,
    )
    try:
        within(30, lambda: cli.json("status")["watching"])
        mark = cli.folder / "mark.txt"
        within(30, lambda: mark.write_text(str(time.monotonic())) and "mark.txt" in rows(cli))
        within(30, lambda: "git.commit" in rows(cli))
        yield
    finally:
        daemon.terminate()
        assert daemon.wait(timeout=10) == 0


def rows(cli: Cli) -> str:
    """All that is recorded, read by another process than the one that wrote it."""
    with closing(sqlite3.connect(cli.home.database)) as connection:
        return repr(connection.execute("SELECT event_type, event_data FROM events").fetchall())


async def get_activity(cli: Cli) -> str:
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "devflow_agent", "mcp"], env=cli.env
    )
    async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        result = await session.call_tool("get_activity", {"since": "2020-01-01"})
        return repr(result)


def test_sending_everything_again_changes_nothing(visitor: Visitor, cli: Cli) -> None:
    page = enrol(cli, visitor)
    cli.ok("import", "git")
    cli.ok("sync", "push")
    figures = visitor.figures(page)
    before = tables(visitor.server)
    # The way back and forth forgets that anything was ever sent.
    cli.ok("migrate", "down", "--to=v1")
    cli.ok("migrate", "up")
    cli.ok("sync", "enable", "--project-id", page.rpartition("/")[2])
    cli.ok("sync", "push")
    after = tables(visitor.server)
    for table in ("events", "cells", "files"):
        assert before[table] == after[table]
    assert visitor.figures(page) == figures


@pytest.mark.parametrize("backend", ["sqlite"])  # no server, no database of it
def test_with_the_server_down_every_local_command_works(visitor: Visitor, cli: Cli, repo: Repo) -> None:
    page = enrol(cli, visitor)
    visitor.server.kill()
    repo.write("offline.py", "x\n")
    repo.commit()
    assert "3" in cli.ok("import", "git")
    assert cli.json("status")["projects"]
    assert cli.json("sync", "status")
    assert repo.head()[:7] in asyncio.run(get_activity(cli))
    assert "did not answer" in cli.fails(4, "sync", "push")
    visitor.server.start()
    cli.ok("sync", "push")
    assert visitor.figures(page)["Commits"] == "3"


MARKER = "xyzzy-marker"


@pytest.mark.parametrize("backend", ["sqlite"])  # a matter of the PC
def test_what_stands_in_files_and_messages_never_leaves_the_pc(visitor: Visitor, tmp_path: Path) -> None:
    repo = Repo(tmp_path / "secrets")
    repo.git("config", "user.email", EMAIL)
    repo.git("config", "user.name", f"{MARKER} name")
    for number in range(5):
        repo.write(f"file{number}.py", f"{MARKER} = {number}\n" * 50)
        repo.write("data.bin", f"\0{MARKER}\0{number}")
        repo.commit(f"{MARKER} subject\n\n{MARKER} body", author=f"{MARKER} <{MARKER}@example.org>")
    repo.git("tag", "--annotate", "v1", "--message", f"{MARKER} tag")
    repo.git("notes", "add", "--message", f"{MARKER} note")
    repo.write("file0.py", f"{MARKER} stash\n")
    repo.git("stash", "push", "--quiet", "--message", f"{MARKER} stash")
    cli = Cli(tmp_path / "home", repo.path)
    with recording(visitor.server.url) as recorder:
        page = enrol(cli, visitor, recorder.url)
        with watching(cli):
            repo.write("file1.py", f"print('{MARKER}')\n")
            repo.commit(f"{MARKER} subject", author=f"{MARKER} <{MARKER}@example.org>")
            within(10, lambda: "file.saved" in rows(cli) and repo.head() in rows(cli))
        cli.ok("sync", "push")
        status = cli.ok("status") + cli.ok("sync", "status") + asyncio.run(get_activity(cli))
    assert visitor.figures(page)["Commits"] == "6"
    assert any(b"file1.py" in request for request in recorder.seen), "the proxy saw the upload"
    kept = b"".join(path.read_bytes() for path in cli.home.path.rglob("*") if path.is_file())
    assert b"file1.py" in kept
    held = repr(tables(visitor.server)).encode()
    assert b"file1.py" not in held
    opened = opened_texts(visitor.server)
    assert b"file1.py" in opened
    log = visitor.server.printed().encode()
    for place in (*recorder.seen, kept, held, opened, log, status.encode()):
        assert MARKER.encode() not in place


def test_installing_the_agent_brings_neither_flask_nor_sqlalchemy(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", os.fspath(tmp_path)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = ZipFile(wheel).namelist()
    assert "devflow_agent/schema/v1.up.sql" in names
    shared = {name for name in names if name.startswith("devflow/")}
    modules = ("__init__", "active_time", "errors", "languages", "pseudonyms", "windows", "wire")
    assert shared == {f"devflow/{module}.py" for module in modules}
    locked = (root / "requirements/agent.txt").read_text().lower()
    assert "\nflask==" not in locked and "\nsqlalchemy==" not in locked
