"""Receipts of pages that name several people: everybody else on them is told of the look, before it is had.

A page that stays open is one look a day: it is drawn anew for its viewers without asking who they are, and
leaves its receipts when it is loaded, or when the day begins anew under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from flask import request
from sqlalchemy.orm import Session

from devflow import receipts, windows
from devflow.activity import Seen
from devflow.audit import Actor
from devflow.web import guard, live
from devflow.web.current import calendar, now, session
from devflow.web.session import viewer


def leave(shown: Sequence[Seen], first: date, last: date, page: str) -> None:
    """Nothing of others is told before this is committed."""
    others = [each.public_id for each in shown if each.id != viewer().id]
    if not others or (_is_open_already() and _are_told_today(others, page)):
        return

    def work(writing: Session, by: Actor) -> None:
        receipts.note_views(writing, by, others, first, last, page)

    guard.act(work)


def _is_open_already() -> bool:
    return live.STREAM in request.args or live.POLL in request.args


def _are_told_today(others: Sequence[object], page: str) -> bool:
    zone = calendar().zone
    midnight = windows.day_window(windows.day_of(now(), zone), zone).start_ms
    return set(others) <= receipts.viewed_since(session(), viewer(), midnight, page)
