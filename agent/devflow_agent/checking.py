"""Looks at everything the store stands on, and says of each thing in a line how it is and what to do.

Nothing here migrates or mends; a damaged store is read as far as SQLite can.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from devflow import wire
from devflow.errors import Invalid
from devflow.windows import HOUR_MS
from devflow_agent import credentials, daemon_lock, schema
from devflow_agent.config import Home, iso
from devflow_agent.schema import archive
from devflow_agent.store import UNREADABLE, checksum, failure_of, is_damage, salvage_of

FREE_BYTES: Final = 200_000_000
LONGEST_LOG_BYTES: Final = 64_000_000
FIRST_YEAR_MS: Final = 1_577_836_800_000
"""2020: a clock before it was never set."""
LAST_YEAR_MS: Final = (2**31 - 1) * 1_000
"""2038: beyond it programs that count seconds in 32 bits, the PC's own among them, are wrong."""
SALVAGE: Final = "`devflow doctor --salvage` makes a new store of what can be read; the damaged one is kept"


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Finding:
    """``advice`` is what to do, empty where that is nothing."""

    name: str
    state: State
    said: str
    advice: str = ""


def examine(home: Home, now_ms: int) -> list[Finding]:
    return [
        *_store(home.database),
        _private(home),
        _disk(home),
        _log(home.database),
        _daemon(home),
        _clock(now_ms),
        _credentials(home.credentials),
    ]


def _store(path: Path) -> Iterator[Finding]:
    if salvage_of(path).exists():
        yield Finding(
            "salvage",
            State.DAMAGED,
            "one is under way, or was interrupted",
            "`devflow doctor --salvage` ends it",
        )
    if not path.exists():
        yield Finding("store", State.OK, "there is none yet", "`devflow init` in a repository makes it")
        return
    try:
        # Not by our own ``connect``, which would make what is missing.
        with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as connection:
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            yield _version(connection)
            yield _whole(connection, "store", path)
            if (beside := archive.path_of(path)).exists():
                connection.execute("ATTACH DATABASE ? AS archive", (os.fspath(beside),))
                yield _whole(connection, "archive", beside)
            else:
                yield Finding("archive", State.OK, "there is none yet")
            yield from _rows(connection)
    except UNREADABLE as error:
        yield _unreadable("store", f"{path} cannot be read", error)


def _unreadable(name: str, said: str, error: Exception) -> Finding:
    """Damage only if SQLite calls it that: a full disk or another program's lock is none."""
    if is_damage(error):
        return Finding(name, State.DAMAGED, f"{said}: {error}", SALVAGE)
    return Finding(name, State.WARNING, f"{said} now: {error}", "see disk and permissions below; try again")


def _version(connection: sqlite3.Connection) -> Finding:
    here = schema.version(connection)
    if here > schema.LATEST:
        said = f"schema v{here}, this agent knows up to v{schema.LATEST}"
        return Finding("schema", State.WARNING, said, "upgrade the agent")
    if here < schema.LATEST:
        return Finding("schema", State.WARNING, f"v{here} of v{schema.LATEST}", "`devflow migrate up`")
    return Finding("schema", State.OK, f"v{here}")


def _whole(connection: sqlite3.Connection, what: str, path: Path) -> Finding:
    name = "main" if what == "store" else "archive"
    try:
        problems = [row[0] for row in connection.execute(f"PRAGMA {name}.integrity_check(10)")]
        broken = connection.execute(f"PRAGMA {name}.foreign_key_check").fetchall()
    except UNREADABLE as error:
        return _unreadable(what, f"{path} cannot be read", error)
    if problems != ["ok"]:
        return Finding(what, State.DAMAGED, f"{path} is damaged: {problems[0]}", SALVAGE)
    if broken:
        said = f"{path}: {len(broken)} rows of {broken[0][0]} refer to nothing"
        return Finding(what, State.DAMAGED, said, SALVAGE)
    return Finding(what, State.OK, f"{path} is whole")


