"""What every request and answer must carry so that browsers protect the people who use them."""

from __future__ import annotations

import secrets
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from flask import Flask, Response, abort, g, request

from devflow import wire
from devflow.web import refusals
from devflow.web import session as browser
from devflow.web.current import context

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Agents prove themselves by a bearer token, which no browser sends by itself.
TOKEN_BLUEPRINTS: Final = frozenset({"api"})
FOREIGN_POST: Final = "request:from_elsewhere"
"""Stands in the trail where else the action refused does."""


def init_app(app: Flask) -> None:
    app.config.update(
        MAX_CONTENT_LENGTH=wire.MAX_BODY_BYTES,  # of forms too: files sent along would fill the disk
    )
    app.before_request(refuse_foreign_posts)
    app.after_request(add_headers)
    app.add_template_global(nonce, "nonce")


def nonce() -> str:
    """The one value that lets a script of this very page run."""
    if "nonce" not in g:
        g.nonce = secrets.token_urlsafe(16)
    return str(g.nonce)


def refuse_foreign_posts() -> None:
    """Stop what another site's page makes the browser send (CSRF).

    ``Sec-Fetch-Site`` tells where a request comes from; browsers leave it out on plain http,
    there ``Origin`` must name this host. Neither present: refuse.
    """
    if request.method in SAFE_METHODS or request.blueprint in TOKEN_BLUEPRINTS:
        return
    if request.routing_exception is not None:
        return  # nothing is there to be misused, and "not found" says more
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        is_ours = site == "same-origin"
    else:
        origin = urlsplit(request.headers.get("Origin", ""))
        is_ours = bool(origin.netloc) and origin.netloc == request.host
    if not is_ours:
        if (person := browser.signed_in()) is not None:
            ids = [value for value in (request.view_args or {}).values() if isinstance(value, UUID)]
            refusals.note(person, FOREIGN_POST, next(iter(ids), None))
        abort(403, "expected a form sent from this site's own page, got a request from elsewhere")


def add_headers(response: Response) -> Response:
    headers = response.headers
    headers.setdefault(
        "Content-Security-Policy",
        "default-src 'none'; "
        f"script-src 'nonce-{nonce()}'; "
        "style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'",
    )
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
    if request.endpoint != "static":
        headers.setdefault("Cache-Control", "no-store")
    if context().settings.public_url.startswith("https:"):
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    return response
