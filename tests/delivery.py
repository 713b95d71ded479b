"""A PC, a server, a network between them that fails, and everything killed in the middle of it."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import requests
from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import keys, wire
from devflow.config import Settings
from devflow.crypto import Vault
from devflow.db import Database
from devflow.ingest.rows import DATA
from devflow.models import Event, Mark
from devflow.rollups import Calendar
from devflow_agent import enrolment, outbox
from devflow_agent.config import Home, now_ms
from devflow_agent.remote import Remote
from devflow_agent.store import Observation, Project, Store
from tests.agent.recorded import assert_counters_are_true
from tests.faulty_proxy import FaultyProxy
from tests.postgres import Postgres
from tests.server.test_rollups import recounted_from, stored
from tests.server_process import ServerProcess
from tests.visitor import EMAIL, PASSWORD, Visitor, within

DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000
MOST_BATCHES: Final = 5
OWN: Final = wire.author_key(EMAIL)
STRANGER: Final = wire.author_key("stranger@example.net")
# What the agent's daemon does, at another pace: it sends at once, and pauses for moments at most.
SENDER: Final = """
import random, sys, time
from pathlib import Path
import requests
from devflow_agent.config import Home
from devflow_agent.remote import Timeouts
from devflow_agent.sync import Backoff, PeriodicPush

home = Home(Path(sys.argv[1]))
backoff = Backoff(uniform=lambda low, high: random.uniform(low, min(high / 20, 0.3)))
with requests.Session() as http:
    push = PeriodicPush(home, home.store(), http, lambda text: print(text, flush=True), backoff,
                        Timeouts(connect_s=2, read_s=2, answer_s=4))
    while True:
        time.sleep(push() or 0.01)
"""
# The same, live: it gives streams up at once and tries them again at once, so that both ways are taken.
LIVE_SENDER: Final = """
import random, sys, threading, time
from pathlib import Path
import requests
from devflow_agent.config import Home
from devflow_agent.live import Live, Patience
from devflow_agent.remote import Timeouts
from devflow_agent.sync import Backoff, PeriodicPush

home, stop = Home(Path(sys.argv[1])), threading.Event()
say = lambda text: print(text, flush=True)
backoff = lambda: Backoff(uniform=lambda low, high: random.uniform(low, min(high / 20, 0.3)))
timeouts = Timeouts(connect_s=2, read_s=2, answer_s=4)
with requests.Session() as http:
    live = Live(home, home.store(), http, say, stop, timeouts=timeouts, backoff=backoff(),
                push=PeriodicPush(home, home.store(), http, say, backoff(), timeouts),
                patience=Patience(tries=3, young_s=5, pause_s=0.5))
    while True:
        wait_s = live()
        time.sleep(0.01 if wait_s is None else min(wait_s, 0.3))
