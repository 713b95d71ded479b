"""Batches of 1,000 over HTTP on PostgreSQL against the fastest way that psycopg has to store what is new.

That is COPY into a temporary table, ``INSERT ... SELECT ... ON CONFLICT DO NOTHING`` from there into the
same partitioned table, and COMMIT of each batch. The server waits for its disk at each commit. What
counts is the last fifth of each.
"""

from __future__ import annotations

from typing import Final

import tests.postgres
from bench.ingestion import bare, ours
from bench.ingestion.asked import Asked, Given, Round
from bench.ingestion.ours import BATCH

ROWS: Final = 200_000
ROUNDS: Final = 3
ASKED: Final = (Asked("times the rows of psycopg alone", least=0.5),)


def measure(given: Given) -> Round:
    with tests.postgres.running(durable=True) as server:
        one = ours.run(given.rows, database_url=server.create("ours"))
        alone = bare.into_postgres(given.rows // BATCH, server.create("bare")).last_fifth.rate
    last = one.marks.last_fifth.rate
    seen = f"one PC {one}, at last {last * BATCH:,.0f}/s; rows alone at last {alone * BATCH:,.0f}/s"
    return Round(seen, (last / alone,))
