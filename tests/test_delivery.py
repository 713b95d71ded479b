"""Nothing lost, nothing doubled, though the network fails and everything is killed. At length: tests/soak."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.delivery import Delivery, Kill
from tests.faulty_proxy import Fault
from tests.server_process import ServerProcess

EVENTS = 3_000
KILLS = [Kill.SERVER, Kill.SENDER, Kill.SENDER, Kill.SENDER]
POSTGRES_KILLS = [Kill.POSTGRES, Kill.BACKENDS]


@pytest.fixture
def delivery(
    backend: str, database_url: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Delivery]:
    server = ServerProcess(database_url, tmp_path / "data")
    postgres = request.getfixturevalue("postgres") if backend == "postgres" else None
    with Delivery.begun(server, tmp_path / "home", random.Random(3), postgres) as delivery:
        yield delivery
    if server.is_running:
        server.kill()


def test_every_event_arrives_once_whatever_fails_and_whoever_is_killed(delivery: Delivery) -> None:
    chance = delivery.chance
    kills = KILLS + (POSTGRES_KILLS if delivery.postgres is not None else [])
    faults = [*Fault] * 2
    chance.shuffle(kills)
    chance.shuffle(faults)
    delivery.proxy.plan = iter(faults)
    delivery.set_batch_size(100)
    for kill in kills:
        delivery.record(EVENTS // len(kills))
        delivery.kill(kill)
    while missed := {*Fault} - delivery.proxy.faults.keys():
        delivery.record(100)
        delivery.start_sender()
        assert delivery.proxy.wait_for_uploads(1, 60), missed
    delivery.finish(timeout_s=30)
    delivery.assert_delivered()
    assert delivery.proxy.resent > 0
