"""The page's own address with something in it changed: links of ranges, filters and orders."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from flask import Flask, request

from devflow.errors import Invalid

TRANSIENT: Final = frozenset({"live", "poll", "export"})
"""How the page is asked for, not what is on it."""
# One slash and then neither a second nor a backslash, which browsers take for one; no control
# characters, which they leave out before they look.
_OWN_PATH: Final = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")
_PROGRAMS: Final = re.compile(
    r"/((sync|auth|account|metrics|healthz|openapi\.json)|projects/.*/status|teams/.*/activity)(/.*)?",
    re.DOTALL,
)


def own_path(wanted: str) -> str | None:
    """The address to go on to, if it is certain to be on this site."""
    return wanted if _OWN_PATH.fullmatch(wanted) else None


def is_for_programs() -> bool:
    """Whether only programs ask for this; a person's browser never comes here."""
    return _PROGRAMS.fullmatch(request.path) is not None


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


def public_id(name: str) -> UUID | None:
    """The id that the address gives under this name, None for none; raise Invalid for what is no id."""
    given = request.args.get(name, "")
    try:
        return UUID(given) if given else None
    except ValueError as error:
        raise Invalid(f"expected {name} to be an id of one, got {given[:40]!r}") from error
