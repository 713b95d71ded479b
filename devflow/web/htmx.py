"""Whole page or fragment: the same address answers a browser with the page and htmx with the block it fills.

htmx-flask reads and writes the headers; what it does not know of htmx 4 is here. There
``HX-Target`` is ``div#id``, and ``HX-Request-Type`` says ``partial`` unless the whole page is
wanted: by a boosted link, or when the back button restores one.
"""

from __future__ import annotations

from typing import Any, Final, cast

from flask import Flask, Response, current_app, render_template
from htmx_flask import Htmx, request
from htmx_flask import make_response as htmx_response

DECIDING: Final = ("HX-Request", "HX-Request-Type", "HX-Target")
"""The headers that decide which of the two an answer is; caches are told so."""
NOTICE: Final = "notice"


def init_app(app: Flask) -> None:
    """Comes last: macros know the globals there are when they are loaded."""
    Htmx(app)
    # Macros as a global: what a page imports at its top is not there when a block is rendered alone.
    app.jinja_env.globals["ui"] = app.jinja_env.get_template("ui.html").module

    @app.after_request
    def vary(response: Response) -> Response:
        if response.mimetype == "text/html":
            response.vary.update(DECIDING)
        return response


def target() -> str | None:
    """The id of the element the answer is for, None if a whole page is wanted."""
    if not request.htmx or request.headers.get("HX-Request-Type") != "partial":
        return None
    return (request.htmx.target or "").partition("#")[2] or None


def render(template: str, status: int = 200, *, retarget: str | None = None, **values: Any) -> Response:
    """The page, or the block named after the target's id. ``retarget`` fills another id instead of it.

    A template may have a block ``notice`` for targets it has no block for; else it answers whole.
    """
    wanted = retarget or target()
    blocks = current_app.jinja_env.get_template(template).blocks
    found = next((name for name in (wanted, NOTICE) if name in blocks), None) if wanted else None
    if found is None:
        return _answer(render_template(template, **values), status)
    return _answer(
        block(template, found, values),
        status,
        retarget=None if retarget is None else f"#{retarget}",
        reswap=None if retarget is None else "innerHTML",
    )


def redirect(address: str, status: int = 200) -> Response:
    """Send the whole tab to ``address``; an ordinary redirect would be put in the fragment's place."""
    return _answer("", status, redirect=address)


def _answer(body: str, status: int, **headers: str | None) -> Response:
    return cast(Response, htmx_response(body, status, **headers))


def block(template: str, name: str, values: dict[str, Any]) -> str:
    """One block of the template, drawn alone."""
    page = current_app.jinja_env.get_template(template)
    current_app.update_template_context(values)
    return "".join(page.blocks[name](page.new_context(values)))
