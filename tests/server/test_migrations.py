"""The schema: what migrations make is what the models say, on both databases, up and down."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from devflow import workspace
from devflow.db import Database
from devflow.models import Base


def test_the_migrations_make_the_schema_of_the_models(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    workspace.migrate(database)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    database.close()


def test_migrating_twice_changes_nothing_and_down_leaves_nothing(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    workspace.migrate(database)
    workspace.migrate(database)
    workspace.migrate(database, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    workspace.migrate(database)
    assert set(inspect(database.engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}
    database.close()
