"""Opening repositories of every kind, and running git in those that nobody should trust."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from devflow import wire
from devflow.errors import Invalid
from devflow_agent.collect import git
from devflow_agent.collect.git import Repository, open_repository, state
from tests.agent.watched import Watched
from tests.repo import BOB, Repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


def git_program(folder: Path, script: str) -> None:
    """Put a program named git, a shell script, into ``folder``."""
    folder.mkdir(exist_ok=True)
    (folder / "git").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "git").chmod(0o755)


# What can be opened


def test_a_repository_is_opened_from_any_of_its_folders(repo: Repo) -> None:
    inside = repo.write("src/deep/file", "x").parent
    expected = Repository(repo.path, repo.git_dir, "repo", bare=False)
    assert open_repository(repo.path) == expected
    assert open_repository(inside) == expected


def test_a_linked_work_tree_has_its_own_top_and_the_common_rest(repo: Repo, tmp_path: Path) -> None:
    repo.commit()
    linked = repo.worktree(tmp_path / "linked", "-b", "linked")
    assert open_repository(linked.path) == Repository(linked.path, repo.git_dir, "repo", bare=False)


def test_the_history_of_a_bare_repository_can_be_imported(repo: Repo, tmp_path: Path) -> None:
    sha = repo.commit()
    bare = repo.clone(tmp_path / "project.git", "--bare")
    watched = Watched(bare, tmp_path / "home")
    assert watched.repository == Repository(bare.path, bare.path, "project", bare=True)
    watched.collect()
    assert watched.shas() == [sha]


def test_a_repository_of_sha256_is_imported(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    repo = Repo(tmp_path / "repo", init=False)
    repo.git("init", "--quiet", "--object-format=sha256")
    repo.write("a", "1\n")
    sha = repo.commit()
    watched = Watched(repo, tmp_path / "home")
    watched.collect()
    assert len(sha) == 64
    assert watched.shas() == [sha]


def test_a_name_beyond_ascii_is_opened(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "ünï \n 'code'")
    assert open_repository(repo.path).top == repo.path


@pytest.mark.parametrize(
    ("folder", "message"),
    [("missing", "got nothing there"), ("file", "got a file"), (".", "got a folder that is in none")],
)
def test_what_is_no_repository_is_refused(tmp_path: Path, folder: str, message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Invalid, match=message):
        open_repository(tmp_path / folder)


def test_the_git_directory_itself_is_no_work_tree(repo: Repo) -> None:
    with pytest.raises(Invalid, match="got a folder inside its git directory"):
        open_repository(repo.git_dir)


def test_a_repository_whose_head_is_garbage_is_called_broken(repo: Repo) -> None:
    repo.commit()
    (repo.git_dir / "HEAD").write_bytes(b"\0" * 41)
    with pytest.raises(Invalid, match=r"its \.git is broken"):
        open_repository(repo.path)


def test_a_branch_that_cannot_be_read_is_an_error_and_no_deleted_branch(repo: Repo, tmp_path: Path) -> None:
    repo.commit()
    watched = Watched(repo, tmp_path / "home")
    watched.collect()
    (repo.git_dir / "refs" / "heads" / "main").write_bytes(b"\0" * 41)
    with pytest.raises(Invalid, match="broken ref refs/heads/main"):
        watched.collect()
    assert watched.data(wire.BranchDeleted) == []


@pytest.mark.parametrize("detached", [True, False])
def test_a_head_at_a_lost_commit_is_an_error(repo: Repo, tmp_path: Path, *, detached: bool) -> None:
    repo.commit()
    lost = repo.commit()
    repo.git("checkout", "--quiet", "--detach")
    if detached:
        repo.git("branch", "--force", "main", "HEAD~1")
    watched = Watched(repo, tmp_path / "home")
    (repo.git_dir / "objects" / lost[:2] / lost[2:]).unlink()
    with pytest.raises(Invalid, match="expected"):
        watched.collect()
    assert watched.events() == []


def test_corrupt_objects_are_an_error_with_gits_own_words(repo: Repo, tmp_path: Path) -> None:
    repo.write("a", "1\n")
    repo.commit()
    watched = Watched(repo, tmp_path / "home")
    blob = repo.git("rev-parse", "HEAD:a")
    damaged = repo.git_dir / "objects" / blob[:2] / blob[2:]
    damaged.chmod(0o644)
    damaged.write_bytes(b"garbage")
    with pytest.raises(Invalid, match=f"{blob}.* is corrupt|unable to read {blob}"):
        watched.collect()
    assert watched.events() == []
    assert watched.store.refs(watched.project.id) == {}


def test_another_users_repository_is_refused_with_the_way_out(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.which("git")
    git_program(tmp_path / "bin", f'GIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {real} "$@"')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    with pytest.raises(Invalid, match=f"git config --global --add safe.directory {repo.path}"):
        open_repository(repo.path)


def test_without_git_the_message_says_so(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Invalid, match="install git"):
        open_repository(repo.path)


@pytest.mark.parametrize(
    ("prints", "message"),
    [("git version 2.24.9", "2.25 or newer, got 2.24.9"), ("hello", "to name a version, got 'hello'")],
)
def test_a_git_that_is_too_old_or_none_at_all_is_refused(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prints: str, message: str
) -> None:
    git_program(tmp_path / "bin", f"echo {prints}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    with pytest.raises(Invalid, match=message):
        open_repository(repo.path)


# How git is run


HOSTILE = [
    "alias.for-each-ref",
    "alias.log",
    "alias.rev-parse",
    "core.fsmonitor",
    "core.pager",
    "core.sshCommand",
    "credential.helper",
    "diff.evil.command",
    "diff.evil.textconv",
    "diff.external",
    "filter.evil.clean",
    "filter.evil.process",
    "filter.evil.smudge",
    "gpg.program",
    "pager.log",
]
"""Config keys that name a program."""

HOOKS = ["post-checkout", "post-index-change", "reference-transaction"]
SIGNATURE = b"\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\n"


def hostile(repo: Repo, evil: Path, ran: Path) -> None:
    """Let everything in the repository's config that can name a program name one, which leaves its
    name in ``ran``."""
    evil.mkdir()
    ran.mkdir()
    for name in HOSTILE + HOOKS:
        (evil / name).write_text(f"#!/bin/sh\ntouch {ran}/{name}\n")
        (evil / name).chmod(0o755)
    for key in HOSTILE:
        repo.git("config", key, f"{'!' if key.startswith('alias') else ''}{evil / key}")
    repo.git("config", "core.hooksPath", os.fspath(evil))
    repo.git("config", "log.showSignature", "true")
    repo.git("config", "color.ui", "always")


def test_nothing_that_a_repository_names_is_run(repo: Repo, tmp_path: Path) -> None:
    repo.write(".gitattributes", "* diff=evil filter=evil\n")
    repo.write("a", "1\n")
    unsigned = repo.git("cat-file", "commit", repo.commit()).encode()
    raw = unsigned.replace(b"\n\n", SIGNATURE, 1)
    signed = repo.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw)
    repo.git("update-ref", "refs/heads/main", signed)
    ran = tmp_path / "ran"
    hostile(repo, tmp_path / "evil", ran)

    watched = Watched(repo, tmp_path / "home")
    assert watched.count_new() == 1
    watched.collect()

    assert watched.commit(signed).insertions == 2
    assert list(ran.iterdir()) == []
    # The traps are real: git by itself walks into them.
    plain_log = ["-c", "filter.evil.process=", "log", "--patch"]
    for walk in (["status"], [*plain_log, "--ext-diff"], [*plain_log, "--no-ext-diff"]):
        subprocess.run(["git", *walk], cwd=repo.path, capture_output=True, check=False)
    assert {"core.fsmonitor", "diff.evil.command", "diff.evil.textconv", "gpg.program"} <= {
        trap.name for trap in ran.iterdir()
    }


PREFERENCES = [
    ("diff.algorithm", "patience"),
    ("diff.renames", "false"),
    ("diff.renameLimit", "1"),
    ("diff.noprefix", "true"),
    ("diff.orderFile", "{order}"),
    ("diff.ignoreSubmodules", "all"),
    ("diff.submodule", "log"),
    ("diff.relative", "true"),
    ("diff.context", "0"),
    ("diff.statNameWidth", "5"),
    ("log.showRoot", "false"),
    ("log.follow", "true"),
    ("log.date", "relative"),
    ("log.decorate", "full"),
    ("log.diffMerges", "separate"),
    ("log.abbrevCommit", "true"),
    ("format.pretty", "oneline"),
    ("format.notes", "*"),
    ("core.quotePath", "false"),
    ("core.bigFileThreshold", "1"),
    ("core.attributesFile", "{attributes}"),
    ("color.ui", "always"),
    ("i18n.logOutputEncoding", "UTF-16"),
    ("status.renames", "copies"),
]


def test_nobodys_preferences_change_a_count(repo: Repo, tmp_path: Path) -> None:
    for number in range(3):
        repo.write(f"old{number}", "".join(f"{number} {line}\n" for line in range(20)))
    repo.write("ü.c", "a\n{\nb\n}\n\nc\n{\nd\n}\n")
    (repo.path / "library").mkdir()
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},library")
    repo.commit()
    repo.git("checkout", "--quiet", "-b", "side")
    for number in range(3):
        repo.git("mv", f"old{number}", f"new{number}")
        repo.write(f"new{number}", "".join(f"{number} {line}\n" for line in range(19)))
    repo.write("ü.c", "c\n{\nd\n}\n\na\n{\nb\n}\n\n{\n}\n")
    repo.git("update-index", "--cacheinfo", f"160000,{'2' * 40},library")
    repo.commit(author=BOB)
    repo.git("checkout", "--quiet", "--force", "main")
    repo.merge("side")
    plain = Watched(repo, tmp_path / "plain")
    plain.collect()
    usual = repo.git("log", "--numstat", "--no-color", "--format=")

    order, attributes = tmp_path / "order", tmp_path / "attributes"
    order.write_text("new2\nnew1\n")
    attributes.write_text("* binary\n")
    for key, value in PREFERENCES:
        repo.git("config", key, value.format(order=order, attributes=attributes))
    assert repo.git("log", "--numstat", "--no-color", "--format=") != usual
    preferring = Watched(repo, tmp_path / "preferring")
    preferring.collect()

    assert [event.data_json for event in preferring.events()] == [event.data_json for event in plain.events()]


def test_a_git_hooks_environment_does_not_lead_elsewhere(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = repo.commit()
    other = Repo(tmp_path / "other")
    other.commit(author=BOB)
    monkeypatch.setenv("GIT_DIR", os.fspath(other.git_dir))
    monkeypatch.setenv("GIT_WORK_TREE", os.fspath(other.path))
    monkeypatch.setenv("GIT_INDEX_FILE", os.fspath(other.git_dir / "index"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", os.fspath(other.git_dir / "objects"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.bare")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    watched = Watched(repo, tmp_path / "home")
    watched.collect()
    assert watched.repository.top == repo.path
    assert watched.shas() == [sha]


@pytest.mark.parametrize("ignored", ["GIT_NO_LAZY_FETCH", "GIT_ALLOW_PROTOCOL"])
def test_a_partial_clone_fetches_nothing_and_says_what_is_missing(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ignored: str
) -> None:
    repo.git("config", "uploadpack.allowFilter", "true")
    for content in ("1\n", "2\n"):
        repo.write("a", content)
        repo.commit()
    partial = repo.clone(tmp_path / "partial", "--filter=blob:none", "--no-checkout")
    partial.git("config", "protocol.file.allow", "always")
    # Old versions of git do not know the first, so the second must be enough, and the other way round.
    git_program(tmp_path / "bin", f'unset {ignored}\nexec {shutil.which("git")} "$@"')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    packs = sorted((partial.git_dir / "objects" / "pack").iterdir())
    watched = Watched(partial, tmp_path / "home")

    with pytest.raises(Invalid, match="this partial clone left some out"):
        watched.collect()

    assert sorted((partial.git_dir / "objects" / "pack").iterdir()) == packs
    assert watched.events() == []


def test_reading_takes_no_lock_and_writes_nothing(repo: Repo, tmp_path: Path) -> None:
    repo.write("a", "1\n")
    repo.commit()
    watched = Watched(repo, tmp_path / "home")
    (repo.git_dir / "index.lock").touch()
    (repo.git_dir / "HEAD.lock").touch()
    before = {path: path.stat().st_mtime_ns for path in repo.git_dir.rglob("*")}
    watched.collect()
    assert {path: path.stat().st_mtime_ns for path in repo.git_dir.rglob("*")} == before


# Noticing that there may be work


ACTS = [
    ["commit", "--quiet", "--allow-empty", "--message", "x"],
    ["commit", "--quiet", "--allow-empty", "--amend", "--message", "y"],
    ["checkout", "--quiet", "-b", "deep/er/branch"],
    ["checkout", "--quiet", "--detach"],
    ["branch", "side"],
    ["update-ref", "refs/heads/side", "HEAD~1"],
    ["branch", "--quiet", "--delete", "--force", "side"],
    ["tag", "v1"],
    ["tag", "--delete", "v1"],
    ["pack-refs", "--all"],
    ["reset", "--quiet", "--hard", "HEAD~1"],
]


def test_the_state_changes_with_every_act_and_not_without_one(repo: Repo, tmp_path: Path) -> None:
    repo.commit()
    repo.commit()
    linked = repo.worktree(tmp_path / "linked", "-b", "linked")
    repository = open_repository(repo.path)
    for act in ACTS:
        before = state(repository)
        assert state(repository) == before
        repo.git(*act)
        assert state(repository) != before, act
    before = state(repository)
    linked.git("commit", "--quiet", "--allow-empty", "--message", "x")
    assert state(repository) != before
    before = state(repository)
    linked.git("checkout", "--quiet", "--detach")
    assert state(repository) != before


def test_the_state_of_a_folder_that_went_away_can_be_asked(repo: Repo) -> None:
    repository = open_repository(repo.path)
    before = state(repository)
    shutil.rmtree(repo.path)
    assert state(repository) != before


def test_the_state_costs_less_than_a_millisecond(repo: Repo) -> None:
    repo.commit()
    for number in range(30):
        repo.git("branch", f"topic/{number}")
    repository = git.open_repository(repo.path)
    costs = []
    for _ in range(50):
        started = time.perf_counter()
        state(repository)
        costs.append(time.perf_counter() - started)
    assert min(costs) < 0.001
