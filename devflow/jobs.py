"""Background work while the server runs: larger windows, and what is to be taken away for good."""

from __future__ import annotations

import logging
from typing import Final

from apscheduler.schedulers.background import BackgroundScheduler

from devflow import projects, rollups
from devflow.accounts import erasure
from devflow.audit import Actor
from devflow.context import Context

REFRESH_EVERY_S: Final = 1
ERASE_EVERY_H: Final = 1
PURGE_EVERY_S: Final = 10
log = logging.getLogger(__name__)


def start(context: Context) -> BackgroundScheduler:
    """Start the jobs in this process; the caller shuts the scheduler down."""
    scheduler = BackgroundScheduler(
        timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 300}
    )
    scheduler.add_job(refresh, "interval", seconds=REFRESH_EVERY_S, args=[context], id="refresh")
    scheduler.add_job(erase, "interval", hours=ERASE_EVERY_H, args=[context], id="erase")
    scheduler.add_job(purge, "interval", seconds=PURGE_EVERY_S, args=[context], id="purge")
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


def erase(context: Context) -> int:
    """Carry out each deletion of a person that is due, a transaction a step; return how many steps."""
    steps = 0
    while context.database.transact(
        lambda session: erasure.advance(session, Actor(None, context.now(), context.vault))
    ):
        steps += 1
    if steps:
        context.database.empty_log()
        log.info("carried out deletions in %d steps", steps)
    return steps


def purge(context: Context) -> int:
    """Take away what deleted projects have left, a transaction for each part; return how many there were."""
    by, total = Actor(None, context.now(), context.vault), 0
    while context.database.transact(lambda session: projects.purge(session, by, context.calendar)):
        total += 1
    if total:
        log.info("emptied deleted projects in %d steps", total)
    return total
