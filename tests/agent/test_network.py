"""The size of a batch follows the network, as the last uploads measured it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from devflow_agent import network
from devflow_agent.analyse.sync_state import sync_state
from devflow_agent.config import now_ms
from devflow_agent.network import Quality
from devflow_agent.outbox import Attempt, settle
from devflow_agent.settings import Settings
from tests.agent.outbox import Outbox
from tests.agent.scripted_server import Answer, ScriptedServer, Seen, problem, store_all

NOW = 1_790_000_000_000
HOUR = 3_600_000


def attempt(
    latency_ms: int | None = 100, *, outcome: str | None = None, sent: int = 10, at_ms: int = NOW
) -> Attempt:
    outcome = outcome or ("offline" if latency_ms is None else "ok")
    return Attempt(at_ms, sent, 0, 0, 100, latency_ms, outcome, "")


def tried(outbox: Outbox, attempts: Sequence[Attempt]) -> None:
    for one in attempts:
        settle(outbox.store, (), attempt=one)


@pytest.mark.parametrize(
    ("latencies", "quality"),
    [
        ([], Quality.UNKNOWN),
        ([1, 1], Quality.UNKNOWN),
        ([1, 1, 1], Quality.EXCELLENT),
        ([500] * 3, Quality.EXCELLENT),
        ([501] * 3, Quality.GOOD),
        ([1_500] * 3, Quality.GOOD),
        ([1_501] * 3, Quality.FAIR),
        ([5_000] * 3, Quality.FAIR),
        ([5_001] * 3, Quality.POOR),
        ([1, 1, 60_000], Quality.EXCELLENT),
        ([*[1] * 9, None], Quality.GOOD),
        ([*[1] * 8, None, None], Quality.FAIR),
        ([*[1] * 7, None, None, None], Quality.FAIR),
        ([*[1] * 6, None, None, None, None], Quality.POOR),
        ([None] * 10, Quality.POOR),
    ],
)
def test_quality_is_the_best_whose_limits_hold(latencies: list[int | None], quality: Quality) -> None:
    assert network.quality([attempt(latency) for latency in latencies]) == quality


def test_a_login_page_that_answers_fast_is_no_good_network() -> None:
    assert network.quality([attempt(5, outcome="offline")] * 10) == Quality.POOR


def test_each_quality_has_the_size_of_the_strategy() -> None:
    sizes = {str(quality): size for quality, size in network.BATCH_SIZES.items()}
    assert sizes == {"excellent": 1_000, "good": 500, "fair": 100, "poor": 50, "unknown": 100}


@pytest.mark.parametrize("quality", [Quality.EXCELLENT, Quality.GOOD, Quality.FAIR, Quality.POOR])
def test_a_batch_is_as_large_as_the_network_takes_and_never_larger_than_configured(
    outbox: Outbox, quality: Quality
) -> None:
    latency = {Quality.EXCELLENT: 10, Quality.GOOD: 1_000, Quality.FAIR: 3_000, Quality.POOR: 9_000}[quality]
    tried(outbox, [attempt(latency)] * 10)
    size = network.BATCH_SIZES[quality]
    assert network.batch_size(outbox.store, Settings(), NOW) == size
    assert network.batch_size(outbox.store, Settings(sync_batch_size=7), NOW) == 7
    state = sync_state(outbox.home, outbox.store, lambda: NOW)
    assert (state.network, state.current_batch_size, state.batch_size) == (quality, size, 1_000)


def test_only_the_last_ten_attempts_of_the_last_hour_count(outbox: Outbox) -> None:
    tried(outbox, [attempt(9_000)] * 10 + [attempt(10)] * 10)
    assert network.quality(network.judged(outbox.store, NOW)) == Quality.EXCELLENT
    assert network.quality(network.judged(outbox.store, NOW + HOUR)) == Quality.EXCELLENT
    assert network.quality(network.judged(outbox.store, NOW + HOUR + 1)) == Quality.UNKNOWN


def test_what_was_too_large_is_halved_from_then_on_unless_as_much_got_through(outbox: Outbox) -> None:
    tried(outbox, [attempt(10)] * 3)
    tried(outbox, [attempt(10, outcome="too_large", sent=400), attempt(10, outcome="too_large", sent=200)])
    assert network.batch_size(outbox.store, Settings(), NOW) == 100
    tried(outbox, [attempt(10, sent=100)])
    assert network.batch_size(outbox.store, Settings(), NOW) == 100
    tried(outbox, [attempt(10, sent=400)])
    assert network.batch_size(outbox.store, Settings(), NOW) == 1_000, "it was an event, not the batch"
    tried(outbox, [attempt(10, outcome="too_large", sent=1)])
    assert network.batch_size(outbox.store, Settings(), NOW) == 1_000, "one event is no batch"


def test_behind_a_proxy_that_takes_little_a_push_finds_its_size_and_keeps_to_it(
    outbox: Outbox, server: ScriptedServer
) -> None:
    def little(server: ScriptedServer, seen: Seen) -> Answer:
        return problem(413, "too much") if len(seen.ids) > 30 else store_all(server, seen)

    outbox.record(400)
    server.script.extend([little] * 100)
    outbox.push()
    assert outbox.statuses() == {"synced": 400}
    sizes = [len(upload.ids) for upload in server.uploads]
    assert sizes[:4] == [100, 50, 25, 25]
    refused = [size for size in sizes if size > 30]
    assert len(refused) < 10, "not found out anew with each batch"


def test_a_push_grows_its_batches_once_the_network_is_known(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(900)
    outbox.push()
    assert [len(upload.ids) for upload in server.uploads] == [100, 100, 100, 100, 500]
    assert network.quality(network.judged(outbox.store, now_ms())) == Quality.EXCELLENT
