"""The server's tables.

Integer keys inside, UUIDs (``public_id``) outside. All times are Unix milliseconds UTC. Ids of
events are 16 bytes, and names that repeat - files above all - are rows of their own. What is
"sealed" is encrypted for its very row (``crypto.Vault``), and what is a "key" of a text is its
keyed hash.
"""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID, uuid4

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
    """One row: who this server is, its calendar, the end of its audit trail, how long events are kept."""

    __tablename__ = "workspace"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    server_id: Mapped[UUID] = mapped_column(Uuid)
    # Another one after every restore of a backup; see restores.py.
    epoch: Mapped[UUID] = mapped_column(Uuid, default=uuid4)
    timezone: Mapped[str] = mapped_column(String(64))
    idle_limit_ms: Mapped[int] = mapped_column(BigInteger)
    # What the wrapping key of ``keys`` is drawn with from the operator's secret (PBKDF2).
    kdf_salt: Mapped[bytes] = mapped_column(LargeBinary(16))
    kdf_iterations: Mapped[int] = mapped_column(BigInteger)
    # The number and hash of the last audit entry, sealed: a trail cut short does not fit it.
    audit_count: Mapped[int] = mapped_column(BigInteger)
    audit_head: Mapped[bytes] = mapped_column(LargeBinary(32))
    audit_seal: Mapped[bytes] = mapped_column(LargeBinary(32))
    audit_examined_at: Mapped[int | None] = mapped_column(BigInteger)
    audit_flaw: Mapped[str | None] = mapped_column(String(200))  # what was wrong then
    # How long events are kept; null is for ever. Events before ``events_since`` may be gone, and
    # cells that would need them are never counted anew.
    retention_days: Mapped[int | None] = mapped_column(BigInteger)
    events_since: Mapped[int] = mapped_column(BigInteger, default=0)
    # When cells were last held against the events, and how many were found wrong and not put right since.
    rollups_examined_at: Mapped[int | None] = mapped_column(BigInteger)
    rollups_wrong: Mapped[int] = mapped_column(BigInteger, default=0)


class Key(Base):
    """A random key, sealed by the wrapping key; ``retired_at`` once a newer one does its work."""

    __tablename__ = "keys"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    purpose: Mapped[str] = mapped_column(String(8))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[int] = mapped_column(BigInteger)
    retired_at: Mapped[int | None] = mapped_column(BigInteger)


class Person(Base):
    """Somebody with an account. ``role`` is the one in the workspace; teams and projects give their own.

    Once ``erased_at`` is set nothing here says who it was; the row stays for the totals' sake.
    """

    __tablename__ = "people"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[UUID] = mapped_column(Uuid, unique=True)
    email_key: Mapped[bytes | None] = mapped_column(LargeBinary(16), unique=True)  # of the lower-case address
    email: Mapped[bytes] = mapped_column(LargeBinary)  # sealed
    name: Mapped[str] = mapped_column(String(100))
    password_hash: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(16))
    # Stands in every session and grant; moving it ends them all.
    token_version: Mapped[int] = mapped_column(BigInteger, default=1)
    created_at: Mapped[int] = mapped_column(BigInteger)
    deactivated_at: Mapped[int | None] = mapped_column(BigInteger)
    erased_at: Mapped[int | None] = mapped_column(BigInteger)


class PersonAuthor(Base):
    """An author key (``wire.author_key``, hashed with our key) that is this person and nobody else."""

    __tablename__ = "person_authors"

    author_key: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)


class SecondFactor(Base):
    """A person's TOTP secret (RFC 6238), in force once ``confirmed_at`` is set."""

    __tablename__ = "second_factors"

    person_id: Mapped[int] = mapped_column(
        ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    secret: Mapped[bytes] = mapped_column(LargeBinary)  # sealed
    confirmed_at: Mapped[int | None] = mapped_column(BigInteger)
    last_step: Mapped[int] = mapped_column(BigInteger)  # a code is good once: later ones have later steps


class RecoveryCode(Base):
    """A code that stands in for the second factor once; used ones are deleted."""

    __tablename__ = "recovery_codes"

    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)


