"""The schema: what migrations make is what the models say, on both databases, up and down."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, inspect, select, text

from devflow import workspace
from devflow.config import Settings
from devflow.db import Database
from devflow.errors import Invalid
from devflow.models import Base, Link, Workspace


def test_the_migrations_make_the_schema_of_the_models(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    workspace.migrate(database)
    with database.engine.connect() as connection:
        opts = {"compare_type": True, "include_object": of_a_model(connection.dialect.name)}
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, Base.metadata) == []
    database.close()


def of_a_model(dialect: str) -> Callable[..., bool]:
    """Alembic itself does not ask whether a model's index is for one kind of database alone."""
    return lambda item, *_: (only := getattr(item, "_ddl_if", None)) is None or only.dialect == dialect


def test_migrating_twice_changes_nothing_and_down_leaves_nothing(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    workspace.migrate(database)
    workspace.migrate(database)
    workspace.migrate(database, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    workspace.migrate(database)
    assert set(inspect(database.engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}
    database.close()


def test_a_schema_of_a_newer_server_is_refused_and_left_alone(database: Database) -> None:
    with database.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Invalid, match=r"schema 0001 or older, got 9999; start the newer server"):
        workspace.migrate(database)
    assert set(inspect(database.engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}


@pytest.mark.parametrize("backend", ["postgres"])  # a SQLite file has one server
def test_servers_that_start_at_once_on_one_database_wait_for_each_other(
    empty_database_url: str, tmp_path: Path
) -> None:
    settings = Settings(data_dir=str(tmp_path), database_url=empty_database_url)
    with ThreadPoolExecutor(3) as pool:
        tokens = list(pool.map(workspace.prepare, [settings] * 3, [0] * 3))
    assert None not in tokens
    database = Database(empty_database_url)
    with database.reading() as session:
        for table in (Workspace, Link):
            assert session.scalar(select(func.count()).select_from(table)) == 1
    database.close()
