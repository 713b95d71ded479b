"""The store: what it returned from is on the disk, its counters are true, its schema moves safely."""

from __future__ import annotations

import multiprocessing
import multiprocessing.synchronize
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from devflow import wire
from devflow.errors import Busy, Invalid
from devflow_agent import outbox, schema
from devflow_agent.store import Observation, Project, Store, connect
from tests.agent.recorded import add_project, assert_counters_are_true, saves
from tests.agent.test_outbox import ATTEMPT, linked

# Durability

FULL = 2  # of PRAGMA synchronous

WRITER = """
import sys
from pathlib import Path
from uuid import UUID
from devflow import wire
from devflow_agent.store import Observation, Store

store = Store(Path(sys.argv[1]))
number = 0
while True:
    batch = [
        Observation.own(number, wire.FileSaved(path="a.py", size_bytes=number + step)) for step in range(3)
    ]
    store.add(UUID(sys.argv[2]), batch)
    print("\\n".join(str(one.id) for one in batch), flush=True)
    number += 3
"""


def test_what_add_returned_from_survives_a_kill_of_the_writer(
    store: Store, path: Path, project: Project
) -> None:
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(project.id)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert writer.stdout is not None
        confirmed = [writer.stdout.readline().strip() for _ in range(150)]
        os.kill(writer.pid, signal.SIGKILL)
        confirmed += [line.strip() for line in writer.stdout if line.endswith("\n")]
        writer.stdout.close()
        writer.wait()
        stored = [event.id for event in store.events(limit=1_000_000)]
        assert set(confirmed) <= {str(event_id) for event_id in stored}
        assert len(stored) % 3 == 0, "a batch is there as a whole or not at all"
    assert_counters_are_true(path)


def test_a_commit_waits_for_the_disk_on_every_connection(store: Store) -> None:
    with store.write() as first, store.read() as second:
        assert [one.execute("PRAGMA synchronous").fetchone()[0] for one in (first, second)] == [FULL] * 2
        assert first.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_block_that_raises_writes_nothing(store: Store, path: Path, project: Project) -> None:
    with pytest.raises(RuntimeError), store.write() as connection:
        connection.execute("DELETE FROM projects")
        raise RuntimeError
    assert [one.id for one in store.projects()] == [project.id]


def test_refs_and_the_events_that_led_to_them_are_written_together(store: Store, project: Project) -> None:
    main = {"refs/heads/main": "a" * 40}
    broken = Observation(uuid4(), -1, wire.FileDeleted(path="\ud800"))  # cannot be encoded
    with pytest.raises(UnicodeEncodeError):
        store.add_and_advance(project.id, [*saves(2), broken], seen={}, refs=main)
    assert store.refs(project.id) == {}
    assert store.events() == []
    store.add_and_advance(project.id, saves(2), seen={}, refs=main)
    assert store.refs(project.id) == main


def test_of_two_that_started_from_the_same_refs_one_is_told_so_and_records_nothing(
    store: Store, project: Project
) -> None:
    main, dev = {"refs/heads/main": "a" * 40}, {"refs/heads/dev": "b" * 40}
    store.add_and_advance(project.id, saves(1), seen={}, refs=main)
    with pytest.raises(Busy):
        store.add_and_advance(project.id, saves(1), seen={}, refs=dev)
    assert len(store.events()) == 1
    store.add_and_advance(project.id, [], seen=main, refs=dev)
    assert store.refs(project.id) == dev


# Events


def test_the_same_fact_seen_twice_is_one_event(store: Store, path: Path, project: Project) -> None:
    fact = Observation(wire.fact_id(wire.EventType.FILE_DELETED, "x"), 1, wire.FileDeleted(path="x"))
    assert store.add(project.id, [fact, fact]) == 1
    assert store.add(project.id, [fact]) == 0
    assert len(store.events()) == 1
    assert_counters_are_true(path)


def test_events_of_all_projects_come_newest_first_within_the_time_asked_for(
    store: Store, project: Project
) -> None:
    other = add_project(store, "tool")
    store.add(project.id, saves(5, first_ms=10))
    store.add(other.id, saves(5, first_ms=12))
    times = [event.timestamp_ms for event in store.events(since_ms=11, until_ms=16)]
    assert times == [15, 14, 14, 13, 13, 12, 12, 11]
    assert [event.timestamp_ms for event in store.events(limit=3)] == [16, 15, 14]
    only = store.events(project_id=other.id, limit=2)
    assert [(event.timestamp_ms, event.project_id) for event in only] == [(16, other.id), (15, other.id)]


def test_local_ids_only_grow(store: Store, path: Path, project: Project) -> None:
    store.add(project.id, saves(3))
    last = store.events(limit=1)[0]
    with store.write() as connection:
        connection.execute("DELETE FROM events WHERE local_id = ?", (last.local_id,))
    store.add(project.id, saves(1, first_ms=100))
    assert store.events(limit=1)[0].local_id == last.local_id + 1


def test_a_repository_that_moved_is_still_the_same_project(store: Store, project: Project) -> None:
    moved = store.add_project("other name", Path("/elsewhere"), project.git_dir, 5)
    assert (moved.id, moved.name, moved.path) == (project.id, "shop", Path("/elsewhere"))


def test_a_project_whose_git_directory_moved_is_still_the_same_project(
    store: Store, project: Project
) -> None:
    moved = store.add_project("shop", project.path, Path("/git/shop.git"), 5)
    assert (moved.id, moved.git_dir) == (project.id, Path("/git/shop.git"))


# The file


