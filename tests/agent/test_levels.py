"""What leaves this PC at each level, and that nothing else does: not what is held back, and no name."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import requests

from devflow import languages, pseudonyms, wire
from devflow.errors import Invalid
from devflow.wire import EventType
from devflow_agent import alerts, batches, enrolment, levels, measures, salvaging, tracing
from devflow_agent import outbox as rows
from devflow_agent.analyse import waiting
from devflow_agent.analyse.waiting import Why
from devflow_agent.config import now_ms
from devflow_agent.settings import Settings
from devflow_agent.store import Level, Project
from tests.agent.naming import Named, nameless, names_in
from tests.agent.outbox import START_MS, Outbox
from tests.agent.recorded import add_project
from tests.agent.scripted_server import (
    Answer,
    ScriptedServer,
    Seen,
    refuse_first,
    store_all,
    wait_for,
)
from tests.agent.watched import Watched
from tests.cli import Cli
from tests.repo import Repo

HOSTILE = "\x1b[2J\u202eevil"
KEY = bytes(range(32))


@pytest.fixture
def repo(outbox: Outbox) -> Repo:
    """The work tree of the outbox's project, with a commit."""
    repo = Repo(outbox.project.path)
    repo.write("a.py", "1\n")
    repo.commit()
    return repo


@pytest.fixture
def cli(outbox: Outbox, repo: Repo) -> Cli:
    return Cli(outbox.home.path, repo.path)


def share(outbox: Outbox, level: Level, project: Project | None = None) -> None:
    chosen = project or outbox.project
    levels.choose(outbox.store, {chosen.id: chosen.path}, level)


def second(outbox: Outbox) -> Project:
    """Another project, that reports to another one of the server."""
    outbox.server.projects.append({"projectId": str(uuid4()), "name": "Till"})
    project = add_project(outbox.store, "till")
    outbox.link(project, 1)
    return project


def left(server: ScriptedServer) -> str:
    """All that ever left this PC, names spelled out."""
    said = [f"{seen.path} {seen.headers} {seen.body.decode()}" for seen in server.seen]
    bodies = [json.dumps(seen.json, ensure_ascii=False) for seen in server.seen if seen.body]
    texts = [text for seen in server.seen if seen.body for text in strings(seen.json)]
    return "\n".join([*said, *bodies, *texts])


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def data_of(event: dict[str, Any]) -> wire.EventData:
    return msgspec.convert(event["eventData"], wire.DATA[EventType(event["eventType"])])


def recorded(outbox: Outbox) -> dict[str, wire.EventData]:
    return {
        row["id"]: wire.decode(row["event_data"].encode(), wire.DATA[EventType(row["event_type"])])
        for row in outbox.rows()
    }


# What leaves


@pytest.mark.parametrize("seed", range(4))
def test_as_metrics_no_name_of_any_event_leaves_and_every_number_does(
    outbox: Outbox, server: ScriptedServer, repo: Repo, seed: int
) -> None:
    by = Named(random.Random(seed))
    made = [by.one(data) for data in wire.DATA.values() for _ in range(30)]
    outbox.store.add(outbox.project.id, made)
    share(outbox, Level.METRICS)
    assert outbox.push().synced == len(made)
    everything = left(server)
    assert [name for name in by.parts() if name in everything] == []
    assert len(by.parts()) > 500
    for observation in made:
        sent = data_of(server.stored[str(observation.id)])
        assert nameless(sent) == nameless(observation.data)
        assert all(map(pseudonyms.is_one, names_in(sent)))
        assert pseudonyms.tell_the_same(sent, observation.data)
    assert recorded(outbox) == {str(one.id): one.data for one in made}, "the store keeps its names"


