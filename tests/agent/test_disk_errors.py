"""A disk that fails for a while: what was said to be recorded is there, and it goes on afterwards."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devflow_agent.checking import State, examine
from devflow_agent.config import now_ms
from devflow_agent.store import failure_of
from tests.agent import failing
from tests.agent.outbox import Outbox
from tests.agent.recorded import add_project, saves
from tests.agent.scripted_server import ScriptedServer
from tests.cli import Cli
from tests.repo import Repo

DEADLINE_S = 30.0


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.01)


@pytest.mark.parametrize(("then", "seed"), [("goes on", 0), ("opens the store anew", 4), ("dies", 8)])
def test_no_power_cut_after_an_fsync_that_failed_takes_what_was_said_to_be_recorded(
    tmp_path: Path, then: str, seed: int
) -> None:
    failed, lost = failing.losses(tmp_path, then, seed, images=60)
    assert failed > 0
    assert lost == 0


@pytest.mark.parametrize(
    ("call", "first"), [("fdatasync", 20), ("pwrite64", 60), ("pread64", 5), ("ftruncate", 2)]
)
def test_what_was_said_to_be_recorded_is_there_whatever_call_fails(
    tmp_path: Path, call: str, first: int
) -> None:
    said = failing.survives(tmp_path / "home", call, "goes on", first, first + 3)
    assert failing.faults(tmp_path / "home") > 0
    # What cannot be read SQLite calls malformed.
    assert all("`devflow doctor`" in line and ("IOERR" in line or "malformed" in line) for line in said), said


def run(cli: Cli, call: str, first: int, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*failing.command(cli.home.path, call, first), sys.executable, "-m", "devflow_agent", *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=cli.env,
        cwd=cli.folder,
    )


@pytest.mark.parametrize("call", ["fdatasync", "pwrite64", "pread64"])
def test_every_command_says_in_a_line_what_failed_and_what_to_do(tmp_path: Path, call: str) -> None:
    cli = Cli(tmp_path / "home", tmp_path)
    store = cli.home.store()
    store.add(add_project(store, "shop").id, saves(50))
    del store
    for command in (("status",), ("activity",), ("archive",), ("sync", "configure", "--interval", "60")):
        done = run(cli, call, 1, *command)
        assert "Traceback" not in done.stderr, command
        assert done.stderr.count("\n") <= 1, command
        assert done.returncode in (0, 1), command
        if done.returncode:
            assert "disk I/O error" in done.stderr, command
            assert "`devflow doctor` says what is wrong" in done.stderr, command
    assert cli.json("status")["projects"][0]["events"] == 50


def test_the_doctor_tells_of_a_write_that_failed_until_the_store_is_opened_well(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home", tmp_path)
    cli.home.store()
    assert run(cli, "fdatasync", 1, "sync", "configure", "--interval", "60").returncode == 1
    (disk,) = (one for one in examine(cli.home, now_ms()) if one.name == "disk")
    assert (disk.state, "a write failed" in disk.said) == (State.WARNING, True)
    cli.ok("sync", "configure", "--interval", "60")
    assert not failure_of(cli.home.database).exists()


def test_a_push_whose_answer_cannot_be_written_down_says_so_and_the_next_one_drains(
    outbox: Outbox, server: ScriptedServer, tmp_path: Path
) -> None:
    ids = outbox.record(50)
    cli = Cli(outbox.home.path, tmp_path)
    done = run(cli, "fdatasync", 1, "sync", "push")
    assert done.returncode == 1
    assert "disk I/O error" in done.stderr
    cli.ok("sync", "push")
    assert outbox.statuses() == {"synced": 50}
    assert {*server.stored} == {*map(str, ids)}


@contextmanager
def watching(cli: Cli, call: str, first: int, last: int) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [
            *failing.command(cli.home.path, call, first, last),
            *(sys.executable, "-m", "devflow_agent", "watch"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=cli.env,
        cwd=cli.folder,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # strace heeds nothing less


def test_watching_says_that_the_disk_failed_goes_on_and_finds_what_happened(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "shop")
    repo.write("app.py", "1\n")
    repo.commit("first")
    cli = Cli(tmp_path / "home", repo.path)
    cli.ok("init")
    store = cli.home.store()

    def seen() -> set[str]:
        return {json.loads(one.data_json).get("path") for one in store.events(limit=1_000)}

    numbers = itertools.count()

    def save() -> str:
        repo.write(name := f"{next(numbers)}.py", "1\n")
        return name

    with watching(cli, "fdatasync", 5, 6) as process:
        until(lambda: save() in seen() or failing.faults(cli.home.path), "it watches")
        written: set[str] = set()
        while failing.faults(cli.home.path) < 2:
            written.add(name := save())
            failed = failing.faults(cli.home.path)
            until(
                lambda name=name, failed=failed: name in seen() or failing.faults(cli.home.path) > failed,  # type: ignore[misc]
                "the save is recorded, or fails",
            )
        until(lambda: written <= seen(), "what happened while the disk failed is found")
        assert process.poll() is None
        pid = store.setting("daemon")["pid"]
        subprocess.run(["kill", f"-{signal.SIGINT}", str(pid)], check=True)
        said, _ = process.communicate(timeout=20)
    assert "Traceback" not in said
    assert "the disk has no room or fails (disk I/O error" in said
    assert written <= seen()
