"""The way to the server, step by step: each is tried once the one before holds, and says what to do.

Nothing is stored: the last step uploads a batch without an event.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.util.ssltransport import SSLTransport

from devflow import wire
from devflow.errors import DevflowError, Invalid, Offline, TooLarge, Unauthorized
from devflow_agent import batches, connection, credentials, remote, sync
from devflow_agent.config import Home
from devflow_agent.connection import Chosen
from devflow_agent.credentials import Credentials
from devflow_agent.remote import Remote, Timeouts
from devflow_agent.settings import Settings, without_password
from devflow_agent.store import Store

TIMEOUT_S: Final = 10.0
SOON_EXPIRED_DAYS: Final = 14
_EXAMPLE: Final = "http://proxy.example.org:3128"


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_TRIED = "not tried"


class Kind(StrEnum):
    """What a failure means to a script; the command line makes an exit code of it."""

    INVALID = "invalid"
    SIGNED_OUT = "signed out"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    state: State
    says: str = ""
    next_step: str = ""
    kind: Kind | None = None
    """Of a failure only."""


class _Failed(Exception):
    def __init__(self, says: str, next_step: str, kind: Kind = Kind.OFFLINE) -> None:
        super().__init__(says)
        self.check_says, self.next_step, self.kind = says, next_step, kind


class _Warned(Exception):
    def __init__(self, says: str, next_step: str) -> None:
        super().__init__(says)
        self.check_says, self.next_step = says, next_step


def probe(
    home: Home, store: Store, session: requests.Session, now_ms: int, timeouts: Timeouts | None = None
) -> Iterator[Check]:
    """Each step as soon as it is done; those after a failure are not tried."""
    way = _Way(home, store, session, now_ms, timeouts or Timeouts())
    is_broken = False
    for name, step in way.steps:
        check = Check(name, State.NOT_TRIED) if is_broken else _tried(name, step)
        is_broken = is_broken or check.state == State.FAILED
        yield check
    yield from _permissions(way, is_broken=is_broken)
    yield Check("round trip", State.NOT_TRIED) if is_broken else _tried("round trip", way.round_trip)


def _tried(name: str, step: Callable[[], str]) -> Check:
    try:
        return Check(name, State.OK, step())
    except _Warned as warning:
        return Check(name, State.WARNING, warning.check_says, warning.next_step)
    except _Failed as failure:
        return Check(name, State.FAILED, failure.check_says, failure.next_step, failure.kind)


def _permissions(way: _Way, *, is_broken: bool) -> Iterator[Check]:
    """One line a linked project; one that is refused leaves the others their chance."""
    linked = [project for project in way.store.projects() if project.remote_id is not None]
    if is_broken:
        yield Check("permission", State.NOT_TRIED)
    elif not linked:
        yield Check(
            "permission",
            State.WARNING,
            "no project is linked, so nothing is sent",
            "`devflow sync enable` in a repository",
        )
    allowed = {project.project_id for project in way.projects}
    for project in [] if is_broken else linked:
        name = f"permission {project.name}"
        if project.remote_id in allowed:
            yield Check(name, State.OK, f"you may send to {project.remote_name}")
        else:
            yield Check(
                name,
                State.FAILED,
                f"you may not send to {project.remote_name}, its events wait",
                "ask the project's lead to add you, or `devflow sync enable` links another project",
                Kind.SIGNED_OUT,
            )


@dataclass
class _Way:
    """What the steps found out; each stands on those before it."""

    home: Home
    store: Store
    session: requests.Session
    now_ms: int
    timeouts: Timeouts
    server: Credentials = field(init=False)
    url: SplitResult = field(init=False)
    proxy: Chosen = field(init=False)
    answer: remote.Answer = field(init=False)
    remote: Remote = field(init=False)
    projects: Sequence[wire.Project] = ()

    @property
    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        return [
            ("set-up", self.set_up),
            ("proxy", self.find_proxy),
            ("name", self.resolve),
            ("connection", self.connect),
            ("tls", self.shake_hands),
            ("identity", self.identify),
            ("protocol", self.agree),
            ("clock", self.compare_clocks),
            ("credentials", self.sign_in),
        ]

    @property
    def _first(self) -> tuple[str, int]:
        """Whom a connection goes to: the proxy, if there is one."""
        first = self.url if self.proxy.value is None else urlsplit(self.proxy.value)
        return first.hostname or "", first.port or (443 if first.scheme == "https" else 80)

    def set_up(self) -> str:
        try:
            self.server = credentials.enrolled(self.home.credentials)
            Settings.load(self.store)
            credentials.checked_url(self.server.server_url, insecure_http=self.server.insecure_http)
        except Unauthorized as error:
            raise _Failed(str(error), "`devflow sync init URL` sets up a server", Kind.SIGNED_OUT) from error
        except Invalid as error:
            raise _Failed(str(error), "put that right first", Kind.INVALID) from error
        self.url = urlsplit(self.server.server_url)
        return self.server.server_url

    def find_proxy(self) -> str:
        self.proxy = connection.proxy_for(self.server.server_url, Settings.load(self.store))
        if self.proxy.value is None:
            return "none" if self.proxy.source is None else f"none, by {self.proxy.source}"
        if (why_not := connection.unspoken(self.proxy)) is not None:
            raise _Failed(why_not, f"set {self.proxy.source} to an address like {_EXAMPLE}", Kind.INVALID)
        try:
            return f"{without_password(self.proxy.value)} (from {self.proxy.source})"
        except ValueError as error:
            step = f"set {self.proxy.source} to an address like {_EXAMPLE}"
            raise _Failed(f"the proxy's address cannot be read: {error}", step, Kind.INVALID) from error

    def resolve(self) -> str:
        host, port = self._first
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            step = f"check the name, and whether this PC is online: {self._who} is not known to it"
            raise _Failed(f"{host}: {error}", step) from error
        return f"{host} is {', '.join(dict.fromkeys(str(address[0]) for *_, address in found))}"

    def connect(self) -> str:
        host, port = self._first
        try:
            with socket.create_connection((host, port), self.timeouts.connect_s):
                return f"{self._who} takes connections on port {port}"
        except OSError as error:
            step = f"check that {self._who} runs, and that no firewall of this network blocks port {port}"
            raise _Failed(f"{host}:{port}: {error}", step) from error

    @property
    def _who(self) -> str:
        return "the server" if self.proxy.value is None else "the proxy"

    def shake_hands(self) -> str:
        if self.url.scheme != "https":
            return "none: plain http, as you accepted" if self.server.insecure_http else "none: it is this PC"
        try:
            context = self._context()
        except OSError as error:
            chosen = connection.authorities(Settings.load(self.store))
            step = f"set {chosen.source} to a file of certificates in PEM form"
            raise _Failed(f"{chosen.value}: {error}", step, Kind.INVALID) from error
        try:
            with self._tunnel(context) as tunnel, _secured(tunnel, context, self.url.hostname) as secure:
                return _handshake(secure, self.now_ms)
        except ssl.SSLCertVerificationError as error:
            raise _Failed(error.verify_message, _certificate_step(error)) from error
        except ssl.SSLError as error:
            says = error.reason or str(error)
            raise _Failed(f"no TLS 1.2 or newer: {says}", "the server's operator has to offer it") from error
        except OSError as error:
            raise _Failed(str(error), _tunnel_step(error, self.proxy)) from error

    def _context(self) -> ssl.SSLContext:
        """What ``requests`` accepts, too."""
        chosen = connection.authorities(Settings.load(self.store)).value or DEFAULT_CA_BUNDLE_PATH
        is_folder = Path(chosen).is_dir()
        context = ssl.create_default_context(
            cafile=None if is_folder else chosen, capath=chosen if is_folder else None
        )
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _tunnel(self, context: ssl.SSLContext) -> socket.socket:
        """A connection to the server, through the proxy if there is one."""
        way = socket.create_connection(self._first, self.timeouts.connect_s)
        if self.proxy.value is None:
            return way
        try:
            proxy = urlsplit(self.proxy.value)
            if proxy.scheme == "https":
                way = self._proxy_secured(way, context)
            _ask_for_tunnel(way, proxy, f"{self.url.hostname}:{self.url.port or 443}")
        except BaseException:
            way.close()
            raise
        return way

    def _proxy_secured(self, way: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        try:
            return context.wrap_socket(way, server_hostname=self._first[0])
        except ssl.SSLCertVerificationError as error:
            says = f"the proxy's certificate, not the server's: {error.verify_message}"
            raise _Failed(says, _proxy_certificate_step(error, self.proxy)) from error
        except ssl.SSLError as error:
            says = f"the proxy does not speak TLS: {error.reason or error}"
            step = f"set {self.proxy.source} to http://..., if the proxy is one without"
            raise _Failed(says, step, Kind.INVALID) from error

    def identify(self) -> str:
        try:
            self.answer = remote.exchange(
                self.session, "GET", f"{self.server.server_url}/sync/projects", timeouts=self.timeouts
            )
        except Offline as error:
            raise _Failed(str(error), "try again; the server's operator sees more in its log") from error
        if self.answer.server == str(self.server.server_id):
            return f"it is {self.server.server_id}, as at `devflow sync init`"
        if self.answer.server is None:
            step = "open a web page: this network may want a log-in first; else check address and proxy"
            raise _Failed(f"somebody else answered {self.answer.status}, without the server's name", step)
        says = f"another server answered: {self.answer.server[:64]}"
        raise _Failed(says, "`devflow sync init URL` again, if it was set up anew")

    def agree(self) -> str:
        if self.answer.status == 426:
            says = f"the server does not speak protocol {wire.PROTOCOL}"
            raise _Failed(says, "upgrade the older of agent and server")
        if self.answer.status >= 500 or self.answer.status == 429:
            says = f"the server is not available now: it answered {self.answer.status}"
            raise _Failed(says, "wait: everything is kept, and sent when it is back")
        return f"both speak {wire.PROTOCOL}"

    def compare_clocks(self) -> str:
        ahead = wire.clock_ahead(self.answer.date, self.now_ms)
        if ahead is None:
            return "the server does not tell its time"
        if ahead == 0:
            return f"within {wire.CLOCK_TOLERANCE_MS // 60_000} minutes of the server's"
        minutes = abs(ahead) // 60_000
        says = f"this PC's clock is {minutes:,} minutes {'behind' if ahead > 0 else 'ahead of'} the server's"
        raise _Warned(says, "set it right: events carry the time it shows")

    def sign_in(self) -> str:
        try:
            self.remote = Remote(self.home.credentials, self.session, self.timeouts)
            self.projects = self.remote.projects()
        except Unauthorized as error:
            raise _Failed(str(error), "`devflow sync auth` signs in", Kind.SIGNED_OUT) from error
        except DevflowError as error:
            raise _Failed(str(error), "wait: everything is kept, and sent when it is back") from error
        return f"signed in as {self.remote.account.email}"

    def round_trip(self) -> str:
        """Of a batch without an event: every step of an upload, and nothing to store."""
        body = batches.compressed(batches.as_json([], self.store.device_id()))
        try:
            answer = self.remote.upload(body, self.now_ms)
            sync.read_verdicts(self.remote.checked(answer), [])
        except Unauthorized as error:
            raise _Failed(str(error), "`devflow sync auth` signs in as this PC", Kind.SIGNED_OUT) from error
        except (Offline, Invalid, TooLarge) as error:
            raise _Failed(str(error), "wait: everything is kept, and sent when it is back") from error
        return f"an upload without an event took {answer.latency_ms:,} ms"


def _ask_for_tunnel(way: socket.socket, proxy: SplitResult, to: str) -> None:
    """Raise OSError with the proxy's answer if it is no."""
    said = [f"CONNECT {to} HTTP/1.1", f"Host: {to}"]
    if proxy.username is not None:
        who = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        said.append(f"Proxy-Authorization: Basic {b64encode(who.encode()).decode()}")
    way.sendall("\r\n".join([*said, "", ""]).encode())
    # Nobody speaks behind the proxy's answer before we do, so no byte of the server's is lost here.
    with http.client.HTTPResponse(way, method="CONNECT") as answer:
        try:
            answer.begin()
        except http.client.HTTPException as error:
            raise OSError(f"the proxy did not answer as one: {error or type(error).__name__}") from error
        if answer.status != 200:
            raise OSError(f"the proxy refused the tunnel: {answer.status} {answer.reason}")


