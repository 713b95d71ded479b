"""Sending bodies that were made before, from one process a PC, so that little but the answer is waited for.

A body is sent by ``http.client`` over a kept connection: what is measured shares the machine with this.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import pairwise
from multiprocessing.synchronize import Barrier
from typing import Final

TIMEOUT_S: Final = 120
_FORK: Final = multiprocessing.get_context("fork")  # a process that has all modules already
_start: Barrier


@dataclass(frozen=True)
class Door:
    """Where bodies are sent, and what stands in the answer to one that was taken."""

    port: int
    path: str
    headers: Mapping[str, str]
    taken: bytes = b""


class Marks(list[float]):
    """Seconds on the machine's clock: when sending began, then when each batch was taken."""

    @property
    def rate(self) -> float:
        """Batches a second."""
        return (len(self) - 1) / (self[-1] - self[0])

    @property
    def last_fifth(self) -> Marks:
        return Marks(self[-max(2, len(self) // 5 + 1) :])

    @property
    def steps(self) -> list[float]:
        """Seconds that each batch took, of those sent one after the other."""
        return [after - before for before, after in pairwise(self)]


def send(door: Door, bodies: Sequence[bytes]) -> Marks:
    """Send one after the other; raise RuntimeError if one is not taken."""
    connection = HTTPConnection("127.0.0.1", door.port, timeout=TIMEOUT_S)
    connection.connect()
    marks = Marks([time.perf_counter()])
    for body in bodies:
        connection.request("POST", door.path, body, dict(door.headers))
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200 or door.taken not in said:
            raise RuntimeError(f"expected every event to be taken, got {answer.status} {said[:300]!r}")
        marks.append(time.perf_counter())
    connection.close()
    return marks


def send_at_once(doors: Sequence[Door], bodies: Sequence[Sequence[bytes]]) -> Marks:
    """Send the bodies of each door from a process of its own; all begin together. Raise as ``send`` does."""
    start = _FORK.Barrier(len(doors))
    with _FORK.Pool(len(doors), initializer=_know, initargs=(start,)) as pool:
        found = pool.starmap(_wait_and_send, zip(doors, bodies, strict=True), chunksize=1)
    return Marks([min(marks[0] for marks in found), *sorted(end for marks in found for end in marks[1:])])


def _know(start: Barrier) -> None:
    global _start
    _start = start


def _wait_and_send(door: Door, bodies: Sequence[bytes]) -> Marks:
    _start.wait(TIMEOUT_S)  # so each process takes one door
    return send(door, bodies)
