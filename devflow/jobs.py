"""Background work while the server runs: larger windows, keys, and what is to be taken away for good."""

from __future__ import annotations

import logging
import time
from typing import Final

from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.exc import SQLAlchemyError

from devflow import keys, projects, rollups, sealed
from devflow.accounts import erasure
from devflow.audit import Actor
from devflow.context import Context
from devflow.crypto import Damaged
from devflow.keys import Purpose

REFRESH_EVERY_S: Final = 1
ERASE_EVERY_S: Final = 3_600
PURGE_EVERY_S: Final = 10
TEND_EVERY_S: Final = 30
RESEAL_EVERY_S: Final = 2
RESEAL_FOR_S: Final = 1
"""A run ends soon, so that the server can end; the next one goes on where it was."""
log = logging.getLogger(__name__)


def start(context: Context) -> BackgroundScheduler:
    """Start the jobs in this process; the caller shuts the scheduler down."""
    scheduler = BackgroundScheduler(
        timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 300}
    )
    for job, seconds in (
        (refresh, REFRESH_EVERY_S),
        (erase, ERASE_EVERY_S),
        (purge, PURGE_EVERY_S),
        (tend_keys, TEND_EVERY_S),
        (reseal, RESEAL_EVERY_S),
    ):
        scheduler.add_job(job, "interval", seconds=seconds, args=[context], id=job.__name__)
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


def tend_keys(context: Context) -> None:
    """Take keys that other processes made, replace one that is a year old, delete those of expired tokens."""
    try:
        context.vault.reload()
    except (Damaged, SQLAlchemyError) as error:
        log.warning("could not read the keys anew: %s", str(error).splitlines()[0])
        return
    by = Actor(None, context.now(), context.vault)
    with context.database.reading() as session:
        is_old = keys.is_old(session, by.now_ms)
        spent = keys.retired_before(session, Purpose.TOKENS, by.now_ms - keys.TOKENS_GOOD_FOR_MS)
    if is_old:
        context.database.transact(lambda writing: keys.renew(writing, by))
    if spent:
        context.database.transact(lambda writing: keys.drop(writing, by, spent))
        context.vault.reload()


def reseal(context: Context) -> None:
    """Seal rows of retired keys anew for a moment, at most half of the time, so that uploads pass."""
    deadline = time.monotonic() + RESEAL_FOR_S
    while time.monotonic() < deadline:
        began = time.monotonic()
        by = Actor(None, context.now(), context.vault)
        if not sealed.step(context.database, by, context.resealing):
            return
        time.sleep(time.monotonic() - began)
