"""Replacing a key under a hundred thousand rows, with readers and uploads all the time, and being killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devflow import keys, sealed, workspace
from devflow.audit import Actor
from devflow.config import Settings
from devflow.context import Context
from devflow.keys import Purpose
from devflow.models import Role
from devflow.sealed import Resealing
from tests.build import NOW_MS, World
from tests.server.test_sealed import opened, prefixes, report, rotate_under_load

ROWS = 100_000
KILLS = 12
ROOT = Path(__file__).parent.parent.parent
# Another process that seals anew, and says when it has done a step.
WORKER = """
import sys
from devflow import sealed
from devflow.audit import Actor
from devflow.config import Settings
from devflow.context import Context
sealed.CHUNK = 50
context = Context.open(Settings(data_dir=sys.argv[1], database_url=sys.argv[2]))
while sealed.step(context.database, Actor(None, 0, context.vault), context.resealing):
    print("step", flush=True)
print("done", flush=True)
"""


def test_a_hundred_thousand_rows_are_sealed_anew_under_readers_and_uploads(world: World) -> None:
    admin = world.person("Ada", Role.ADMIN)
    rotate_under_load(world, admin, world.project("atlas", admin), rows=ROWS)


def test_no_row_is_lost_however_often_the_process_is_killed(database_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "data"), database_url=database_url)
    workspace.prepare(settings, NOW_MS)
    context = Context.open(settings)
    world = World.of(context)
    admin = world.person("Ada", Role.ADMIN)
    report(world, admin, world.project("atlas", admin), 5_000)
    before = opened(world)
    for kill in range(KILLS):
        context.database.transact(
            lambda session: keys.rotate(session, world.by(session, admin), Purpose.FIELDS)
        )
        killed_after(settings, steps=1 + 7 * kill)
        assert opened(world) == before
    resealing = Resealing()
    while sealed.step(context.database, Actor(None, NOW_MS, context.vault), resealing):
        pass
    assert set().union(*prefixes(world).values()) == {context.vault.current}
    assert opened(world) == before
    context.database.close()


def killed_after(settings: Settings, steps: int) -> None:
    command = [sys.executable, "-c", WORKER, settings.data_dir, settings.database_url]
    search = os.pathsep.join((str(ROOT), str(ROOT / "agent")))
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": search}, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(steps):
            if process.stdout.readline() != "step\n":
                pytest.fail("expected more to do than the process was let do")
        process.send_signal(signal.SIGKILL)
