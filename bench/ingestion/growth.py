"""The fifth million of events against the first, and the worker's memory before and after all of them.

Memory at rest is that of a server that was started and has shown its sign-in page once.
"""

from __future__ import annotations

import urllib.request
from typing import Final

from bench.ingestion import ours, sending
from bench.ingestion.asked import Asked, Given, Round
from bench.ingestion.ours import BATCH
from bench.ingestion.processes import megabytes

ROWS: Final = 5_000_000
ROUNDS: Final = 1  # it takes minutes
FIFTHS: Final = 5
ASKED: Final = (
    Asked("times as fast in the last fifth as in the first", least=0.8),
    Asked("MB at rest", most=80),
    Asked("MB at most", most=200),
)


def measure(given: Given) -> Round:
    with ours.serving(given.rows) as (server, (pc,)):
        urllib.request.urlopen(f"{server.url}/sign-in", timeout=30).close()  # noqa: S310
        at_rest = megabytes(server.worker, "VmRSS")
        sending.send(pc.door, pc.bodies(1))  # what is made once is made
        each = max(2, given.rows // FIFTHS // BATCH)
        # Made and sent in turn, since five million events are 300 MB ready to send.
        runs = [
            ours.upload(server, [pc], [pc.bodies(each, first=1 + number * each)], BATCH)
            for number in range(FIFTHS)
        ]
        after, most = megabytes(server.worker, "VmRSS"), megabytes(server.worker, "VmHWM")
    seen = (
        f"{', '.join(map(str, runs))}; {at_rest:.0f} MB at rest, {after:.0f} MB after, {most:.0f} MB at most"
    )
    return Round(seen, (runs[-1].rate / runs[0].rate, at_rest, most))
