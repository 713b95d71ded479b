"""What a part measures: figures, each beside what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol


@dataclass(frozen=True)
class Asked:
    """A figure by its name, and what it has to keep to; without a bound it is only told."""

    what: str
    least: float | None = None
    most: float | None = None

    def is_met(self, figure: float) -> bool:
        return (self.least is None or figure >= self.least) and (self.most is None or figure <= self.most)

    def verdict(self, figure: float) -> str:
        bounds = [
            f"{word} {bound:.3g} is asked for"
            for word, bound in (("at least", self.least), ("at most", self.most))
            if bound is not None
        ]
        missed = [] if self.is_met(figure) else ["MISSED"]
        return f"{figure:8.2f} {', '.join([self.what, *bounds, *missed])}"


@dataclass(frozen=True)
class Given:
    """How to measure: events of each side, and the Python that ActivityWatch is installed for."""

    rows: int
    aw_python: Path | None = None


class Round(NamedTuple):
    """A sentence of what was seen, and the figures in the order of ``ASKED``."""

    seen: str
    figures: tuple[float, ...]


class Part(Protocol):
    """A module of this folder; ``ROWS`` and ``ROUNDS`` are what is taken unless others are given."""

    @property
    def ROWS(self) -> int: ...  # noqa: N802

    @property
    def ROUNDS(self) -> int: ...  # noqa: N802

    @property
    def ASKED(self) -> tuple[Asked, ...]: ...  # noqa: N802

    def measure(self, given: Given) -> Round: ...
