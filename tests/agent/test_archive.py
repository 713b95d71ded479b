"""The archive: no answer changes when old events move, nor when that is killed at any moment."""

from __future__ import annotations

import random
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from devflow import wire
from devflow_agent import archiving, outbox
from devflow_agent.analyse import activity, asking
from devflow_agent.local_calendar import Calendar
from devflow_agent.schema.archive import bring_back
from devflow_agent.store import Observation, Store
from tests.agent import killing
from tests.agent.archived import (
    NOW_MS,
    REMOTE,
    answers,
    assert_counters_are_true,
    filled,
    only_in_store,
    rows,
)
from tests.agent.outbox import START_MS, Outbox
from tests.agent.recorded import saves
from tests.agent.scripted_server import ScriptedServer
from tests.cli import Cli

MONTH_MS = 30 * wire.DAY_MS


@pytest.mark.parametrize("seed", range(6))
def test_every_answer_is_the_same_before_and_after(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    store = filled(path, chance)
    before = answers(store)
    moved = archiving.run(store, NOW_MS, older_than_ms=chance.choice((1, 30, 60)) * wire.DAY_MS)
    assert moved > 50
    assert len(only_in_store(store)) == 300 - moved
    assert answers(store) == before
    assert answers(Store(path)) == before
    assert_counters_are_true(store)
    assert archiving.archived(store) == moved
    assert archiving.run(store, NOW_MS, older_than_ms=wire.DAY_MS) + moved == archiving.archived(store)
    assert answers(store) == before


def test_no_question_reads_all_rows_to_find_some(path: Path) -> None:
    store = filled(path, random.Random(1))
    archiving.run(store, NOW_MS)
    asked: list[str] = []
    with store.read() as connection:
        connection.set_trace_callback(asked.append)
    store.events(limit=5)
    outbox.first_synced(store, REMOTE, 0)
    list(outbox.synced(store, REMOTE, 0, 1))
    activity.count(store, asking.question(store, Calendar.of_this_pc(), NOW_MS))
    about_events = {question for question in asked if "all_events" in question}
    assert len(about_events) >= 4
    with store.read() as connection:
        for question in about_events:
            steps = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {question}")]
            assert not [step for step in steps if step.startswith(("SCAN main", "SCAN old", "SCAN new"))], (
                steps
            )


def test_only_old_events_of_linked_projects_that_the_server_has_move(path: Path) -> None:
    store = filled(path, random.Random(3))
    old = {row[1] for row in rows(store) if row[7] == "synced" and row[2] < NOW_MS - MONTH_MS}
    everything = {row[1] for row in rows(store)}
    assert archiving.waiting(store, NOW_MS) == len(old) > 50
    archiving.run(store, NOW_MS)
    assert {*only_in_store(store)} == everything - old


def test_what_is_archived_is_known_when_it_is_seen_again(store: Store, path: Path) -> None:
    project = store.add_project("shop", Path("/src/shop"), Path("/src/shop/.git"), 0)
    outbox.link(store, project.id, wire.Project(project_id=REMOTE, name="Shop"))
    seen = saves(40)
    store.add(project.id, seen)
    settle_all(store)
    assert archiving.run(store, NOW_MS) == 40
    before = answers(store)
    assert store.add(project.id, seen) == 0
    other = store.add_project("clone", Path("/src/clone"), Path("/src/clone/.git"), 0)
    assert store.add(other.id, seen) == 0, "a commit in two clones is one event, archived or not"
    assert store.add(project.id, saves(1)) == 1
    assert store.sequence() == before["sequence"] + 1


def settle_all(store: Store) -> None:
    sent = outbox.pending(store, 10_000)
    attempt = outbox.Attempt(NOW_MS, len(sent), len(sent), 0, 1, 1, "ok", "")
    outbox.settle(store, sent, synced=[event.id for event in sent], attempt=attempt)


def test_killed_between_any_two_steps_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    home = tmp_path / "counted"
    filled(home / "devflow.db", random.Random(0), events=150)
    moments = killing.run("tests.agent.archived:archive", str(home))
    assert moments is not None
    for moment in random.Random(1).sample(range(1, moments + 1), 25):
        killed_at(tmp_path / str(moment), moment)


def killed_at(home: Path, moment: int) -> None:
    store = filled(home / "devflow.db", random.Random(0), events=150)
    before = answers(store)
    assert killing.run("tests.agent.archived:archive", str(home), kill_at=moment) is None
    assert answers(store) == before, moment
    again = Store(store.path)
    assert answers(again) == before, moment
    archiving.run(again, NOW_MS)
    assert answers(again) == before, moment
    assert_counters_are_true(again)
    assert archiving.waiting(again, NOW_MS) == 0


def test_a_reader_sees_every_event_once_while_they_move_there_and_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "STEP", 10)
    store = filled(path, random.Random(5), events=200)
    everything = sorted(row[1] for row in rows(store))
    stop, wrong = threading.Event(), []

    def read() -> None:
        reader = Store(path)
        while not stop.is_set():
            if (seen := sorted(str(event.id) for event in reader.events())) != everything:
                wrong.append(len(seen))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(15):
        archiving.run(store, NOW_MS, older_than_ms=wire.DAY_MS)
        outbox.send_again(store, list(outbox.synced(store, REMOTE, 0, NOW_MS)))
        settle_all(store)
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert_counters_are_true(store)


