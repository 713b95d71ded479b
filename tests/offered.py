"""The corpus of malformed uploads, offered to a real server; what it answered, and what it held."""

from __future__ import annotations

import http.client
import json
import random
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import requests

from devflow.context import now_ms
from tests import build, malformed
from tests.build import World
from tests.malformed import Body, Packet, Sender
from tests.server_process import ServerProcess

TIMEOUT_S: Final = 30
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


@dataclass
class Offer:
    """A server, and one who may send to it."""

    server: ServerProcess
    sender: Sender

    def bodies(self, bodies: Iterable[Body]) -> list[tuple[str, int, str]]:
        """Those that were taken, or not answered as they should: name, status, and what was said."""
        connection = self._connection()
        found = ((body.name, *self._answer(connection, body)) for body in bodies)
        wrong = [
            (name, status, said[:300].decode(errors="replace"))
            for name, status, said in found
            if not is_refused(status, said)
        ]
        connection.close()
        return wrong

    def packets(self, packets: Iterable[Packet]) -> list[tuple[str, list[int]]]:
        """Those that were answered otherwise than by 4xx, or by silence."""
        found = ((packet, self._statuses(packet)) for packet in packets)
        return [
            (packet.name, statuses)
            for packet, statuses in found
            if not all(400 <= status < 500 for status in statuses)
        ]

    def takes_a_good_one(self) -> bool:
        content = malformed.good(self.sender, random.Random(1))
        connection = self._connection()
        status, said = self._answer(connection, Body("good", content, {}))
        connection.close()
        return status == 200 and bool(json.loads(said)["success"])

    def _answer(self, connection: http.client.HTTPConnection, body: Body) -> tuple[int, bytes]:
        """Status and content; a hang is a TimeoutError."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.sender.token}"}
        for _ in range(2):
            try:
                connection.request("POST", "/sync/events", body.content, headers | body.headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (ConnectionError, http.client.BadStatusLine):
                connection.close()  # closed after the answer before: once more on a new one
        return 0, b"no answer"

    def _connection(self) -> http.client.HTTPConnection:
        assert self.server.port is not None
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=TIMEOUT_S)

    def _statuses(self, packet: Packet) -> list[int]:
        """The statuses of all answers, until the server closes; a hang is a TimeoutError."""
        assert self.server.port is not None
        received = b""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=TIMEOUT_S) as connection:
            try:
                connection.sendall(packet.content)
                connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(65_536):
                    received += part
            except ConnectionError:
                pass  # it was answered and closed before all was sent
        return [int(status) for status in _STATUS.findall(received)]


def is_refused(status: int, said: bytes) -> bool:
    """4xx, or 200 with nothing taken and something refused."""
    if status != 200:
        return 400 <= status < 500
    result = json.loads(said)
    return result["syncedIds"] == [] and bool(result["errors"])


@contextmanager
def offering(database_url: str, folder: Path, **environ: str) -> Iterator[Offer]:
    """A server with these settings, and Bob, whose PC is signed in."""
    context, _ = build.context(folder, database_url=database_url, now_ms=now_ms())
    world = World.of(context)
    bob = world.person("Bob")
    project = world.project("atlas", bob)
    context.database.close()
    server = ServerProcess(database_url, folder, environ)
    server.start()
    device = uuid4()
    login = requests.post(
        f"{server.url}/auth/login",
        json={"email": "bob@example.org", "password": build.PASSWORD, "deviceId": str(device)},
        timeout=TIMEOUT_S,
    ).json()
    sender = Sender(login["token"], UUID(login["userId"]), device, project.public_id)
    try:
        yield Offer(server, sender)
    finally:
        assert server.stop() == 0
    assert "Traceback" not in server.printed()
