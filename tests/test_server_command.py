"""``python -m devflow``: the operator's commands, run as operators run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from devflow import audit
from devflow.context import Context
from tests import build
from tests.build import NOW_MS, World

ROOT = Path(__file__).parent.parent


def run(folder: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DEVFLOW_")}
    ours = {"DEVFLOW_DATA_DIR": str(folder), "DEVFLOW_DATABASE_URL": url}
    return subprocess.run(
        [sys.executable, "-m", "devflow", *arguments],
        cwd=ROOT,
        env=inherited | ours,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_trail_is_verified_from_the_command_line(tmp_path: Path, database_url: str) -> None:
    context, _ = build.context(tmp_path, database_url=database_url)
    world = World.of(context)
    world.person("Ada")
    with world.reading() as session:
        noted = audit.head(session)
    world.person("Bob")
    with world.reading() as session:
        head = audit.head(session)
    anchor = f"{noted.number}:{noted.hash.hex()}"

    done = run(tmp_path, database_url, "verify-audit")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{head}\n", "")
    assert str(head) == f"{head.number} entries, head {head.number}:{head.hash.hex()}"
    assert run(tmp_path, database_url, "verify-audit", "--head", anchor).returncode == 0

    other = run(tmp_path, database_url, "verify-audit", "--head", f"{noted.number}:{'00' * 32}")
    assert (other.returncode, other.stdout) == (1, "")
    assert f"entry {noted.number} is not the one that was written down" in other.stderr

    with world.database.writing() as session:
        for statement in _without_triggers(world):
            session.execute(text(statement))
        session.execute(text("UPDATE audit SET at = at + 1 WHERE id = 2"))
    broken = run(tmp_path, database_url, "verify-audit")
    assert (broken.returncode, broken.stdout) == (1, "")
    assert broken.stderr == (
        "the audit trail is broken: entry 2 is not what was written, or not after entry 1\n"
    )
    context.database.close()


def _without_triggers(world: World) -> list[str]:
    if world.database.is_sqlite:
        return ["DROP TRIGGER audit_no_update"]
    return ["DROP TRIGGER audit_append_only ON audit"]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_server_that_is_not_set_up_and_a_wrong_call_are_said_in_a_sentence(
    tmp_path: Path, empty_database_url: str
) -> None:
    empty = run(tmp_path, empty_database_url, "verify-audit")
    assert (empty.returncode, empty.stdout) == (2, "")
    assert empty.stderr.startswith("devflow: expected a database that was set up")
    assert "Traceback" not in empty.stderr
    for given in ("12", "x:00", "1:00", f"-1:{'00' * 32}"):
        wrong = run(tmp_path, empty_database_url, "verify-audit", f"--head={given}")
        assert wrong.returncode == 2
        assert "expected N:HASH" in wrong.stderr
    assert run(tmp_path, empty_database_url).returncode == 2


def test_a_restore_is_said_from_the_command_line(tmp_path: Path, database_url: str) -> None:
    context, _ = build.context(tmp_path, database_url=database_url)
    before = context.epoch.value
    context.database.close()
    done = run(tmp_path, database_url, "restored")
    assert (done.returncode, done.stderr) == (0, "")
    opened = Context.open(context.settings)
    assert opened.epoch.value != before
    assert str(opened.epoch.value) in done.stdout
    opened.database.close()


@pytest.mark.parametrize("backend", ["sqlite"])  # both are in tests/server/test_verifying.py
def test_the_numbers_are_verified_and_put_right_from_the_command_line(
    tmp_path: Path, database_url: str
) -> None:
    context, _ = build.context(tmp_path, database_url=database_url)
    world = World.of(context)
    ada = world.person("Ada")
    one = world.project("one", ada)
    world.report(ada, one, (NOW_MS, build.saved()))
    world.refresh()
    with world.database.writing() as session:
        session.execute(text("UPDATE cells SET events = 5 WHERE \"grain\" = 'week'"))
    broken = run(tmp_path, database_url, "verify-rollups", "--json")
    assert broken.returncode == 1
    assert json.loads(broken.stdout) == {
        "project": str(one.public_id),
        "person": str(ada.public_id),
        "grain": "week",
        "start": 1794783600000,
        "stored": {"events": 5, "commits": 0, "insertions": 0, "deletions": 0, "activeMs": 0, "files": 1},
        "counted": {"events": 1, "commits": 0, "insertions": 0, "deletions": 0, "activeMs": 0, "files": 1},
    }
    mended = run(tmp_path, database_url, "verify-rollups", "--repair")
    assert mended.returncode == 1
    assert mended.stdout.endswith("Z: events 5, counted 1\n1 numbers differ; put right\n")
    whole = run(tmp_path, database_url, "verify-rollups")
    assert (whole.returncode, whole.stdout, whole.stderr) == (0, "every number is what the events say\n", "")
    context.database.close()
