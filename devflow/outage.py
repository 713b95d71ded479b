"""Outages of the database: errors that pass by themselves or once somebody has made room.

Nothing was stored when one is raised, and the same may be asked again later. Every other error of
a database is a fault of ours.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from devflow.db import sqlstate

FULL: Final = "its disk is full"
BUSY: Final = "it is busy"
GONE: Final = "it cannot be reached"
FAILING: Final = "its disk fails"

# SQLite's primary result codes; the extended ones have them in the low byte.
_SQLITE: Final = {
    sqlite3.SQLITE_BUSY: BUSY,
    sqlite3.SQLITE_LOCKED: BUSY,
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_IOERR: FAILING,
    sqlite3.SQLITE_CANTOPEN: GONE,
    sqlite3.SQLITE_READONLY: FAILING,  # as some file systems become after an error
}
# https://www.postgresql.org/docs/current/errcodes-appendix.html, the longest prefix counts.
_POSTGRES: Final = {
    "08": GONE,  # connection exceptions
    "25006": GONE,  # a standby, which takes no writes
    "40": BUSY,  # transactions that met, after all attempts
    "53": BUSY,  # too many connections, out of memory
    "53100": FULL,
    "55P03": BUSY,  # a lock that could not be had
    "57P": GONE,  # shutting down, starting, crashed
    "58": FAILING,  # errors outside of PostgreSQL itself
}


def of(error: SQLAlchemyError) -> str | None:
    """What ails the database, to be said of it; None if it is no outage."""
    if isinstance(error, PoolTimeoutError):
        return BUSY
    if not isinstance(error, DBAPIError):
        return None
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        # A few of the driver's own errors have no code.
        return _SQLITE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)
    if (state := sqlstate(error)) is not None:
        return next((_POSTGRES[state[:length]] for length in (5, 3, 2) if state[:length] in _POSTGRES), None)
    return (
        GONE if isinstance(error, OperationalError) else None
    )  # from the client's own side: refused, or cut
