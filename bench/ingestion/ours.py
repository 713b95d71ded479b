"""Our server, the PCs of its people, and what they send."""

from __future__ import annotations

import gzip
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from msgspec import Raw

from bench.ingestion import sending
from bench.ingestion.processes import cpu_s
from bench.ingestion.sending import Door, Marks
from devflow import wire
from devflow.accounts import tokens
from devflow.audit import Actor
from devflow.config import Settings
from devflow.context import Context
from devflow.models import Device, Person, Project
from tests.build import DAY_MS, Member, World, commit, saved
from tests.server_process import ServerProcess

BATCH: Final = 1_000
FILES: Final = 300
GAP_MS: Final = 5_000
SETTINGS: Final = {
    "DEVFLOW_TIMEZONE": "Europe/Berlin",
    "DEVFLOW_MAX_EVENTS_PER_HOUR": "1000000000",  # a limit as always, but none that is met
    "DEVFLOW_MAX_UPLOADS_PER_HOUR": "1000000",
}


@dataclass(frozen=True)
class Pc:
    """A person's PC, and what it sends: an event every five seconds, from ``start_ms`` on."""

    door: Door
    person: UUID
    device: UUID
    project: UUID
    author: str
    start_ms: int

    def bodies(self, count: int, size: int = BATCH, first: int = 0) -> list[bytes]:
        """``count`` batches ready to send, of which ``first`` were sent before; always the same ones."""
        return [gzip.compress(self.batch(number, size), 6) for number in range(first, first + count)]

    def batch(self, number: int, size: int = BATCH) -> bytes:
        """The JSON of a batch."""
        drawn = random.Random(f"{self.device} {number}")
        events = [self._event(place, drawn) for place in range(number * size, (number + 1) * size)]
        return wire.encode(
            wire.Batch(events=[Raw(wire.encode(event)) for event in events], device_id=self.device)
        )

    def _event(self, place: int, drawn: random.Random) -> wire.SyncEvent:
        # Few files are changed often, and one event of ten is a commit.
        path = f"src/part{int(drawn.paretovariate(1)) % 20}/m{int(drawn.paretovariate(0.7)) % FILES}.py"
        data: wire.EventData = saved(path, drawn.randrange(50_000))
        if place % 10 == 0:
            data = commit(self.author, path, f"docs/{path}.md", insertions=drawn.randrange(90))
        return wire.SyncEvent(
            id=str(UUID(bytes=drawn.randbytes(16), version=4)),
            timestamp=self.start_ms + place * GAP_MS,
            device_id=self.device,
            user_id=self.person,
            project_id=self.project,
            local_id=place + 1,
            event_type=wire.TYPE_OF[type(data)],
            event_data=Raw(wire.encode(data)),
        )


@dataclass(frozen=True)
class Run:
    """What came of sending: batches of ``size``, and what the worker took for an event."""

    marks: Marks
    size: int
    cpu_us: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.marks.rate * self.size

    def __str__(self) -> str:
        return f"{self.rate:,.0f}/s at {self.cpu_us:.1f} us"


@contextmanager
def serving(rows: int, pcs: int = 1, database_url: str = "") -> Iterator[tuple[ServerProcess, list[Pc]]]:
    """A new server, on SQLite unless told otherwise, and PCs that have ``rows`` events to send to it."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as name:
        url = database_url or f"sqlite:///{Path(name) / 'devflow.db'}"
        server = ServerProcess(url, Path(name) / "data", SETTINGS)
        server.start()
        try:
            yield server, _settle(server, rows, pcs)
        finally:
            server.stop()


def upload(server: ServerProcess, pcs: Sequence[Pc], bodies: Sequence[Sequence[bytes]], size: int) -> Run:
    """Send the bodies of each PC, all PCs at once."""
    before = cpu_s(server.worker)
    marks = sending.send_at_once([pc.door for pc in pcs], bodies)
    events = sum(map(len, bodies)) * size
    return Run(marks, size, (cpu_s(server.worker) - before) / events * 1e6)


def run(rows: int, pcs: int = 1, size: int = BATCH, database_url: str = "") -> Run:
    """Fill a new server with ``rows`` events of so many PCs at once, in batches of ``size``."""
    with serving(rows, pcs, database_url) as (server, senders):
        batches = max(2, rows // pcs // size)
        bodies = [pc.bodies(batches + 1, size) for pc in senders]
        for pc, (first, *_) in zip(senders, bodies, strict=True):
            sending.send(pc.door, [first])  # what is made once is made
        return upload(server, senders, [rest for _, *rest in bodies], size)


def _settle(server: ServerProcess, rows: int, pcs: int) -> list[Pc]:
    """People who may send to a project, made behind the server's back."""
    context = Context.open(Settings(data_dir=str(server.data_dir), database_url=server.database_url))
    world = World.of(context)
    members = [world.person(f"Person{number}") for number in range(pcs)]
    project = world.project("bench", *members)
    start_ms = context.now() - DAY_MS - (rows // pcs + BATCH) * GAP_MS
    found = [_pc(server, context, member, project, start_ms) for member in members]
    context.database.close()
    return found


def _pc(server: ServerProcess, context: Context, member: Member, project: Project, start_ms: int) -> Pc:
    with context.database.writing() as session:
        person, device = session.get_one(Person, member.id), session.get_one(Device, member.device)
        by = Actor(person, context.now(), context.vault)
        token = tokens.issue(session, by, person, device, context.server_id).token
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
        wire.PROTOCOL_HEADER: str(wire.PROTOCOL),
    }
    assert server.port is not None
    door = Door(server.port, "/sync/events", headers, taken=b'"success":true')
    return Pc(door, member.public_id, member.device_id, project.public_id, member.author, start_ms)