class Link(Base):
    """A link that works once: to make the first account, to accept an invitation, to set a new password.

    Only the token's hash is kept. ``person_id`` is whose password it is; ``role`` is what an
    invitation gives in the workspace, the other two roles in the team and the project beside them.
    """

    __tablename__ = "links"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    public_id: Mapped[UUID] = mapped_column(Uuid, unique=True)
    purpose: Mapped[str] = mapped_column(String(8))
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    role: Mapped[str | None] = mapped_column(String(16))
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"))
    team_role: Mapped[str | None] = mapped_column(String(16))
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    project_role: Mapped[str | None] = mapped_column(String(16))
    created_by: Mapped[int | None] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)


class BrowserSession(Base):
    """A browser that is signed in; the cookie has the token, the row its hash.

    ``needs_code`` while the second factor is still to come: such a session opens nothing else.
    """

    __tablename__ = "sessions"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[UUID] = mapped_column(Uuid, unique=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    token_version: Mapped[int] = mapped_column(BigInteger)
    needs_code: Mapped[bool]
    browser: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[int] = mapped_column(BigInteger, index=True)
    seen_at: Mapped[int] = mapped_column(BigInteger)


class Device(Base):
    """The PC an event was seen on; it belongs to one person and can be revoked."""

    __tablename__ = "devices"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[UUID] = mapped_column(Uuid, unique=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[int] = mapped_column(BigInteger)
    last_seen_at: Mapped[int | None] = mapped_column(BigInteger)
    # How far its clock is ahead (behind is negative), as of its last upload; 0 within the tolerance.
    clock_skew_ms: Mapped[int | None] = mapped_column(BigInteger)
    # How sync was doing there, as ``wire.report_header`` writes it, and when the PC said so.
    report: Mapped[str | None] = mapped_column(String(200))
    reported_at: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)


class SharedSetting(Base):
    """A setting of the person's PCs as it was changed last; ``value`` is JSON, ``device_id`` where."""

    __tablename__ = "shared_settings"

    person_id: Mapped[int] = mapped_column(
        ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    key: Mapped[str] = mapped_column(String(20), primary_key=True)
    value: Mapped[str] = mapped_column(String(40))
    changed_at: Mapped[int] = mapped_column(BigInteger)
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), index=True)


class Grant(Base):
    """What one log-in gave a program: a family of refresh tokens, of which ``tokens.py`` says which are good.

    ``current`` is the number of the last one seen, 0 before the first; ``parent`` of the one it was
    given for; ``newest`` the highest number given.
    """

    __tablename__ = "grants"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[UUID] = mapped_column(Uuid, unique=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    device_id: Mapped[int | None] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), index=True)
    token_version: Mapped[int] = mapped_column(BigInteger)  # the person's when it was given
    current: Mapped[int] = mapped_column(BigInteger)
    parent: Mapped[int] = mapped_column(BigInteger)
    newest: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)


class RefreshToken(Base):
    """A refresh token's hash, its number in the grant, and that of the one it was given for."""

    __tablename__ = "refresh_tokens"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    grant_id: Mapped[int] = mapped_column(ForeignKey("grants.id", ondelete="CASCADE"), index=True)
    number: Mapped[int] = mapped_column(BigInteger)
    parent: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


class Pairing(Base):
    """A PC that asks to be let in by a code that its owner approves in the browser (after RFC 8628).

    ``person_id`` is who approved it, ``token_version`` theirs at that moment.
    """

    __tablename__ = "pairings"

    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    device_public_id: Mapped[UUID] = mapped_column(Uuid)
    device_name: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    token_version: Mapped[int | None] = mapped_column(BigInteger)
    denied_at: Mapped[int | None] = mapped_column(BigInteger)
    grant_id: Mapped[int | None] = mapped_column(ForeignKey("grants.id", ondelete="CASCADE"))


