"""A clock that stands still until a test moves it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.build import NOW_MS


@dataclass
class Clock:
    now_ms: int = NOW_MS

    def __call__(self) -> int:
        return self.now_ms

    def move(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1_000)
