"""The first schema.

Written out and not made from the models: what a migration does must not change when they do.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "people",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("public_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("token_version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_people"),
        sa.UniqueConstraint("email", name="uq_people_email"),
        sa.UniqueConstraint("public_id", name="uq_people_public_id"),
    )
    op.create_table(
        "projects",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("public_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
        sa.UniqueConstraint("name", name="uq_projects_name"),
        sa.UniqueConstraint("public_id", name="uq_projects_public_id"),
    )
    op.create_table(
        "setup_links",
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name="pk_setup_links"),
    )
    op.create_table(
        "workspace",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("server_id", sa.Uuid(), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("idle_limit_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_workspace_one_row"),
        sa.PrimaryKeyConstraint("id", name="pk_workspace"),
    )
    op.create_table(
        "cells",
        sa.Column("project_id", ROW_ID, nullable=False),
        sa.Column("grain", sa.String(length=5), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("person_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("commits", sa.BigInteger(), nullable=False),
        sa.Column("insertions", sa.BigInteger(), nullable=False),
        sa.Column("deletions", sa.BigInteger(), nullable=False),
        sa.Column("active_ms", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name="fk_cells_project_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "grain", "start", "person_id", name="pk_cells"),
    )
    op.create_index("ix_cells_person_id_grain_start", "cells", ["person_id", "grain", "start"])

    op.create_table(
        "devices",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("public_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", ROW_ID, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name="fk_devices_person_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_devices"),
        sa.UniqueConstraint("public_id", name="uq_devices_public_id"),
    )
    op.create_index("ix_devices_person_id", "devices", ["person_id"])

    op.create_table(
        "files",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("project_id", ROW_ID, nullable=False),
        sa.Column("path_key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name="fk_files_project_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
        sa.UniqueConstraint("project_id", "path_key", name="uq_files_project_id_path_key"),
    )
    op.create_table(
        "marks",
        sa.Column("project_id", ROW_ID, nullable=False),
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name="fk_marks_project_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "day", name="pk_marks"),
    )
    op.create_table(
        "memberships",
        sa.Column("project_id", ROW_ID, nullable=False),
        sa.Column("person_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name="fk_memberships_person_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name="fk_memberships_project_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "person_id", name="pk_memberships"),
    )
    op.create_index("ix_memberships_person_id", "memberships", ["person_id"])

    op.create_table(
        "person_authors",
        sa.Column("author_key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("person_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name="fk_person_authors_person_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("author_key", name="pk_person_authors"),
    )
    op.create_index("ix_person_authors_person_id", "person_authors", ["person_id"])

    op.create_table(
        "events",
        sa.Column("seq", ROW_ID, nullable=False),
        sa.Column("event_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("project_id", ROW_ID, nullable=False),
        sa.Column("device_id", ROW_ID, nullable=False),
        sa.Column("local_id", sa.BigInteger(), nullable=False),
        sa.Column("event_type", sa.SmallInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("person_id", ROW_ID, nullable=True),
        sa.Column("author_key", sa.LargeBinary(length=16), nullable=True),
        sa.Column("insertions", sa.BigInteger(), nullable=False),
        sa.Column("deletions", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name="fk_events_device_id"),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name="fk_events_person_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name="fk_events_project_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
        sa.UniqueConstraint("event_id", name="uq_events_event_id"),
    )
    op.create_index("ix_events_device_id_author_key", "events", ["device_id", "author_key"])
    op.create_index("ix_events_person_id_timestamp", "events", ["person_id", "timestamp"])
    op.create_index("ix_events_project_id_timestamp", "events", ["project_id", "timestamp"])

    op.create_table(
        "refresh_tokens",
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("person_id", ROW_ID, nullable=False),
        sa.Column("device_id", ROW_ID, nullable=True),
        sa.Column("token_version", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name="fk_refresh_tokens_device_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name="fk_refresh_tokens_person_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name="pk_refresh_tokens"),
    )
    op.create_index("ix_refresh_tokens_expires_at", "refresh_tokens", ["expires_at"])
    op.create_index("ix_refresh_tokens_person_id", "refresh_tokens", ["person_id"])


def downgrade() -> None:
    for table in (
        "refresh_tokens",
        "events",
        "person_authors",
        "memberships",
        "marks",
        "files",
        "devices",
        "cells",
        "workspace",
        "setup_links",
        "projects",
        "people",
    ):
        op.drop_table(table)
