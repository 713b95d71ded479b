"""Static files with their content's hash in the address, so that browsers may keep them for ever."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any, Final

from flask import Flask, Response, request

from devflow.web import guard

YEAR_S: Final = 365 * 86_400


def init_app(app: Flask) -> None:
    folder = Path(str(app.static_folder))
    guard.public("style sheets, scripts and icons are the same for everybody")(app.view_functions["static"])

    @functools.cache
    def content_hash(filename: str) -> str:
        return hashlib.sha256((folder / filename).read_bytes()).hexdigest()[:16]

    @app.url_defaults
    def add_hash(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static":
            values["v"] = content_hash(values["filename"])

    @app.after_request
    def keep(response: Response) -> Response:
        # Only under the address that ends with the content; the bare one must be asked for again.
        if request.endpoint == "static" and "v" in request.args and response.status_code in (200, 304):
            response.headers["Cache-Control"] = f"public, max-age={YEAR_S}, immutable"
        return response
