"""How long somebody worked, drawn from nothing but the moments something was seen.

The gap between two neighbouring moments is work, all of it, when it is at most the idle
limit, and none of it when longer. It belongs to what its earlier moment belongs to, so the
projects of a person add up to the person; it is cut at window edges, so hours add up to days.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

IDLE_LIMIT_MS: Final = 15 * 60 * 1_000

K = TypeVar("K")


def active_ms(
    moments: Iterable[tuple[int, K]], edges: Sequence[int], idle_limit_ms: int = IDLE_LIMIT_MS
) -> list[Counter[K]]:
    """Active milliseconds of each owner in each window ``edges[i] <= t < edges[i + 1]``.

    ``moments`` are (Unix ms, owner) in order of time, of one person on all devices; to be exact at
    the outer edges they must reach one idle limit beyond them. ``edges`` ascend.
    """
    windows: list[Counter[K]] = [Counter() for _ in edges[1:]]
    previous: tuple[int, K] | None = None
    for moment in moments:
        if previous is not None and moment[0] - previous[0] <= idle_limit_ms:
            _share_out(previous[0], moment[0], previous[1], edges, windows)
        previous = moment
    return windows


def _share_out(start: int, end: int, owner: K, edges: Sequence[int], windows: list[Counter[K]]) -> None:
    index = max(bisect_right(edges, start) - 1, 0)
    while index < len(windows) and edges[index] < end:
        inside = min(end, edges[index + 1]) - max(start, edges[index])
        if inside > 0:
            windows[index][owner] += inside
        index += 1
