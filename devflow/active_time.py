"""How long somebody worked, drawn from nothing but when something was seen; agent and server count by this.

The gap between two neighbouring events of a person, on any device and project, is work, all of it,
when it is at most the idle limit, and none of it when longer. It belongs to the project of its
earlier event, so a person's projects add up to the person; it is cut where windows end, so hours
add up to days.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from itertools import pairwise
from typing import Final, Protocol, TypeVar

from devflow.windows import MINUTE_MS, Window

IDLE_LIMIT_MS: Final = 15 * MINUTE_MS
"""Unless somebody chose another one."""

P = TypeVar("P", bound=Hashable)
P_co = TypeVar("P_co", bound=Hashable, covariant=True)


class Moment(Protocol[P_co]):
    """Something that a person did; ``timestamp`` is in Unix milliseconds."""

    @property
    def timestamp(self) -> int: ...
    @property
    def project_id(self) -> P_co: ...


class WindowOf(Protocol):
    """Finds the window that holds an instant, None if that is not counted, and the next one after it."""

    def __call__(self, timestamp: int) -> Window | None: ...
    def next(self, timestamp: int) -> Window | None: ...


def active_ms(
    moments: Iterable[Moment[P]], window_of: WindowOf, idle_limit_ms: int
) -> dict[tuple[P, int], int]:
    """Milliseconds of work by (project, window start).

    ``moments`` are one person's, in order of time and, within a millisecond, of their ids: the last of
    them decides whose the gap after it is. They have to reach an idle limit beyond the windows.
    """
    found: dict[tuple[P, int], int] = {}
    window: Window | None = _NEVER
    for earlier, later in pairwise(moments):
        at, end = earlier.timestamp, later.timestamp
        if end - at > idle_limit_ms:
            continue
        while at < end:
            # Most gaps lie where the one before did: looking it up each time takes a third longer.
            if window is None or not window.start_ms <= at < window.end_ms:
                window = window_of(at)
            if window is not None:
                until = min(end, window.end_ms)
                key = earlier.project_id, window.start_ms
                found[key] = found.get(key, 0) + until - at
            else:
                follows = window_of.next(at)
                until = end if follows is None else min(end, follows.start_ms)
            at = until
    return found


_NEVER: Final = Window(0, 0)
