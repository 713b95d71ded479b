"""The server's tables.

Integer keys inside, UUIDs (``public_id``) outside. All times are Unix milliseconds UTC. Ids of
events are 16 bytes, and names that repeat - files above all - are rows of their own.
"""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from devflow.db import RowId


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )


class Role(StrEnum):
    DEVELOPER = "developer"
    LEAD = "lead"
    MANAGER = "manager"
    ADMIN = "admin"


class Workspace(Base):
    """One row: who this server is, and the calendar its rollups were made with."""

    __tablename__ = "workspace"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    server_id: Mapped[UUID] = mapped_column(Uuid)
    timezone: Mapped[str] = mapped_column(String(64))
    idle_limit_ms: Mapped[int] = mapped_column(BigInteger)


class Person(Base):
    __tablename__ = "people"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[UUID] = mapped_column(Uuid, unique=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)  # as written, lower case
    name: Mapped[str] = mapped_column(String(100))
    password_hash: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(16))
    # Stands in every session and access token; moving it ends them all.
    token_version: Mapped[int] = mapped_column(BigInteger, default=1)
    created_at: Mapped[int] = mapped_column(BigInteger)


class PersonAuthor(Base):
    """An author key (``wire.author_key``) that is this person; a key is one person's only."""

    __tablename__ = "person_authors"

    author_key: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)


class SetupLink(Base):
    """The one-time link that makes the first account; only the token's hash is kept."""

    __tablename__ = "setup_links"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    created_at: Mapped[int] = mapped_column(BigInteger)


class Device(Base):
    """The PC an event was seen on; it belongs to one person and can be revoked."""

    __tablename__ = "devices"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[UUID] = mapped_column(Uuid, unique=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[int] = mapped_column(BigInteger)
    last_seen_at: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)


class RefreshToken(Base):
    """A refresh token's hash, until it expires; it is good for one use."""

    __tablename__ = "refresh_tokens"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    device_id: Mapped[int | None] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"))
    token_version: Mapped[int] = mapped_column(BigInteger)  # the person's when it was issued
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)
    used_at: Mapped[int | None] = mapped_column(BigInteger)


class Project(Base):
    __tablename__ = "projects"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[UUID] = mapped_column(Uuid, unique=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    # Moved once by every transaction that changes what a page of the project shows.
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[int] = mapped_column(BigInteger)


class Membership(Base):
    __tablename__ = "memberships"

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    person_id: Mapped[int] = mapped_column(
        ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class File(Base):
    """A path of a project; ``path_key`` is 16 bytes of its SHA-256, since paths outgrow an index."""

    __tablename__ = "files"
    __table_args__ = (UniqueConstraint("project_id", "path_key"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    path_key: Mapped[bytes] = mapped_column(LargeBinary(16))
    path: Mapped[str] = mapped_column(Text)


class Event(Base):
    """An accepted event, as it came; the columns after ``data`` are what rollups read.

    ``person_id`` is who did it: null where that is nobody who told this server that it was they.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_project_id_timestamp", "project_id", "timestamp"),
        Index("ix_events_person_id_timestamp", "person_id", "timestamp"),
        Index("ix_events_device_id_author_key", "device_id", "author_key"),
    )

    seq: Mapped[int] = mapped_column(RowId, primary_key=True)
    event_id: Mapped[bytes] = mapped_column(LargeBinary(16), unique=True)
    timestamp: Mapped[int] = mapped_column(BigInteger)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"))
    local_id: Mapped[int] = mapped_column(BigInteger)
    event_type: Mapped[int] = mapped_column(SmallInteger)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[int] = mapped_column(BigInteger)
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id", ondelete="SET NULL"))
    author_key: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    insertions: Mapped[int] = mapped_column(BigInteger)
    deletions: Mapped[int] = mapped_column(BigInteger)
    files: Mapped[bytes] = mapped_column(LargeBinary)  # ids of File, little-endian 32 bit each


class Cell(Base):
    """What one person did in one project in one window.

    ``person_id`` 0 is for events of nobody known here. ``files`` is the set of File ids as a
    roaring bitmap: sets unite where counts would not add.
    """

    __tablename__ = "cells"
    __table_args__ = (Index("ix_cells_person_id_grain_start", "person_id", "grain", "start"),)

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    grain: Mapped[str] = mapped_column(String(5), primary_key=True)
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    person_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    events: Mapped[int] = mapped_column(BigInteger)
    commits: Mapped[int] = mapped_column(BigInteger)
    insertions: Mapped[int] = mapped_column(BigInteger)
    deletions: Mapped[int] = mapped_column(BigInteger)
    active_ms: Mapped[int] = mapped_column(BigInteger)
    files: Mapped[bytes] = mapped_column(LargeBinary)


class Mark(Base):
    """A day whose larger windows no longer follow from its hour cells."""

    __tablename__ = "marks"

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
