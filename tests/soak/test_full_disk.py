"""A file system that is really full (ENOSPC), for the real server, with its reserve and without."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
import requests
from sqlalchemy import func, select

from devflow.db import Database
from devflow.models import Event
from devflow.rollups.verifying import verify
from tests.offered import Offer, offering
from tests.test_disk_full import send, sign_in, upload

MEGABYTES: Final = 48
ROUNDS: Final = 8
pytestmark = pytest.mark.parametrize("backend", ["sqlite"])  # PostgreSQL's disk is PostgreSQL's own


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system in memory, mounted for the test."""
    if os.geteuid() != 0:
        pytest.fail("expected to be root, which may mount a file system of its own")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("reserve_mb", [0, 8])
def test_a_disk_that_fills_up_again_and_again_loses_nothing_and_people_can_read(
    database_url: str, disk: Path, reserve_mb: int
) -> None:
    """Ballast takes the last room at random moments; what was acknowledged is there, each once."""
    chance = random.Random(reserve_mb)
    shutil.copyfile(database_url.removeprefix("sqlite:///"), disk / "devflow.db")
    url = f"sqlite:///{disk / 'devflow.db'}"
    with offering(url, disk / "data", DEVFLOW_DISK_RESERVE_MB=str(reserve_mb)) as offer:
        browser, taken, refusals = sign_in(offer), 0, 0
        for _ in range(ROUNDS):
            waiting = [upload(offer, chance, 300) for _ in range(4)]
            fill(disk, leave=chance.randrange(1 << 18))
            refusals += sum(send(offer, each).status_code == 503 for each in waiting)
            reads(offer, browser)
            (disk / "ballast").unlink()
            for each in waiting:
                answer = send(offer, each)
                assert (answer.status_code, answer.json()["success"]) == (200, True), answer.text
                taken += 300
        assert refusals >= ROUNDS, "expected the disk to be full now and then"
        if reserve_mb:
            fill(disk, leave=reserve_mb << 19)
            sign_in(offer)  # that writes
        assert "Traceback" not in offer.server.printed()
    with closing(Database(url)) as database:
        with database.reading() as session:
            assert session.scalar(select(func.count()).select_from(Event)) == taken
        assert list(verify(database)) == []


def fill(disk: Path, leave: int) -> None:
    with (disk / "ballast").open("wb") as ballast:
        while (room := shutil.disk_usage(disk).free - leave) > 0:
            ballast.write(bytes(min(room, 1 << 20)))
            ballast.flush()


def reads(offer: Offer, browser: requests.Session) -> None:
    for address in ("/", "/me", f"/projects/{offer.sender.project}", "/healthz"):
        assert browser.get(offer.server.url + address, timeout=60).status_code == 200, address
