"""A real HTTP server on loopback that plays a team's server: well-behaved, or as a test tells it."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID, uuid4

from devflow import wire

PASSWORD: Final = "correct horse"
Event = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """A request as it arrived; ``body`` is inflated."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    sent_bytes: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.json["events"]]


@dataclass(frozen=True)
class Answer:
    """What to answer. ``server`` is the DevFlow-Server header, None to leave it away."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    server: str | None = "own"
    declared_length: int | None = None


Play = Callable[["ScriptedServer", Seen], Answer | None]
"""Answers one upload; None closes the connection without a word."""


class ScriptedServer:
    """Takes uploads as the real server does, unless ``script`` has something else for the next one.

    ``seen`` are all requests that came through, with ``tls`` those after a handshake.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.server_id = uuid4()
        self.calls_itself: str | None = None  # the server id, if None
        self.epoch: str | None = str(uuid4())  # None for a server that knows of none
        self.keeps_since = 0  # older events are no longer kept
        self.user_id = uuid4()
        self.projects = [{"projectId": str(uuid4()), "name": "Shop"}]
        self.script: deque[Play] = deque()
        self.seen: list[Seen] = []
        self.stored: dict[str, Event] = {}
        self.authors: list[str] = []
        self.token = "token-0"
        self.refresh_token = "refresh-0"
        self.refresh_refused = False
        self.code: str | None = None  # of the second factor, if there is one
        self.is_throttling = False
        self.before_refresh: Callable[[], None] = lambda: None
        self.pairing: deque[Play] = deque()
        self.devices: list[dict[str, Any]] = []
        self.stream: Callable[[socket.socket, Seen], None] | None = None  # has the connection then
        self.state = "whole"  # of what it has stored
        self.settings: dict[str, dict[str, Any]] = {}  # in common, by key
        self.device_id = str(uuid4())  # of the one PC that changes them by request
        self._signed_in = 0
        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._httpd.daemon_threads = True
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            self._httpd.socket = tls.wrap_socket(self._httpd.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._httpd.server_address[1]}"

    @property
    def name(self) -> str:
        return self.calls_itself or str(self.server_id)

    @property
    def uploads(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.path == "/sync/events"]

    @contextmanager
    def running(self) -> Iterator[ScriptedServer]:
        thread = threading.Thread(target=self._httpd.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._httpd.shutdown()
            thread.join()
            self._httpd.server_close()

    def tokens(self) -> Answer:
        """A new pair; the old ones are worth nothing any more."""
        self._signed_in += 1
        self.token, self.refresh_token = f"token-{self._signed_in}", f"refresh-{self._signed_in}"
        return answer_json(
            200,
            {
                "token": self.token,
                "userId": str(self.user_id),
                "refreshToken": self.refresh_token,
                "expiresAt": 4_000_000_000_000,
            },
        )

    def answer(self, seen: Seen) -> Answer | None:
        match seen.method, seen.path:
            case "POST", "/auth/login":
                return self.log_in(seen)
            case "POST", "/auth/pair":
                return answer_json(
                    200,
                    {
                        "secret": "secret",
                        "code": "BCDF-GHJK",
                        "url": f"{self.url}/pair",
                        "expiresAt": 4_000_000_000_000,
                        "intervalS": 0,
                    },
                )
            case "POST", "/auth/pair/token":
                return self.pairing.popleft()(self, seen)
            case "POST", "/auth/refresh":
                self.before_refresh()
                good = seen.json["refreshToken"] == self.refresh_token and not self.refresh_refused
                return self.tokens() if good else problem(401, "this refresh token is not valid")
        if self.script and seen.path == "/sync/events":
            return self.script.popleft()(self, seen)
        if seen.headers.get("Authorization") != f"Bearer {self.token}":
            return problem(401, "this token is not valid")
        match seen.method, seen.path:
            case "GET", path if "/digests?" in path:
                return digests(self, seen)
            case "POST", path if path.endswith("/missing"):
                return missing(self, seen)
            case "GET", path if path.startswith("/sync/events/"):
                return trace(self, path)
            case "GET", "/sync/projects":
                return answer_json(200, {"projects": self.projects})
            case "GET", path if path.startswith("/sync/settings?known="):
                return shared(self, known=path.partition("=")[2])
            case "PUT", "/sync/settings":
                own = {"deviceId": self.device_id, "deviceName": "this one"}
                self.settings.update({one["key"]: own | one for one in seen.json["settings"]})
                return shared(self)
            case "GET", "/auth/devices":
                return answer_json(200, {"devices": self.devices})
            case "POST", "/auth/logout":
                self.token = "none"
                return Answer(204)
            case "POST", path if path.endswith("/revoke"):
                known = any(f"/{device['deviceId']}/" in path for device in self.devices)
                return Answer(204) if known else problem(404, "there is no such device")
            case "POST", "/account/deletion":
                if seen.json["password"] != PASSWORD:
                    return problem(400, "expected the password of your account, got another one")
                return answer_json(202, {"dueAt": 4_000_000_000_000})
            case "PUT", "/sync/authors":
                self.authors = seen.json["authors"]
                return Answer(204)
            case "POST", "/sync/events":
                return store_all(self, seen)
            case _:
                return problem(404, "no such thing")

    def log_in(self, seen: Seen) -> Answer:
        if self.is_throttling:
            return problem(429, "too many attempts: try again in 50 s", **{"Retry-After": "50"})
        if seen.json["password"] != PASSWORD:
            return problem(401, "wrong e-mail or password")
        if seen.json.get("code") != self.code:
            needed = {
                "title": "Problem",
                "status": 401,
                "detail": "a code is needed",
                "code": "second_factor",
            }
            return answer_json(401, needed)
        return self.tokens()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else each answer waits 40 ms for a packet that says nothing

            def respond(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = gzip.decompress(sent) if self.headers.get("Content-Encoding") == "gzip" else sent
                seen = Seen(self.command, self.path, dict(self.headers), body, len(sent))
                owner.seen.append(seen)
                if owner.stream is not None and seen.path == "/sync/stream":
                    self.close_connection = True
                    owner.stream(self.connection, seen)
                    return
                answer = owner.answer(seen)
                if answer is None:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(answer.status)
                if answer.server is not None:
                    self.send_header(
                        "DevFlow-Server", owner.name if answer.server == "own" else answer.server
                    )
                if owner.epoch is not None:
                    self.send_header("DevFlow-Epoch", owner.epoch)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                length = len(answer.body) if answer.declared_length is None else answer.declared_length
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(answer.body)
                if length != len(answer.body):
                    self.close_connection = True

            do_GET = do_POST = do_PUT = respond  # noqa: N815 - the names http.server calls

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        return Handler


def answer_json(status: int, value: Any) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def problem(status: int, detail: str, **headers: str) -> Answer:
    body = json.dumps({"title": "Problem", "status": status, "detail": detail}).encode()
    return Answer(status, body, {"Content-Type": "application/problem+json", **headers})


def verdicts(synced: list[str], errors: list[dict[str, Any]]) -> Answer:
    return answer_json(200, {"success": not errors, "syncedIds": synced, "errors": errors})


def digests(server: ScriptedServer, seen: Seen) -> Answer:
    """As of a server on which nobody else has reported anything."""
    project_id, _, query = seen.path.removeprefix("/sync/projects/").partition("/digests?")
    if project_id not in {project["projectId"] for project in server.projects}:
        return problem(404, "there is no such project")
    asked = {name: int(values[0]) for name, values in parse_qs(query).items()}
    since = max(asked["from"] * wire.DAY_MS, server.keeps_since)
    tallies = wire.tallies(
        (event["timestamp"] // wire.DAY_MS, event["eventType"] in wire.FACTS, UUID(event["id"]).bytes)
        for event in server.stored.values()
        if event["projectId"] == project_id and since <= event["timestamp"] < asked["until"] * wire.DAY_MS
    )
    body = wire.encode(wire.Digests(since=since, tallies=tallies))
    return Answer(200, body, {"Content-Type": "application/json"})


def missing(server: ScriptedServer, seen: Seen) -> Answer:
    asked = [event["id"] for event in seen.json["events"] if event["timestamp"] >= server.keeps_since]
    return answer_json(200, {"ids": [event_id for event_id in asked if event_id not in server.stored]})


def trace(server: ScriptedServer, path: str) -> Answer:
    event_id, _, query = path.removeprefix("/sync/events/").partition("?timestamp=")
    event = server.stored.get(event_id)
    if event is None or str(event["timestamp"]) != query:
        return problem(404, "there is no such event of yours at this time")
    told = {
        name: event[name] for name in ("id", "timestamp", "projectId", "eventType", "deviceId", "localId")
    }
    return answer_json(
        200, {**told, "state": server.state, "counted": "you", "receivedAt": event["timestamp"] + 1, "seq": 1}
    )


def shared(server: ScriptedServer, known: str = "") -> Answer:
    """Every change has won; those that name no PC were made on one called "lap"."""
    lap = {"deviceId": "ffffffff-0000-4000-8000-000000000000", "deviceName": "lap"}
    told = [lap | one for _, one in sorted(server.settings.items())]
    version = f"{zlib.crc32(json.dumps(told).encode()):x}"
    return answer_json(200, {"version": version, "settings": None if version == known else told})


def refusal(seen: Seen, event_id: str, code: str, *, retryable: bool) -> dict[str, Any]:
    return {
        "id": event_id,
        "index": seen.ids.index(event_id),
        "code": code,
        "message": f"because of {code}",
        "retryable": retryable,
    }


# Plays


def store_all(server: ScriptedServer, seen: Seen) -> Answer:
    server.stored.update({event["id"]: event for event in seen.json["events"]})
    return verdicts(seen.ids, [])


def store_and_lose_the_answer(server: ScriptedServer, seen: Seen) -> None:
    store_all(server, seen)


def refuse_first(code: str, *, retryable: bool) -> Play:
    """The first event of the batch is refused, the others are stored."""

    def play(server: ScriptedServer, seen: Seen) -> Answer:
        first, *rest = seen.json["events"]
        server.stored.update({event["id"]: event for event in rest})
        refused = refusal(seen, first["id"], code, retryable=retryable)
        return verdicts([event["id"] for event in rest], [refused])

    return play


def says(answer: Answer) -> Play:
    return lambda _server, _seen: answer


def names(choose: Callable[[list[str]], list[str]]) -> Play:
    """Claims to have stored the ids that ``choose`` makes of those sent."""
    return lambda _server, seen: verdicts(choose(seen.ids), [])


def pending(_server: ScriptedServer, _seen: Seen) -> Answer:
    return answer_json(200, {"state": "pending", "tokens": None, "email": None})


def denied(_server: ScriptedServer, _seen: Seen) -> Answer:
    return answer_json(200, {"state": "denied", "tokens": None, "email": None})


def approved(server: ScriptedServer, _seen: Seen) -> Answer:
    tokens = json.loads(server.tokens().body)
    return answer_json(200, {"state": "approved", "tokens": tokens, "email": "ada@example.org"})


def hang_up(_server: ScriptedServer, _seen: Seen) -> None:
    """Close the connection without an answer."""


def wait_for(release: threading.Event) -> Play:
    """Answer only when the test says so; it has to, or the server's thread stays."""

    def play(server: ScriptedServer, seen: Seen) -> Answer:
        release.wait(30)
        return store_all(server, seen)

    return play
