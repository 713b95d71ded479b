"""Which calendar is in force: the workspace's own, whatever the settings ask for."""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow.models import Workspace
from devflow.rollups.tallies import Calendar

_WORKSPACE: Final = Workspace.__table__.c
_IN_FORCE: Final = select(_WORKSPACE.timezone, _WORKSPACE.idle_limit_ms)


def in_force(session: Session) -> Calendar:
    """What all cells that this transaction sees are cut by."""
    zone, idle_limit_ms = session.execute(_IN_FORCE).one()
    return Calendar(ZoneInfo(zone), idle_limit_ms)