@pytest.mark.parametrize("level", [Level.METADATA, Level.METRICS])
def test_every_type_leaves_as_it_is_shared_and_the_server_would_take_it(
    outbox: Outbox, server: ScriptedServer, repo: Repo, level: Level
) -> None:
    by = Named(random.Random(7))
    made = [by.one(data) for data in wire.DATA.values()]
    outbox.store.add(outbox.project.id, made)
    share(outbox, level)
    outbox.push()
    (upload,) = server.uploads
    received = [wire.receive(raw) for raw in wire.decode_batch(upload.body).events]
    assert {type(event.event_data) for event in received} == {*wire.DATA.values()}
    told = {name for event in received for name in names_in(event.event_data)}
    assert (told == by.names) == (level is Level.METADATA)


def test_one_file_has_one_pseudonym_that_tells_its_language_and_no_branch_has_it(outbox: Outbox) -> None:
    assert pseudonyms.of_path(KEY, "src/a.py") == pseudonyms.of_path(KEY, "src/a.py")
    others = {pseudonyms.of_path(KEY, path) for path in ("src/b.py", "a.py", "src/a.pyi", "src/A.py")}
    assert len(others | {pseudonyms.of_path(KEY, "src/a.py")}) == 5
    assert pseudonyms.of_path(bytes(32), "src/a.py") != pseudonyms.of_path(KEY, "src/a.py")
    assert pseudonyms.of_path(KEY, "main") != pseudonyms.of_ref(KEY, "main")


@pytest.mark.parametrize("language", languages.TABLE, ids=lambda language: language.name)
def test_a_pseudonym_is_of_the_language_that_the_path_is_of(language: languages.Language) -> None:
    paths = [f"src/secret.{ending}" for ending in language.endings.split()]
    paths += [f"src/{name}" for name in language.names.split()]
    for path in [*paths, "secret", "secret.", "no/such.ending"]:
        found = pseudonyms.of_path(KEY, path)
        assert languages.of(found) == languages.of(path), path
        assert pseudonyms.is_one(found)
        assert len(found) <= pseudonyms.LONGEST
        assert "secret" not in found


def test_an_ending_that_tells_no_language_stays_here() -> None:
    assert "." not in pseudonyms.of_path(KEY, "src/plan.acquisition-of-acme")


def test_a_preview_is_to_the_byte_what_is_sent_at_each_level(
    outbox: Outbox, server: ScriptedServer, repo: Repo
) -> None:
    by = Named(random.Random(1))
    for level in (Level.METRICS, Level.METADATA):
        outbox.store.add(outbox.project.id, [by.one(data) for data in wire.DATA.values()])
        share(outbox, level)
        preview = batches.preview(outbox.store, server.user_id, 100)
        outbox.push()
        assert server.uploads[-1].body == preview.body
    outbox.record(1)
    share(outbox, Level.OFF)
    assert batches.preview(outbox.store, server.user_id, 100).events == 0


def test_a_row_that_cannot_be_read_leaves_without_what_is_in_it_and_blocks_no_other(
    outbox: Outbox, server: ScriptedServer, repo: Repo
) -> None:
    broken, _ = outbox.record(2)
    with outbox.store.write() as connection:
        connection.execute('UPDATE events SET event_data = \'{"path": "secret\' WHERE id = ?', (str(broken),))
    share(outbox, Level.METRICS)
    server.script.append(refuse_first("invalid", retryable=False))
    assert (pushed := outbox.push()).synced == 1
    assert pushed.failed == 1
    assert "secret" not in left(server)


# Keys


def key_of(outbox: Outbox) -> tuple[str, int]:
    with outbox.store.read() as connection:
        row = connection.execute(
            "SELECT pseudonym_key, is_key_common FROM sync_levels WHERE pseudonym_key IS NOT NULL"
        ).fetchone()
    return row["pseudonym_key"], row["is_key_common"]


