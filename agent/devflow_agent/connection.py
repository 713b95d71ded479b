"""How this PC reaches the server: through which proxy, and whose certificates it trusts.

What the developer set comes first, then the environment as ``requests`` reads it. Both are looked
at for each request, so that a daemon needs no restart.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

import requests
from requests.utils import select_proxy, should_bypass_proxies

from devflow_agent import settings
from devflow_agent.settings import Settings
from devflow_agent.store import Store

# The first two as requests reads them, the third as OpenSSL and everything built on it does.
CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A value and who said so: ``sync_proxy``, or the name of a variable, or None for nobody."""

    value: str | None
    source: str | None


def proxy_for(url: str, chosen: Settings) -> Chosen:
    """The proxy to this address. ``NO_PROXY`` goes before both the setting and the variables."""
    if should_bypass_proxies(url, no_proxy=None):
        return Chosen(None, "NO_PROXY" if os.environ.get("NO_PROXY") or os.environ.get("no_proxy") else None)
    if chosen.sync_proxy is not None:
        return Chosen(chosen.sync_proxy, "sync_proxy")
    scheme, named = urlsplit(url).scheme, getproxies()
    found = select_proxy(url, named)
    if found is None:
        return Chosen(None, None)
    # As requests reads it, and nobody else would.
    address = found if "://" in found else f"http://{found}"
    return Chosen(address, f"{(scheme if scheme in named else 'all').upper()}_PROXY")


def unspoken(proxy: Chosen) -> str | None:
    """What to do about a proxy that is spoken to by anything but HTTP; None if it is one that will do."""
    scheme = (proxy.value or "http://").partition("://")[0].lower()
    if scheme in ("http", "https"):
        return None
    return f"{proxy.source} names a proxy by {scheme[:20]}, {settings.ONLY_HTTP_PROXIES}"


def authorities(chosen: Settings) -> Chosen:
    """The file of trusted certificates; the value is None for those that come with the program."""
    if chosen.sync_ca_file is not None:
        return Chosen(chosen.sync_ca_file, "sync_ca_file")
    for name in CA_VARIABLES:
        if found := os.environ.get(name):
            return Chosen(found, name)
    return Chosen(None, None)


class Connection(requests.Session):
    """A session of ``requests`` for which the developer's settings go before the environment.

    By itself ``requests`` has it the other way round: REQUESTS_CA_BUNDLE and HTTPS_PROXY replace
    what ``verify`` and ``proxies`` of a session say.
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        super().__init__()
        self._settings = settings

    @classmethod
    def of(cls, store: Store) -> Connection:
        return cls(lambda: Settings.load(store))

    def merge_environment_settings(
        self, url: str | bytes | None, proxies: Any, stream: bool | None, verify: Any, cert: Any
    ) -> Any:
        chosen, address = self._settings(), url.decode() if isinstance(url, bytes) else url or ""
        proxy = proxy_for(address, chosen)
        if (why_not := unspoken(proxy)) is not None:
            raise requests.exceptions.InvalidProxyURL(why_not)
        return {
            "proxies": {} if proxy.value is None else {urlsplit(address).scheme: proxy.value},
            "stream": stream,
            "verify": authorities(chosen).value or True,
            "cert": cert,
        }
