"""The one workspace a server holds: its schema, its identity, and its calendar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from devflow import audit, db, keys, restores, retention, rollups
from devflow.accounts import links
from devflow.audit import Act, Actor
from devflow.config import Settings
from devflow.crypto import Vault
from devflow.db import Database, Lock
from devflow.errors import Invalid
from devflow.models import Workspace
from devflow.rollups import Calendar

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def prepare(settings: Settings, now_ms: int) -> str | None:
    """Make the database ready to serve; return the token of the set-up link while there is no account.

    Runs once before any worker starts: migrates, makes the workspace, and notes another time zone or
    idle limit, by which a job then counts anew. If the database is an older copy of the one
    served before, a new epoch begins. Of several servers that start on one database each waits for
    the one before.
    """
    settings.data_path.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(settings.database)
    try:
        migrate(database)
        with database.writing() as session:
            db.lock(session, Lock.START)
            by = Actor(None, now_ms, ensure(session, settings, now_ms))
            setup_token = links.open_setup(session, now_ms)
        # Apart: who holds the workspace must not wait for uploads, which come to need it.
        calendar = Calendar(settings.zone, settings.idle_limit_ms)
        database.transact(lambda session: rollups.want(session, by, calendar))
        restores.look(database, settings.data_path, lambda: by)
        return setup_token
    finally:
        database.close()


def migrate(database: Database, revision: str = "head") -> None:
    """Bring the schema to ``revision``, up or down, in one transaction.

    Raise Invalid for a schema that only a newer server knows.
    """
    from alembic import command  # 13 MB, for the start alone
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.writing() as session:
        db.lock(session, Lock.START)
        connection = session.connection()
        found = MigrationContext.configure(connection).get_current_revision()
        _refuse_newer(found, ScriptDirectory.from_config(config))
        config.attributes["connection"] = connection
        if revision == "base":
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)


def _refuse_newer(found: str | None, scripts: ScriptDirectory) -> None:
    if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
        raise Invalid(
            f"expected a database with schema {scripts.get_current_head()} or older, got {found}; "
            "start the newer server that made it, or restore a backup from before"
        )


def server_id(session: Session) -> UUID:
    """Who this server is to its agents."""
    try:
        found: UUID | None = session.scalar(select(Workspace.server_id))
    except DatabaseError as error:
        raise Invalid(f"expected a database that was set up, but could not read it: {error.orig}") from error
    if found is None:
        raise Invalid(
            "expected a database with a workspace; start the server through gunicorn, which makes it"
        )
    return found


def ensure(session: Session, settings: Settings, now_ms: int) -> Vault:
    """Make the workspace and its keys, or seal the keys under the secret of today; return the vault.

    The caller commits.
    """
    workspace = session.get(Workspace, 1, with_for_update=True)
    if workspace is not None:
        return keys.adopt(session, workspace, settings, now_ms)
    workspace = Workspace(
        id=1,
        server_id=uuid4(),
        timezone=settings.timezone,
        idle_limit_ms=settings.idle_limit_ms,
        audit_count=0,
        audit_head=b"",
        audit_seal=b"",
        retention_days=retention.DEFAULT_DAYS,
        events_since=0,
        **keys.new_kdf(),
    )
    session.add(workspace)
    session.flush()
    vault = keys.make(session, workspace, keys.first_secret(settings), now_ms)
    audit.begin(workspace, vault)
    audit.record(session, Actor(None, now_ms, vault), Act.WORKSPACE_MADE)
    return vault
