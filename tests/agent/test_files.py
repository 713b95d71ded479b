"""The file watcher on real repositories: what is recorded, what never is, and what git did itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devflow.errors import DevflowError
from devflow.wire import TYPE_OF
from devflow_agent.collect import watching
from devflow_agent.collect.checkouts import position, written_by_git
from devflow_agent.collect.files import Files
from devflow_agent.collect.watching import Watch
from devflow_agent.collect.worktree import WorkTree
from devflow_agent.config import now_ms
from devflow_agent.privacy import NEVER_SEEN, never_seen
from devflow_agent.store import Observation
from tests.repo import Repo

DEADLINE_S = 20.0

Seen = tuple[str, ...]
"""An event as ("saved", path), ("renamed", new path, old path)."""


def until(true: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.01)


def described(observation: Observation) -> Seen:
    fields: dict[str, Any] = msgspec.to_builtins(observation.data)
    old = [fields["oldPath"]] if "oldPath" in fields else []
    return (TYPE_OF[type(observation.data)].removeprefix("file."), fields["path"], *old)


class Watched:
    """A repository with a watcher on it, in a thread as in the daemon."""

    def __init__(self, repo: Repo, *, recursive: bool = watching.RECURSIVE) -> None:
        self.repo = repo
        self.recorded: list[Observation] = []
        self.git_moved = threading.Event()
        self.failure: Exception | None = None
        self.refuse: Exception | None = None
        self.files = Files(WorkTree.at(repo.path), now_ms())
        self.recursive = recursive
        self._stop = threading.Event()
        self._marks = 0
        self.start()

    def start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.after(lambda: None)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            watching.watch(
                self.files,
                self._record,
                stop=self._stop,
                git_moved=self.git_moved.set,
                now_ms=now_ms,
                recursive=self.recursive,
            )
        except Exception as error:
            self.failure = error

    def _record(self, observations: list[Observation]) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.recorded.extend(observations)

    @property
    def events(self) -> list[Seen]:
        return [seen for one in self.recorded if not (seen := described(one))[1].startswith("mark-")]

    def after(self, act: Callable[[], Any]) -> list[Seen]:
        """What is recorded because of ``act``: all until a file that is made after it has been seen."""
        before = len(self.events)
        act()
        self._marks += 1
        mark = f"mark-{self._marks}"
        self.repo.write(mark, "")
        until(
            lambda: ("created", mark) in [described(one) for one in self.recorded], f"{mark}, {self.failure}"
        )
        return self.events[before:]

    def wait_for(self, *expected: Seen) -> None:
        until(lambda: set(expected) <= set(self.events), f"{expected} in {self.events}, {self.failure}")


@pytest.fixture(autouse=True)
def nobodys_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    config = tmp_path / "gitconfig"
    config.touch()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.fspath(config))
    monkeypatch.setenv("XDG_CONFIG_HOME", os.fspath(tmp_path / "config"))
    return config


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "repo")
    repo.write("app.py", "1\n")
    repo.write("src/one.py", "1\n")
    repo.write("src/deep/two.py", "2\n")
    repo.commit()
    return repo


@pytest.fixture
def watched(repo: Repo) -> Iterator[Watched]:
    watched = Watched(repo)
    yield watched
    watched.stop()


# What a developer does


def test_a_save_is_recorded_with_the_size_and_nothing_else(repo: Repo, watched: Watched) -> None:
    assert watched.after(lambda: repo.write("src/one.py", "12345")) == [("saved", "src/one.py")]
    assert msgspec.to_builtins(watched.recorded[-2].data) in (
        {"path": "src/one.py", "sizeBytes": 5},
        {"path": "mark-2", "sizeBytes": 0},
    )


def test_new_and_deleted_files_are_recorded_also_in_new_folders(repo: Repo, watched: Watched) -> None:
    assert watched.after(lambda: repo.write("new.py", "x")) == [("created", "new.py")]
    assert watched.after(lambda: repo.write("a/b/c/d.py", "x")) == [("created", "a/b/c/d.py")]
    assert watched.after(lambda: repo.write("a/b/c/d.py", "xyz")) == [("saved", "a/b/c/d.py")]
    assert watched.after(lambda: (repo.path / "new.py").unlink()) == [("deleted", "new.py")]


def test_a_file_in_a_folder_that_was_made_empty_long_before_is_recorded(repo: Repo, watched: Watched) -> None:
    assert watched.after(lambda: (repo.path / "empty").mkdir()) == []
    assert watched.after(lambda: repo.write("empty/x.py", "x")) == [("created", "empty/x.py")]


def test_an_atomic_save_is_one_save(repo: Repo, watched: Watched) -> None:
    def save() -> None:
        repo.write("src/tempfile-xyz", "new content").replace(repo.path / "src/one.py")

    assert watched.after(save) == [("saved", "src/one.py")]


def test_saving_as_vim_does_with_a_backup_is_one_save(repo: Repo, watched: Watched) -> None:
    def save() -> None:
        repo.write("src/4913", "").unlink()
        (repo.path / "src/one.py").rename(repo.path / "src/one.py~")
        repo.write("src/one.py", "new content")
        (repo.path / "src/one.py~").unlink()

    assert watched.after(save) == [("saved", "src/one.py")]


def test_a_burst_of_writes_is_one_save(repo: Repo, watched: Watched) -> None:
    def burst() -> None:
        for count in range(20):
            repo.write("app.py", "x" * count)

    assert watched.after(burst) == [("saved", "app.py")]


def test_a_new_time_is_a_save_and_a_new_mode_is_not(repo: Repo, watched: Watched) -> None:
    assert watched.after(lambda: (repo.path / "app.py").chmod(0o755)) == []
    assert watched.after(lambda: os.utime(repo.path / "app.py", (1, 1))) == [("saved", "app.py")]


def test_a_rename_is_one_event_and_a_copy_is_a_new_file(repo: Repo, watched: Watched) -> None:
    top = repo.path
    assert watched.after(lambda: (top / "app.py").rename(top / "main.py")) == [
        ("renamed", "main.py", "app.py")
    ]
    assert watched.after(lambda: shutil.copy2(top / "main.py", top / "copy.py")) == [("created", "copy.py")]


def test_renaming_a_folder_renames_the_files_in_it(repo: Repo, watched: Watched) -> None:
    renamed = [("renamed", "lib/deep/two.py", "src/deep/two.py"), ("renamed", "lib/one.py", "src/one.py")]
    assert watched.after(lambda: (repo.path / "src").rename(repo.path / "lib")) == renamed
    assert watched.after(lambda: repo.write("lib/deep/two.py", "more")) == [("saved", "lib/deep/two.py")]


def test_removing_a_folder_deletes_the_files_in_it(repo: Repo, watched: Watched) -> None:
    deleted = [("deleted", "src/deep/two.py"), ("deleted", "src/one.py")]
    assert watched.after(lambda: shutil.rmtree(repo.path / "src")) == deleted


def test_a_folder_that_is_replaced_by_another_stays_watched(repo: Repo, watched: Watched) -> None:
    def replace() -> None:
        shutil.rmtree(repo.path / "src/deep")
        repo.write("src/deep/three.py", "3")

    assert watched.after(replace) == [("deleted", "src/deep/two.py"), ("created", "src/deep/three.py")]
    assert watched.after(lambda: repo.write("src/deep/three.py", "33")) == [("saved", "src/deep/three.py")]


def test_links_are_neither_recorded_nor_followed(repo: Repo, watched: Watched, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()

    def link() -> None:
        (repo.path / "link").symlink_to(outside)
        (repo.path / "file-link").symlink_to(repo.path / "app.py")

    assert watched.after(link) == []
    assert watched.after(lambda: (outside / "x").write_text("x")) == []


def test_names_of_any_bytes_are_recorded_and_lose_no_neighbour(repo: Repo, watched: Watched) -> None:
    top = os.fsencode(repo.path)

    def write() -> None:
        for name in (b"line\nbreak", b"bad-\xff", b":(top)x", b"*"):
            Path(os.fsdecode(top + b"/" + name)).write_bytes(b"x")
        repo.write("app.py", "neighbour")

    seen = watched.after(write)
    names = {("created", name) for name in ("line\nbreak", "bad-\\xff", ":(top)x", "*")}
    assert set(seen) == names | {("saved", "app.py")}
    assert watched.after(lambda: repo.write("src/one.py", "after")) == [("saved", "src/one.py")]


def test_a_file_that_is_gone_before_anybody_looks_leaves_nothing(repo: Repo, watched: Watched) -> None:
    assert watched.after(lambda: repo.write("short", "x").unlink()) == []


def test_thousands_of_files_at_once_in_new_folders_lose_nothing(repo: Repo, watched: Watched) -> None:
    def write() -> None:
        for number in range(6_000):
            repo.write(f"many/{number % 20}/f{number}", "")

    watched.after(write)
    until(lambda: len(watched.events) >= 6_000, "6,000 files")
    assert len(set(watched.events)) == len(watched.events) == 6_000


def test_a_watch_over_everything_below_the_top_sees_the_same(repo: Repo) -> None:
    """As on systems where one watch covers all folders."""
    repo.write(".gitignore", "build/\n")
    repo.commit()
    watched = Watched(repo, recursive=True)
    try:
        repo.write("build/out", "x")
        assert watched.after(lambda: repo.write("src/deep/two.py", "22")) == [("saved", "src/deep/two.py")]
        repo.write("x/y/z.py", "z")
        watched.wait_for(("created", "x/y/z.py"))
        assert ("created", "build/out") not in watched.events
    finally:
        watched.stop()


# What is never seen


def test_private_and_ignored_names_are_never_recorded(repo: Repo, watched: Watched) -> None:
    repo.write(".gitignore", "*.log\nbuild/\n")
    watched.wait_for(("created", ".gitignore"))

    def work() -> None:
        for number in range(300):
            repo.write(f"node_modules/p{number}/index.js", "x")
            repo.write("debug.log", "x" * number)
            repo.write(".env", f"TOKEN={number}")
        for name in ("src/.env.local", "server.pem", "id_rsa", ".ssh/config", "a.py.swp", ".#a", "#a#", "b~"):
            repo.write(name, "x")
        repo.write("build/x/y/out.o", "x")
        repo.write("src/venv/lib/x.py", "x")
        repo.write(".git/objects/xx", "x")
        repo.write(".env.example", "TOKEN=")

    assert watched.after(work) == [("created", ".env.example")]


def test_a_nested_gitignore_an_exclude_file_and_the_users_own_hold(
    repo: Repo, watched: Watched, nobodys_config: Path, tmp_path: Path
) -> None:
    repo.write("src/.gitignore", "*.gen\n!kept.gen\n")
    repo.write(".git/info/exclude", "excluded\n")
    (tmp_path / "own").write_text("mine\n")
    nobodys_config.write_text(f"[core]\n\texcludesFile = {tmp_path / 'own'}\n")
    watched.wait_for(("created", "src/.gitignore"))

    def work() -> None:
        for name in ("src/a.gen", "src/kept.gen", "b.gen", "excluded", "mine", "src/mine"):
            repo.write(name, "x")

    assert watched.after(work) == [("created", "b.gen"), ("created", "src/kept.gen")]


def test_a_tracked_file_is_seen_although_a_rule_names_it(repo: Repo) -> None:
    repo.write(".gitignore", "*.dat\nbuild/\n")
    repo.write("kept.dat", "1")
    repo.write("build/kept.txt", "1")
    repo.git("add", "-f", "kept.dat", "build/kept.txt")
    repo.commit()
    watched = Watched(repo)
    try:
        assert watched.after(lambda: repo.write("build/kept.txt", "22")) == [("saved", "build/kept.txt")]
        assert watched.after(lambda: repo.write("kept.dat", "22")) == [("saved", "kept.dat")]
        assert watched.after(lambda: repo.write("other.dat", "22")) == []
        repo.git("add", "-f", "other.dat")
        assert watched.after(lambda: repo.write("other.dat", "22")) == [("created", "other.dat")]
        assert watched.after(lambda: repo.write("other.dat", "333")) == [("saved", "other.dat")]
    finally:
        watched.stop()


def test_a_new_rule_hides_and_a_removed_one_shows_without_events(repo: Repo, watched: Watched) -> None:
    repo.write("notes.txt", "x")
    repo.write("drafts/x.txt", "x")
    watched.wait_for(("created", "notes.txt"), ("created", "drafts/x.txt"))
    assert watched.after(lambda: repo.write(".gitignore", "notes.txt\ndrafts/\n")) == [
        ("created", ".gitignore")
    ]
    assert watched.after(lambda: repo.write("notes.txt", "xx")) == []
    assert watched.after(lambda: repo.write("drafts/x.txt", "xx")) == []
    assert watched.after(lambda: repo.write(".gitignore", "\n")) == [("saved", ".gitignore")]
    assert watched.after(lambda: repo.write("drafts/x.txt", "xxx")) == [("saved", "drafts/x.txt")]
    assert watched.after(lambda: repo.write("notes.txt", "xxx")) == [("saved", "notes.txt")]


def test_renaming_from_and_to_a_private_name_shows_the_other_name_only(repo: Repo, watched: Watched) -> None:
    repo.write(".env", "TOKEN=1")
    top = repo.path
    assert watched.after(lambda: (top / ".env").rename(top / "settings")) == [("created", "settings")]
    assert watched.after(lambda: (top / "settings").rename(top / ".env")) == [("deleted", "settings")]
    assert watched.after(lambda: (top / ".env").rename(top / "node.key")) == []


def test_a_repository_inside_another_is_left_to_itself(repo: Repo, watched: Watched) -> None:
    inner = Repo(repo.path / "vendor/inner")
    inner.write("x.py", "x")
    inner.commit()
    assert watched.after(lambda: inner.write("x.py", "xx")) == []


@pytest.mark.parametrize(
    ("path", "hidden"),
    [
        (".env", True),
        ("a/.env.production", True),
        (".env.example", False),
        (".env.local.sample", False),
        ("x/node_modules/y/z.js", True),
        ("VENV/lib", True),
        ("Server.PEM", True),
        ("id_ed25519", True),
        ("id_ed25519.pub", False),
        (".aws/config", True),
        ("src/key.py", False),
        ("environment.py", False),
        ("logo.swf", False),
        ("src/.a.py.swp", True),
        ("a/4913", True),
        ("49131", False),
        ("data.json.tmp.4711", True),
        ("f.py___jb_tmp___", True),
        (".goutputstream-AB12", True),
        ("line\nbreak.key", True),
        ("#include.h", False),
    ],
)
def test_private_names(path: str, hidden: bool) -> None:
    assert never_seen(path) is hidden


def test_the_table_of_private_names_is_in_lower_case() -> None:
    assert all(pattern == pattern.lower() for patterns in NEVER_SEEN.values() for pattern in patterns)


# What git does


def branch_with_changes(repo: Repo, files: int = 200) -> None:
    for number in range(files):
        repo.write(f"pkg{number % 10}/f{number}.py", "main\n")
    repo.write("pkg0/only-main.py", "main\n")
    repo.commit()
    repo.git("checkout", "-q", "-b", "other")
    for number in range(files):
        repo.write(f"pkg{number % 10}/f{number}.py", "other branch\n")
    repo.write("newdir/only-other.py", "other\n")
    (repo.path / "pkg0/only-main.py").unlink()
    repo.commit()
    repo.git("checkout", "-q", "main")


def test_a_checkout_of_200_changed_files_records_nothing(repo: Repo) -> None:
    branch_with_changes(repo)
    watched = Watched(repo)
    try:
        assert watched.after(lambda: repo.git("checkout", "-q", "other")) == []
        assert watched.git_moved.is_set()
        assert watched.after(lambda: repo.git("checkout", "-q", "main")) == []
        assert watched.after(lambda: repo.write("pkg3/f3.py", "mine")) == [("saved", "pkg3/f3.py")]
    finally:
        watched.stop()


def test_going_there_and_back_at_once_records_nothing(repo: Repo) -> None:
    branch_with_changes(repo, 20)
    watched = Watched(repo)
    try:
        assert (
            watched.after(lambda: (repo.git("checkout", "-q", "other"), repo.git("checkout", "-q", "-")))
            == []
        )
    finally:
        watched.stop()


@pytest.mark.parametrize(
    "command",
    [
        ["merge", "-q", "other"],
        ["merge", "-q", "--no-ff", "--no-edit", "other"],
        ["rebase", "-q", "other"],
        ["reset", "-q", "--hard", "other"],
        ["cherry-pick", "other"],
        ["pull", "-q", ".", "other"],
        ["switch", "-q", "--detach", "other"],
    ],
    ids=" ".join,
)
def test_what_git_writes_is_no_save(repo: Repo, command: list[str]) -> None:
    branch_with_changes(repo, 20)
    if command[0] == "rebase":
        repo.write("app.py", "mine\n")
        repo.commit()
    watched = Watched(repo)
    try:
        assert watched.after(lambda: repo.git(*command)) == []
    finally:
        watched.stop()


@pytest.mark.parametrize(
    "command",
    [["checkout", "--", "."], ["restore", "."], ["stash", "-q"], ["reset", "-q", "--hard"]],
    ids=" ".join,
)
def test_throwing_a_change_away_with_git_is_no_save(repo: Repo, watched: Watched, command: list[str]) -> None:
    assert watched.after(lambda: repo.write("app.py", "mine\n")) == [("saved", "app.py")]
    assert watched.after(lambda: repo.git(*command)) == []


def test_taking_a_stash_back_is_a_save_as_the_file_differs_from_head(repo: Repo, watched: Watched) -> None:
    watched.after(lambda: repo.write("app.py", "mine\n"))
    watched.after(lambda: repo.git("stash", "-q"))
    assert watched.after(lambda: repo.git("stash", "pop", "-q")) == [("saved", "app.py")]


def test_a_save_that_is_committed_at_once_stays_a_save(repo: Repo, watched: Watched) -> None:
    def save_and_commit() -> None:
        repo.write("app.py", "mine\n")
        repo.write("new.py", "new\n")
        (repo.path / "src/one.py").unlink()
        repo.git("add", "-A")
        repo.git("commit", "-q", "-m", "now")

    expected = [("deleted", "src/one.py"), ("saved", "app.py"), ("created", "new.py")]
    assert sorted(watched.after(save_and_commit)) == sorted(expected)


def test_a_commit_between_two_checkouts_keeps_its_own_saves_only(repo: Repo) -> None:
    branch_with_changes(repo, 20)
    watched = Watched(repo)

    def work() -> None:
        repo.git("checkout", "-q", "other")
        repo.write("app.py", "mine\n")
        repo.git("commit", "-qam", "mine")

    try:
        assert watched.after(work) == [("saved", "app.py")]
    finally:
        watched.stop()


def test_the_first_commit_and_an_amended_one_keep_their_saves(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "fresh")
    watched = Watched(repo)

    def first() -> None:
        repo.write("a.py", "1")
        repo.git("add", "a.py")
        repo.git("commit", "-q", "-m", "first")

    def amend() -> None:
        repo.write("a.py", "22")
        repo.git("commit", "-qa", "--amend", "-m", "again")

    try:
        assert watched.after(first) == [("created", "a.py")]
        assert watched.after(amend) == [("saved", "a.py")]
    finally:
        watched.stop()


def test_without_a_log_of_head_a_commit_is_told_from_a_checkout(repo: Repo) -> None:
    branch_with_changes(repo, 20)
    repo.git("config", "core.logAllRefUpdates", "false")
    shutil.rmtree(repo.git_dir / "logs")
    watched = Watched(repo)
    try:
        assert watched.after(lambda: repo.git("checkout", "-q", "other")) == []
        assert watched.after(lambda: (repo.write("app.py", "mine"), repo.git("commit", "-qam", "x"))) == [
            ("saved", "app.py")
        ]
    finally:
        watched.stop()


def test_undoing_a_change_by_hand_long_after_a_commit_is_a_save(repo: Repo, watched: Watched) -> None:
    repo.write("app.py", "2\n")
    repo.commit()
    watched.wait_for(("saved", "app.py"))
    assert watched.after(lambda: repo.write("app.py", "3\n")) == [("saved", "app.py")]
    assert watched.after(lambda: repo.write("app.py", "2\n")) == [("saved", "app.py")]


def test_changes_wait_while_git_holds_its_lock(repo: Repo, watched: Watched) -> None:
    lock = repo.write(".git/index.lock", "")
    repo.write("app.py", "held")
    # Nothing can show that it never comes: five batches without it must do.
    watched_until = time.monotonic() + 5 * watching.QUIET_MS / 1_000
    until(lambda: watched.events or time.monotonic() > watched_until, "the end of five batches")
    assert watched.events == []
    lock.unlink()
    watched.wait_for(("saved", "app.py"))


def test_a_lock_that_a_crash_left_behind_holds_nothing_up(repo: Repo, watched: Watched) -> None:
    lock = repo.write(".git/index.lock", "")
    os.utime(lock, (1, 1))
    assert watched.after(lambda: repo.write("app.py", "not held")) == [("saved", "app.py")]


def test_a_linked_work_tree_is_told_from_the_main_one(repo: Repo, tmp_path: Path) -> None:
    branch_with_changes(repo, 20)
    linked = repo.worktree(tmp_path / "linked", "-b", "topic")
    watched = Watched(linked)
    try:
        assert watched.after(lambda: linked.git("reset", "-q", "--hard", "other")) == []
        assert watched.after(lambda: linked.write("app.py", "mine")) == [("saved", "app.py")]
    finally:
        watched.stop()


def test_what_git_wrote_is_empty_while_git_did_nothing(repo: Repo) -> None:
    tree = WorkTree.at(repo.path)
    assert written_by_git(tree, position(tree), {b"app.py": (1, 1, 1)}) == set()


# Watches


def test_ignored_folders_cost_no_watch(repo: Repo) -> None:
    repo.write(".gitignore", "target/\n")
    for number in range(300):
        repo.write(f"node_modules/{number}/x.js", "x")
        repo.write(f"target/{number}/x.o", "x")
    with Watch(WorkTree.at(repo.path)) as watch:
        before = watches()
        watch.renew()
        assert watches() - before <= 12


def watches() -> int:
    """How many inotify watches this process holds."""
    held = 0
    for info in Path("/proc/self/fdinfo").iterdir():
        try:
            held += info.read_text().count("inotify wd:")
        except OSError:  # closed since
            continue
    return held


def test_no_more_watches_names_the_setting_to_raise(repo: Repo) -> None:
    """A user namespace has a limit of its own, so that the test takes nothing from anybody."""
    for number in range(40):
        repo.write(f"d{number}/x", "x")
    script = (
        "import sys; from pathlib import Path\n"
        "from devflow_agent.collect.watching import Watch, TooManyFolders\n"
        "from devflow_agent.collect.worktree import WorkTree\n"
        "try: Watch(WorkTree.at(Path(sys.argv[1]))).renew()\n"
        "except TooManyFolders as error: print(error)\n"
    )
    limited = 'echo 20 > /proc/sys/user/max_inotify_watches && exec "$0" "$@"'
    done = subprocess.run(
        [
            "unshare",
            "--user",
            "--map-root-user",
            "sh",
            "-c",
            limited,
            sys.executable,
            "-c",
            script,
            repo.path,
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "fs.inotify.max_user_watches" in done.stdout, done


# When things go wrong


def test_a_repository_that_vanishes_ends_the_watch_with_a_reason(repo: Repo, watched: Watched) -> None:
    shutil.rmtree(repo.path)
    until(lambda: watched.failure is not None, "the end of the watch")
    assert isinstance(watched.failure, DevflowError)


def test_what_could_not_be_stored_is_found_again_by_the_next_watch(repo: Repo, watched: Watched) -> None:
    watched.refuse = OSError("disk full")
    repo.write("app.py", "saved while the disk was full")
    until(lambda: watched.failure is not None, "the end of the watch")
    repo.write("src/one.py", "saved while nobody watched")
    (repo.path / "src/deep/two.py").unlink()
    watched.refuse = None
    watched.start()
    watched.wait_for(("saved", "app.py"), ("saved", "src/one.py"), ("deleted", "src/deep/two.py"))
    assert len(watched.events) == 3
