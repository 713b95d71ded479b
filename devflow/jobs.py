"""Background work while the server runs: larger windows, keys, the trail, and what goes for good."""

from __future__ import annotations

import contextlib
import logging
import math
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from devflow import audit, keys, outage, partitions, projects, restores, retention, rollups, sealed
from devflow.accounts import erasure
from devflow.audit import Actor, Flaw, Head
from devflow.context import Context
from devflow.crypto import Damaged
from devflow.keys import Purpose
from devflow.models import Mark, Workspace
from devflow.rollups import verifying

REFRESH_EVERY_S: Final = 1
SLICE_EVERY_S: Final = 4
SLICE_FOR_S: Final = 1
PURGE_EVERY_S: Final = 10
TEND_EVERY_S: Final = 30
RESTORES_EVERY_S: Final = 60
"""Of a server that was killed, a backup younger than this is found to be one by the agents alone."""
KEEP_EVERY_S: Final = 10
CHANGE_EVERY_S: Final = 1
CHANGE_FOR_S: Final = 0.8
RESEAL_EVERY_S: Final = 2
RESEAL_FOR_S: Final = 1
"""A run ends soon, so that the server can end; the next one goes on where it was."""
LOOK_EVERY_S: Final = 3_600
"""How often what is done daily is looked for: a server that is restarted each night does it too."""
FIRST_LOOK_S: Final = 60
DAY_MS: Final = 86_400_000
log = logging.getLogger(__name__)
# Apart, because its lines are wanted in a log where others of their level are not.
anchors = logging.getLogger("devflow.anchors")


def start(context: Context) -> BackgroundScheduler:
    """Start the jobs in this process; the caller ends them by ``stop``."""
    scheduler = BackgroundScheduler(
        timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 300}
    )
    for job, seconds in (
        (refresh, REFRESH_EVERY_S),
        (Modest(derive_slices), SLICE_EVERY_S),
        (change_calendar, CHANGE_EVERY_S),
        (purge, PURGE_EVERY_S),
        (tend_keys, TEND_EVERY_S),
        (reseal, RESEAL_EVERY_S),
        (keep_answers, KEEP_EVERY_S),
        (look_for_restore, RESTORES_EVERY_S),
    ):
        scheduler.add_job(Patient(job), "interval", seconds=seconds, args=[context], id=job.__name__)
    first = datetime.now(UTC) + timedelta(seconds=FIRST_LOOK_S)
    for daily in (examine_trail, verify_rollups, expire, erase, make_partitions):
        scheduler.add_job(
            Patient(daily),
            "interval",
            seconds=LOOK_EVERY_S,
            args=[context],
            id=daily.__name__,
            next_run_time=first,
        )
    scheduler.start()
    context.on_upload.append(Soon(scheduler, refresh.__name__, REFRESH_EVERY_S))
    return scheduler


def stop(scheduler: BackgroundScheduler, context: Context) -> None:
    """End the jobs, and note where the database stands: it may be a backup at the next start."""
    scheduler.shutdown()
    try:
        look_for_restore(context)
    except SQLAlchemyError as error:
        log.warning("could not read how far the database has come: %s", str(error).splitlines()[0])


class Patient:
    """A job that lets an outage of the database pass: a line of the log when it begins, none at each run.

    Nothing is lost by it, since a job finds in the database what is left to do.
    """

    def __init__(self, job: Callable[[Context], object]) -> None:
        self._job = job
        self._waits = False

    def __call__(self, context: Context) -> None:
        try:
            self._job(context)
        except SQLAlchemyError as error:
            why = outage.of(error)
            if why is None:
                raise
            if not self._waits:
                log.warning("%s waits for the database: %s", self._job.__name__, why)
            self._waits = True
        else:
            self._waits = False


class Soon:
    """Has a job run now, and not when its time comes: what was quiet is not waited for."""

    def __init__(self, scheduler: BackgroundScheduler, job: str, every_s: float) -> None:
        self._scheduler = scheduler
        self._job = job
        self._every_s = every_s
        self._called_at = -math.inf

    def __call__(self) -> None:
        """Costs nothing while the job runs often enough by itself."""
        now = time.monotonic()
        if now - self._called_at < self._every_s:
            return
        self._called_at = now
        with contextlib.suppress(JobLookupError):  # the jobs have ended
            self._scheduler.modify_job(self._job, next_run_time=datetime.now(UTC))


