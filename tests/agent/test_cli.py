"""The command line as a developer meets it: real runs of the program, its words and exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest
import requests

from devflow import wire
from devflow_agent import credentials, enrolment
from devflow_agent.cli import devflow, local
from devflow_agent.cli.run import Run
from devflow_agent.collect import git
from devflow_agent.config import now_ms
from devflow_agent.settings import Settings
from tests.agent.scripted_server import (
    PASSWORD,
    ScriptedServer,
    hang_up,
    problem,
    refuse_first,
    says,
)
from tests.cli import Cli
from tests.repo import Repo

ROOT = Path(__file__).parents[2]


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "shop")
    repo.git("config", "user.email", "alice@example.org")
    repo.write("a.py", "1\n2\n3\n")
    repo.commit()
    repo.write("a.py", "1\n2\n4\n5\n")
    repo.commit()
    return repo


@pytest.fixture
def cli(tmp_path: Path, repo: Repo) -> Cli:
    return Cli(tmp_path / "home", repo.path)


def imported(cli: Cli) -> None:
    """What `init` and `import git` do, without starting the program for each."""
    run = Run(cli.home)
    project, repository = local.registered(run, cli.folder)
    git.collect(repository, run.store, project.id, now_ms())


def signed_in(cli: Cli, server: ScriptedServer) -> None:
    """What `sync init` and `sync auth` do after them."""
    imported(cli)
    with requests.Session() as http:
        enrolment.enrol(cli.home, cli.home.store(), http, server.url)
        enrolment.sign_in(cli.home, cli.home.store(), http, "ada@example.org", PASSWORD)


# On this PC


def test_a_repository_is_registered_imported_and_shown(cli: Cli, repo: Repo) -> None:
    assert "next: `devflow import git`" in cli.ok("init")
    assert cli.json("import", "git") == {"commits": 2, "added": 2, "refused": []}
    assert "0 commits read, 0 new events" in cli.ok("import", "git")
    status = cli.json("status")
    (project,) = status["projects"]
    assert (project["name"], project["path"], project["events"]) == ("shop", str(repo.path), 2)
    assert status["eventsByType"] == {"git.commit": 2}
    assert [event["eventType"] for event in status["lastEvents"]] == ["git.commit"] * 2
    assert status["sync"]["enabled"] is False
    assert status["watching"] is False
    text = cli.ok("status")
    assert "not watching" in text
    assert "nothing leaves this PC" in text


def test_init_takes_a_path_and_a_name(cli: Cli, repo: Repo, tmp_path: Path) -> None:
    cli.folder = tmp_path
    cli.ok("init", str(repo.path), "--name", "my shop")
    assert cli.json("status")["projects"][0]["name"] == "my shop"


def test_todays_numbers_are_the_developers_own(cli: Cli, repo: Repo) -> None:
    now = int(time.time())
    repo.write("b.py", "1\n2\n")
    repo.commit(date=now)
    repo.write("c.py", "1\n")
    repo.commit(author="Bob <bob@example.org>", date=now)
    imported(cli)
    week = cli.json("status")["last7Days"]
    assert (week["events"], week["eventsByOthers"]) == (1, 1)
    assert (week["commits"], week["commitsByOthers"]) == (1, 1)
    assert (week["insertions"], week["deletions"], week["files"]) == (2, 0, 1)


def test_the_own_numbers_are_shown_by_hour_day_week_and_month(cli: Cli, repo: Repo) -> None:
    cli.env["TZ"] = "Asia/Kolkata"
    noon = 1_764_570_600  # 2025-12-01 12:00 in India, a Monday
    for minute in (0, 10):
        repo.write(f"{minute}.py", "1\n2\n")
        repo.commit(date=noon + 60 * minute)
    repo.write("c.py", "1\n")
    repo.commit(author="Bob <bob@example.org>", date=noon)
    imported(cli)
    asked = ("activity", "--since", "2025-12-01", "--until", "2025-12-02", "--by")
    groups = {"hour": "2025-12-01T12:00+05:30", "day": "2025-12-01", "week": "2025-W49", "month": "2025-12"}
    for by, group in groups.items():
        found = cli.json(*asked, by, "--project", "shop")
        (one,) = [each for each in found["windows"] if each["events"]]
        assert (found["by"], found["timezone"], found["project"]["name"]) == (by, "Asia/Kolkata", "shop")
        assert (one["group"], one["activeSeconds"], one["files"], one["filesByOthers"]) == (group, 600, 2, 1)
        assert {**one, **found["total"]} == one
        assert f"{group} " in cli.ok(*asked, by)
    assert len(cli.json(*asked, "hour")["windows"]) == 24, "0 is a count"
    text = cli.ok(*asked, "day")
    assert text.startswith("all projects by day, Asia/Kolkata\n")
    assert text.splitlines()[-2].split() == ["Total", "2", "2", "4", "0", "2", "10", "min"]
    assert text.endswith("  and 1 commit of others\n")
    assert "2025-12-01T06:00+00:00" in cli.ok(*asked, "hour", "--zone", "UTC")
    assert "nothing of yours from" in cli.ok("activity")


def test_a_question_that_is_none_is_one_line_and_exit_code_2(cli: Cli) -> None:
    cli.ok("init")
    assert "expected a time zone" in cli.fails(2, "activity", "--zone", "Mars")
    assert "expected project to be one of" in cli.fails(2, "activity", "--project", "bank")
    assert "since: expected an ISO 8601 date" in cli.fails(2, "activity", "--since", "monday")
    assert "'year' is not one of 'hour', 'day', 'week', 'month'" in cli.fails(2, "activity", "--by", "year")
    cli.env["DEVFLOW_IDLE_LIMIT_S"] = "never"
    assert "DEVFLOW_IDLE_LIMIT_S: expected whole seconds" in cli.fails(2, "activity")


def test_an_empty_store_says_what_to_do(cli: Cli) -> None:
    assert cli.ok("status") == "no project yet: run `devflow init` in a git repository\n"
    assert cli.ok("activity") == "no project yet: run `devflow init` in a git repository\n"
    assert cli.json("status")["projects"] == []


def test_a_command_that_is_not_complete_is_answered_with_its_help(cli: Cli) -> None:
    for incomplete in ((), ("sync",)):
        done = cli.run(*incomplete)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == cli.ok(*incomplete, "--help")


def test_a_folder_that_is_no_repository_is_refused(cli: Cli, tmp_path: Path) -> None:
    cli.folder = tmp_path
    assert "git repository" in cli.fails(2, "init")
    assert "does not exist" in cli.fails(2, "init", "nowhere")


def test_names_from_a_repository_cannot_steer_the_terminal(cli: Cli, tmp_path: Path) -> None:
    hostile = "x\x1b[2J\u202eevil"
    cli.folder = Repo(tmp_path / hostile).path
    shown = cli.ok("init") + cli.ok("status")
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert r"x\u{1b}[2J\u{202e}evil" in shown


@pytest.mark.parametrize("arguments", [["stats"], ["--jsn"], ["sync", "push", "now"], ["sync", "init"]])
def test_wrong_usage_is_one_line_and_exit_code_2(cli: Cli, arguments: list[str]) -> None:
    cli.fails(2, *arguments)


def test_a_damaged_store_is_one_line_unless_debug_asks_for_more(cli: Cli) -> None:
    cli.home.path.mkdir()
    cli.home.database.write_bytes(b"no database " * 1_000)
    assert "not a database" in cli.fails(2, "status")
    assert "Traceback" in cli.run("--debug", "status").stderr


def test_a_reader_that_leaves_early_is_no_error(cli: Cli) -> None:
    cli.ok("init")
    started = cli.start("status")
    assert started.stdout is not None
    assert started.stderr is not None
    started.stdout.close()
    assert started.stderr.read() == ""
    started.stderr.close()
    started.wait()


def test_the_schema_goes_down_and_comes_back(cli: Cli) -> None:
    assert "there is none yet" in cli.fails(2, "migrate", "status")
    imported(cli)
    assert cli.ok("migrate", "status") == "v2 of v2: newest\n"
    assert cli.ok("migrate", "down", "--to=v1") == "migrated: v1\n"
    assert cli.ok("migrate", "status") == "v1 of v2: not the newest\n"
    assert "expected a version below v1" in cli.fails(2, "migrate", "down", "--to=v2")
    assert "--to=v1" in cli.fails(2, "migrate", "down", "--to=now")
    assert cli.ok("migrate", "up") == "migrated: v2\n"
    assert cli.ok("migrate", "up") == "nothing to do: the store is at v2\n"
    assert cli.json("status")["eventsByType"] == {"git.commit": 2}


def test_the_schema_does_not_go_down_under_a_running_daemon(cli: Cli) -> None:
    cli.ok("init")
    cli.home.store().set_settings(daemon={"pid": os.getpid(), "since_ms": 0})
    with filelock.FileLock(cli.home.daemon_lock):
        assert "stop `devflow watch` first" in cli.fails(6, "migrate", "down", "--to=v1")
    assert cli.ok("migrate", "status") == "v2 of v2: newest\n"


# With a server


def test_the_way_from_nothing_to_synced(cli: Cli, server: ScriptedServer) -> None:
    cli.ok("init")
    cli.ok("import", "git")
    cli.ok("sync", "init", server.url)
    cli.ok("sync", "auth", "--email", "ada@example.org", "--password-stdin", stdin=PASSWORD + "\n")
    assert stat.S_IMODE(cli.home.credentials.stat().st_mode) == 0o600
    assert all(PASSWORD not in file.read_text("latin-1") for file in cli.home.path.iterdir())
    assert "reports to Shop" in cli.ok("sync", "enable")
    assert server.authors == [wire.author_key("alice@example.org")]
    assert cli.ok("sync", "push") == "2 events synced\n"
    assert cli.ok("sync", "push") == "nothing to send\n"
    assert len(server.stored) == 2
    state = cli.json("sync", "status")
    assert (state["pending"], state["synced"], state["failed"]) == (0, 2, 0)
    addresses = ["alice@example.org", "ada@example.org"]
    assert Settings.load(cli.home.store()).author_keys == tuple(map(wire.author_key, addresses)), "as there"
    assert (state["endpoint"], state["email"]) == (server.url, "ada@example.org")
    assert state["syncSuccessRate"] == 1
    assert (state["lastAttempt"]["outcome"], state["lastAttempt"]["synced"]) == ("ok", 2)
    assert "sync is off" in cli.ok("sync", "disable")
    assert "sync is off" in cli.fails(2, "sync", "push")


def test_what_would_be_sent_can_be_looked_at_before_anything_is(cli: Cli, server: ScriptedServer) -> None:
    signed_in(cli, server)
    said = cli.ok("sync", "enable", "--link-only")
    assert "sync is off" in said
    assert "`devflow sync preview` shows what would be sent" in said
    assert len(cli.json("sync", "preview")["events"]) == 2
    assert "sync is off" in cli.fails(2, "sync", "push")
    assert server.uploads == []
    assert "sync is on" in cli.ok("sync", "enable")
    assert "sync is on" in cli.ok("sync", "enable", "--link-only"), "it stays as it is"


def test_nothing_leaves_before_sync_is_enabled(cli: Cli, server: ScriptedServer) -> None:
    signed_in(cli, server)
    assert "sync is off" in cli.fails(2, "sync", "push")
    assert server.uploads == []


@pytest.mark.parametrize("content", ["", '{"server_url": "https://devfl', "[]", "{}", None])
def test_damaged_credentials_stop_sync_and_nothing_else(cli: Cli, content: str | None) -> None:
    imported(cli)
    if content is None:
        cli.home.credentials.mkdir()
    else:
        cli.home.credentials.write_text(content)
    cli.home.store().set_settings(sync_enabled=True)
    said = str(cli.home.credentials)
    assert said in cli.fails(2, "sync", "push")
    status = cli.json("status")
    assert status["eventsByType"] == {"git.commit": 2}
    assert said in status["sync"]["damage"]


def test_each_step_names_the_one_before(cli: Cli, server: ScriptedServer) -> None:
    assert "devflow sync init" in cli.fails(
        3, "sync", "auth", "--email", "a@b.c", "--password-stdin", stdin="x\n"
    )
    cli.ok("sync", "init", server.url)
    assert "devflow init" in cli.fails(2, "sync", "enable")
    cli.ok("init")
    assert "devflow sync auth" in cli.fails(3, "sync", "enable")


def test_a_wrong_password_signs_nobody_in(cli: Cli, server: ScriptedServer) -> None:
    cli.ok("sync", "init", server.url)
    login = ("sync", "auth", "--email", "ada@example.org", "--password-stdin")
    assert cli.fails(3, *login, stdin="guess\n") == "wrong e-mail or password"
    assert "password on the first line" in cli.fails(2, *login)
    assert credentials.enrolled(cli.home.credentials).account is None


def test_a_second_factor_is_asked_for_once_the_server_wants_it(cli: Cli, server: ScriptedServer) -> None:
    server.code = "123456"
    cli.ok("sync", "init", server.url)
    login = ("sync", "auth", "--email", "ada@example.org", "--password-stdin")
    assert "second line of stdin" in cli.fails(3, *login, stdin=PASSWORD + "\n")
    assert cli.fails(3, *login, stdin=f"{PASSWORD}\n654321\n") == "a code is needed"
    assert credentials.enrolled(cli.home.credentials).account is None
    cli.ok(*login, stdin=f"{PASSWORD}\n123456\n")
    assert [seen.json.get("code") for seen in server.seen if seen.path == "/auth/login"] == [
        *[None] * 2,
        "654321",
        None,
        "123456",
    ]


def test_who_guessed_too_often_is_told_when_to_come_back(cli: Cli, server: ScriptedServer) -> None:
    cli.ok("sync", "init", server.url)
    server.is_throttling = True
    login = ("sync", "auth", "--email", "ada@example.org", "--password-stdin")
    assert "try again in 50 s" in cli.fails(4, *login, stdin=PASSWORD + "\n")


def test_several_projects_have_to_be_chosen_from(cli: Cli, server: ScriptedServer) -> None:
    other = {"projectId": "3b241101-e2bb-4255-8caf-4136c566a962", "name": "Till"}
    server.projects.append(other)
    signed_in(cli, server)
    message = cli.fails(2, "sync", "enable")
    assert "Shop" in message
    assert "3b241101-e2bb-4255-8caf-4136c566a962 (Till)" in message
    assert "got nonsense" in cli.fails(2, "sync", "enable", "--project-id", "nonsense")
    assert Settings.load(cli.home.store()).sync_enabled is False
    cli.ok("sync", "enable", "--project-id", other["projectId"])
    assert cli.json("status")["projects"][0]["linkedTo"] == other["projectId"]
    cli.ok("sync", "push")
    assert {event["projectId"] for event in server.stored.values()} == {other["projectId"]}


def test_somebody_without_projects_is_told_so(cli: Cli, server: ScriptedServer) -> None:
    server.projects = []
    signed_in(cli, server)
    assert "not a member of any project" in cli.fails(2, "sync", "enable")


def test_exit_codes_of_push_say_what_happened(cli: Cli, server: ScriptedServer) -> None:
    signed_in(cli, server)
    cli.ok("sync", "enable")
    server.script.append(hang_up)
    offline = cli.fails(4, "sync", "push")
    assert "did not answer: " in offline
    assert offline.endswith("; everything is kept, try again later")
    with filelock.FileLock(cli.home.sync_lock):
        assert "another process is sending" in cli.fails(6, "sync", "push")
    server.script.append(refuse_first("invalid", retryable=False))
    refused = cli.run("sync", "push", "--json")
    assert refused.returncode == 5
    assert json.loads(refused.stdout) == {
        "synced": 1,
        "failed": 1,
        "kept": 0,
        "lost": 0,
        "pending": 0,
        "heldBack": 0,
    }
    server.token, server.refresh_refused = "another", True
    assert "is signed out" in cli.fails(3, "sync", "push", "--all")
    assert len(server.stored) == 1


def test_all_sends_again_what_was_refused(cli: Cli, server: ScriptedServer) -> None:
    signed_in(cli, server)
    cli.ok("sync", "enable")
    server.script.append(refuse_first("invalid", retryable=False))
    assert cli.run("sync", "push").returncode == 5
    assert cli.ok("sync", "push", "--all") == "1 event synced\n"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://devflow.example.org", "expected https, got plain http to devflow.example.org"),
        ("ftp://localhost", "expected an address like https://"),
        ("devflow.example.org", "expected an address like https://"),
        ("https://", "expected an address like https://"),
        ("https://ada:secret@devflow.example.org", "without user name"),
        ("https://devflow.example.org/?next=1", "without user name, query"),
        ("http://localhost:port", "expected an address like https://"),
        ("http://127.0.0.1.example.org", "expected https, got plain http"),
    ],
)
def test_an_address_not_to_be_trusted_is_refused(cli: Cli, url: str, said: str) -> None:
    message = cli.fails(2, "sync", "init", url)
    assert said in message
    assert "secret" not in message
    assert not cli.home.credentials.exists()


def test_a_web_site_that_is_no_devflow_server_is_not_enrolled(cli: Cli, server: ScriptedServer) -> None:
    server.calls_itself = "<script>"
    assert "not as a DevFlow server" in cli.fails(4, "sync", "init", server.url)
    assert not cli.home.credentials.exists()


def test_another_server_signs_out_and_gets_everything_anew(cli: Cli, server: ScriptedServer) -> None:
    signed_in(cli, server)
    cli.ok("sync", "enable")
    cli.ok("sync", "push")
    cli.ok("sync", "init", server.url)
    assert credentials.enrolled(cli.home.credentials).account is not None, "the same server again"
    with ScriptedServer().running() as other:
        cli.ok("sync", "init", other.url)
        assert "nobody is signed in" in cli.fails(3, "sync", "push")
        cli.ok("sync", "auth", "--email", "ada@example.org", "--password-stdin", stdin=PASSWORD + "\n")
        cli.ok("sync", "enable")
        assert cli.ok("sync", "push") == "2 events synced\n"
        assert other.stored.keys() == server.stored.keys()


# Watching


def wait_until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_watch_records_a_save_and_syncs_it(cli: Cli, repo: Repo, server: ScriptedServer) -> None:
    signed_in(cli, server)
    cli.ok("sync", "enable")
    Settings.load(cli.home.store()).changed(interval_s=10).save_sync(cli.home.store())
    server.script.append(says(problem(503, "later")))
    watching = cli.start("watch")
    try:
        # The first try met a 503: what comes is the second, seconds later.
        wait_until(lambda: len(server.stored) == 2)
        assert "no other daemon" in cli.fails(6, "watch")
        assert cli.json("status")["watching"] is True
    finally:
        watching.send_signal(signal.SIGTERM)
        out, err = watching.communicate(timeout=30)
    assert watching.returncode == 0, err
    assert "everything is kept" in out
    assert "sync works again" in out
    assert "stopped" in out


# What is written about it


def test_the_documentation_names_every_command_option_and_exit_code() -> None:
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for name, parameters in commands(devflow, "devflow"):
        assert f"`{name}" in text, name
        for option in parameters:
            assert option in text, f"{name} {option}"
    help_text = str(devflow.epilog)
    for code, meaning in re.findall(r"^  (\d)  (.+)$", help_text, re.MULTILINE):
        assert f"| {code} | {meaning} |" in text


def commands(group: Any, name: str) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for command in group.commands.values():
        full = f"{name} {command.name}"
        if hasattr(command, "commands"):
            found += commands(command, full)
        else:
            options = [
                option for parameter in command.params for option in parameter.opts if option[0] == "-"
            ]
            found.append((full, options))
    return found


def test_status_does_not_load_what_it_does_not_need(cli: Cli) -> None:
    cli.ok("init")
    code = (
        "import sys; from devflow_agent.cli import main\n"
        "try: main(['status'])\n"
        "except SystemExit: pass\n"
        "heavy = {'requests', 'rich', 'mcp', 'watchfiles', 'pydantic', 'textual'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=cli.env, capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
