"""The choice of a language, from the foot of every page; the browser alone keeps it."""

from __future__ import annotations

from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue

from devflow.errors import Invalid
from devflow.web import addresses, guard, i18n
from devflow.web.catalogs import OFFERED
from devflow.web.pages import bp


@bp.app_template_global("way_back")
def way_back() -> str:
    """The page's address to come back to, empty for the answer to a form."""
    return addresses.here() if request.method == "GET" else ""


@bp.post("/language")
@guard.public("strangers read too, and nothing but a cookie of their own changes")
def choose_language() -> ResponseReturnValue:
    wanted = request.form.get("language", "")
    if wanted not in OFFERED:
        raise Invalid(f"expected language to be one of {', '.join(OFFERED)}, got {wanted[:20]!r}")
    back = addresses.own_path(request.form.get("next", "")) or url_for("pages.overview")
    return i18n.choose(redirect(back, 303), wanted)
