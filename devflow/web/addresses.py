"""The page's own address with something in it changed: links of ranges, filters and orders."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from flask import Flask, request

TRANSIENT: Final = frozenset({"live", "poll", "export"})
"""How the page is asked for, not what is on it."""


def init_app(app: Flask) -> None:
    app.add_template_global(here, "here")
    app.add_template_global(kept, "kept")


def here(**changes: str | None) -> str:
    """This page's address; a change to None leaves the name out of it."""
    kept = {name: value for name, value in request.args.items() if name not in TRANSIENT}
    query = urlencode({name: value for name, value in (kept | changes).items() if value is not None})
    return f"{request.path}?{query}" if query else request.path


def kept(*without: str) -> list[tuple[str, str]]:
    """What else this page's address says, for a form that changes these names of it."""
    return [(name, value) for name, value in request.args.items() if name not in {*TRANSIENT, *without}]
