"""Talking to the team's server: every call, and what each way of failing means to the caller.

The rule behind it: an answer counts only if it comes from the server this PC enrolled with.
Everything else - a captive portal, a proxy's error page, another server at the same address -
is ``Offline``: keep everything and try again later.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import msgspec
import requests
import urllib3

from devflow import wire
from devflow.errors import CodeNeeded, DevflowError, Invalid, NotFound, Offline, TooLarge, Unauthorized
from devflow_agent import credentials
from devflow_agent.credentials import Account, Credentials

CONNECT_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 30.0
ANSWER_DEADLINE_S: Final = 120.0
MAX_ANSWER_BYTES: Final = 4 << 20
MAX_RETRY_AFTER_S: Final = 3_600.0
_T = TypeVar("_T")
# How urllib3 begins its messages: "HTTPConnection(host='...', port=443): ".
_OBJECT: Final = re.compile(r"^(<.*>|\w+\(.*?\)): ")
_LATER: Final = frozenset({408, 425, 429})


class Unavailable(Offline):
    """The server asks to be left alone; ``retry_after_s`` is for how long, if it said."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer of whoever answered. ``server`` is who it says it is, ``epoch`` since when."""

    status: int
    server: str | None
    epoch: str | None
    retry_after: str | None
    body: bytes
    latency_ms: int
    date: str | None
    """The answerer's clock, see ``wire.CLOCK_HEADER``."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    connect_s: float = CONNECT_TIMEOUT_S
    read_s: float = READ_TIMEOUT_S
    """The longest silence; a drip of single bytes is ended by ``answer_s``."""
    answer_s: float = ANSWER_DEADLINE_S


def identify(http: requests.Session, url: str) -> UUID:
    """The id of the DevFlow server at ``url``; raise Offline if there is none."""
    answer = exchange(http, "GET", f"{url}/sync/projects")
    if answer.status == 426:
        raise Offline(_upgrade_message(answer))
    try:
        return UUID(answer.server)
    except (ValueError, TypeError, AttributeError):
        raise Offline(
            f"{url} answered {answer.status}, but not as a DevFlow server: check the address,"
            " and whether a proxy or a login page stands between"
        ) from None


def meet(http: requests.Session, server: Credentials, timeouts: Timeouts | None = None) -> Answer:
    """Raise Offline unless it is the enrolled server that answers; nothing secret goes out for it."""
    answer = exchange(http, "GET", f"{server.server_url}/sync/projects", timeouts=timeouts)
    try:
        checked(answer, server.server_id, expected=401)
    except (Invalid, TooLarge, Unauthorized) as error:  # whatever it means, it is said of no event
        raise Offline(f"the server answered {answer.status} to who asked its name: {error}") from error
    return answer


def login(http: requests.Session, server: Credentials, form: wire.Login) -> wire.Tokens:
    """Raise Unauthorized if the server does not know this e-mail and password, CodeNeeded if it wants a code.

    Unavailable, with the server's words, if it was guessed too often; Offline, with the password
    not sent, if somebody else answers in the server's place.
    """
    meet(http, server)
    answer = exchange(http, "POST", f"{server.server_url}/auth/login", body=wire.encode(form))
    if answer.status == 429 and answer.server == str(server.server_id):
        raise Unavailable(_problem(answer), retry_after_s(answer.retry_after, datetime.now(UTC)))
    return _decoded(checked(answer, server.server_id), wire.Tokens)


def start_pairing(http: requests.Session, server: Credentials, form: wire.Pair) -> wire.Pairing:
    """Ask the server for a code that its owner lets this PC in with."""
    answer = exchange(http, "POST", f"{server.server_url}/auth/pair", body=wire.encode(form))
    return _decoded(checked(answer, server.server_id), wire.Pairing)


def paired(http: requests.Session, server: Credentials, secret: str) -> wire.Paired:
    """What became of a pairing; raise Unauthorized if it is over."""
    body = wire.encode(wire.PairToken(secret=secret))
    answer = exchange(http, "POST", f"{server.server_url}/auth/pair/token", body=body)
    return _decoded(checked(answer, server.server_id), wire.Paired)


class Remote:
    """The enrolled server, spoken to as the person signed in; renews an expired token by itself."""

    def __init__(self, path: Path, http: requests.Session, timeouts: Timeouts | None = None) -> None:
        """``path`` is the credentials file, where renewed tokens are kept.

        Raise Unauthorized if nobody is signed in, Invalid if the address is not to be trusted.
        """
        self._path = path
        self._http = http
        self._timeouts = timeouts or Timeouts()
        self._server = credentials.enrolled(path)
        # Checked again: the file may have been edited since.
        credentials.checked_url(self._server.server_url, insecure_http=self._server.insecure_http)
        self._account = self._server.signed_in()
        self._epoch: UUID | None = None
        self._has_met = False

    @property
    def account(self) -> Account:
        return self._account

    @property
    def user_id(self) -> UUID:
        return self._account.user_id

    @property
    def server_id(self) -> UUID:
        return self._server.server_id

    @property
    def epoch(self) -> UUID | None:
        """The epoch that the server named last, None before it has named one."""
        return self._epoch

    def meet(self) -> None:
        """Once: whoever answers at the server's address afterwards is believed to be the same.

        Raise Offline unless it is the enrolled server; nothing secret goes out for it.
        """
        if self._has_met:
            return
        self._note_epoch(meet(self._http, self._server, self._timeouts))
        self._has_met = True

    def projects(self) -> list[wire.Project]:
        return _decoded(self.checked(self._ask("GET", "/sync/projects")), wire.Projects).projects

    def tell_authors(self, authors: wire.Authors) -> None:
        self.checked(self._ask("PUT", "/sync/authors", body=wire.encode(authors)), expected=204)

    def digests(self, project_id: UUID, days: range) -> wire.Digests:
        """What the server has of these days since 1970; raise NotFound if it has no such project for us."""
        path = f"/sync/projects/{project_id}/digests?from={days.start}&until={days.stop}"
        return _decoded(self._found(self._ask("GET", path)), wire.Digests)

    def missing(self, project_id: UUID, asked: wire.AskMissing) -> list[str]:
        """Which of the events the server lacks; raise NotFound if it has no such project for us."""
        answer = self._ask("POST", f"/sync/projects/{project_id}/missing", body=wire.encode(asked))
        return _decoded(self._found(answer), wire.Missing).ids

    def own_events(self, since: str, limit: int) -> wire.OwnEvents:
        """Up to ``limit`` events that the person's other PCs sent, from the cursor on; "" is the start."""
        query = urlencode({"since": since, "limit": limit})
        return _decoded(self.checked(self._ask("GET", f"/sync/events?{query}")), wire.OwnEvents)

    def shared_settings(self, known: str) -> wire.SharedSettings:
        """What the person's PCs have in common, unless that is the version ``known``."""
        answer = self._ask("GET", f"/sync/settings?{urlencode({'known': known})}")
        return _decoded(self.checked(answer), wire.SharedSettings)

    def change_settings(self, changes: wire.ChangeSettings) -> wire.SharedSettings:
        """Tell changes of this PC; what holds then. Raise Invalid if this PC's clock is far ahead."""
        return _decoded(
            self.checked(self._ask("PUT", "/sync/settings", body=wire.encode(changes))), wire.SharedSettings
        )

    def trace(self, name: wire.EventName) -> wire.Trace:
        """What the server has of this event; raise NotFound if it has none that is ours to know of."""
        path = f"/sync/events/{name.id}?timestamp={name.timestamp}"
        return _decoded(self._found(self._ask("GET", path)), wire.Trace)

    def devices(self) -> list[wire.Device]:
        return _decoded(self.checked(self._ask("GET", "/auth/devices")), wire.Devices).devices

    def revoke(self, device_id: UUID) -> None:
        """Raise NotFound if there is no such device of the person's."""
        self._found(self._ask("POST", f"/auth/devices/{device_id}/revoke", body=b"{}"), expected=204)

    def log_out(self) -> None:
        """End all tokens of this sign-in, on the server."""
        self.checked(self._ask("POST", "/auth/logout", body=b"{}"), expected=204)

    def ask_deletion(self, form: wire.AskDeletion) -> wire.Deletion:
        """Raise Invalid for another password than the account's, Unavailable after too many."""
        answer = self._ask("POST", "/account/deletion", body=wire.encode(form))
        return _decoded(self.checked(answer, expected=202), wire.Deletion)

    def upload(self, body: bytes, now_ms: int, report: wire.Report | None = None) -> Answer:
        """Send a gzipped batch, the time on this PC's clock, and how sync is doing.

        The answer is not checked yet.
        """
        said = {"Content-Encoding": "gzip", wire.CLOCK_HEADER: wire.clock(now_ms)}
        if report is not None:
            said[wire.REPORT_HEADER] = wire.report_header(report)
        return self._ask("POST", "/sync/events", body=body, headers=said)

    def checked(self, answer: Answer, *, expected: int = 200) -> bytes:
        return checked(answer, self._server.server_id, expected=expected)

    def _found(self, answer: Answer, *, expected: int = 200) -> bytes:
        """Like ``checked``, where 404 is the server's own word that there is no such thing."""
        if answer.status == 404 and answer.server == str(self._server.server_id):
            raise NotFound(_problem(answer))
        return self.checked(answer, expected=expected)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        def once(url: str, token: str) -> Answer:
            return exchange(
                self._http,
                method,
                url + path,
                token=token,
                body=body,
                headers=headers,
                timeouts=self._timeouts,
            )

        return self.ask(once)

    def ask(self, once: Callable[[str, str], Answer]) -> Answer:
        """What ``once`` is answered, given the address and a token; asked again with a renewed one.

        Before the first token goes out the server is met: one that was set up anew at this address, a
        login page or a proxy gets none. Raise Offline then, with ``once`` not called.
        """
        self.meet()
        answer = once(self._server.server_url, self._account.token)
        # Twice: the tokens that another process has put in the file may be old by now, too.
        for _ in range(2):
            # A stranger's 401 must not cost us the refresh token.
            if answer.status != 401 or answer.server != str(self._server.server_id):
                break
            is_fresh = self._renew()
            answer = once(self._server.server_url, self._account.token)
            if is_fresh:
                break
        self._note_epoch(answer)
        return answer

    def _note_epoch(self, answer: Answer) -> None:
        if answer.server == str(self._server.server_id) and answer.epoch is not None:
            with suppress(ValueError):
                self._epoch = UUID(answer.epoch)

    def _renew(self) -> bool:
        """Get other tokens than those refused: from the file, or (then True) for the refresh token.

        Raise Unauthorized and sign out if that is refused.
        """
        with credentials.changing(self._path):
            server, account = self._read()
            if account.token != self._account.token:  # another process was faster
                self._account = account
                return False
            try:
                self._account = _renewed(self._http, server, account, self._timeouts)
            except (Unauthorized, Invalid) as error:
                self._account = self._given_up(account, error)
                return False
            credentials.save(self._path, msgspec.structs.replace(server, account=self._account))
            return True

    def _read(self) -> tuple[Credentials, Account]:
        server = credentials.enrolled(self._path)
        if server.server_id != self._server.server_id:
            raise Unauthorized("this PC was enrolled with another server meanwhile: start again")
        account = server.signed_in()
        if account.user_id != self.user_id:  # whose events are not those that are on their way
            raise Unauthorized(f"{account.email} has signed in meanwhile: start again")
        return server, account

    def _given_up(self, account: Account, error: DevflowError) -> Account:
        """The account that somebody who does not keep to the lock has put in the file; else sign out."""
        server, now_there = self._read()
        if now_there.refresh_token != account.refresh_token:
            return now_there
        credentials.save(self._path, msgspec.structs.replace(server, account=None))
        raise Unauthorized(f"{account.email} is signed out ({error}): run `devflow sync auth`") from error


