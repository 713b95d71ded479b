"""A server as a careful developer writes it first: Flask and the ORM, which is asked for each event.

It has the columns and indexes of ours, knows senders by tokens, takes a batch in one transaction of the same
durability, and each event once. What ours does beyond that it is spared: sealing, judging, counting.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from typing import Any
from uuid import UUID

import sqlalchemy
from flask import Flask, abort, request
from flask.typing import ResponseReturnValue
from sqlalchemy import BigInteger, Engine, Index, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Sender(Base):
    __tablename__ = "senders"
    token_digest: Mapped[bytes] = mapped_column(primary_key=True)
    device_id: Mapped[int]
    person_id: Mapped[int]


class Project(Base):
    __tablename__ = "projects"
    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[UUID] = mapped_column(unique=True)


class Event(Base):
    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_project_id_timestamp", "project_id", "timestamp"),
        Index("ix_events_person_id_timestamp", "person_id", "timestamp"),
        Index("ix_events_device_id_seq", "device_id", "seq"),
    )
    seq: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[UUID] = mapped_column(unique=True)
    timestamp: Mapped[int] = mapped_column(BigInteger)
    project_id: Mapped[int]
    device_id: Mapped[int]
    local_id: Mapped[int] = mapped_column(BigInteger)
    event_type: Mapped[str]
    data: Mapped[str]
    received_at: Mapped[int] = mapped_column(BigInteger)
    person_id: Mapped[int | None]
    author_key: Mapped[str | None]
    insertions: Mapped[int]
    deletions: Mapped[int]
    files: Mapped[str]


def create_engine_of(path: str) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @sqlalchemy.event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def digest(token: str) -> bytes:
    """What a token is kept and found by."""
    return hashlib.sha256(token.encode()).digest()


def create_app(path: str) -> Flask:
    """On a SQLite file whose tables are there."""
    app, engine = Flask(__name__), create_engine_of(path)

    @app.post("/sync/events")
    def take() -> ResponseReturnValue:
        with Session(engine) as session:
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            sender = session.get(Sender, digest(token))
            if sender is None:
                abort(401)
            items = request.get_json()["events"]
            projects = {project.public_id: project.id for project in session.scalars(select(Project))}
            for item in items:
                # The question flushes what was added, so it also finds an id that the batch has twice.
                if session.scalar(select(Event).where(Event.event_id == UUID(item["id"]))) is None:
                    session.add(_event(sender, projects[UUID(item["projectId"])], item))
            session.commit()
        return {"success": True, "syncedIds": [item["id"] for item in items], "errors": []}

    return app


def _event(sender: Sender, project_id: int, item: dict[str, Any]) -> Event:
    data = item["eventData"]
    return Event(
        event_id=UUID(item["id"]),
        timestamp=item["timestamp"],
        project_id=project_id,
        device_id=sender.device_id,
        local_id=item["localId"],
        event_type=item["eventType"],
        data=json.dumps(data),
        received_at=time.time_ns() // 1_000_000,
        person_id=sender.person_id,
        author_key=data.get("author"),
        insertions=data.get("insertions", 0),
        deletions=data.get("deletions", 0),
        files=json.dumps([file["path"] for file in data.get("files", [data])]),
    )
