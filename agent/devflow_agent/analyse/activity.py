"""The developer's own numbers, day by day in the PC's time zone, from the local store alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import msgspec

from devflow import wire
from devflow_agent.analyse.active_time import IDLE_LIMIT_MS, active_ms
from devflow_agent.store import Store


@dataclass(slots=True)
class Numbers:
    """What happened in one window.

    ``commits`` (merges are commits too, as in `git log`), ``insertions``, ``deletions`` and
    ``active_ms`` are the developer's own; ``events`` are all that were recorded, and
    ``commits_by_others`` came by pull or import. ``files`` counts each file once.
    """

    events: int = 0
    commits: int = 0
    commits_by_others: int = 0
    insertions: int = 0
    deletions: int = 0
    files: int = 0
    active_ms: int = 0


@dataclass(frozen=True, slots=True)
class Day:
    """A calendar day of the PC's time zone; 23 or 25 hours when the clock changes."""

    date: date
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class Activity:
    """Numbers of a time range and of each day in it, oldest first."""

    total: Numbers
    days: list[Day]


@dataclass(frozen=True, slots=True)
class _Seen:
    """An event, decoded; ``own`` unless it names somebody else, or nobody, as who did it."""

    timestamp_ms: int
    project_id: UUID
    data: wire.EventData
    own: bool


@dataclass(slots=True)
class _Window:
    numbers: Numbers = field(default_factory=Numbers)
    files: set[tuple[UUID, str]] = field(default_factory=set)


def local_midnight(day: date) -> int:
    """The first millisecond of a day in the PC's time zone."""
    # A naive time is local time to timestamp(), which knows the clock changes.
    return round(datetime.combine(day, time.min).timestamp() * 1000)  # noqa: DTZ006, RUF100


def local_date(timestamp_ms: int) -> date:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).astimezone().date()


def last_days(store: Store, days: int, *, now_ms: int, author_keys: Collection[str]) -> Activity:
    """The last ``days`` calendar days, today included."""
    today = local_date(now_ms)
    first = today - timedelta(days=days - 1)
    return between(
        store, local_midnight(first), local_midnight(today + timedelta(days=1)), author_keys=author_keys
    )


def between(
    store: Store,
    since_ms: int,
    until_ms: int,
    *,
    author_keys: Collection[str],
    project_id: UUID | None = None,
) -> Activity:
    """What happened in ``since_ms <= t < until_ms``, in one project or in all.

    Active time is cut out of the person's time over all projects, so that the projects add up.
    """
    edges = _day_edges(since_ms, until_ms)
    seen = _seen(store, since_ms - IDLE_LIMIT_MS, until_ms + IDLE_LIMIT_MS, author_keys)
    windows = [_Window() for _ in edges[1:]]
    whole = _Window()
    for one in seen:
        if since_ms <= one.timestamp_ms < until_ms and project_id in (None, one.project_id):
            day = windows[bisect_right(edges, one.timestamp_ms) - 1]
            for window in (day, whole):
                _count(one, window)
    active = active_ms(((one.timestamp_ms, one.project_id) for one in seen if one.own), edges)
    for window, by_project in zip(windows, active, strict=True):
        window.numbers.active_ms = by_project.total() if project_id is None else by_project[project_id]
    whole.numbers.active_ms = sum(window.numbers.active_ms for window in windows)
    return Activity(
        whole.numbers,
        [Day(local_date(start), window.numbers) for start, window in zip(edges, windows, strict=False)],
    )


def _seen(store: Store, since_ms: int, until_ms: int, author_keys: Collection[str]) -> list[_Seen]:
    """In order of time."""
    events = store.events(since_ms=since_ms, until_ms=until_ms, limit=2**62)
    found = []
    for event in reversed(events):
        data = _decoder(event.event_type).decode(event.data_json)
        own = not wire.names_author(data) or wire.author_of(data) in author_keys
        found.append(_Seen(event.timestamp_ms, event.project_id, data, own))
    return found


def _day_edges(since_ms: int, until_ms: int) -> list[int]:
    """The range's ends and the local midnights between them."""
    edges = [since_ms]
    day = local_date(since_ms) + timedelta(days=1)
    while (midnight := local_midnight(day)) < until_ms:
        edges.append(midnight)
        day += timedelta(days=1)
    return [*edges, until_ms]


def _count(one: _Seen, window: _Window) -> None:
    numbers = window.numbers
    numbers.events += 1
    if isinstance(one.data, wire.Commit | wire.Merge):
        numbers.commits += one.own
        numbers.commits_by_others += not one.own
    if not one.own:
        return
    if isinstance(one.data, wire.Commit):
        numbers.insertions += one.data.insertions
        numbers.deletions += one.data.deletions
    window.files.update((one.project_id, path) for path in wire.paths_of(one.data))
    numbers.files = len(window.files)


@cache
def _decoder(kind: wire.EventType) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(wire.DATA[kind])
