"""The wiring: one Flask app out of one context."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from flask import Flask
from jinja2 import BytecodeCache

from devflow.context import Context
from devflow.web import (
    addresses,
    api,
    assets,
    current,
    errors,
    guard,
    htmx,
    i18n,
    live,
    pages,
    proxies,
    refusals,
    request_ids,
    security,
    session,
)
from devflow.web.api import openapi

ROOT: Final = Path(__file__).parent.parent


def create_app(context: Context, compiled: BytecodeCache | None = None) -> Flask:
    """The app of the context; ``compiled`` templates are kept for the next one that is made."""
    app = Flask(__name__, root_path=str(ROOT))
    app.jinja_options = {"bytecode_cache": compiled}
    app.extensions["devflow"] = context
    for part in (
        proxies,
        current,
        live,
        request_ids,
        addresses,
        assets,
        i18n,
        refusals,
        security,
        session,
        errors,
        api,
        pages,
        htmx,
    ):
        part.init_app(app)
    guard.check(app)
    openapi.init_app(app)
    return app
