"""Batches of 1,000 over HTTP against the same rows stored by SQLite alone.

Beside it in turn, into files of their own, ``executemany`` of as many rows into the same table, and into
one whose unique key is the random id alone, as servers have it that do not think of it. What counts is
the last fifth of each, when the tables are large. A team has more than one PC, so four at once are told
too, with as many events in all.
"""

from __future__ import annotations

from typing import Final

from bench.ingestion import bare, ours
from bench.ingestion.asked import Asked, Given, Round
from bench.ingestion.ours import BATCH

ROWS: Final = 200_000
ROUNDS: Final = 3
TEAM: Final = 4
ASKED: Final = (
    Asked("times the rows of SQLite alone", least=0.6),
    Asked("times the rows of SQLite alone with a random key", least=1.2),
    Asked(f"times the rows of SQLite alone, from {TEAM} PCs at once"),
)


def measure(given: Given) -> Round:
    batches = given.rows // BATCH
    one = ours.run(given.rows)
    same = bare.into_sqlite(batches)
    team = ours.run(given.rows, TEAM)
    random = bare.into_sqlite(batches, key_is_random=True)
    last, alone = one.marks.last_fifth.rate, same.last_fifth.rate
    seen = (
        f"one PC {one}, at last {last * BATCH:,.0f}/s; {TEAM} PCs {team}; rows alone at last "
        f"{alone * BATCH:,.0f}/s, with a random key {random.last_fifth.rate * BATCH:,.0f}/s"
    )
    return Round(seen, (last / alone, last / random.last_fifth.rate, team.marks.last_fifth.rate / alone))
