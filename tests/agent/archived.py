"""A store with events of every kind and state, and everything that can be asked of it."""

from __future__ import annotations

import json
import random
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from devflow import wire
from devflow.windows import Grain
from devflow_agent import archiving, outbox, salvaging, schema
from devflow_agent.analyse import activity
from devflow_agent.analyse.activity import Question
from devflow_agent.analyse.sync_state import sync_state
from devflow_agent.cli import show
from devflow_agent.config import Home
from devflow_agent.local_calendar import Calendar
from devflow_agent.outbox import Attempt
from devflow_agent.store import Observation, Project, Store, connect
from tests.agent.recorded import counted, counters

NOW_MS: Final = 1_790_000_000_000
REMOTE: Final = UUID("7d9fd8a6-2f0c-4c3e-8f6b-0a1f6d1f2a01")
KEYS: Final = ("a" * 32, "b" * 32)


def filled(path: Path, chance: random.Random, events: int = 300, days: int = 90) -> Store:
    """Three projects, two of them linked; most events are synced, some wait, some were refused."""
    store = Store(path)
    outbox.report_to(store, UUID(int=1))
    projects = [
        store.add_project(name, Path("/src") / name, Path("/src") / name / ".git", number)
        for number, name in enumerate(("shop", "tool", "diary"))
    ]
    for project in projects[:2]:
        outbox.link(store, project.id, wire.Project(project_id=REMOTE, name=project.name))
    for part in range(0, events, 50):
        project = projects[chance.randrange(3)]
        store.add(project.id, [observation(chance, days) for _ in range(min(50, events - part))])
        settle_some(store, chance)
    return store


def observation(chance: random.Random, days: int) -> Observation:
    at_ms = NOW_MS - chance.randrange(days * wire.DAY_MS)
    path = f"src/{chance.randrange(20)}.py"
    if chance.random() < 0.7:
        return Observation.own(at_ms, wire.FileSaved(path=path, size_bytes=chance.randrange(9_999)))
    commit = wire.Commit(
        sha=f"{chance.getrandbits(160):040x}",
        parents=[],
        author=chance.choice(KEYS),
        committer=KEYS[0],
        committed_at=at_ms,
        insertions=3,
        deletions=1,
        files_changed=1,
        files=[wire.FileChange(path=path)],
    )
    return Observation(wire.fact_id(wire.EventType.COMMIT, commit.sha), at_ms, commit)


def settle_some(store: Store, chance: random.Random) -> None:
    """The server's answer to what waits: most is stored, some refused for good, some for now."""
    sent = outbox.pending(store, 1_000)
    drawn = [chance.random() for _ in sent]
    attempt = Attempt(NOW_MS, len(sent), 0, 0, 1, 1, "ok", "")
    outbox.settle(
        store,
        sent,
        synced=[event.id for event, one in zip(sent, drawn, strict=True) if one < 0.85],
        failed={event.id: "no" for event, one in zip(sent, drawn, strict=True) if 0.85 <= one < 0.9},
        kept={event.id: "later" for event, one in zip(sent, drawn, strict=True) if one >= 0.95},
        attempt=attempt,
    )


def answers(store: Store) -> dict[str, Any]:
    """Everything that is ever asked of a store: lists, numbers, what sync and comparing see."""
    calendar = Calendar.of_this_pc()
    projects = store.projects()
    found: dict[str, Any] = {
        "rows": rows(store),
        "sequence": store.sequence(),
        "counts": store.event_counts(),
        "sync": (outbox.counts(store), sync_state(Home(store.path.parent), store)),
        "pending": outbox.pending(store, 10_000),
        "status": json.dumps(show.as_data(show.overview(Home(store.path.parent), store, NOW_MS))),
        "first": [
            outbox.first_synced(store, REMOTE, NOW_MS - days * wire.DAY_MS) for days in (0, 5, 31, 60, 99)
        ],
        "digests": wire.tallies(
            sorted(
                (one.timestamp_ms // wire.DAY_MS, one.event_type in wire.FACTS, UUID(one.id).bytes)
                for one in outbox.synced(store, REMOTE, 0, NOW_MS)
            )
        ),
    }
    for project in (None, *projects):
        for since, until, limit in ((99, 0, 10_000), (99, 0, 7), (40, 20, 10_000), (40, 25, 3)):
            found[f"events {_name(project)} {since} {until} {limit}"] = store.events(
                project_id=None if project is None else project.id,
                since_ms=NOW_MS - since * wire.DAY_MS,
                until_ms=NOW_MS - until * wire.DAY_MS,
                limit=limit,
            )
        for grain in (Grain.DAY, Grain.WEEK, Grain.MONTH):
            asked = Question(
                by=grain,
                since_ms=NOW_MS - 95 * wire.DAY_MS,
                until_ms=NOW_MS,
                calendar=calendar,
                author_keys=KEYS[:1],
                project_id=None if project is None else project.id,
            )
            found[f"activity {_name(project)} {grain}"] = activity.count(store, asked)
    return found


def rows(store: Store) -> list[tuple[Any, ...]]:
    """All there is of each event, in order of recording."""
    with store.read() as connection:
        return [tuple(row) for row in connection.execute("SELECT * FROM all_events ORDER BY local_id")]


def only_in_store(store: Store) -> list[str]:
    with store.read() as connection:
        return [row["id"] for row in connection.execute("SELECT id FROM main.events ORDER BY local_id")]


def assert_counters_are_true(store: Store) -> None:
    """What the store believes is what counting the rows of both files gives."""
    with store.read() as connection:
        assert counters(connection) == counted(connection, "all_events")


def archive(home: str) -> None:
    """For a process of its own."""
    archiving.STEP = 20  # type: ignore[misc]  # several steps of few events
    archiving.run(Store(Path(home) / "devflow.db"), NOW_MS)


def salvage(home: str) -> None:
    """For a process of its own."""
    salvaging.salvage(Home(Path(home)), NOW_MS)


def migrate(home: str, version: str) -> None:
    """For a process of its own."""
    with closing(connect(Path(home) / "devflow.db")) as connection:
        schema.migrate(connection, int(version))


def _name(project: Project | None) -> str:
    return "all" if project is None else project.name