class DeletionRequest(Base):
    """A person's wish to be deleted; carried out by an admin, or by itself when it is due.

    ``erased_to`` is the ``Event.seq`` up to which the events are erased.
    """

    __tablename__ = "deletion_requests"

    person_id: Mapped[int] = mapped_column(
        ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    asked_at: Mapped[int] = mapped_column(BigInteger)
    due_at: Mapped[int] = mapped_column(BigInteger, index=True)
    erased_to: Mapped[int] = mapped_column(BigInteger, default=0)


class Team(Base):
    """Who works together."""

    __tablename__ = "teams"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[UUID] = mapped_column(Uuid, unique=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    created_at: Mapped[int] = mapped_column(BigInteger)


class TeamMember(Base):
    __tablename__ = "team_members"

    team_id: Mapped[int] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True)
    person_id: Mapped[int] = mapped_column(
        ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[str] = mapped_column(String(16))


class Project(Base):
    """What is worked on.

    Once ``deleted_at`` is set nobody sees it, its name is gone, and a job takes the rest away.
    """

    __tablename__ = "projects"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - as SQLAlchemy wants it

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[UUID] = mapped_column(Uuid, unique=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    # Moved once by every transaction that changes what a page of the project shows.
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[int] = mapped_column(BigInteger)
    deleted_at: Mapped[int | None] = mapped_column(BigInteger)


class ProjectMember(Base):
    __tablename__ = "project_members"

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    person_id: Mapped[int] = mapped_column(
        ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[str] = mapped_column(String(16))


class AuditEntry(Base):
    """One act, for good: triggers refuse to change or delete it. ``audit.py`` says how entries are chained.

    People and things stand here by public id alone, so that erasing a person leaves no name behind.
    """

    __tablename__ = "audit"
    __table_args__ = (
        Index("ix_audit_actor_id", "actor", "id"),
        Index("ix_audit_subject_id", "subject", "id"),
        Index("ix_audit_person_id", "person", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[UUID | None] = mapped_column(Uuid)  # None: the server itself, or nobody known
    act: Mapped[str] = mapped_column(String(40))
    subject: Mapped[UUID | None] = mapped_column(Uuid)
    person: Mapped[UUID | None] = mapped_column(Uuid)  # whom it was done to, where the subject is a thing
    is_refused: Mapped[bool]
    detail: Mapped[str] = mapped_column(Text)  # JSON
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class File(Base):
    """A path of a project; ``path_key`` is its keyed hash, since the path is sealed."""

    __tablename__ = "files"
    __table_args__ = (UniqueConstraint("project_id", "path_key"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    path_key: Mapped[bytes] = mapped_column(LargeBinary(16))
    path: Mapped[bytes] = mapped_column(LargeBinary)  # sealed
    language: Mapped[int] = mapped_column(SmallInteger)  # a number of ``languages``


class Event(Base):
    """An accepted event; the columns after ``data`` are what rollups read.

    ``data`` is sealed, and empty where it was erased. ``person_id`` is who did it: null where that
    is nobody who told this server that it was they. ``seq`` only rises, also when the newest are
    deleted: it is the cursor of those who download. There are no foreign keys: they would cost more
    than the row, and uploads hold what they name.

    On PostgreSQL the table is partitioned by ``timestamp`` (``partitions``), which for that is in
    its primary key too.
    """

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("timestamp", "event_id"),
        Index("ix_events_project_id_timestamp", "project_id", "timestamp"),
        Index("ix_events_person_id_timestamp", "person_id", "timestamp"),
        Index("ix_events_device_id_seq", "device_id", "seq"),
        # Of what kind these two are is told by the migration alone: to tell it here would load PostgreSQL's
        # dialect, 4 MB, wherever the models are.
        Index("ix_events_unclaimed", "device_id", "author_key"),
        Index("ix_events_event_id", "event_id").ddl_if(dialect="postgresql"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(RowId, primary_key=True)
    event_id: Mapped[bytes] = mapped_column(LargeBinary(16))
    timestamp: Mapped[int] = mapped_column(BigInteger)
    project_id: Mapped[int] = mapped_column(BigInteger)
    device_id: Mapped[int] = mapped_column(BigInteger)
    local_id: Mapped[int] = mapped_column(BigInteger)
    event_type: Mapped[int] = mapped_column(SmallInteger)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[int] = mapped_column(BigInteger)
    person_id: Mapped[int | None] = mapped_column(BigInteger)
    author_key: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    insertions: Mapped[int] = mapped_column(BigInteger)
    deletions: Mapped[int] = mapped_column(BigInteger)
    files: Mapped[bytes] = mapped_column(LargeBinary)  # ids of File, little-endian 32 bit each


class _Amounts:
    """What somebody did. ``files`` are File ids as a roaring bitmap: sets unite, where counts do not add."""

    events: Mapped[int] = mapped_column(BigInteger)
    commits: Mapped[int] = mapped_column(BigInteger)
    insertions: Mapped[int] = mapped_column(BigInteger)
    deletions: Mapped[int] = mapped_column(BigInteger)
    active_ms: Mapped[int] = mapped_column(BigInteger)
    files: Mapped[bytes] = mapped_column(LargeBinary)


class _Counts(_Amounts):
    """What one person did in one project in one window; ``person_id`` 0 is nobody known here."""

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    grain: Mapped[str] = mapped_column(String(5), primary_key=True)
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    person_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class Slice(_Amounts, Base):
    """What one person did in one project on one day, of one event type or one language of files.

    ``rollups.slices`` says what ``value`` is.
    """

    __tablename__ = "slices"

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    dimension: Mapped[str] = mapped_column(String(8), primary_key=True)
    day: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    value: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    person_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class SliceMark(Base):
    """A day of a project whose slices are yet to be derived.

    A new row, of another number, takes the place of one of the same day: so who counted meanwhile can tell.
    """

    __tablename__ = "slice_marks"
    __table_args__ = (UniqueConstraint("project_id", "day"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    day: Mapped[int] = mapped_column(BigInteger)


class Cell(_Counts, Base):
    """By the calendar in force."""

    __tablename__ = "cells"
    __table_args__ = (Index("ix_cells_person_id_grain_start", "person_id", "grain", "start"),)


class NextCell(_Counts, Base):
    """By the calendar that is to come into force, while it is being counted by (``rollups.changing``)."""

    __tablename__ = "next_cells"
    __table_args__ = (Index("ix_next_cells_person_id_grain_start", "person_id", "grain", "start"),)


class NextCalendar(Base):
    """The calendar that is to come into force; no row if that is none.

    Hours before ``open_from`` are taken over as they were counted. ``listed_to`` is the last
    project whose days are in ``next_days``, null while cells of an earlier change are left.
    """

    __tablename__ = "next_calendar"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    timezone: Mapped[str] = mapped_column(String(64))
    idle_limit_ms: Mapped[int] = mapped_column(BigInteger)
    open_from: Mapped[int] = mapped_column(BigInteger)
    listed_to: Mapped[int | None] = mapped_column(BigInteger)


class NextDay(Base):
    """A day of the calendar in force that the calendar to come is still to count."""

    __tablename__ = "next_days"

    day: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)


class KeptAnswer(Base):
    """What was costly to count, signed, for one generation of its project (``cache.stored``)."""

    __tablename__ = "kept_answers"

    key: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    generation: Mapped[int] = mapped_column(BigInteger)
    kept_at: Mapped[int] = mapped_column(BigInteger, index=True)
    value: Mapped[bytes] = mapped_column(LargeBinary)


class Mark(Base):
    """A day whose larger windows no longer follow from its hour cells."""

    __tablename__ = "marks"

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