def _renewed(http: requests.Session, server: Credentials, account: Account, timeouts: Timeouts) -> Account:
    """The account with the tokens that its refresh token is exchanged for; raise Unauthorized if refused."""
    form = wire.Refresh(refresh_token=account.refresh_token)
    answer = exchange(
        http, "POST", f"{server.server_url}/auth/refresh", body=wire.encode(form), timeouts=timeouts
    )
    tokens = _decoded(checked(answer, server.server_id), wire.Tokens)
    return msgspec.structs.replace(
        account, token=tokens.token, refresh_token=tokens.refresh_token, expires_at=tokens.expires_at
    )


def exchange(
    http: requests.Session,
    method: str,
    url: str,
    *,
    token: str | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeouts: Timeouts | None = None,
) -> Answer:
    """One request, never redirected; raise Offline if no complete answer came."""
    timeouts = timeouts or Timeouts()
    said = {
        wire.PROTOCOL_HEADER: str(wire.PROTOCOL),
        "Accept": "application/json, application/problem+json",
        "Accept-Encoding": "identity",  # answers are small, and an inflated one has no bound
    }
    if body is not None:
        said["Content-Type"] = "application/json"
    started = time.monotonic()
    try:
        with http.request(
            method,
            url,
            data=body,
            headers={**said, **(headers or {})},
            auth=_bearer(token),
            timeout=(timeouts.connect_s, timeouts.read_s),
            allow_redirects=False,
            stream=True,
        ) as response:
            content = _read(response, started + timeouts.answer_s)
    except requests.exceptions.SSLError as error:
        raise Offline(f"{url}: the server's certificate was not accepted: {_cause(error)}") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise Offline(f"{url} did not answer: {_cause(error)}") from error
    return Answer(
        status=response.status_code,
        server=response.headers.get(wire.SERVER_HEADER),
        epoch=response.headers.get(wire.EPOCH_HEADER),
        retry_after=response.headers.get("Retry-After"),
        body=content,
        latency_ms=round((time.monotonic() - started) * 1000),
        date=response.headers.get(wire.CLOCK_HEADER),
    )