def test_every_whole_clone_has_the_same_key_and_nobody_else(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "shop")
    repo.write("a.py", "1\n")
    first = repo.commit()
    repo.commit()
    key = levels.found_key(repo.path)
    assert key.is_common
    assert levels.found_key(repo.clone(tmp_path / "clone").path) == key
    assert levels.found_key(repo.clone(tmp_path / "bare", "--bare").path) == key
    assert levels.found_key(repo.worktree(tmp_path / "tree", "--detach").path) == key
    assert first.encode() not in key.secret.hex().encode()
    shallow = repo.clone(tmp_path / "shallow", "--depth", "1")
    assert levels.found_key(shallow.path) != levels.found_key(shallow.path)
    assert not levels.found_key(shallow.path).is_common
    other = Repo(tmp_path / "other")
    other.write("a.py", "2\n")
    other.commit()
    assert levels.found_key(other.path) != key


def test_without_a_commit_or_with_a_first_one_of_nothing_the_key_is_this_pcs(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "shop")
    assert not levels.found_key(repo.path).is_common
    repo.commit()
    assert not levels.found_key(repo.path).is_common, "whoever knows author and time could guess it"


def test_of_several_beginnings_the_smallest_hash_is_taken_whatever_the_branch(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "shop")
    repo.write("a.py", "1\n")
    one = repo.commit()
    alone = levels.found_key(repo.path)
    repo.git("checkout", "--quiet", "--orphan", "other")
    repo.write("b.py", "2\n")
    another = repo.commit()
    other = levels.found_key(repo.path)
    repo.git("merge", "--quiet", "--allow-unrelated-histories", "--message", "both", "main")
    assert levels.found_key(repo.path) == (alone if one < another else other)


def test_a_key_once_found_stays_whatever_becomes_of_the_history(outbox: Outbox, repo: Repo) -> None:
    share(outbox, Level.METRICS)
    before = key_of(outbox)
    repo.git("checkout", "--quiet", "--orphan", "new")
    repo.write("b.py", "2\n")
    repo.commit()
    for level in (Level.OFF, Level.METADATA, Level.METRICS):
        share(outbox, level)
    assert key_of(outbox) == before
    assert levels.found_key(repo.path).secret.hex() != before[0]
    rows.report_to(outbox.store, uuid4())
    assert key_of(outbox) == before, "nor does another server change it"
    assert outbox.store.projects()[0].level is Level.METRICS


def test_a_folder_that_is_gone_changes_nothing(outbox: Outbox) -> None:
    with pytest.raises(Invalid, match="expected the folder of a git repository"):
        share(outbox, Level.METRICS)
    assert outbox.store.projects()[0].level is Level.METADATA
    assert levels.changes(outbox.store) == 0
    share(outbox, Level.OFF)
    assert outbox.store.projects()[0].level is Level.OFF


# Commits that do not fit one event


def test_a_commit_of_many_short_names_is_cut_so_that_it_fits_at_each_level(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "shop")
    for number in range(1_200):
        repo.write(f"{number}.webmanifest", "1\n")
    repo.commit()
    watched = Watched(repo, tmp_path / "home")
    watched.collect()
    parts: list[wire.Commit | wire.CommitFiles] = [
        *watched.data(wire.Commit),
        *watched.data(wire.CommitFiles),
    ]
    assert len(parts) > 1
    assert sum(len(part.files) for part in parts) == 1_200
    for part in parts:
        for form in (part, pseudonyms.without_names(KEY, part)):
            assert len(wire.encode(form)) < wire.MAX_EVENT_BYTES - 1_024


# Nothing


def test_of_a_project_that_shares_nothing_nothing_leaves_and_others_do_not_wait_for_it(
    outbox: Outbox, server: ScriptedServer
) -> None:
    other = second(outbox)
    held = outbox.record(300, path="secret/a.py")
    share(outbox, Level.OFF)
    sent = outbox.record(5, other)
    assert outbox.push().synced == 5
    assert [*server.stored] == [str(event_id) for event_id in sent]
    assert (rows.counts(outbox.store)["pending"], rows.held(outbox.store)) == (0, 300)
    everything = left(server)
    assert "secret" not in everything
    assert not any(str(event_id) in everything for event_id in held)
    share(outbox, Level.METADATA)
    assert (rows.counts(outbox.store)["pending"], rows.held(outbox.store)) == (300, 0)
    assert outbox.push().synced == 300
    assert server.stored.keys() == {str(event_id) for event_id in [*held, *sent]}
    outbox.assert_counters_are_true()


