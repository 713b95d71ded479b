"""Counts by hours that are kept in the store, so that only what has changed is counted anew.

An hour is a function of the events in it and up to an idle limit around it. ``recorded_hours`` says how often
those have changed, in the transaction that changed them; what was kept is true as long as it says the same.
So nothing has to be marked, taken back or told apart: a late event, one that was archived or deleted makes
its hour count anew, and whoever writes an outdated count writes one that nobody believes.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import tzinfo
from typing import Final, NamedTuple

import msgspec

from devflow.errors import Invalid
from devflow.windows import HOUR_MS, Finder, Hours, Window
from devflow_agent.analyse import counting
from devflow_agent.analyse.counting import Rules, Tallies
from devflow_agent.store import Store

WORTH_KEEPING: Final = 10_000
"""Changes from which on hours are kept: fewer events are counted in less than a tenth of a second."""
DENSE: Final = 20
"""Changes an hour from which on to look an hour up is quicker than to count it."""
MOST_AT_ONCE: Final = 150_000
"""Changes of hours that are counted by one question, which takes memory for each of their events."""
_DEFINITION: Final = 1
"""Another one whenever a number is defined anew: what was kept by the old definition is not believed."""
log = logging.getLogger(__name__)


class Counted(NamedTuple):
    """The numbers of an hour, as of so many changes of the events it depends on."""

    hour: Window
    changes: int
    tallies: Tallies


def are_worth_keeping(connection: sqlite3.Connection, spans: Sequence[Window]) -> bool:
    hours, changes = connection.execute(
        "SELECT count(*), total(changes) FROM recorded_hours WHERE hour BETWEEN ? AND ?",
        (spans[0].start_ms // HOUR_MS, spans[-1].end_ms // HOUR_MS),
    ).fetchone()
    return bool(changes >= max(WORTH_KEEPING, DENSE * hours))


def count(
    connection: sqlite3.Connection, spans: Sequence[Window], zone: tzinfo, rules: Rules
) -> tuple[dict[int, Tallies], list[Counted]]:
    """What ``counting.count`` says of ``spans``, whole hours of ``zone``; and what it counted for that."""
    found: dict[int, Tallies] = {span.start_ms: {} for span in spans}
    find, key, fresh = Finder(spans), _key(rules), list[Counted]()
    missing: list[tuple[Window, int]] = []
    for hour, changes in _touched(connection, spans, zone, rules):
        tallies = _kept(connection, hour, key, changes)
        if tallies is None:
            missing.append((hour, changes))
            continue
        _unite(found, find, hour, tallies)
        fresh += _counted(connection, missing, rules)
        missing = []
    fresh += _counted(connection, missing, rules)
    for one in fresh:
        _unite(found, find, one.hour, one.tallies)
    return found, fresh


def keep(store: Store, fresh: Sequence[Counted], rules: Rules) -> None:
    """For the next time. If that cannot be now, it costs that one the time to count."""
    if not fresh:
        return
    key = _key(rules)
    rows = []
    for hour, changes, tallies in fresh:
        row = (hour.start_ms, hour.end_ms, key, changes, msgspec.msgpack.encode(tallies))
        rows.append((*row, _checksum(row)))
    try:
        with store.write_if_free() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO counted_hours"
                " (start_ms, end_ms, rules, changes, numbers, checksum) VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
    except (sqlite3.Error, Invalid):
        log.debug("what was counted cannot be kept", exc_info=True)


def _touched(
    connection: sqlite3.Connection, spans: Sequence[Window], zone: tzinfo, rules: Rules
) -> Iterator[tuple[Window, int]]:
    """The hours in which an event or a gap may lie, in order, each with the changes it depends on."""
    limit_ms, hours = rules.idle_limit_ms, Hours(zone)
    at, end_ms = spans[0].start_ms, spans[-1].end_ms
    changes: dict[int, int] = dict(
        connection.execute(
            "SELECT hour, changes FROM recorded_hours WHERE hour BETWEEN ? AND ? ORDER BY hour",
            ((at - limit_ms) // HOUR_MS, (end_ms + limit_ms) // HOUR_MS),
        ).fetchall()
    )
    for recorded in changes:
        at = max(at, recorded * HOUR_MS)  # a gap begins with an event, so none reaches back
        while at < min((recorded + 1) * HOUR_MS + limit_ms, end_ms):
            hour = hours(at)
            around = range((hour.start_ms - limit_ms) // HOUR_MS, (hour.end_ms + limit_ms) // HOUR_MS + 1)
            yield hour, sum(changes.get(one, 0) for one in around)
            at = hour.end_ms


def _kept(connection: sqlite3.Connection, hour: Window, key: bytes, changes: int) -> Tallies | None:
    row = connection.execute(
        "SELECT numbers, checksum FROM counted_hours"
        " WHERE start_ms = ? AND end_ms = ? AND rules = ? AND changes = ?",
        (hour.start_ms, hour.end_ms, key, changes),
    ).fetchone()
    if (
        row is None
        or _checksum((hour.start_ms, hour.end_ms, key, changes, row["numbers"])) != row["checksum"]
    ):
        return None
    return _decode(row["numbers"])


def _counted(
    connection: sqlite3.Connection, missing: Sequence[tuple[Window, int]], rules: Rules
) -> Iterator[Counted]:
    changes_of = dict(missing)
    for some in _some_at_once(missing):
        found = counting.count(connection, some, rules)
        for hour in some:
            yield Counted(hour, changes_of[hour], found[hour.start_ms])


def _some_at_once(missing: Iterable[tuple[Window, int]]) -> Iterator[list[Window]]:
    some, total = list[Window](), 0
    for hour, changes in missing:
        if some and total + changes > MOST_AT_ONCE:
            yield some
            some, total = [], 0
        some.append(hour)
        total += changes
    if some:
        yield some


def _unite(found: dict[int, Tallies], find: Finder, hour: Window, tallies: Tallies) -> None:
    if (span := find(hour.start_ms)) is not None:
        counting.unite(found[span.start_ms], tallies)


def _key(rules: Rules) -> bytes:
    depends_on = (_DEFINITION, rules.idle_limit_ms, sorted(rules.author_keys))
    return hashlib.sha256(msgspec.json.encode(depends_on)).digest()


def _checksum(row: tuple[int, int, bytes, int, bytes]) -> int:
    start_ms, end_ms, key, changes, numbers = row
    return zlib.crc32(numbers, zlib.crc32(f"{start_ms}|{end_ms}|{key.hex()}|{changes}".encode()))


_decode: Final = msgspec.msgpack.Decoder(Tallies).decode
