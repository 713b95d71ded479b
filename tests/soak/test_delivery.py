"""Three hundred thousand events on their way through a storm, with hundreds of kills, on either database."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import postgres as postgres_server
from tests.delivery import Delivery, Kill
from tests.faulty_proxy import Fault, storm
from tests.server_process import ServerProcess

EVENTS = 300_000
FAULTY = 0.3  # of all requests
BATCH_SIZES = [200, 500, 1_000]
# On each database; "both" are two.
KILLS = 100 * [Kill.SENDER] + 40 * [Kill.SERVER] + 5 * [Kill.BOTH]
POSTGRES_KILLS = 14 * [Kill.POSTGRES] + 6 * [Kill.BACKENDS]


@pytest.fixture
def delivery(backend: str, tmp_path: Path) -> Iterator[Delivery]:
    """On a PostgreSQL that waits for the disk at each commit, as SQLite always does."""
    with ExitStack() as stack:
        postgres = None
        database_url = f"sqlite:///{tmp_path / 'devflow.db'}"
        if backend == "postgres":
            postgres = stack.enter_context(postgres_server.running(durable=True))
            database_url = postgres.create("soak")
        server = ServerProcess(database_url, tmp_path / "data")
        stack.callback(lambda: server.kill() if server.is_running else None)
        yield stack.enter_context(Delivery.begun(server, tmp_path / "home", random.Random(300), postgres))


def test_three_hundred_thousand_events_arrive_once_through_hundreds_of_kills(
    delivery: Delivery, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = delivery.chance
    kills = KILLS + (POSTGRES_KILLS if delivery.postgres is not None else [])
    chance.shuffle(kills)
    delivery.proxy.plan = storm(random.Random(1), FAULTY)
    delivery.record(EVENTS % len(kills))
    for kill in kills:
        delivery.set_batch_size(chance.choice(BATCH_SIZES))
        delivery.record(EVENTS // len(kills))
        delivery.kill(kill)
    delivery.finish(timeout_s=600)
    with capsys.disabled():
        print(f"\n{delivery.summary()}")
    delivery.assert_delivered()
    assert delivery.proxy.faults.keys() == {*Fault}
