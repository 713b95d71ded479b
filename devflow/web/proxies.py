"""Who really asks: what proxies say of a request counts if the server's operator trusts them.

``X-Forwarded-For``, ``-Proto`` and ``-Host`` can be sent by anybody. From a trusted peer they take
the place of what the connection tells; else, and in every other form, they go no further than here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final

from flask import Flask

from devflow.config import Settings
from devflow.context import Context

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Address = IPv4Address | IPv6Address
FOR: Final = "HTTP_X_FORWARDED_FOR"
PROTO: Final = "HTTP_X_FORWARDED_PROTO"
HOST: Final = "HTTP_X_FORWARDED_HOST"
_OTHERS: Final = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_SSL",
    "HTTP_X_REAL_IP",
)
_HOST: Final = re.compile(r"(?:[\w.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.ASCII | re.IGNORECASE)
# 192.0.2.1:4711 and [2001:db8::1]:4711, as some proxies write it
_WITH_PORT: Final = re.compile(r"(?:\[([^\]]+)\]|([^:]+))(?::\d{1,5})?")


def init_app(app: Flask) -> None:
    context: Context = app.extensions["devflow"]
    app.wsgi_app = Proxies(app.wsgi_app, context.settings)  # type: ignore[method-assign]


class Proxies:
    """A WSGI application in front of another one."""

    def __init__(self, app: WSGIApplication, settings: Settings) -> None:
        self._app = app
        self._networks = settings.proxies
        self._trusts_unix = settings.trusts_unix

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        said = {name: environ.pop(name, "") for name in (FOR, PROTO, HOST, *_OTHERS)}
        peer = environ.get("REMOTE_ADDR", "")
        if self._trusts_unix if peer == "" else self._is_trusted(_address(peer)):
            self._believe(environ, said)
        return self._app(environ, start_response)

    def _believe(self, environ: WSGIEnvironment, said: dict[str, Any]) -> None:
        found = self._sender(said[FOR])
        if found is not None:
            environ["REMOTE_ADDR"] = str(found)
            environ.pop("REMOTE_PORT", None)  # it was the proxy's
        # Of several values the last one is of the proxy that speaks to us.
        scheme = _last(said[PROTO]).lower()
        if scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        host = _last(said[HOST])
        if _HOST.fullmatch(host):
            environ["HTTP_HOST"] = host

    def _sender(self, forwarded: str) -> Address | None:
        """The nearest address that no trusted proxy has; else the farthest proxy, None if none is named.

        Each proxy adds whom it got the request from at the right; what stands left of the first
        stranger, or of what is no address, that stranger may have made up.
        """
        sender = None
        for address in _from_the_right(forwarded):
            if address is None:
                break
            sender = address
            if not self._is_trusted(address):
                break
        return sender

    def _is_trusted(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _from_the_right(forwarded: str) -> Iterator[Address | None]:
    for entry in reversed(forwarded.split(",")):
        yield _address(entry.strip())


def _address(text: str) -> Address | None:
    """The address, an IPv4 one also where IPv6 sockets write it as ``::ffff:192.0.2.1``."""
    match = _WITH_PORT.fullmatch(text)
    bare = text if match is None else match[1] or match[2]
    try:
        found = ip_address(bare)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _last(value: str) -> str:
    return value.rpartition(",")[2].strip()