def _rows(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Whether each event is as it was recorded, and the counters are what counting gives."""
    if schema.version(connection) != schema.LATEST:
        return
    try:
        if not connection.execute("SELECT 1 FROM pragma_database_list WHERE name = 'archive'").fetchone():
            connection.execute("ATTACH ':memory:' AS archive")
            schema.run(connection, schema.statements("archive.sql"))
        archive.read_as_one(connection)
        events = changed = 0
        for row in connection.execute(
            "SELECT local_id, id, timestamp, project_id, event_type, event_data, checksum FROM all_events"
        ):
            events += 1
            changed += checksum(*row[:6]) != row[6]
        wrong = _wrong_counters(connection)
    except UNREADABLE as error:
        yield _unreadable("events", "not all can be read", error)
        return
    if changed:
        said = f"{changed:,} of {events:,} are not as they were recorded"
        yield Finding("events", State.DAMAGED, said, SALVAGE)
    else:
        yield Finding("events", State.OK, f"{events:,}, each as it was recorded")
    if wrong:
        yield Finding("counters", State.DAMAGED, f"{wrong} are not what counting gives", SALVAGE)
    else:
        yield Finding("counters", State.OK, "are what counting gives")


_HOURS_WITH_TOO_FEW_CHANGES: Final = """
    SELECT count(*) FROM (SELECT timestamp / ? AS hour, count(*) AS events FROM all_events GROUP BY 1)
    LEFT JOIN recorded_hours USING (hour) WHERE events > coalesce(changes, 0)"""


def _wrong_counters(connection: sqlite3.Connection) -> int:
    wrong = 0
    for table, column in (("event_counts", "event_type"), ("sync_counts", "sync_status")):
        kept = connection.execute(f"SELECT * FROM {table} WHERE count <> 0")  # noqa: S608 - two constants
        rows = connection.execute(
            f"SELECT project_id, {column}, count(*) FROM all_events GROUP BY 1, 2"  # noqa: S608
        )
        wrong += len({tuple(row) for row in kept} ^ {tuple(row) for row in rows})
    (hours,) = connection.execute(_HOURS_WITH_TOO_FEW_CHANGES, (HOUR_MS,)).fetchone()
    return wrong + int(hours)


def _private(home: Home) -> Finding:
    if os.name != "posix" or not home.path.exists():
        return Finding("permissions", State.OK, "nothing to look at")
    files = [home.path, *(path for path in home.path.iterdir() if path.is_file())]
    open_ones = [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if open_ones:
        said = f"others can get at {', '.join(path.name for path in open_ones[:5])}"
        return Finding("permissions", State.WARNING, said, f"chmod -R go= {home.path}")
    return Finding("permissions", State.OK, "only you can read what is recorded")


def _disk(home: Home) -> Finding:
    known = next(path for path in (home.path, *home.path.parents) if path.exists())
    free = shutil.disk_usage(known).free
    said = f"{free // 1_000_000:,} MB free"
    if free < FREE_BYTES:
        return Finding("disk", State.WARNING, said, "make room: what does not fit is not recorded")
    if (failure := failure_of(home.database)).exists():
        at = iso(int(failure.stat().st_mtime * 1_000))
        advice = "see the system's log and the disk's health; what was said to be recorded is kept"
        return Finding("disk", State.WARNING, f"{said}; a write failed, last at {at}", advice)
    return Finding("disk", State.OK, said)


def _log(path: Path) -> Finding:
    log = path.with_name(f"{path.name}-wal")
    size = log.stat().st_size if log.exists() else 0
    said = f"{size // 1_000:,} kB"
    if size > LONGEST_LOG_BYTES:
        return Finding(
            "log", State.WARNING, said, "a program reads the store without end: restart AI clients"
        )
    return Finding("log", State.OK, said)


def _daemon(home: Home) -> Finding:
    """Two of one home cannot be: the lock decides. It does not on a network file system."""
    if not daemon_lock.is_held(home):
        return Finding("daemon", State.WARNING, "none watches", "`devflow watch` records what you do")
    try:
        found = daemon_lock.running(home)
    except (Invalid, *UNREADABLE):
        return Finding("daemon", State.OK, "one watches")
    if found is None:
        said = "one holds the lock, and another process id is written down"
        return Finding("daemon", State.WARNING, said, "one that has just started is not; else stop both")
    return Finding("daemon", State.OK, f"one watches, with pid {found.pid}")


def _clock(now_ms: int) -> Finding:
    if FIRST_YEAR_MS <= now_ms <= min(LAST_YEAR_MS, wire.MAX_TIMESTAMP_MS):
        return Finding("clock", State.OK, "plausible")
    said = (
        f"shows {now_ms // 1_000} s since 1970, {'before 2020' if now_ms < FIRST_YEAR_MS else 'after 2038'}"
    )
    return Finding("clock", State.WARNING, said, "set it: events carry the time it shows")


def _credentials(path: Path) -> Finding:
    try:
        found = credentials.load(path)
    except Invalid as error:
        return Finding("credentials", State.WARNING, str(error))
    if found is None:
        return Finding("credentials", State.OK, "none: nothing leaves this PC")
    return Finding("credentials", State.OK, f"of {found.server_url}")
