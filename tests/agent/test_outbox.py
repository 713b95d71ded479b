"""The outbox: what waits, what a settled batch changes, and what a new server is told."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from devflow import wire
from devflow_agent import outbox
from devflow_agent.outbox import Attempt
from devflow_agent.store import Project, Store
from tests.agent.recorded import add_project, assert_counters_are_true, saves

ATTEMPT = Attempt(
    timestamp_ms=1_000, sent=2, synced=2, failed=0, bytes=100, latency_ms=5, outcome="ok", detail=""
)


def linked(store: Store, project: Project) -> None:
    outbox.link(store, project.id, wire.Project(project_id=uuid4(), name="Shop"))


def test_only_events_of_linked_projects_wait_oldest_first(store: Store, project: Project) -> None:
    other, private = add_project(store, "tool"), add_project(store, "diary")
    linked(store, project)
    linked(store, other)
    for one in (project, private, other, project):
        store.add(one.id, saves(2))
    waiting = outbox.pending(store, 100)
    assert [event.local_id for event in waiting] == [1, 2, 5, 6, 7, 8]
    assert [event.local_id for event in outbox.pending(store, 2, after=2)] == [5, 6]
    assert outbox.counts(store) == {"pending": 6, "synced": 0, "failed": 0}


def test_settling_the_same_answer_twice_changes_nothing(store: Store, path: Path, project: Project) -> None:
    linked(store, project)
    store.add(project.id, saves(4))
    a, b, c, _ = sent = outbox.pending(store, 10)

    def settle() -> None:
        outbox.settle(store, sent, synced=[a.id], failed={b.id: "no"}, kept={c.id: "later"}, attempt=ATTEMPT)

    settle()
    once = store.events()
    assert outbox.counts(store) == {"pending": 2, "synced": 1, "failed": 1}
    settle()
    assert store.events() == once
    assert outbox.counts(store) == {"pending": 2, "synced": 1, "failed": 1}
    assert_counters_are_true(path)


def test_settling_writes_each_row_once_in_as_many_statements_for_many_events_as_for_few(
    store: Store, path: Path
) -> None:
    projects = [add_project(store, name) for name in ("shop", "tool")]
    for project in projects:
        linked(store, project)

    def settle(each: int) -> tuple[int, int]:
        """Statements, and rows written of other tables than that of events."""
        for project in projects:
            store.add(project.id, saves(each))
        sent = outbox.pending(store, 2 * each)
        said: list[str] = []
        with store.write() as connection:  # which is the one that is used next
            before = connection.total_changes
            connection.set_trace_callback(said.append)
        outbox.settle(store, sent, synced=[event.id for event in sent], attempt=ATTEMPT)
        with store.write() as connection:
            connection.set_trace_callback(None)
            written = connection.total_changes - before - 2 * each
        return len([one for one in said if one not in ("BEGIN IMMEDIATE", "COMMIT")]), written

    # Of each project its events and two counters; then the attempt, and the end of the list of attempts.
    assert settle(1) == settle(400) == (8, 5)
    assert_counters_are_true(path)


def test_a_late_refusal_does_not_undo_what_is_synced(store: Store, path: Path, project: Project) -> None:
    linked(store, project)
    store.add(project.id, saves(1))
    (event,) = outbox.pending(store, 1)
    outbox.settle(store, [event], synced=[event.id], attempt=ATTEMPT)
    outbox.settle(store, [event], failed={event.id: "no"}, attempt=ATTEMPT)
    assert [one.sync_status for one in store.events()] == ["synced"]
    assert_counters_are_true(path)


def test_a_new_server_is_told_everything_again_and_the_same_one_nothing(
    store: Store, path: Path, project: Project
) -> None:
    first, second = uuid4(), uuid4()
    outbox.report_to(store, first)
    linked(store, project)
    store.add(project.id, saves(3))
    a, b, _ = sent = outbox.pending(store, 3)
    outbox.settle(store, sent, synced=[a.id], failed={b.id: "no"}, attempt=ATTEMPT)
    outbox.report_to(store, first)
    assert outbox.counts(store) == {"pending": 1, "synced": 1, "failed": 1}
    outbox.report_to(store, second)
    assert store.projects()[0].remote_id is None
    linked(store, project)
    assert outbox.counts(store) == {"pending": 3, "synced": 0, "failed": 0}
    assert_counters_are_true(path)


def test_the_log_of_attempts_does_not_grow_for_ever(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "KEPT_ATTEMPTS", 5)
    for _ in range(12):
        outbox.settle(store, (), attempt=ATTEMPT)
    assert len(outbox.attempts(store, 100)) == 5
