"""Levels against a real server: changed while events are on their way, and different in two clones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import requests

from devflow import pseudonyms, wire
from devflow.errors import Offline
from devflow_agent import levels, outbox, sync
from devflow_agent.store import Level, Project
from devflow_agent.sync import Pushed
from tests.cli import Cli
from tests.delivery import LIVE_SENDER, SENDER, Delivery, arrived, recorded, wait_until_counted
from tests.faulty_proxy import Fault, storm
from tests.repo import Repo
from tests.server_process import ServerProcess
from tests.visitor import EMAIL, PASSWORD, Visitor, enrol, within

ROUNDS = 12


@pytest.fixture
def backend() -> str:
    """One of the two will do: what is the same event is decided beside the database."""
    return "sqlite"


@pytest.fixture
def delivery(database_url: str, tmp_path: Path) -> Iterator[Delivery]:
    server = ServerProcess(database_url, tmp_path / "data")
    with Delivery.begun(server, tmp_path / "home", random.Random(9)) as delivery:
        for project in delivery.projects:
            repo = Repo(project.path)
            repo.write("a.py", "1\n")
            repo.commit()
        yield delivery
    if server.is_running:
        server.kill()


def share(delivery: Delivery, project: Project, level: Level) -> None:
    levels.choose(delivery.store, {project.id: project.path}, level)


def nothing_waits(delivery: Delivery) -> bool:
    return outbox.counts(delivery.store)["pending"] == 0


def ids_of(delivery: Delivery, project: Project) -> set[UUID]:
    return {one for one, row in recorded(delivery.store).items() if row["project_id"] == str(project.id)}


@pytest.mark.parametrize("script", [SENDER, LIVE_SENDER], ids=["uploads", "live"])
def test_levels_that_change_while_events_are_sent_lose_and_double_none_and_what_is_off_stays_here(
    delivery: Delivery, script: str
) -> None:
    chance = random.Random(4)
    shop, till = delivery.projects
    delivery.script = script
    delivery.set_batch_size(50)
    share(delivery, till, Level.OFF)
    delivery.record(800)
    delivery.start_sender()
    within(30, lambda: nothing_waits(delivery))
    wait_until_counted(delivery.server)
    assert arrived(delivery.server).keys() == ids_of(delivery, shop)
    assert outbox.held(delivery.store) == len(ids_of(delivery, till)) > 0

    delivery.proxy.plan = storm(random.Random(2), 0.3)
    for number in range(ROUNDS):
        delivery.record(300)
        share(delivery, chance.choice(delivery.projects), chance.choice([*Level]))
        if number % 4 == 3:
            delivery.kill_sender()
            delivery.start_sender()
        if chance.random() < 0.4:
            within(60, lambda: nothing_waits(delivery))
    for project in delivery.projects:
        share(delivery, project, chance.choice([Level.METRICS, Level.METADATA]))
    delivery.finish(timeout_s=60)

    sent, there = recorded(delivery.store), arrived(delivery.server)
    assert {row["sync_status"] for row in sent.values()} == {"synced"}
    assert there.keys() == sent.keys()
    forms = set()
    for event_id, row in sent.items():
        kind = wire.DATA[wire.EventType(row["event_type"])]
        here, (timestamp, text) = wire.decode(row["event_data"].encode(), kind), there[event_id]
        assert timestamp == row["timestamp"]
        assert pseudonyms.tell_the_same(here, wire.decode(text.encode(), kind))
        forms.add(text == row["event_data"])
    assert forms == {True, False}, "both were used"


@pytest.mark.parametrize(
    ("before", "after"), [(Level.METADATA, Level.METRICS), (Level.METRICS, Level.METADATA)]
)
def test_what_goes_out_again_at_another_level_is_a_duplicate_and_no_conflict(
    delivery: Delivery, before: Level, after: Level
) -> None:
    for project in delivery.projects:
        share(delivery, project, before)
    delivery.record(100)
    delivery.proxy.plan = iter([Fault.NONE, Fault.NO_ANSWER])  # it first asks who is there
    with requests.Session() as http:
        with pytest.raises(Offline):
            sync.push(delivery.home, delivery.store, http)
        for project in delivery.projects:
            share(delivery, project, after)
        assert sync.push(delivery.home, delivery.store, http) == Pushed(synced=100)
    wait_until_counted(delivery.server)
    sent, there = recorded(delivery.store), arrived(delivery.server)
    assert there.keys() == sent.keys()
    as_recorded = {row["event_data"] == there[event_id][1] for event_id, row in sent.items()}
    assert as_recorded == {before is Level.METADATA}, "what came first stays"


def clone(repo: Repo, server: ServerProcess, page: str, folder: Path) -> tuple[Cli, Repo]:
    """A second PC of the same person with a clone, linked to the same project."""
    other = repo.clone(folder / "clone")
    other.git("config", "user.email", EMAIL)
    cli = Cli(folder / "home-clone", other.path)
    cli.ok("init")
    cli.ok("sync", "init", server.url)
    cli.ok("sync", "auth", "--email", EMAIL, "--password-stdin", stdin=PASSWORD + "\n")
    cli.ok("sync", "enable", "--project-id", page.rpartition("/")[2])
    return cli, other


def test_two_clones_at_different_levels_count_each_commit_once_and_nothing_contradicts(
    server: ServerProcess, tmp_path: Path
) -> None:
    repo = Repo(tmp_path / "shop")
    repo.git("config", "user.email", EMAIL)
    for number in range(5):
        repo.write(f"src/{number}.py", "1\n")
        repo.commit()
    repo.git("tag", "v1")
    repo.git("tag", "-m", "two", "v2")
    desk = Cli(tmp_path / "home", repo.path)
    with requests.Session() as http:
        visitor = Visitor(server, http)
        visitor.set_up()
        page = enrol(desk, visitor)
        desk.ok("sync", "share", "metrics")
        lap, other = clone(repo, server, page, tmp_path)
        for cli in (desk, lap):
            cli.ok("import", "git")
            cli.ok("sync", "push")
        alone = visitor.figures(page)
        assert alone["Commits"].split()[0] == "5"
        # Now whoever names is first, and the other one's are the same commits.
        other.write("src/later.py", "1\n")
        other.commit()
        lap.ok("import", "git")
        lap.ok("sync", "push")
        repo.git("pull", "--quiet", str(other.path), "main")
        desk.ok("import", "git")
        desk.ok("sync", "push")
        figures = visitor.figures(page)
        assert figures["Commits"].split()[0] == "6"
    for cli in (desk, lap):
        status = cli.json("sync", "status")
        assert (status["failed"], status["pending"]) == (0, 0)
    there = arrived(server)
    assert there.keys() == recorded(desk.home.store()).keys() | recorded(lap.home.store()).keys()
    texts = " ".join(text for _, text in there.values())
    assert "src/later.py" in texts
    assert "src/0.py" not in texts, "what came first stays"
