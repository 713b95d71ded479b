"""The database: engines, transactions, and everything that differs between SQLite and PostgreSQL."""

from __future__ import annotations

import functools
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from enum import IntEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from sqlalchemy import (
    CTE,
    BigInteger,
    Connection,
    Engine,
    FromClause,
    Integer,
    Table,
    column,
    create_engine,
    event,
    func,
    inspect,
    select,
    values,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

BUSY_TIMEOUT_S: Final = 30
ATTEMPTS: Final = 3
# What PostgreSQL answers when two transactions met, and the second try may find a free way:
# serialization_failure, deadlock_detected, and unique_violation for a row both wanted to be the first to add.
_PASSING: Final = frozenset({"40001", "40P01", "23505"})
T = TypeVar("T")
UNSEEN: Final = {"synchronize_session": False}
"""For an UPDATE that no object of the session needs to know of."""

# A third faster than a row a statement, and other threads get the interpreter four times a batch, not
# a thousand times, each of which it may take them 5 ms to give it back.
_ROWS_A_STATEMENT: Final = 250

# SQLite numbers rows by itself only in a column declared INTEGER.
RowId = BigInteger().with_variant(Integer, "sqlite")


class Database:
    """Sessions to read with and transactions to write with, on either database.

    On SQLite all writing goes through one connection, which also does the checkpoints:
    releases up to 3.51.2 can corrupt the file when several connections do either. Whoever waits
    for it gets it in turn. Readers never block it, nor it them (WAL).
    """

    def __init__(self, url: str) -> None:
        self._turns = _Turns()
        self.after_commit: Callable[[dict[Any, Any]], None] = lambda info: None
        """Gets what a transaction left in ``Session.info``, once it is committed; must not raise."""
        self.is_sqlite = url.startswith("sqlite")
        if self.is_sqlite:
            self._writer = _sqlite_engine(url, begin="BEGIN IMMEDIATE", pool_size=1, query_only=False)
            self._reader = _sqlite_engine(url, begin="BEGIN", pool_size=16, query_only=True)
        else:
            self._writer = create_engine(
                url, pool_size=8, max_overflow=16, pool_pre_ping=True, hide_parameters=True
            )
            # The same connections; they say so as they begin, which costs nothing.
            self._reader = self._writer.execution_options(isolation_level="REPEATABLE READ")

    @property
    def engine(self) -> Engine:
        """The engine that may write; migrations and tests use it."""
        return self._writer

    @contextmanager
    def reading(self, *, takes_locks: bool = False) -> Iterator[Session]:
        """One consistent view; nothing can be written on SQLite, nothing is kept on PostgreSQL.

        Who takes locks must see what was committed while they waited: there each statement of
        PostgreSQL has a view of its own.
        """
        with Session(self._writer if takes_locks and not self.is_sqlite else self._reader) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction, committed at the end of the block, rolled back if it raises."""
        with self._turn(), Session(self._writer) as session, session.begin():
            yield session
        self.after_commit(session.info)

    def transact(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in a transaction, and again if another one that ran beside it made it fail."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self.writing() as session:
                    return work(session)
            except DBAPIError as error:
                if attempt == ATTEMPTS or sqlstate(error) not in _PASSING:
                    raise
                time.sleep(random.uniform(0, 0.05 * attempt))  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable")

    def empty_log(self) -> None:
        """Empty SQLite's log (WAL), in which old pages lie until others take their place.

        Outside of transactions. A reader that takes more than a second keeps it from that.
        """
        if self.is_sqlite:
            with self._turn(), closing(self._writer.raw_connection()) as connection:
                cursor = connection.cursor()
                cursor.execute("PRAGMA busy_timeout = 1000")  # meanwhile nobody can write
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1_000}")

    def _turn(self) -> AbstractContextManager[None]:
        return self._turns.wait(BUSY_TIMEOUT_S) if self.is_sqlite else nullcontext()

    def close(self) -> None:
        self._reader.dispose()
        self._writer.dispose()


class _Turns:
    """A lock that is had in the order in which it was asked for.

    Locks, and the pool of connections, give way to whoever comes first once they are free: that is
    who just had them, so one who writes without a pause would keep all others from it for good.
    """

    def __init__(self) -> None:
        self._queue: deque[threading.Event] = deque()  # the first one's turn it is
        self._changing = threading.Lock()

    @contextmanager
    def wait(self, timeout_s: float) -> Iterator[None]:
        mine = threading.Event()
        self._change(self._queue.append, mine)
        try:
            if not mine.wait(timeout_s):
                raise TimeoutError(f"expected a turn to write within {timeout_s} s, others took all of it")
            yield
        finally:
            self._change(self._queue.remove, mine)

    def _change(self, change: Callable[[threading.Event], None], who: threading.Event) -> None:
        with self._changing:
            change(who)
            if self._queue:
                self._queue[0].set()


def _sqlite_engine(url: str, *, begin: str, pool_size: int, query_only: bool) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_S,
        hide_parameters=True,  # names and hashes, which an error would take to the log
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        # What is deleted is overwritten: an erased name is not to be found in free space of the file.
        connection.execute("PRAGMA secure_delete = ON")
        if query_only:
            connection.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def upsert(
    session: Session, model: type[Any], rows: Sequence[dict[str, Any]], *, update: tuple[str, ...]
) -> None:
    """Insert ``rows``; where the primary key is taken, overwrite the columns named in ``update``.

    The row is locked either way, which DO NOTHING would not do.
    """
    if rows:
        session.connection().execute(_upsert(_dialect(session), cast(Hashable, model), update), list(rows))


def insert_new(
    session: Session, model: type[Any], rows: Sequence[dict[str, Any]], *, unique: tuple[str, ...]
) -> None:
    """Insert the ``rows`` whose ``unique`` columns are not taken yet."""
    if rows:
        session.connection().execute(
            _insert_new(_dialect(session), cast(Hashable, model), unique), list(rows)
        )


def insert_many(
    session: Session, table: FromClause, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert rows, values in the order of ``columns``, the fastest way that the driver has."""
    connection, names = session.connection(), ", ".join(columns)
    if connection.dialect.name == "postgresql":
        _copy(connection, f"COPY {table} ({names}) FROM STDIN", rows)
        return
    whole = len(rows) - len(rows) % _ROWS_A_STATEMENT
    for size, part in ((_ROWS_A_STATEMENT, rows[:whole]), (len(rows) - whole, rows[whole:])):
        if part:
            one = f"({', '.join('?' * len(columns))})"
            statement = f"INSERT INTO {table} ({names}) VALUES {', '.join([one] * size)}"  # noqa: S608 - our names
            connection.exec_driver_sql(
                statement, [tuple(chain.from_iterable(some)) for some in in_steps(part, size)]
            )


def _copy(connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    """By the driver itself, with errors as SQLAlchemy has them."""
    driver: Any = connection.connection.driver_connection
    failure = connection.dialect.loaded_dbapi.Error
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except failure as error:
        raise DBAPIError.instance(statement, None, error, failure, hide_parameters=True) from error


def sqlstate(error: DBAPIError) -> str | None:
    """PostgreSQL's code for what went wrong, None if it gave none."""
    return getattr(error.orig, "sqlstate", None)


def in_steps(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Some of the items at a time: what a statement takes is limited."""
    return (items[start : start + size] for start in range(0, len(items), size))


def literal(connection: Connection, value: bytes) -> str:
    """The bytes as a statement that is written out has them."""
    return f"'\\x{value.hex()}'::bytea" if connection.dialect.name == "postgresql" else f"x'{value.hex()}'"


# Statements are made once: that takes SQLAlchemy longer than the database needs to run them.
@functools.cache
def _upsert(dialect: str, model: Hashable, update: tuple[str, ...]) -> postgresql.Insert | sqlite.Insert:
    statement = _insert(dialect, model)
    return statement.on_conflict_do_update(
        index_elements=list(_table(model).primary_key),
        set_={name: statement.excluded[name] for name in update},
    )


@functools.cache
def _insert_new(dialect: str, model: Hashable, unique: tuple[str, ...]) -> postgresql.Insert | sqlite.Insert:
    return _insert(dialect, model).on_conflict_do_nothing(index_elements=unique)


def _insert(dialect: str, model: Any) -> postgresql.Insert | sqlite.Insert:
    # Into the table, not the model: rows that are no objects of the session come far cheaper.
    table = _table(model)
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # 4 MB, which a server on SQLite need not hold

        return postgresql.insert(table)
    return sqlite.insert(table)


def _table(model: Any) -> Table:
    return cast(Table, inspect(model).local_table)


def _dialect(session: Session) -> str:
    return session.get_bind().dialect.name


class Lock(IntEnum):
    """What may be worked on by one transaction at a time, beside what rows stand for."""

    NOBODYS_CELLS = 1
    LARGER_WINDOWS = 2
    START = 3
    PEOPLE = 4  # who is an active admin, above all
    RETENTION = 5  # which events are kept, and the calendar in force
    PARTITIONS = 6
    CALENDAR = 7  # cells of the calendar to come


def lock(session: Session, what: Lock, ids: Iterable[int] = (0,), *, shared: bool = False) -> None:
    """Hold the locks, taken in order of id, until the transaction ends; ``shared`` with others that share.

    On SQLite nothing is to be done: there is one writer.
    """
    if session.get_bind().dialect.name == "postgresql":
        take = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
        for number in sorted(ids):
            session.execute(select(take(int(what), number)))


def between(connection: Connection, low: int, high: int) -> str:
    """That ``events.timestamp`` lies in ``low <= timestamp <= high``, beside narrower ranges that say more.

    It leaves partitions out before they are opened. SQLite has none, and would search by it instead.
    """
    if connection.dialect.name != "postgresql":
        return "TRUE"
    return f"events.timestamp BETWEEN {low} AND {high}"


def in_ranges(spans: Sequence[tuple[int, int]]) -> str:
    """A ``WITH`` clause of the half-open ``spans`` as ``ranges(low, high)``, for a statement written out.

    Of a few hundred spans SQLAlchemy takes longer to build the statement than the database to run it.
    """
    rows = ",".join(f"({low}, {high})" for low, high in spans)
    return f"WITH ranges(low, high) AS (VALUES {rows})"


def ranges(spans: Sequence[tuple[int, int]], name: str = "ranges") -> CTE:
    """The half-open ``spans`` as rows (``low``, ``high``), to join a table with in one statement."""
    return (
        values(column("low", BigInteger), column("high", BigInteger), name=name).data(list(spans)).cte(name)
    )
