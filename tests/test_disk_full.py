"""A disk without room, for the real server: uploads wait, reading goes on, and all is taken in the end.

The limit on the size of files (RLIMIT_FSIZE) is set from outside on the running worker, which then cannot
make its database longer. The file system with no room at all is in tests/soak.
"""

from __future__ import annotations

import json
import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests import build, malformed
from tests.browsing import OURS
from tests.malformed import Body
from tests.offered import Offer, offering
from tests.server_process import ServerProcess

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])  # PostgreSQL's disk is PostgreSQL's own


@contextmanager
def no_longer_files(server: ServerProcess, size: int) -> Iterator[None]:
    before = resource.prlimit(server.worker, resource.RLIMIT_FSIZE)
    resource.prlimit(server.worker, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.worker, resource.RLIMIT_FSIZE, before)


def upload(offer: Offer, chance: random.Random, events: int = 1_000) -> bytes:
    fields = [malformed.event(offer.sender, chance) for _ in range(events)]
    for number, each in enumerate(fields):
        path = f"{number}{chance.random()}" * 5
        each["eventType"], each["eventData"] = '"file.saved"', f'{{"path":"{path}","sizeBytes":1}}'
    return malformed.batch(offer.sender, *(malformed.joined(each) for each in fields)).encode()


def send(offer: Offer, content: bytes) -> requests.Response:
    return requests.post(
        f"{offer.server.url}/sync/events",
        data=content,
        headers={"Authorization": f"Bearer {offer.sender.token}", "Content-Type": "application/json"},
        timeout=60,
    )


def sign_in(offer: Offer) -> requests.Session:
    browser = requests.Session()
    form = {"email": "bob@example.org", "password": build.PASSWORD}
    answer = browser.post(
        f"{offer.server.url}/sign-in", data=form, headers=OURS, timeout=60, allow_redirects=False
    )
    assert answer.status_code == 302, answer.text
    return browser


def test_on_a_full_disk_uploads_wait_and_are_all_taken_then(database_url: str, tmp_path: Path) -> None:
    chance = random.Random(3)
    with offering(database_url, tmp_path / "data") as offer:
        waiting = [upload(offer, chance) for _ in range(4)]
        browser = sign_in(offer)
        assert send(offer, waiting[0]).json()["success"]
        full = (tmp_path / "devflow.db-wal").stat().st_size
        with no_longer_files(offer.server, full):
            refused = [send(offer, content) for content in waiting[1:]]
            for answer in refused:
                assert (answer.status_code, answer.headers["Content-Type"]) == (
                    503,
                    "application/problem+json",
                )
                assert int(answer.headers["Retry-After"]) > 0
                assert "nothing was stored" in answer.json()["detail"]
            for address in ("/", "/me", f"/projects/{offer.sender.project}", "/healthz"):
                assert browser.get(offer.server.url + address, timeout=60).status_code == 200, address
            assert "Traceback" not in offer.server.printed()
        for content in waiting:
            sent = [each["id"] for each in json.loads(content)["events"]]
            answer = send(offer, content)
            assert (answer.status_code, answer.json()["syncedIds"]) == (200, sent)
        sign_in(offer)
        assert "disk" in offer.server.printed()


def test_uploads_stop_before_the_last_of_the_disk_so_that_people_can_sign_in(
    database_url: str, tmp_path: Path
) -> None:
    with offering(database_url, tmp_path / "data", DEVFLOW_DISK_RESERVE_MB="900000000") as offer:
        answer = send(offer, upload(offer, random.Random(1), 1))
        assert (answer.status_code, "almost full" in answer.json()["detail"]) == (503, True)
        assert sign_in(offer).get(f"{offer.server.url}/", timeout=60).status_code == 200
        assert offer.bodies([Body("still", b"{}", {})])[0][1] == 503