def test_what_is_held_back_is_no_queue_that_anybody_is_alarmed_about(
    outbox: Outbox, server: ScriptedServer
) -> None:
    outbox.record(1_200)
    settings = Settings.load(outbox.store)
    assert alerts.current(outbox.store, settings, measures.measured(outbox.store), now_ms())
    share(outbox, Level.OFF)
    assert not alerts.current(outbox.store, settings, measures.measured(outbox.store), now_ms())
    assert measures.report(outbox.store, 0).queue == 0, "nor is the server told how much it is"


def test_the_queue_says_what_is_held_back_and_why(outbox: Outbox) -> None:
    outbox.record(3)
    outbox.record(2, second(outbox))
    share(outbox, Level.OFF)
    outbox.store.set_settings(sync_enabled=False)
    found = waiting.queue(outbox.home, outbox.store, now_ms())
    assert {one.project.name: one.why for one in found.projects} == {"shop": Why.HELD, "till": Why.OFF}
    assert (found.size, found.held, found.next_batch) == (2, 3, 2)


def test_a_trace_says_that_it_is_held_back_and_asks_nobody(outbox: Outbox, server: ScriptedServer) -> None:
    (event_id,) = outbox.record(1)
    share(outbox, Level.OFF)
    with requests.Session() as http:
        found = tracing.trace(outbox.home, outbox.store, http, event_id, now_ms())
    assert (found.advice.cause, found.on_server.answer) == ("shares nothing", tracing.Answer.NOT_ASKED)
    assert "devflow sync share" in found.advice.next_step
    assert server.seen == []


def test_what_was_sent_is_not_compared_while_nothing_is_shared_and_is_once_it_is(
    outbox: Outbox, server: ScriptedServer
) -> None:
    sent = outbox.record(3)
    outbox.push()
    share(outbox, Level.OFF)
    server.stored.clear()  # a backup from before these events
    server.epoch = str(uuid4())
    outbox.record(1, second(outbox))
    server.seen.clear()
    outbox.push()
    assert not any(str(event_id) in left(server) for event_id in sent)
    assert server.projects[0]["projectId"] not in left(server)
    share(outbox, Level.METADATA)
    assert outbox.push().lost == 3
    assert {str(event_id) for event_id in sent} <= server.stored.keys()


def test_of_two_folders_that_report_to_one_project_one_can_share_nothing(
    outbox: Outbox, server: ScriptedServer
) -> None:
    other = add_project(outbox.store, "again")
    outbox.link(other)
    outbox.record(2, path="secret.py")
    sent = outbox.record(2, other)
    share(outbox, Level.OFF)
    outbox.push()
    assert [*server.stored] == [str(event_id) for event_id in sent]
    server.epoch = str(uuid4())
    outbox.record(1, other)
    assert outbox.push().lost == 0


def test_an_author_of_a_project_that_shares_nothing_is_not_told(
    outbox: Outbox, server: ScriptedServer, repo: Repo, tmp_path: Path
) -> None:
    repo.git("config", "user.email", "other-self@example.org")
    share(outbox, Level.OFF)
    till = Repo(tmp_path / "till")
    till.git("config", "user.email", "ada@example.org")
    project = outbox.store.add_project("till", till.path, till.git_dir, START_MS)
    with requests.Session() as http:
        enrolment.link(outbox.home, outbox.store, http, project, None)
        assert server.authors == [wire.author_key("ada@example.org")]
        asked = len(server.seen)
        with pytest.raises(Invalid, match="shop shares nothing, by your choice"):
            enrolment.link(outbox.home, outbox.store, http, outbox.store.projects()[0], None)
    assert len(server.seen) == asked