class Modest:
    """A job that leaves the machine to others: it works a tenth of the time at most."""

    def __init__(self, job: Callable[[Context], object]) -> None:
        self._job = job
        self._rests_until = -math.inf
        self.__name__ = job.__name__

    def __call__(self, context: Context) -> None:
        if (began := time.monotonic()) >= self._rests_until:
            self._job(context)
            self._rests_until = began + 10 * (time.monotonic() - began)


def refresh(context: Context) -> int:
    """Derive as many marked days as there are, a transaction for each few hundred; return how many.

    Days that uploads mark meanwhile are for the next run: else a run would last as long as they do.
    """
    with context.database.reading() as session:
        marked = session.scalars(select(func.count()).select_from(Mark)).one()
    total = 0
    while total < marked and (count := context.database.transact(rollups.refresh)):
        total += count
    if total:
        context.hub.stir()
        log.info("derived days, weeks and months of %d marked days", total)
    return total


def derive_slices(context: Context) -> int:
    """Derive slices of marked days for a moment; return of how many days."""
    done = context.slicer.go_on(SLICE_FOR_S)
    if done:
        log.info("derived types and languages of %d marked days", done)
    return done


def change_calendar(context: Context) -> bool:
    """Count for a moment by a calendar that is wanted; return True when it has come into force."""
    with context.database.reading() as session:
        if not rollups.is_waiting(session):
            return False
    deadline = time.monotonic() + CHANGE_FOR_S
    while context.database.transact(rollups.advance):
        if time.monotonic() > deadline:
            return False
    by = Actor(None, context.now(), context.vault)
    is_done = context.database.transact(lambda session: rollups.switch(session, by))
    if is_done:
        log.warning("all numbers are counted anew now, by the time zone and idle limit of the settings")
    return is_done


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
    while context.database.transact(lambda session: projects.purge(session, by)):
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


def look_for_restore(context: Context) -> None:
    """Note how far the database has come; take a new epoch from it, or begin one if it is an older copy."""
    context.epoch.value = restores.look(
        context.database,
        context.settings.data_path,
        lambda: Actor(None, context.now(), context.vault),
    )


def reseal(context: Context) -> None:
    """Seal rows of retired keys anew for a moment, at most half of the time, so that uploads pass."""
    deadline = time.monotonic() + RESEAL_FOR_S
    while time.monotonic() < deadline:
        began = time.monotonic()
        by = Actor(None, context.now(), context.vault)
        if not sealed.step(context.database, by, context.resealing):
            return
        time.sleep(time.monotonic() - began)


def keep_answers(context: Context) -> int:
    """Store what was costly to count since the last time; return how many."""
    if not context.cache.stored.is_waiting:
        return 0
    return context.database.transact(lambda session: context.cache.flush(session, context.now()))


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


def verify_rollups(context: Context) -> int | None:
    """Count a random sample of cells anew if nobody has for a day; note and log how many are wrong.

    Nothing is put right by itself: what made a number wrong is to be understood first, and the
    command does it then.
    """
    by = Actor(None, context.now(), context.vault)
    with context.database.reading() as session:
        last = session.scalars(select(Workspace.rollups_examined_at)).one()
    if last is not None and by.now_ms - last < DAY_MS:
        return None
    found = verifying.sample(context.database, random.SystemRandom())
    context.database.transact(lambda session: verifying.note_sample(session, by, found))
    if found:
        log.error("%d numbers are not what the events say, the first: %s", len(found), found[0])
    return len(found)


def make_partitions(context: Context) -> None:
    """Make room for the months to come before the first event of one has to wait for it."""
    now_ms = context.now()
    context.intake.partitions.ensure(context.database, set(partitions.ahead(now_ms)), now_ms)


def expire(context: Context) -> int:
    """Delete the events that are older than they are kept; return how many."""
    by = Actor(None, context.now(), context.vault)
    deleted = retention.run(context.database, by)
    if deleted:
        log.info("deleted %d events that were older than events are kept", deleted)
    return deleted
