"""The store's schema, version by version, and the way between them.

``vN.up.sql`` brings version N-1 to N, ``vN.down.sql`` takes it back. Each step runs in one
transaction together with its version number, so a killed migration is one that never ran.
Version 1 is the local-only store; version 2 adds what sync needs and nothing else, so going
down to 1 loses only sync metadata.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Final

from devflow.errors import Invalid

LATEST: Final = 2


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(
    connection: sqlite3.Connection, to: int = LATEST, *, progress: Callable[[int], None] = lambda done: None
) -> list[int]:
    """Bring the store to version ``to``; return the versions passed through, none if it was there.

    The connection must be in autocommit mode and outside a transaction. ``progress`` gets how many
    statements of the step under way are done.
    """
    if not 0 < to <= LATEST:
        raise Invalid(f"expected a schema version from 1 to {LATEST}, got {to}")
    passed: list[int] = []
    while (step := _next_step(connection, to, progress)) is not None:
        passed.append(step)
    return passed


def _next_step(connection: sqlite3.Connection, to: int, progress: Callable[[int], None]) -> int | None:
    """Take one step under the write lock, so that two processes cannot both take it."""
    if version(connection) == to:
        return None
    connection.execute("BEGIN IMMEDIATE")
    try:
        here = version(connection)
        if here > LATEST:
            raise Invalid(
                f"this store has schema version {here}, this agent knows up to {LATEST}: upgrade the agent"
            )
        if here == to:
            return None
        target = here + 1 if here < to else here - 1
        run(connection, statements(_script(here, target)), progress)
        connection.execute(f"PRAGMA user_version = {target}")
        connection.execute("COMMIT")
        return target
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def length(here: int, to: int) -> int:
    """How many statements lead from version ``here`` to ``to``."""
    way = 1 if here < to else -1
    return sum(len(statements(_script(step, step + way))) for step in range(here, to, way))


def _script(here: int, target: int) -> str:
    return f"v{target}.up.sql" if here < target else f"v{here}.down.sql"


def run(
    connection: sqlite3.Connection,
    script: Iterable[str],
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    for done, statement in enumerate(script, 1):
        connection.execute(statement)
        progress(done)


def statements(script: str) -> list[str]:
    """Those of a file of this folder, one by one."""
    # executescript would commit first, and the step would no longer be one transaction.
    text = (files(__name__) / script).read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return [statement for statement in "\n".join(lines).split(";\n") if statement.strip()]
