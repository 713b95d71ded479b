"""Live sync from end to end: a real work tree, the installed agent, a real server, and faults between."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
import requests
from sqlalchemy import func, select
from websockets.sync.client import connect

from devflow.db import Database
from devflow.models import Event
from devflow.wire import StreamEnd
from devflow_agent.outbox import attempts
from tests import certificates
from tests.cli import Cli
from tests.delivery import LIVE_SENDER, Delivery, Kill
from tests.faulty_proxy import Fault, FaultyProxy, storm
from tests.repo import Repo
from tests.server_process import ServerProcess
from tests.streaming import closed
from tests.visitor import EMAIL, Visitor, enrol, within

BREAKING: Final = {
    "answers 200": Fault.PORTAL,
    "answers 50x": Fault.ERROR_UNASKED,
    "cuts them": Fault.CUT_BEFORE,
}


@pytest.fixture
def backend() -> str:
    """One of the two will do: the door is that of uploads, which is tested on both."""
    return "sqlite"


@pytest.fixture
def visitor(server: ServerProcess) -> Iterator[Visitor]:
    with requests.Session() as http:
        visitor = Visitor(server, http)
        visitor.set_up()
        yield visitor


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "shop")
    repo.git("config", "user.email", EMAIL)
    repo.write("shop.py", "one\n")
    repo.commit()
    return repo


@pytest.fixture
def cli(tmp_path: Path, repo: Repo) -> Cli:
    return Cli(tmp_path / "home", repo.path)


@contextmanager
def watching(cli: Cli) -> Iterator[Any]:
    daemon = cli.start("watch")
    try:
        within(30, lambda: cli.json("status")["watching"])
        yield daemon
    finally:
        daemon.terminate()
        said, _ = daemon.communicate(timeout=20)
        print(said)


def local(cli: Cli, query: str) -> list[Any]:
    with closing(sqlite3.connect(cli.home.database)) as connection:
        return connection.execute(query).fetchall()


def stored(server: ServerProcess) -> int:
    database = Database(server.database_url)
    with database.reading() as session:
        found = session.scalar(select(func.count()).select_from(Event)) or 0
    database.close()
    return found


def ways(cli: Cli) -> list[str]:
    """How each attempt went that settled something, oldest first."""
    return [via for (via,) in local(cli, "SELECT via FROM sync_logs WHERE synced > 0 ORDER BY id")]


def pending(cli: Cli) -> int:
    return int(local(cli, "SELECT count(*) FROM events WHERE sync_status = 'pending'")[0][0])


def live(cli: Cli) -> None:
    """Wait until saves go out over the stream."""

    def went_live() -> bool:
        (cli.folder / "mark").write_bytes(bytes(time.monotonic_ns() // 300_000_000 % 1_000))
        return "live" in ways(cli)

    within(30, went_live)
    within(10, lambda: pending(cli) == 0)


def test_a_save_is_on_the_server_within_a_second(
    server: ServerProcess, visitor: Visitor, cli: Cli, repo: Repo, record_property: Any
) -> None:
    enrol(cli, visitor)
    with watching(cli):
        live(cli)
        took_s = []
        for number in range(5):
            before = stored(server)
            began = time.monotonic()
            repo.write("shop.py", "x" * number)
            within(10, lambda: stored(server) > before)  # noqa: B023
            took_s.append(time.monotonic() - began)
        within(10, lambda: pending(cli) == 0)
    print(took_s)
    record_property("seconds", took_s)
    # The promise is one second; a machine that runs two test suites gets three.
    assert sorted(took_s)[2] < 3
    assert ways(cli)[-1] == "live"


def test_over_tls_the_stream_trusts_whom_uploads_trust(
    tmp_path: Path, repo: Repo, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certificates.make(tmp_path / "tls")
    server = ServerProcess(f"sqlite:///{tmp_path / 'tls.db'}", tmp_path / "data", certificate=certificate)
    server.start()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.authority))
    cli.env["REQUESTS_CA_BUNDLE"] = str(certificate.authority)
    with requests.Session() as http:
        visitor = Visitor(server, http)
        visitor.set_up()
        enrol(cli, visitor)
    with watching(cli):
        live(cli)
        bearer = {"Authorization": f"Bearer {token(cli)}"}
        address = server.url.replace("https", "wss") + "/sync/stream"
        context = certificate.trusting()
        with connect(
            address, additional_headers=bearer, ssl=context, compression=None, legacy=False
        ) as other:
            began = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began < 5, "within the grace time"
            assert closed(other)[0] == StreamEnd.STOPPING
    assert "Traceback" not in server.printed()


def token(cli: Cli) -> str:
    return str(json.loads(cli.home.credentials.read_text())["account"]["token"])


@contextmanager
def proxied(server: ServerProcess) -> Iterator[FaultyProxy]:
    assert server.port is not None
    with FaultyProxy(server.port, random.Random(1)).running() as proxy:
        yield proxy


def test_an_answer_that_is_lost_on_the_way_loses_and_doubles_nothing(
    server: ServerProcess, visitor: Visitor, cli: Cli, repo: Repo
) -> None:
    with proxied(server) as proxy:
        enrol(cli, visitor, proxy.url)
        with watching(cli):
            for number in range(4):
                # Each stream is cut in what comes down after the handshake, where answers are.
                proxy.plan = cut_streams()
                proxy.cut_streams()
                for step in range(5):
                    repo.write(f"file{number}.py", "x" * step)
                    time.sleep(0.1)
            proxy.plan = iter(())
            within(30, lambda: pending(cli) == 0)
            within(10, lambda: stored(server) == len(recorded_ids(cli)))
    assert stored_ids(server) == recorded_ids(cli)
    assert proxy.faults[Fault.CUT_ANSWER] > 0


def cut_streams() -> Iterator[Fault]:
    yield Fault.CUT_ANSWER


def recorded_ids(cli: Cli) -> set[str]:
    return {event_id for (event_id,) in local(cli, "SELECT id FROM events")}


def stored_ids(server: ServerProcess) -> set[str]:
    database = Database(server.database_url)
    with database.reading() as session:
        found = list(session.scalars(select(Event.event_id)))
    database.close()
    assert len(found) == len(set(found))
    return {str(UUID(bytes=event_id)) for event_id in found}


def test_a_server_killed_in_the_middle_has_everything_once_it_is_back(
    server: ServerProcess, visitor: Visitor, cli: Cli, repo: Repo
) -> None:
    enrol(cli, visitor)
    with watching(cli):
        live(cli)
        for number in range(2):
            repo.write("shop.py", "before" * number)
            server.kill()
            repo.write("other.py", "while it is gone" * number)
            server.start()
            repo.write("third.py", "after" * number)
            within(30, lambda: pending(cli) == 0)
        within(30, lambda: ways(cli)[-1] == "live" or repo.write("mark", str(time.monotonic_ns())))
        within(10, lambda: pending(cli) == 0)
    cli.ok("sync", "push")  # what was recorded as it ended
    assert stored_ids(server) == recorded_ids(cli)


def test_a_revoked_pc_sends_nothing_more_and_says_so_once(
    server: ServerProcess, visitor: Visitor, cli: Cli, repo: Repo
) -> None:
    enrol(cli, visitor)
    with watching(cli) as daemon:
        live(cli)
        (device,) = cli.json("sync", "devices")
        bearer = {"Authorization": f"Bearer {token(cli)}"}
        address = f"{server.url}/auth/devices/{device['deviceId']}/revoke"
        assert requests.post(address, json={}, headers=bearer, timeout=30).status_code == 204
        before = stored(server)
        repo.write("secret.py", "after the revocation")
        within(30, lambda: pending(cli) > 0 and cli.json("sync", "status")["email"] is None)
        time.sleep(1.5)  # two rounds of the daemon's
        assert stored(server) == before
        daemon.terminate()
        said, _ = daemon.communicate(timeout=20)
    assert said.count("sync is paused") == 1, said


@pytest.mark.parametrize("kind", ["knows nothing of them", *BREAKING])
def test_behind_a_proxy_that_breaks_streams_events_arrive_by_http(
    server: ServerProcess, visitor: Visitor, cli: Cli, repo: Repo, kind: str
) -> None:
    with proxied(server) as proxy:
        enrol(cli, visitor, proxy.url)
        cli.home.store().set_settings(sync_interval_s=10)
        proxy.breaks_streams = BREAKING.get(kind)
        proxy.takes_streams = kind in BREAKING
        daemon = cli.start("watch")
        try:
            within(30, lambda: cli.json("status")["watching"])
            within(30, lambda: pending(cli) == 0 and recorded_ids(cli))
            within(30, lambda: proxy.refused_streams >= 3)
            mark = "mark.py"
            within(30, lambda: repo.write(mark, str(time.monotonic_ns())) or "http" in ways(cli)[1:])
            within(30, lambda: pending(cli) == 0)
        finally:
            daemon.terminate()
            said, _ = daemon.communicate(timeout=20)
        cli.ok("sync", "push")  # what was recorded as it ended
    assert stored_ids(server) == recorded_ids(cli)
    assert set(ways(cli)) == {"http"}
    assert said.count("live sync does not get through") == 1, said


KILLS = [Kill.SERVER, Kill.SENDER, Kill.SENDER, Kill.BOTH, Kill.SENDER, Kill.SERVER]


def test_live_and_batch_together_deliver_each_event_once_whoever_is_killed(
    database_url: str, tmp_path: Path
) -> None:
    server = ServerProcess(database_url, tmp_path / "data")
    with Delivery.begun(server, tmp_path / "home", random.Random(5)) as delivery:
        delivery.script = LIVE_SENDER
        delivery.proxy.plan = storm(random.Random(2), 0.2)
        with delivery.recording():
            for kill in KILLS:
                delivery.kill(kill)
            # In fair weather a sender that has seen no other opens a stream for sure.
            delivery.proxy.plan = storm(random.Random(2), 0)
            delivery.kill(Kill.SENDER)
            delivery.start_sender()
            within(60, lambda: _ways(delivery) == {"http", "live"})
        delivery.finish(timeout_s=60)
        delivery.assert_delivered()


def _ways(delivery: Delivery) -> set[str]:
    return {attempt.via for attempt in attempts(delivery.store, 10_000) if attempt.synced}
