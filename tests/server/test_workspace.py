"""A start of the server on a database that another start has left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from devflow import workspace
from devflow.audit import Act
from devflow.config import Settings
from devflow.db import Database
from devflow.models import AuditEntry, Workspace
from tests import build
from tests.build import NOW_MS


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """With which the workspace was made."""
    made = Settings(
        data_dir=str(tmp_path), database_url=database_url, secret_key=build.SECRET, timezone="UTC"
    )
    workspace.prepare(made, NOW_MS)
    return made


def run(settings: Settings, *statements: str) -> None:
    database = Database(settings.database)
    with database.writing() as session:
        for statement in statements:
            session.execute(text(statement))
    database.close()


def left(settings: Settings) -> tuple[str, int, list[tuple[Any, ...]]]:
    """The time zone, the idle limit in ms, and what the trail has of them."""
    database = Database(settings.database)
    with database.reading() as session:
        found = session.scalars(select(Workspace)).one()
        entries = session.scalars(select(AuditEntry).where(AuditEntry.act == Act.CALENDAR_CHANGED))
        told = [(entry.actor, entry.at, json.loads(entry.detail)) for entry in entries]
        result = found.timezone, found.idle_limit_ms, told
    database.close()
    return result


def test_a_start_with_the_same_settings_leaves_no_entry(settings: Settings) -> None:
    workspace.prepare(settings, NOW_MS + 1)
    assert left(settings) == ("UTC", 900_000, [])


def test_a_start_with_another_time_zone_or_idle_limit_is_in_the_trail_as_the_servers_act(
    settings: Settings,
) -> None:
    moved = replace(settings, timezone="Asia/Seoul")
    workspace.prepare(moved, NOW_MS + 1)
    workspace.prepare(replace(moved, idle_limit="60"), NOW_MS + 2)
    zone = {"zone_before": "UTC", "zone_now": "Asia/Seoul", "idle_s_before": 900, "idle_s_now": 900}
    limit = {"zone_before": "Asia/Seoul", "zone_now": "Asia/Seoul", "idle_s_before": 900, "idle_s_now": 60}
    assert left(settings) == ("Asia/Seoul", 60_000, [(None, NOW_MS + 1, zone), (None, NOW_MS + 2, limit)])


def test_a_change_that_the_trail_cannot_take_is_not_made(settings: Settings) -> None:
    table = AuditEntry.__tablename__
    run(settings, f"ALTER TABLE {table} RENAME TO elsewhere")
    with pytest.raises(DBAPIError):
        workspace.prepare(replace(settings, timezone="Asia/Seoul"), NOW_MS + 1)
    run(settings, f"ALTER TABLE elsewhere RENAME TO {table}")
    assert left(settings) == ("UTC", 900_000, [])
