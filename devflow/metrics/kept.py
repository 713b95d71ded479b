"""Series from the cache, or counted: what one is called, and which are costly."""

from __future__ import annotations

from typing import Final

from sqlalchemy.orm import Session

from devflow.cache import Cache, Place, Server
from devflow.metrics import series
from devflow.metrics.series import Question, Series
from devflow.models import Project
from devflow.windows import HOUR_MS, Grain, Window

FORM: Final = 1
"""Of what is kept; a release that counts or writes series otherwise has another number."""
COSTLY_WINDOWS: Final = 64
_ABOUT_MS: Final = {
    Grain.HOUR: HOUR_MS,
    Grain.DAY: 24 * HOUR_MS,
    Grain.WEEK: 7 * 24 * HOUR_MS,
    Grain.MONTH: 30 * 24 * HOUR_MS,
}


def read(session: Session, cache: Cache, server: Server, project: Project, asked: Question) -> Series:
    """The series of the project as of its generation, which the session has read before."""
    place = Place(
        question=name(server, project, asked),
        project_id=project.id,
        generation=project.generation,
        costly=_windows(asked) >= COSTLY_WINDOWS,
    )
    return cache.get(session, place, Series, lambda: series.count(session, asked))


def name(server: Server, project: Project, asked: Question) -> str:
    """The question in words; its SHA-256 is the key. Nothing in it tells who asks."""
    counted = asked.counted if asked.counted != asked.span else None
    return (
        f"project:{project.public_id}:metric:{asked.metric_type}:range:{_written(asked.span)}"
        f":by:{asked.group_by}:total:{_written(counted)}"
        f":{server}:form:{FORM}"
    )


def _written(span: Window | None) -> str:
    return "all" if span is None else f"{span.start_ms}-{span.end_ms}"


def _windows(asked: Question) -> int:
    """About how many windows are to be read."""
    if asked.group_by in series.SLICED:
        return (asked.span.end_ms - asked.span.start_ms) // _ABOUT_MS[Grain.DAY]
    return sum((span.end_ms - span.start_ms) // _ABOUT_MS[grain] for grain, span in asked.covered)
