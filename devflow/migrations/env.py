"""How Alembic reaches the database: through the connection that ``workspace.migrate`` hands it."""

from alembic import context

from devflow.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite cannot alter most of a table in place: Alembic copies it instead.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