"""


class Kill(StrEnum):
    """What is ended with SIGKILL."""

    SERVER = "server"
    SENDER = "sending agent"
    BOTH = "server and sending agent"
    POSTGRES = "PostgreSQL"
    BACKENDS = "PostgreSQL's backends"


@dataclass
class Delivery:
    """The way of a PC's events to the server. ``postgres`` is what the server stands on, if it does."""

    server: ServerProcess
    proxy: FaultyProxy
    home: Home
    store: Store
    projects: list[Project]
    chance: random.Random
    postgres: Postgres | None = None
    kills: Counter[Kill] = field(default_factory=Counter)
    script: str = SENDER
    _sender: subprocess.Popen[bytes] | None = None
    recorded: int = 0

    @classmethod
    @contextmanager
    def begun(
        cls, server: ServerProcess, folder: Path, chance: random.Random, postgres: Postgres | None = None
    ) -> Iterator[Delivery]:
        """Start the server, and sign in a PC whose two projects report to two there."""
        server.start()
        assert server.port is not None
        with FaultyProxy(server.port, random.Random(chance.random())).running() as proxy:
            home = Home(folder)
            with requests.Session() as http:
                projects = enrol(home, Visitor(server, http), proxy.url)
            delivery = cls(server, proxy, home, home.store(), projects, chance, postgres)
            try:
                yield delivery
            finally:
                delivery.kill_sender()
                if server.is_running:  # it has stopped after ``finish``
                    server.kill()
                if postgres is not None:
                    postgres.start()

    def record(self, count: int, since: int | None = None) -> None:
        """Record so many events: hours of saves and commits, from ``since`` or any time of half a year on."""
        made = list(self._history(count, since))
        for project in self.projects:
            self.store.add(project.id, [one for of, one in made if of == project.id])
        self.recorded += count

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record meanwhile, a few events at a time and now and then many: some 100 a second."""
        stop = threading.Event()
        recorder = threading.Thread(target=self._record_slowly, args=(stop,))
        recorder.start()
        try:
            yield
        finally:
            stop.set()
            recorder.join()

    def _record_slowly(self, stop: threading.Event) -> None:
        pace, at = random.Random(1), now_ms() - 180 * DAY_MS
        while not stop.wait(pace.uniform(0, 0.3)):
            some = pace.choice([1, 1, 1, 1, 1, 1, 2, 2, 3, 5, 8, 20, 40, 150])
            self.record(some, at)
            at += some * MINUTE_MS

    def _history(self, count: int, since: int | None) -> Iterator[tuple[UUID, Observation]]:
        chance = self.chance
        at = since or now_ms() - chance.randrange(DAY_MS, 180 * DAY_MS)
        project = chance.choice(self.projects)
        for _ in range(count):
            at += chance.randrange(1, 240_000)
            if chance.random() < 0.01:
                at = now_ms() - chance.randrange(DAY_MS, 180 * DAY_MS)
                project = chance.choice(self.projects)
            yield project.id, _commit(chance, at) if chance.random() < 0.1 else _save(chance, at)

    def set_batch_size(self, size: int) -> None:
        self.store.set_settings(sync_batch_size=size)

    # What is killed

    def kill(self, what: Kill) -> None:
        """Kill it in the middle of one of the next batches, and start the server and its database again.

        The sender starts with the next ``kill``, with ``start_sender`` or with ``finish``.
        ``record`` before it so much that this many batches wait.
        """
        self.start_sender()
        batches = self.chance.randrange(1, MOST_BATCHES + 1)
        assert self.proxy.wait_for_uploads(batches, 60), f"expected {batches} batches, got: {self.said()}"
        time.sleep(self.chance.uniform(0, 1.5 * self.proxy.upload_takes_s))
        match what:
            case Kill.SERVER:
                self.server.kill()
                self.server.start()
            case Kill.SENDER:
                self.kill_sender()
            case Kill.BOTH:
                self.server.kill()
                self.kill_sender()
                self.server.start()
            case Kill.POSTGRES:
                assert self.postgres is not None
                self.postgres.kill()
                self.postgres.start()
            case Kill.BACKENDS:
                assert self.postgres is not None
                self.postgres.crash()
        self.kills[what] += 1

    def start_sender(self) -> None:
        if self._sender is None or self._sender.poll() is not None:
            with (self.home.path / "sender.log").open("ab") as log:
                self._sender = subprocess.Popen(
                    [sys.executable, "-c", self.script, str(self.home.path)],
                    env={"PYTHONPATH": ":".join(sys.path)},
                    stdout=log,
                    stderr=log,
                )

    def kill_sender(self) -> None:
        if self._sender is not None:
            self._sender.kill()
            self._sender.wait(timeout=10)

    def said(self) -> str:
        """The last words of the sending agent."""
        log = self.home.path / "sender.log"
        return log.read_text()[-2_000:] if log.exists() else "nothing"

    # What has to be true in the end

    def finish(self, timeout_s: float) -> None:
        """With a network that works again everything arrives, is counted, and the server stops cleanly."""
        self.proxy.plan = iter(())
        self.start_sender()
        _until(lambda: outbox.counts(self.store)["pending"] == 0, timeout_s, self.said)
        self.kill_sender()
        wait_until_counted(self.server)
        assert self.server.stop() == 0

    def assert_delivered(self) -> None:
        """Nothing is lost, doubled or altered, on either side, and every number is what counting gives."""
        assert_counters_are_true(self.home.database)
        sent = recorded(self.store)
        assert len(sent) == self.recorded
        assert {row["sync_status"] for row in sent.values()} == {"synced"}
        assert_same({event_id: content(row) for event_id, row in sent.items()}, arrived(self.server))
        assert self.proxy.followed == [], "no redirect is followed"

    def summary(self) -> str:
        """What was endured, a line each."""
        lines = [
            f"{self.recorded:,} events; {self.proxy.uploads:,} batches, {self.proxy.resent:,} sent again",
            f"{self.proxy.streams:,} streams",
            f"{self.proxy.gone:,} requests to a server that was gone",
            *(f"{count:6,}  killed: {what}" for what, count in self.kills.most_common()),
            *(f"{count:6,}  {fault}" for fault, count in self.proxy.faults.most_common()),
        ]
        return "\n".join(lines)


def enrol(home: Home, visitor: Visitor, url: str) -> list[Project]:
    """Set the server up, and sign the PC of its owner in there, with two projects that report to two."""
    visitor.set_up()
    store, http = home.store(), visitor.http
    enrolment.enrol(home, store, http, url)
    enrolment.sign_in(home, store, http, EMAIL, PASSWORD)
    remote = Remote(home.credentials, http)
    remote.tell_authors(wire.Authors(authors=[OWN]))
    projects = []
    for name in ("shop", "till"):
        visitor.new_project(name)
        path = home.path / name
        projects.append(store.add_project(name, path, path / ".git", 0))
    named = {project.name: project for project in remote.projects()}
    for project in projects:
        outbox.link(store, project.id, named[project.name])
    store.set_settings(sync_enabled=True)
    return projects


Content = tuple[int, str]
"""Time and data of an event."""


def recorded(store: Store) -> dict[UUID, Any]:
    """Every row of the PC by its id, read from a file that is whole."""
    with store.read() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return {UUID(row["id"]): row for row in connection.execute("SELECT * FROM events")}


def content(row: Any) -> Content:
    """Of a row of ``recorded``."""
    return row["timestamp"], row["event_data"]


def arrived(server: ServerProcess) -> dict[UUID, Content]:
    """What the server has stored, each once, after a look that every one of its numbers is exact."""
    with _opened(server) as (session, vault):
        # Rows instead of entities: a third of the memory.
        events: list[Any] = list(session.execute(select(Event.__table__)))
        doubled = [key for key, count in Counter(event.event_id for event in events).items() if count > 1]
        assert doubled == [], f"{len(doubled)} of {len(events)} are doubled"
        calendar = Calendar(Settings().zone, Settings().idle_limit_ms)
        counted, right = stored(session), recounted_from(events, calendar, vault)
        wrong = [cell for cell in counted.keys() | right.keys() if counted.get(cell) != right.get(cell)]
        assert wrong == [], f"{len(wrong)} of {len(right)} cells are not what a recount gives"
        return {
            UUID(bytes=event.event_id): (
                event.timestamp,
                vault.open(DATA, event.event_id, event.data).decode(),
            )
            for event in events
        }


def assert_same(sent: Mapping[UUID, Content], there: Mapping[UUID, Content]) -> None:
    """The server has what was sent, all of it, unaltered, and nothing else."""
    assert sent.keys() <= there.keys(), f"lost {len(sent.keys() - there.keys())} of {len(sent)} events"
    assert there.keys() <= sent.keys(), f"{len(there.keys() - sent.keys())} events came from nowhere"
    altered = [event_id for event_id, told in sent.items() if there[event_id] != told]
    assert altered == [], f"{len(altered)} of {len(sent)} events were altered"


def wait_until_counted(server: ServerProcess) -> None:
    """Until the running server has derived its larger windows."""
    with _opened(server) as (session, _):

        def is_counted() -> bool:
            session.rollback()  # the next look sees what was committed since
            return session.scalar(select(Mark.day).limit(1)) is None

        _until(is_counted, 120, server.printed)


@contextmanager
def _opened(server: ServerProcess) -> Iterator[tuple[Session, Vault]]:
    database = Database(server.database_url)
    vault = keys.open_vault(database, Settings(data_dir=str(server.data_dir)))
    with database.reading() as session:
        yield session, vault
    database.close()


def _until(found: Callable[[], bool], timeout_s: float, said: Callable[[], str]) -> None:
    try:
        within(timeout_s, found)
    except AssertionError as error:
        raise AssertionError(f"{error}; last said: {said()[-2_000:]}") from error


def _save(chance: random.Random, at: int) -> Observation:
    data = wire.FileSaved(path=_path(chance), size_bytes=chance.randrange(100_000))
    return Observation(UUID(int=chance.getrandbits(128), version=4), at, data)


def _commit(chance: random.Random, at: int) -> Observation:
    author = OWN if chance.random() < 0.7 else STRANGER
    files = [
        wire.FileChange(path=path, insertions=chance.randrange(50), deletions=chance.randrange(20))
        for path in sorted({_path(chance) for _ in range(chance.randrange(1, 6))})
    ]
    data = wire.Commit(
        sha=f"{chance.getrandbits(160):040x}",
        parents=[f"{chance.getrandbits(160):040x}"],
        author=author,
        committer=author,
        committed_at=at,
        insertions=sum(change.insertions or 0 for change in files),
        deletions=sum(change.deletions or 0 for change in files),
        files_changed=len(files),
        files=files,
    )
    return Observation(wire.fact_id(wire.EventType.COMMIT, data.sha), at, data)


def _path(chance: random.Random) -> str:
    return f"src/part{chance.randrange(20)}/file{chance.randrange(20)}.py"
