"""Refusals in the audit trail: what somebody who is signed in tried and may not, without flooding it."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from flask import Flask, current_app

from devflow import audit
from devflow.audit import Act, Actor
from devflow.models import Person
from devflow.web.current import context, now

SAME_EVERY_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
MOST_AN_HOUR: Final = 60
"""Entries of one person, whatever they try."""


class _Noted(NamedTuple):
    at: int
    action: str
    subject: UUID | None


@dataclass(slots=True)
class _Tries:
    """What of a person was noted in the last hour, oldest first, and how much was left out since the last."""

    noted: deque[_Noted] = field(default_factory=deque)
    left_out: int = 0


class Refusals:
    """Which refusals are worth an entry; kept in memory, a little for each person."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tries: dict[UUID, _Tries] = {}

    def admit(self, person: UUID, action: str, subject: UUID | None, now_ms: int) -> int | None:
        """How many of the person's were left out since the last entry; None if this one is left out too."""
        with self._lock:
            tries = self._tries.setdefault(person, _Tries())
            while tries.noted and tries.noted[0].at <= now_ms - HOUR_MS:
                tries.noted.popleft()
            is_same = any(
                (each.action, each.subject) == (action, subject) and each.at > now_ms - SAME_EVERY_MS
                for each in tries.noted
            )
            if is_same or len(tries.noted) >= MOST_AN_HOUR:
                tries.left_out += 1
                return None
            tries.noted.append(_Noted(now_ms, action, subject))
            left_out, tries.left_out = tries.left_out, 0
            return left_out


def init_app(app: Flask) -> None:
    app.extensions["devflow_refusals"] = Refusals()


def note(person: Person, action: str, subject: UUID | None) -> None:
    """Leave an entry, in a transaction of its own: that of what was refused leaves nothing."""
    refusals = cast(Refusals, current_app.extensions["devflow_refusals"])
    left_out = refusals.admit(person.public_id, action, subject, now())
    if left_out is None:
        return
    by = Actor(person, now(), context().vault)
    more: dict[str, Any] = {"left_out": left_out} if left_out else {}
    context().database.transact(
        lambda writing: audit.record(
            writing, by, Act.REFUSED, subject, is_refused=True, action=action, **more
        )
    )