# While somebody sends


def meanwhile(outbox: Outbox, level: Level) -> Callable[[ScriptedServer, Seen], Answer]:
    """Stores a batch, after a level was chosen."""

    def play(server: ScriptedServer, seen: Seen) -> Answer:
        share(outbox, level)
        return store_all(server, seen)

    return play


def test_what_was_made_ready_is_thrown_away_once_nothing_is_shared(
    outbox: Outbox, server: ScriptedServer
) -> None:
    other = second(outbox)
    outbox.record(700)
    sent = outbox.record(50, other)
    server.script.append(meanwhile(outbox, Level.OFF))
    outbox.push()
    assert all(event["projectId"] != server.projects[0]["projectId"] for event in events_after(server, 1))
    assert {str(event_id) for event_id in sent} <= server.stored.keys(), "others are sent to the end"
    assert rows.held(outbox.store) >= 600
    share(outbox, Level.METADATA)
    outbox.push()
    assert len(server.stored) == 750
    assert outbox.statuses() == {"synced": 750}


def events_after(server: ScriptedServer, uploads: int) -> list[dict[str, Any]]:
    return [event for seen in server.uploads[uploads:] for event in seen.json["events"]]


def test_no_name_leaves_after_metrics_were_chosen_in_the_middle_of_a_push(
    outbox: Outbox, server: ScriptedServer, repo: Repo
) -> None:
    outbox.record(700, path="secret/a.py")
    server.script.append(meanwhile(outbox, Level.METRICS))
    outbox.push()
    assert outbox.statuses() == {"synced": 700}
    after = events_after(server, 1)
    assert len(after) >= 600
    assert all(pseudonyms.is_one(event["eventData"]["path"]) for event in after)


def test_a_request_that_waits_is_cut_off_when_its_project_shares_nothing_any_more(
    outbox: Outbox, server: ScriptedServer
) -> None:
    release, done = threading.Event(), threading.Event()
    outbox.record(10)

    def push() -> None:
        outbox.push()
        done.set()

    server.script.append(wait_for(release))
    pushing = threading.Thread(target=push)
    pushing.start()
    try:
        while not server.uploads:
            release.wait(0.01)
        share(outbox, Level.OFF)
        assert done.wait(10), "not the 30 s that it waits for an answer"
    finally:
        release.set()
        pushing.join()
    assert len(server.uploads) == 1
    assert rows.held(outbox.store) == 10


def test_halves_of_a_refused_batch_are_not_sent_after_the_change(
    outbox: Outbox, server: ScriptedServer
) -> None:
    def refuse(server: ScriptedServer, seen: Seen) -> Answer:
        share(outbox, Level.OFF)
        return Answer(400, b"{}", {"Content-Type": "application/problem+json"})

    outbox.record(40)
    server.script.append(refuse)
    outbox.push()
    assert len(server.uploads) == 1
    assert outbox.statuses() == {"pending": 40}


def test_an_answer_that_is_lost_before_the_change_settles_after_it(
    outbox: Outbox, server: ScriptedServer, repo: Repo
) -> None:
    def lose(server: ScriptedServer, seen: Seen) -> None:
        store_all(server, seen)
        share(outbox, Level.METRICS)

    outbox.record(3)
    server.script.append(lose)
    outbox.push()
    assert outbox.statuses() == {"synced": 3}
    assert len(server.uploads) == 2
    first, again = (seen.json["events"] for seen in server.uploads)
    for named, unnamed in zip(first, again, strict=True):
        assert named["id"] == unnamed["id"]
        assert pseudonyms.tell_the_same(data_of(named), data_of(unnamed))


# The same, with and without names


