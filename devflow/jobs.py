"""Background work while the server runs: larger windows, a daily look at the trail, deleting old events."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import select

from devflow import audit, retention, rollups
from devflow.audit import Actor, Flaw, Head
from devflow.context import Context
from devflow.models import Workspace

REFRESH_EVERY_S: Final = 1
LOOK_EVERY_S: Final = 3_600
"""How often what is done daily is looked for: a server that is restarted each night does it too."""
FIRST_LOOK_S: Final = 60
DAY_MS: Final = 86_400_000
log = logging.getLogger(__name__)
# Apart, because its lines are wanted in a log where others of their level are not.
anchors = logging.getLogger("devflow.anchors")


def start(context: Context) -> BackgroundScheduler:
    """Start the jobs in this process; the caller shuts the scheduler down."""
    scheduler = BackgroundScheduler(
        timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 300}
    )
    scheduler.add_job(refresh, "interval", seconds=REFRESH_EVERY_S, args=[context], id="refresh")
    first = datetime.now(UTC) + timedelta(seconds=FIRST_LOOK_S)
    for job in (examine_trail, expire):
        scheduler.add_job(
            job, "interval", seconds=LOOK_EVERY_S, args=[context], id=job.__name__, next_run_time=first
        )
    scheduler.start()
    return scheduler


def refresh(context: Context) -> int:
    """Derive every marked day, a transaction for each few hundred; return how many."""
    total = 0
    while count := context.database.transact(lambda session: rollups.refresh(session, context.calendar.zone)):
        total += count
    if total:
        log.info("derived days, weeks and months of %d marked days", total)
    return total


def examine_trail(context: Context) -> Head | Flaw | None:
    """Walk the audit trail if nobody has for a day; log its end, for a log kept elsewhere, or its flaw."""
    now_ms = context.now()
    with context.database.reading() as session:
        last = session.scalars(select(Workspace.audit_examined_at)).one()
        if last is not None and now_ms - last < DAY_MS:
            return None
        found = audit.examine(session, context.vault)
    context.database.transact(lambda session: audit.note_examined(session, now_ms, found))
    if isinstance(found, Flaw):
        log.error("the audit trail is broken: %s", found.what)
    else:
        anchors.info("the audit trail is whole: %s", found)
    return found


def expire(context: Context) -> int:
    """Delete the events that are older than they are kept; return how many."""
    by = Actor(None, context.now(), context.vault)
    deleted = retention.run(context.database, by, context.calendar)
    if deleted:
        log.info("deleted %d events that were older than events are kept", deleted)
    return deleted
