"""A page while uploads saturate the server, and how long refresh needs after them."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from typing import Final

from bench.ingestion import ours, sending
from bench.ingestion.asked import Asked, Round
from devflow.db import Database
from devflow.models import Mark
from tests import postgres
from tests.server_process import ServerProcess

ROWS: Final = 200_000
PCS: Final = 2
PAUSE_S: Final = 0.05
DEADLINE_S: Final = 300
ASKED: Final = (
    Asked("ms at the 95th percentile: 30 days of a project", most=25),
    Asked("s until larger windows had caught up"),
)


def measure(on_postgres: bool) -> Round:
    with ExitStack() as stack:
        made = stack.enter_context(postgres.running(durable=True)) if on_postgres else None
        url = made.create("busy") if made else ""
        server, pcs = stack.enter_context(ours.serving(ROWS, PCS, url))
        bodies = [pc.bodies(ROWS // PCS // ours.BATCH) for pc in pcs]
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(sending.send_at_once, [pc.door for pc in pcs], bodies)
            taken = []
            while not sent.done():
                taken.append(_page_ms(pcs[0]))
                time.sleep(PAUSE_S)
        rate, ended = sent.result().rate * ours.BATCH, time.perf_counter()
        lag_s = _caught_up(server) - ended
    worst = statistics.quantiles(taken, n=20)[-1]
    seen = f"{rate:,.0f} events/s, {len(taken)} pages of {statistics.median(taken):.1f} ms in the median"
    return Round(
        f"{seen}, {worst:.1f} at the 95th percentile; {lag_s:.1f} s of lag at the end", (worst, lag_s)
    )


def _page_ms(pc: ours.Pc) -> float:
    address = f"/metrics/aggregate?projectId={pc.project}&metricType=active_time&groupBy=day&timeRange=30d"
    headers = {"Authorization": pc.door.headers["Authorization"]}
    began = time.perf_counter()
    with closing(HTTPConnection("127.0.0.1", pc.door.port, timeout=60)) as connection:
        connection.request("GET", address, headers=headers)
        answer = connection.getresponse()
        said = answer.read()
    if answer.status != 200:
        raise SystemExit(f"expected the numbers, got {answer.status} {said[:300]!r}")
    return (time.perf_counter() - began) * 1_000


def _caught_up(server: ServerProcess) -> float:
    database = Database(server.database_url)
    deadline = time.perf_counter() + DEADLINE_S
    try:
        while time.perf_counter() < deadline:
            with database.reading() as session:
                if session.query(Mark).first() is None:
                    return time.perf_counter()
            time.sleep(0.1)
    finally:
        database.close()
    raise SystemExit(f"expected larger windows to catch up within {DEADLINE_S} s")