@pytest.mark.parametrize("data", wire.DATA.values())
def test_an_event_is_the_same_at_each_level_and_another_one_is_not(data: type[wire.EventData]) -> None:
    by = Named(random.Random(5))
    one, another = by.one(data).data, by.one(data).data
    hidden = pseudonyms.without_names(KEY, one)
    hidden_otherwise = pseudonyms.without_names(bytes(32), one)
    assert pseudonyms.tell_the_same(one, one)
    assert pseudonyms.tell_the_same(one, hidden)
    assert pseudonyms.tell_the_same(hidden, one)
    assert pseudonyms.tell_the_same(hidden, hidden_otherwise)
    assert not pseudonyms.tell_the_same(one, another)
    renamed = pseudonyms.renamed(one, lambda path: path + "x", lambda ref: ref + "x")
    assert pseudonyms.tell_the_same(one, renamed) == (not names_in(one))


@pytest.mark.parametrize("name", ["~", "~" + "a" * 19, "~" + "A" * 20, "~" + "a" * 20 + ".", "x~" + "a" * 20])
def test_what_only_looks_like_a_pseudonym_is_a_name(name: str) -> None:
    assert not pseudonyms.is_one(name)
    assert not pseudonyms.is_one(f"~{'a' * 20}\n")


# The store


def test_going_down_to_the_local_store_and_up_again_forgets_levels(outbox: Outbox, cli: Cli) -> None:
    cli.ok("sync", "share", "off")
    cli.ok("migrate", "down", "--to=v1")
    cli.ok("migrate", "up")
    assert outbox.home.store().projects()[0].level is Level.METADATA


def test_removing_sync_removes_levels_and_keys(outbox: Outbox, repo: Repo) -> None:
    share(outbox, Level.METRICS)
    rows.forget(outbox.store)
    with outbox.store.read() as connection:
        assert connection.execute("SELECT count(*) FROM sync_levels").fetchone()[0] == 0
    assert not rows.knows_anything(outbox.store)


def test_a_salvage_keeps_levels_and_where_it_cannot_nothing_is_linked(outbox: Outbox, repo: Repo) -> None:
    other = second(outbox)
    share(outbox, Level.METRICS)
    share(outbox, Level.OFF, other)
    key = key_of(outbox)
    salvaged_levels = {"shop": Level.METRICS, "till": Level.OFF}
    del outbox.store
    salvaging.salvage(outbox.home, now_ms())
    outbox.store = outbox.home.store()
    assert {one.name: one.level for one in outbox.store.projects()} == salvaged_levels
    assert key_of(outbox) == key
    with outbox.store.write() as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE sync_levels SET level = 'nothing' WHERE level = 'off'")
        connection.execute("PRAGMA ignore_check_constraints = OFF")
    del outbox.store
    salvaging.salvage(outbox.home, now_ms())
    assert [one.remote_id for one in outbox.home.store().projects()] == [None, None]


# The command


def test_the_command_shows_and_chooses(outbox: Outbox, server: ScriptedServer, cli: Cli) -> None:
    outbox.record(2)
    assert cli.ok("sync", "share") == "metadata  shop -> Shop\n"
    said = cli.ok("sync", "share", "off")
    assert "shop shares nothing" in said
    assert "what was sent before stays on the server" in said
    assert cli.ok("sync", "share") == "off       shop -> Shop, 2 events held back\n"
    assert {"shares": "off"}.items() <= cli.json("status")["projects"][0].items()
    (one,) = cli.json("sync", "share")
    assert one == {
        "projectId": str(outbox.project.id),
        "name": "shop",
        "linkedTo": "Shop",
        "remoteId": server.projects[0]["projectId"],
        "shares": "off",
        "heldBack": 2,
        "pseudonyms": None,
    }
    status = cli.json("sync", "status")
    assert (status["linked"][0]["shares"], status["heldBack"], status["syncQueueSize"]) == ("off", 2, 0)
    text = cli.ok("sync", "status")
    assert "shop -> Shop, shares nothing" in text
    assert "0 waiting, 0 synced, 0 refused, 2 held back" in text
    assert "2 held back, of projects that share nothing" in cli.ok("sync", "queue")
    assert cli.ok("sync", "push") == "nothing to send; 2 events held back (`devflow sync share`)\n"
    assert "2 events held back" in cli.ok("sync", "preview")
    assert "shares nothing" in cli.fails(2, "sync", "enable")
    (one,) = json.loads(cli.ok("sync", "share", "metrics", "--json"))
    assert (one["shares"], one["heldBack"], one["pseudonyms"]) == ("metrics", 0, "common")
    assert cli.ok("sync", "push") == "2 events synced\n"


