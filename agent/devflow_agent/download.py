"""Fetches what the developer's other PCs have sent, for who wants their numbers of all PCs here.

It comes by the server's own sequence, so what is late is not skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from devflow.errors import Offline
from devflow_agent import downloaded
from devflow_agent.remote import Remote
from devflow_agent.store import Store

PAGE: Final = 1_000


def fetch(store: Store, remote: Remote, on_progress: Callable[[int], None] = lambda so_far: None) -> int:
    """Fetch what came since the last time; return how many were new here.

    Each page and where it ends are one transaction: killed anywhere, it goes on there. Raise
    Offline if the server does not answer as itself; what was fetched until then stays.
    """
    total, since = 0, downloaded.cursor(store) or ""
    while True:
        page = remote.own_events(since, PAGE)
        if page.has_more and page.cursor == since:
            raise Offline("expected the server to go on after a page, got the same place again")
        total += downloaded.keep(store, page.events, page.cursor)
        on_progress(total)
        since = page.cursor
        if not page.has_more:
            return total
