"""All numbers of any part of the work, as they are answered."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, UnsetType
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from devflow.activity import sums
from devflow.activity.sums import Part
from devflow.metrics.answers import Numbers, Reason
from devflow.models import Mark
from devflow.rollups import NOBODY
from devflow.windows import Window


def of(
    parts: Sequence[Part],
    group: str,
    *,
    name: str | UnsetType = UNSET,
    window: Window | None = None,
    is_pending: bool = False,
    is_ahead: bool = False,
) -> Numbers:
    """The parts as one; of none where days are pending, or to come, nothing is known."""
    if not parts and (is_pending or is_ahead):
        return unknown(group, "being_counted" if is_pending else "not_yet", window=window, name=name)
    total = sums.united(parts)
    return Numbers(
        group=group,
        name=name,
        start=UNSET if window is None else window.start_ms,
        end=UNSET if window is None else window.end_ms,
        people=len({part.person_id for part in parts} - {NOBODY}),
        events_count=total.events,
        active_time=total.active_s,
        files_changed=total.files_changed,
        commits=total.commits,
        insertions=total.insertions,
        deletions=total.deletions,
        reason="people_not_here" if total.active_s is None else UNSET,
        is_pending=is_pending,
    )


def unknown(
    group: str, reason: Reason, *, window: Window | None = None, name: str | UnsetType = UNSET
) -> Numbers:
    return Numbers(
        group=group,
        name=name,
        start=UNSET if window is None else window.start_ms,
        end=UNSET if window is None else window.end_ms,
        people=None,
        events_count=None,
        active_time=None,
        files_changed=None,
        commits=None,
        insertions=None,
        deletions=None,
        reason=reason,
        is_pending=reason == "being_counted",
    )


def pending(session: Session, of_these: ColumnElement[bool], span: Window) -> list[int]:
    """The starts of days in the span that are yet to be derived, once for each project of these marks."""
    days = select(Mark.day).where(of_these, Mark.day >= span.start_ms, Mark.day < span.end_ms)
    return list(session.scalars(days.order_by(Mark.day)))
