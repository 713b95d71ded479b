"""Pages that stay up to date while they are open: drawn as panels, and sent anew by server-sent events.

A panel is a block at the top level of its page's template, drawn alone, and put by the page into the
element of its name. The stream of a page is its own address with ``live`` in the query, so that one door
lets in to both; it names the version that the browser has. Where streams do not get through, the browser
asks for the same with ``poll``.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Final, cast

from flask import Flask, Response, current_app, g, request
from flask_babel import force_locale
from markupsafe import Markup
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import ServiceUnavailable

from devflow import outage
from devflow.errors import Invalid
from devflow.live import Full, News, Over, Watched
from devflow.web import htmx, i18n, streams, tables
from devflow.web.addresses import here
from devflow.web.current import context
from devflow.web.streams import Admission

STREAM: Final = "live"
POLL: Final = "poll"
"""In the query of a page's address, with the version the browser has."""
PING_S: Final = 20.0
RETRY_MS: Final = 1_000
FAILED: Final = "live/failed.html"
log = logging.getLogger(__name__)

Draw = Mapping[str, Callable[[], Mapping[str, Any]]]
"""By a panel's name: what reads the values its block needs."""


def init_app(app: Flask) -> None:
    @app.before_request
    def note_rights() -> None:
        """Before anything is read by anybody's rights: the stream then sees them change."""
        if STREAM in request.args:
            g.rights = context().hub.note_rights()


def page(
    template: str,
    key: tuple[Hashable, ...],
    watched: Watched,
    panels: Callable[[], Draw],
    status: int = 200,
    exports: Mapping[str, Callable[[], Response]] | None = None,
    is_live: bool = True,
    **values: Any,
) -> Response:
    """Answer with the page, its stream, what has changed since a version, or one of its tables as CSV.

    ``key`` is all that decides what the panels show besides the database's contents: of what they are,
    the range, the rights of who looks. Whoever has the same key sees the same, so ``panels`` asks nothing
    about who looks; it is called anew for each drawing. ``values`` are for what stands around them. A page
    that is not ``is_live`` shows another person's own: each look at it is one that they are told of.
    """
    if not is_live or request.method == "POST":  # what a form is answered has no address to follow
        return still(template, panels, status, exports, **values)
    key = (template, *key, i18n.language())
    version = watched.version(key)
    if (table := tables.exported()) is not None:
        return _exported(table, exports or {})
    if STREAM in request.args:
        return _stream(template, key, watched, panels)
    if POLL in request.args:
        return _polled(template, version, panels)
    ways = {way: here(**{way: version}) for way in (STREAM, POLL)}
    return htmx.render(template, status, panels=_marked(template, panels), live=ways, **values)


def is_whole() -> bool:
    """Whether the page is wanted, not its stream, what has changed on it, or one of its tables.

    What stands around panels and is of one viewer alone, or leaves a receipt, is read only then.
    """
    return tables.exported() is None and STREAM not in request.args and POLL not in request.args


def still(
    template: str,
    panels: Callable[[], Draw],
    status: int = 200,
    exports: Mapping[str, Callable[[], Response]] | None = None,
    **values: Any,
) -> Response:
    """The same page as it is now, or a table of it, for a viewer who has to ask anew to see it anew."""
    if (table := tables.exported()) is not None:
        return _exported(table, exports or {})
    return htmx.render(template, status, panels=_marked(template, panels), live=None, **values)


def _exported(table: str, exports: Mapping[str, Callable[[], Response]]) -> Response:
    if table not in exports:
        names = ", ".join(exports) or "no table"
        raise Invalid(f"expected {tables.EXPORT} to name {names}, got {table[:40]!r}")
    return exports[table]()


def _marked(template: str, panels: Callable[[], Draw]) -> dict[str, Markup]:
    return {name: Markup(html) for name, html in _drawn(template, panels).items()}  # noqa: S704 - of templates


def _drawn(template: str, panels: Callable[[], Draw]) -> dict[str, str]:
    return {name: _panel(template, name, read) for name, read in panels().items()}


def _panel(template: str, name: str, read: Callable[[], Mapping[str, Any]]) -> str:
    """The panel's HTML; one that fails says so in its place, and leaves the others alone."""
    try:
        return htmx.block(template, name, dict(read()))
    except SQLAlchemyError as error:
        if outage.of(error) is not None:
            raise
        log.exception("could not draw the panel %s of %s", name, template)
    except Exception:
        log.exception("could not draw the panel %s of %s", name, template)
    return htmx.block(FAILED, "failed", {})


def _polled(template: str, version: str, panels: Callable[[], Draw]) -> Response:
    if request.args[POLL] == version:
        return Response(status=204)
    news = News(version, _drawn(template, panels))
    response = Response(_partials(news), mimetype="text/html")
    response.headers["DevFlow-Version"] = version
    return response


def _stream(
    template: str, key: tuple[Hashable, ...], watched: Watched, panels: Callable[[], Draw]
) -> Response:
    version = request.headers.get("Last-Event-ID") or request.args[STREAM]
    draw = _apart(lambda: _drawn(template, panels))
    body = _messages(version, key, watched, draw, Admission.of_request())
    try:
        hello = next(body)  # takes part now, so that a lack of room is still an answer of its own
    except Full as error:
        raise ServiceUnavailable(
            "as many pages are open as the server can keep up to date", retry_after=60
        ) from error
    except Over as error:
        raise ServiceUnavailable("the server is stopping", retry_after=1) from error
    response = Response(_with_first(hello, body), mimetype="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _messages(
    version: str,
    key: tuple[Hashable, ...],
    watched: Watched,
    draw: Callable[[], Mapping[str, str]],
    admission: Admission,
) -> Iterator[bytes]:
    """What a stream says until the server stops or rights have changed; then the browser asks anew.

    Of who may see the page no more it takes leave by ``over``.
    """
    hub, rights = context().hub, g.rights
    with hub.joined(key, version, watched, draw) as view:
        try:
            yield f"retry: {RETRY_MS}\n: live\n\n".encode()
            while hub.rights == rights:
                news = hub.wait(view, version, rights, PING_S)
                admission.look_if_due()
                if news is None:
                    yield b": still here\n\n"
                else:
                    version = news.version
                    yield _message(news)
            admission.look()
        except streams.Ended:
            yield b"event: over\ndata: this page is not yours to see any more\n\n"
        except Over:
            return


def _with_first(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


@functools.lru_cache(maxsize=64)  # of the same news, by as many as look
def _message(news: News) -> bytes:
    lines = "".join(f"data: {line}\n" for line in _partials(news).splitlines())
    return f"id: {news.version}\n{lines}\n".encode()


def _partials(news: News) -> str:
    """Panels as htmx puts each in its place, changing only what differs there."""
    return "".join(
        f'<hx-partial hx-target="#{name}" hx-swap="innerMorph">{html}</hx-partial>\n'
        for name, html in news.panels.items()
    )


def _apart(draw: Callable[[], Mapping[str, str]]) -> Callable[[], Mapping[str, str]]:
    """``draw`` as it would be in a request of nobody's for the same page, for a thread that has none."""
    app = cast(Flask, cast(Any, current_app)._get_current_object())
    base, path, locale = request.host_url, here(), i18n.language()

    def drawn() -> Mapping[str, str]:
        with app.test_request_context(path, base_url=base), force_locale(locale):
            return draw()

    return drawn
