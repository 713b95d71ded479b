"""Two hundred thousand events over streams and uploads together, through a storm and a thousand kills."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from devflow_agent.outbox import attempts
from tests.delivery import LIVE_SENDER, Delivery, Kill
from tests.faulty_proxy import Fault, storm
from tests.server_process import ServerProcess

EVENTS = 200_000
FAULTY = 0.15  # of all requests and streams
KILLS = 700 * [Kill.SENDER] + 250 * [Kill.SERVER] + 50 * [Kill.BOTH]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_streams_and_uploads_deliver_each_event_once_through_a_thousand_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], backend: str
) -> None:
    server = ServerProcess(f"{backend}:///{tmp_path / 'devflow.db'}", tmp_path / "data")
    with Delivery.begun(server, tmp_path / "home", random.Random(1_000)) as delivery:
        delivery.script = LIVE_SENDER
        delivery.proxy.plan = storm(random.Random(1), FAULTY)
        kills = list(KILLS)
        delivery.chance.shuffle(kills)
        with delivery.recording():
            for kill in kills:
                delivery.kill(kill)
        delivery.record(max(EVENTS - delivery.recorded, 0))
        delivery.finish(timeout_s=600)
        with capsys.disabled():
            print(f"\n{delivery.summary()}")
        delivery.assert_delivered()
        assert {attempt.via for attempt in attempts(delivery.store, 10_000) if attempt.synced} == {
            "http",
            "live",
        }
        assert delivery.proxy.faults.keys() == {*Fault}