def _bearer(token: str | None) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    # Always a callable: without one requests puts the password of a ~/.netrc entry into the request.
    def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        return request

    return sign


def _read(response: requests.Response, deadline: float) -> bytes:
    content = bytearray()
    while chunk := response.raw.read1(65_536):
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise requests.RequestException(f"expected an answer of at most {MAX_ANSWER_BYTES} bytes")
        if time.monotonic() > deadline:
            raise requests.Timeout("the answer took too long to arrive")
    return bytes(content)


def _cause(error: BaseException) -> str:
    """The innermost reason: requests and urllib3 wrap it three deep, naming their objects."""
    seen = error
    while isinstance(reason := getattr(seen, "reason", None) or (seen.args[:1] or [None])[0], BaseException):
        seen = reason
    text = str(seen.args[-1]) if isinstance(seen, urllib3.exceptions.HTTPError) and seen.args else str(seen)
    return _OBJECT.sub("", text) or "no reason given"


def checked(answer: Answer, server_id: UUID, *, expected: int = 200) -> bytes:
    """The body of the answer we hoped for; raise what any other means.

    Invalid: our request is wrong. TooLarge: send less. Unauthorized: sign in. Offline:
    keep everything; Unavailable if the server itself said to come back later.
    """
    if answer.status in _LATER or answer.status >= 500:
        raise Unavailable(
            f"the server is not available now: it answered {answer.status}",
            retry_after_s(answer.retry_after, datetime.now(UTC)),
        )
    if answer.server != str(server_id):
        raise Offline(_stranger_message(answer, server_id))
    if answer.status == expected:
        return answer.body
    match answer.status:
        case 400:
            raise Invalid(_problem(answer))
        case 401 if _problem_code(answer) == wire.SECOND_FACTOR:
            raise CodeNeeded(_problem(answer))
        case 401 | 403:
            raise Unauthorized(_problem(answer))
        case 413:
            raise TooLarge(_problem(answer))
        case 426:
            raise Offline(_upgrade_message(answer))
        case _:
            raise Offline(f"expected {expected} from the server, got {answer.status}: {_problem(answer)}")


