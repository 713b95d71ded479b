"""What every request and answer must carry so that browsers protect the people who use them."""

from __future__ import annotations

import secrets
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from flask import Flask, Response, abort, g, request
from werkzeug.exceptions import MisdirectedRequest

from devflow import wire
from devflow.web import refusals
from devflow.web import session as browser
from devflow.web.current import context

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Agents prove themselves by a bearer token, which no browser sends by itself.
TOKEN_BLUEPRINTS: Final = frozenset({"api"})
FOREIGN_POST: Final = "request:from_elsewhere"
"""Stands in the trail where else the action refused does."""
# What watches the server asks it by whatever address it has.
ANY_HOST: Final = frozenset({"api.healthz"})
FAILED: Final = 400
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": with it browsers send forms with the Origin "null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(
        f"{feature}=()"
        for feature in (
            "accelerometer",
            "bluetooth",
            "camera",
            "display-capture",
            "geolocation",
            "gyroscope",
            "hid",
            "magnetometer",
            "microphone",
            "midi",
            "payment",
            "serial",
            "usb",
        )
    ),
}
# Of this host alone: we do not own its siblings, and the preload list is the domain owner's to join.
HSTS: Final = f"max-age={365 * 86_400}"


def init_app(app: Flask) -> None:
    app.config.update(
        MAX_CONTENT_LENGTH=wire.MAX_BODY_BYTES,  # of forms too: files sent along would fill the disk
    )
    app.url_map.merge_slashes = False  # by a redirect to whatever host the request named
    app.before_request(refuse_other_hosts)
    app.before_request(refuse_foreign_posts)
    app.after_request(add_headers)
    app.add_template_global(nonce, "nonce")


def nonce() -> str:
    """The one value that lets a script of this very page run."""
    if "nonce" not in g:
        g.nonce = secrets.token_urlsafe(16)
    return str(g.nonce)


def refuse_other_hosts() -> None:
    """Answer by the public name alone, so that no other one can be made to lead here (DNS rebinding).

    Without https there is nothing to hold on to: people may come by an address, or by any name of
    the house's own. No link is made of the name they came by, and a cookie counts for its own name.
    """
    settings = context().settings
    if not settings.is_https or request.endpoint in ANY_HOST:
        return
    if _name(request.host) != settings.public_host:
        raise MisdirectedRequest(f"expected the address {settings.public_url}, got another host")


def _name(host: str) -> str | None:
    """The host without its port, in lower case."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


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
    is_ours = _is_own_origin(request.headers.get("Origin", "")) if site is None else site == "same-origin"
    if not is_ours:
        if (person := browser.signed_in()) is not None:
            ids = [value for value in (request.view_args or {}).values() if isinstance(value, UUID)]
            refusals.note(person, FOREIGN_POST, next(iter(ids), None))
        abort(403, "expected a form sent from this site's own page, got a request from elsewhere")


def _is_own_origin(given: str) -> bool:
    """Whether the origin is this host; by plain http anybody on the way may have made its page."""
    scheme, _, host = given.partition("://")
    schemes = ("https",) if context().settings.is_https else ("http", "https")
    return scheme in schemes and bool(host) and host == request.host


def add_headers(response: Response) -> Response:
    headers = response.headers
    headers.setdefault(
        "Content-Security-Policy",
        "default-src 'none'; "
        f"script-src 'nonce-{nonce()}'; "
        "style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'",
    )
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if request.endpoint != "static" or response.status_code >= FAILED:
        headers.setdefault("Cache-Control", "no-store")
    if context().settings.is_https:
        headers.setdefault("Strict-Transport-Security", HSTS)
    return response