@pytest.mark.parametrize("by", ["id", "name", "remote id", "remote name"])
def test_a_project_is_named_from_anywhere(outbox: Outbox, cli: Cli, tmp_path: Path, by: str) -> None:
    (remote,) = outbox.server.projects
    named = {
        "id": str(outbox.project.id),
        "name": "shop",
        "remote id": remote["projectId"],
        "remote name": remote["name"],
    }[by]
    cli.folder = tmp_path
    cli.ok("sync", "share", "off", "--project-id", named)
    assert outbox.store.projects()[0].level is Level.OFF


def test_a_level_can_be_chosen_before_a_project_is_linked(outbox: Outbox, cli: Cli, tmp_path: Path) -> None:
    repo = Repo(tmp_path / "new")
    cli.folder = repo.path
    cli.ok("init")
    assert "pseudonyms of this PC alone" in cli.ok("sync", "share", "metrics")
    assert "metrics   new -> not linked" in cli.ok("sync", "share")
    assert cli.json("sync", "share")[1]["pseudonyms"] == "this PC"
    assert "it shares metrics" in cli.ok("sync", "enable", "--project-id", "Shop")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("everything",), "is not one of 'off', 'metrics', 'metadata'"),
        (("OFF",), "is not one of"),
        (("",), "is not one of"),
        ((HOSTILE,), "is not one of"),
        (("off", "--project-id", HOSTILE), "\\u{1b}[2J\\u{202e}evil"),
        (("off", "--project-id", "None"), "expected --project-id to be one of"),
        (("off", "--project-id", ""), "expected --project-id to be one of"),
        (("off", "--project-id", str(UUID(int=0))), "expected --project-id to be one of"),
        (("--project-id", "nothing"), "expected --project-id to be one of"),
        (("off", "metrics"), "unexpected extra argument"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    outbox: Outbox, cli: Cli, args: tuple[str, ...], said: str
) -> None:
    line = cli.fails(2, "sync", "share", *args)
    assert said in line
    assert not {*HOSTILE[:1], "\u202e"} & {*line}
    assert levels.changes(outbox.store) == 0


def test_a_name_that_two_projects_have_is_no_answer(outbox: Outbox, cli: Cli, tmp_path: Path) -> None:
    second_shop = outbox.store.add_project("shop", tmp_path / "b", tmp_path / "b/.git", START_MS)
    assert "which is all of these" in cli.fails(2, "sync", "share", "off", "--project-id", "shop")
    cli.ok("sync", "share", "off", "--project-id", str(second_shop.id))
    assert [one.level for one in outbox.store.projects()] == [Level.METADATA, Level.OFF]


def test_outside_of_a_repository_a_project_has_to_be_named(outbox: Outbox, cli: Cli, tmp_path: Path) -> None:
    cli.folder = tmp_path
    assert "git repository" in cli.fails(2, "sync", "share", "off")
    assert cli.ok("sync", "share") == "metadata  shop -> Shop\n"


def test_a_name_of_a_repository_cannot_steer_the_terminal(outbox: Outbox, cli: Cli, tmp_path: Path) -> None:
    project = outbox.store.add_project(HOSTILE, tmp_path / "evil", tmp_path / "evil/.git", START_MS)
    cli.ok("sync", "share", "off", "--project-id", str(project.id))
    for said in (cli.ok("sync", "share"), cli.fails(2, "sync", "share", "--project-id", "x")):
        assert "\\u{1b}[2J\\u{202e}evil" in said
        assert "\x1b" not in said
