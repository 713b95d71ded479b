from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import event

from devflow.db import Database
from tests.build import World


@pytest.fixture
def world(database: Database) -> World:
    return World.on(database)


@pytest.fixture
def statements(database: Database) -> Iterator[list[str]]:
    """Every statement sent to the database for writing, as it is sent."""
    sent: list[str] = []

    def record(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    event.listen(database.engine, "before_cursor_execute", record)
    yield sent
    event.remove(database.engine, "before_cursor_execute", record)