def test_a_second_store_in_the_process_does_not_give_up_the_locks_of_the_first(
    store: Store, path: Path, project: Project
) -> None:
    store.add(project.id, saves(1))
    Store(path)
    # Were the locks gone, the reader would take itself for the last one here and delete the log.
    read = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
    read += "print(*c.execute('SELECT count(*) FROM events').fetchone()); c.close()"
    for count in (1, 2):
        done = subprocess.run([sys.executable, "-c", read, path], capture_output=True, text=True, timeout=30)
        assert done.stdout.strip() == str(count)
        store.add(project.id, saves(1))


def test_the_store_is_private_from_its_first_byte_on(path: Path) -> None:
    before = os.umask(0)
    try:
        store = Store(path)
        add_project(store, "shop")
        with store.read():  # the WAL files are there while somebody reads
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    files = [name + end for name in ("devflow.db", "archive.db") for end in ("", "-wal", "-shm")]
    assert modes == dict.fromkeys(files, 0o600)


@pytest.mark.parametrize(
    "content", [b"this is no database, but it is long enough to be one" * 40, b"\0" * 4_096]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(Invalid, match=r"cannot use the store .*devflow\.db"):
        Store(path)
    assert path.read_bytes() == content


# The schema


def to_version(path: Path, version: int) -> list[int]:
    with closing(connect(path)) as connection:
        return schema.migrate(connection, version)


def columns(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[1] for row in connection.execute("PRAGMA table_info(events)")}


def identities(path: Path) -> list[tuple[int, str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT local_id, id, event_data FROM events ORDER BY local_id").fetchall()


def test_down_and_up_again_keeps_every_id_and_forgets_only_sync(
    store: Store, path: Path, project: Project
) -> None:
    linked(store, project)
    store.add(project.id, saves(5))
    two = outbox.pending(store, 2)
    outbox.settle(store, two, synced=[event.id for event in two], attempt=ATTEMPT)
    before = identities(path)
    del store
    assert to_version(path, 1) == [1]
    assert not any("sync" in column for column in columns(path))
    assert identities(path) == before
    assert to_version(path, 1) == []
    assert to_version(path, 2) == [2]
    assert to_version(path, 2) == []
    again = Store(path)
    assert identities(path) == before
    assert {event.sync_status for event in again.events()} == {"pending"}
    assert_counters_are_true(path)
    again.add(project.id, saves(1, first_ms=99))
    assert again.events(limit=1)[0].local_id == 6
    assert_counters_are_true(path)


def test_old_rows_of_version_1_wait_to_be_sent(path: Path) -> None:
    path.parent.mkdir()
    to_version(path, 1)
    project_id, event_id = uuid4(), uuid4()
    with closing(connect(path)) as connection:
        connection.execute(
            "INSERT INTO projects VALUES (?, 'shop', '/src', '/src/.git', 0)", (str(project_id),)
        )
        connection.execute(
            "INSERT INTO events (id, timestamp, project_id, event_type, event_data, checksum)"
            " VALUES (?, 1, ?, ?, '{}', 0)",
            (str(event_id), str(project_id), "file.deleted"),
        )
        connection.execute("INSERT INTO event_counts VALUES (?, 'file.deleted', 1)", (str(project_id),))
    store = Store(path)
    linked(store, store.projects()[0])
    assert [event.id for event in outbox.pending(store, 5)] == [str(event_id)]
    assert_counters_are_true(path)


def test_a_store_of_a_newer_agent_is_refused_and_left_alone(store: Store, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(Invalid, match=r"schema version 99, this agent knows up to 2: upgrade"):
        Store(path)
    with pytest.raises(Invalid, match="upgrade"):
        to_version(path, 1)


@pytest.mark.parametrize("version", [0, 3, -1])
def test_a_version_that_does_not_exist_is_refused(store: Store, path: Path, version: int) -> None:
    with pytest.raises(Invalid, match=f"from 1 to 2, got {version}"):
        to_version(path, version)


def test_a_step_that_fails_half_way_never_happened(
    store: Store, path: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(project.id, saves(2))
    statements = schema.statements("v2.down.sql")
    monkeypatch.setattr(schema, "statements", lambda _script: [*statements[:4], "DROP TABLE no_such_table"])
    before = columns(path)
    with pytest.raises(sqlite3.OperationalError):
        to_version(path, 1)
    assert columns(path) == before
    assert_counters_are_true(path)
    assert len(Store(path).events()) == 2


def test_a_new_store_that_somebody_writes_is_waited_for(path: Path) -> None:
    path.parent.mkdir()
    # Without WAL, as a process that came a moment earlier sees it.
    with closing(connect(path)) as other:
        other.execute("PRAGMA user_version = 0")
        other.execute("CREATE TABLE t (a)")
        other.execute("DROP TABLE t")
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE u (a)")
        release = threading.Timer(0.3, other.execute, args=("ROLLBACK",))
        release.start()
        assert Store(path).projects() == []
        release.join()


def _open_together(paths: list[Path], barrier: multiprocessing.synchronize.Barrier) -> None:
    for path in paths:
        barrier.wait(30)
        add_project(Store(path), f"project {os.getpid()}")


def test_processes_that_open_a_new_store_at_once_all_succeed(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(4)
    paths = [tmp_path / str(trial) / "devflow.db" for trial in range(20)]
    processes = [spawn.Process(target=_open_together, args=(paths, barrier)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert all(len(Store(path).projects()) == 4 for path in paths)


def _write_together(path: Path, project_id: UUID, barrier: multiprocessing.synchronize.Barrier) -> None:
    store = Store(path)
    barrier.wait(30)
    for number in range(50):
        store.add(project_id, saves(2, first_ms=number))


def test_processes_that_write_at_once_lose_nothing(store: Store, path: Path, project: Project) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(3)
    run: Callable[..., object] = _write_together
    processes = [spawn.Process(target=run, args=(path, project.id, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 3
    assert store.event_counts()[project.id].total() == 300
    assert_counters_are_true(path)