def test_what_the_server_lost_is_sent_again_out_of_the_archive(
    outbox: Outbox, server: ScriptedServer
) -> None:
    ids = outbox.record(30)
    outbox.push()
    assert archiving.run(outbox.store, START_MS + 2 * MONTH_MS) == 30
    for event_id in ids[5:9]:
        del server.stored[str(event_id)]
    server.epoch = "5a2f7cf0-7d43-4c39-a9f2-64a0be5d87ec"
    outbox.record(1)
    assert outbox.push().lost == 4
    assert server.stored.keys() >= {str(event_id) for event_id in ids}
    assert len(rows(outbox.store)) == 31
    assert_counters_are_true(outbox.store)
    assert len(only_in_store(outbox.store)) == 5
    assert archiving.run(outbox.store, START_MS + 2 * MONTH_MS) == 5
    assert_counters_are_true(outbox.store)


def test_another_server_gets_what_is_archived_too(path: Path) -> None:
    store = filled(path, random.Random(2))
    before = {row[1]: row[:7] for row in rows(store)}
    archiving.run(store, NOW_MS)
    outbox.report_to(store, UUID(int=2))
    assert {row[1]: row[:7] for row in rows(store)} == before
    assert {row[7] for row in rows(store)} == {"pending"}
    assert len(only_in_store(store)) == 300
    assert_counters_are_true(store)
    for project in store.projects():
        outbox.link(store, project.id, wire.Project(project_id=REMOTE, name="All"))
    assert len(outbox.pending(store, 1_000)) == 300
    settle_all(store)
    archiving.run(store, NOW_MS)
    assert {row[1]: row[:7] for row in rows(store)} == before
    assert_counters_are_true(store)


def test_a_copy_that_is_not_equal_is_no_reason_to_delete(path: Path) -> None:
    store = filled(path, random.Random(2))
    before = rows(store)
    archiving.run(store, NOW_MS)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ATTACH ? AS archive", (str(path.with_name("archive.db")),))
        copied = connection.execute("SELECT id, local_id FROM archive.archived_events LIMIT 20").fetchall()
    with store.write() as connection:
        for event_id, _ in copied:
            # As if a bug or a bit had changed the copy after it was made.
            bring_back(connection, event_id)
            connection.execute(
                "UPDATE archive.archived_events SET event_data = '{}' WHERE id = ?", (event_id,)
            )
    assert archiving._delete(store, [local_id for _, local_id in copied]) == 0
    assert rows(store) == before
    assert archiving.run(store, NOW_MS) == 20
    assert rows(store) == before


def test_a_store_made_anew_beside_an_old_archive_is_not_disturbed_by_it(path: Path) -> None:
    store = filled(path, random.Random(2))
    commits = [row for row in rows(store) if row[4] == "git.commit"]
    archiving.run(store, NOW_MS, older_than_ms=wire.DAY_MS)
    with closing(sqlite3.connect(path.with_name("archive.db"))) as connection:
        left = connection.execute("SELECT count(*) FROM archived_events").fetchone()[0]
    del store
    for name in ("devflow.db", "devflow.db-wal", "devflow.db-shm"):
        (path.parent / name).unlink(missing_ok=True)
    new = Store(path)
    assert new.events() == []
    project = new.add_project("shop", Path("/src/shop"), Path("/src/shop/.git"), 0)
    outbox.link(new, project.id, wire.Project(project_id=REMOTE, name="Shop"))
    same = [Observation(UUID(row[1]), 5, wire.FileDeleted(path="a")) for row in commits]
    assert new.add(project.id, same) == len(commits)
    settle_all(new)
    assert archiving.run(new, NOW_MS) == len(commits)
    assert len(new.events()) == len(commits) > 10
    with closing(sqlite3.connect(path.with_name("archive.db"))) as connection:
        assert connection.execute("SELECT count(*) FROM archived_events").fetchone()[0] == left + len(commits)


def test_it_is_due_weekly_by_the_wall_clock_that_is_passed_in(store: Store) -> None:
    assert archiving.is_due(store, NOW_MS)
    archiving.run(store, NOW_MS)
    assert not archiving.is_due(store, NOW_MS + archiving.EVERY_MS - 1)
    assert archiving.is_due(store, NOW_MS + archiving.EVERY_MS), "also after a week asleep"
    assert archiving.is_due(store, NOW_MS - 1), "the clock was set back: better once too often"


def test_stopped_in_between_it_is_still_due(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiving, "STEP", 10)
    store = filled(path, random.Random(2))
    before = answers(store)
    looks = iter([False, False, True])
    assert archiving.run(store, NOW_MS, is_stopped=lambda: next(looks)) == 20
    assert archiving.is_due(store, NOW_MS)
    assert answers(store) == before


# The command


def test_the_command_says_what_moved_and_where_it_is(outbox: Outbox, tmp_path: Path) -> None:
    outbox.record(30)
    outbox.push()
    outbox.record(2)
    cli = Cli(outbox.home.path, tmp_path)
    status = cli.json("status")
    assert cli.json("archive", "--older-than", "36500") == {
        "olderThanDays": 36500,
        "moved": 0,
        "inArchive": 0,
    }
    assert cli.json("archive") == {"olderThanDays": 30, "moved": 30, "inArchive": 30}
    assert cli.ok("archive").startswith("0 events moved; 30 in the archive")
    assert cli.json("status") == status


@pytest.mark.parametrize("value", ["", "0d", "-1d", "30days", "1e3", "99999999d", "٣d", "\x1b[31m"])
def test_an_age_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    said = Cli(tmp_path / "home", tmp_path).fails(2, "archive", f"--older-than={value}")
    assert said.startswith("--older-than: expected days from 1d to 36500d, got ")
    assert "\x1b" not in said