def _stranger_message(answer: Answer, server_id: UUID) -> str:
    if answer.server is None:
        return (
            f"somebody else than your server answered ({answer.status} without its name):"
            " a login page of this network, or a proxy?"
        )
    return (
        f"expected server {server_id}, got an answer of {answer.server[:64]}:"
        " if it was set up anew, run `devflow sync init URL` again"
    )


def _upgrade_message(answer: Answer) -> str:
    return f"upgrade needed: the server does not speak protocol {wire.PROTOCOL} ({_problem(answer)})"


def _problem(answer: Answer) -> str:
    """What the server says went wrong, or just the status if it did not say."""
    try:
        return wire.decode(answer.body, wire.Problem).detail[:500]
    except Invalid:
        return f"status {answer.status}"


def _problem_code(answer: Answer) -> str | None:
    """What the server says to programs about it, None if nothing."""
    try:
        code = wire.decode(answer.body, wire.Problem).code
    except Invalid:
        return None
    return code if isinstance(code, str) else None


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """How long ``Retry-After`` (RFC 9110, 10.2.3: seconds or a date) asks to wait, at most an hour."""
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return min(float(header), MAX_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    if at.tzinfo is None:  # "-0000": UTC, of a place it does not name
        at = at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), MAX_RETRY_AFTER_S)


def _decoded(body: bytes, expected: type[_T]) -> _T:
    try:
        return wire.decode(body, expected)
    except Invalid as error:
        raise Offline(f"the server's answer is not what protocol {wire.PROTOCOL} says: {error}") from error
