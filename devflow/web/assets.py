"""Static files with their content's hash in the address, so that browsers may keep them for ever.

Style sheets are written one a component and sent as one, SHEET: a page asks once and not two dozen times.

Static files alone are sent compressed: they hold no secrets. Of a page that holds one beside what a stranger
can put there, the length after compression gives the secret away (BREACH), so pages go as they are.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
from pathlib import Path
from typing import Any, Final

from flask import Flask, Response, request, send_file

from devflow.web import guard

YEAR_S: Final = 365 * 86_400
COMPRESSED: Final = frozenset({".css", ".js", ".svg"})
SHEET: Final = "site.css"


def init_app(app: Flask) -> None:
    folder = Path(str(app.static_folder))

    def content(filename: str) -> bytes:
        if filename != SHEET:
            return (folder / filename).read_bytes()
        # In any order: the layers that tokens.css names first decide which rule wins.
        names = sorted((folder / "css").glob("*.css"), key=lambda path: (path.stem != "tokens", path.stem))
        return b"\n".join(path.read_bytes() for path in names)

    @functools.cache
    def content_hash(filename: str) -> str:
        return hashlib.sha256(content(filename)).hexdigest()[:16]

    @functools.cache  # of the few files that there are
    def compressed(filename: str) -> bytes:
        return gzip.compress(content(filename), mtime=0)

    def whole(filename: str) -> Response:
        if filename != SHEET:
            return app.send_static_file(filename)
        return send_file(io.BytesIO(content(SHEET)), "text/css", etag=content_hash(SHEET))

    @guard.public("style sheets, scripts and icons are the same for everybody")
    def static(filename: str) -> Response:
        plain = whole(filename)
        if Path(filename).suffix not in COMPRESSED:
            return plain
        plain.vary.add("Accept-Encoding")
        # Part of a file is asked for to complete what the browser has, by its bytes as they are.
        if plain.status_code != 200 or request.range or not request.accept_encodings.quality("gzip"):
            return plain
        plain.close()
        packed = Response(compressed(filename), headers=plain.headers)
        packed.content_encoding = "gzip"
        packed.set_etag(f"{content_hash(filename)}-gzip")
        packed.make_conditional(request)
        return packed

    app.view_functions["static"] = static

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