def _secured(
    tunnel: socket.socket, context: ssl.SSLContext, host: str | None
) -> ssl.SSLSocket | SSLTransport:
    if isinstance(tunnel, ssl.SSLSocket):
        return SSLTransport(tunnel, context, server_hostname=host)
    return context.wrap_socket(tunnel, server_hostname=host)


def _handshake(secure: ssl.SSLSocket | SSLTransport, now_ms: int) -> str:
    certificate: dict[str, Any] = dict(secure.getpeercert() or {})
    ends = ssl.cert_time_to_seconds(certificate["notAfter"])
    days = int((ends - now_ms / 1000) // 86_400)
    says = (
        f"{secure.version()}, signed by {_name(certificate.get('issuer', ()))}, good for {days:,} more days"
    )
    if days < SOON_EXPIRED_DAYS:
        until = datetime.fromtimestamp(ends, UTC)
        raise _Warned(says, f"the server's operator renews the certificate before {until:%Y-%m-%d}")
    return says


def _name(parts: Any) -> str:
    """Who signed, by the name for people if there is one."""
    names = {key: value for part in parts for key, value in part}
    return str(names.get("organizationName") or names.get("commonName") or "nobody it names")


def _certificate_step(error: ssl.SSLCertVerificationError) -> str:
    """By the codes of OpenSSL's X509_verify_cert_error_string(3)."""
    match error.verify_code:
        case 9 | 10:
            return "check this PC's clock; else the server's operator renews the certificate"
        case 18 | 19 | 20 | 21:
            return "`devflow sync configure --ca-file FILE` with the authority's certificate, if you trust it"
        case 62 | 64:
            return "`devflow sync init URL` by a name that the certificate is for"
        case _:
            return "ask the server's operator"


def _proxy_certificate_step(error: ssl.SSLCertVerificationError, proxy: Chosen) -> str:
    match error.verify_code:
        case 18 | 19 | 20 | 21:
            return "`devflow sync configure --ca-file FILE` with the proxy's authority beside the server's"
        case 62 | 64:
            return f"set {proxy.source} to a name that the proxy's certificate is for"
        case _:
            return "ask who runs the proxy"


def _tunnel_step(error: OSError, proxy: Chosen) -> str:
    if proxy.value is None:
        return "the server's operator sees more in its log"
    if "407" in str(error):
        return f"put the proxy's user and password into {proxy.source}: http://USER:PASSWORD@HOST:PORT"
    return "ask who runs the proxy to let CONNECT to the server pass, or name it in NO_PROXY"
