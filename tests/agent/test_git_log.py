"""Reading `git log`: the parser on streams cut anywhere, and the process when it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from devflow.errors import Invalid
from devflow.wire import FileChange
from devflow_agent.collect import git_log, git_program
from devflow_agent.collect.git_log import LoggedCommit
from tests.repo import Repo

SHA, PARENT = "a" * 40, "b" * 40
STREAM = (
    f"commit {SHA}\0{PARENT}\0a@x\x001\0c@x\x002\0".encode()
    + b"\n3\t4\tsrc/a.py\0-\t-\tpicture\x005\t6\t\0commit old\0commit new\0"
    + f"commit {PARENT}\0\0a@x\x001\0c@x\x002\0".encode()
)
COMMITS = [
    LoggedCommit(
        sha=SHA,
        parents=[PARENT],
        author=b"a@x",
        authored=b"1",
        committer=b"c@x",
        committed=b"2",
        files=[
            FileChange("src/a.py", 3, 4),
            FileChange("picture", None, None),
            FileChange("commit new", 5, 6, "commit old"),
        ],
    ),
    LoggedCommit(PARENT, [], b"a@x", b"1", b"c@x", b"2", []),
]


@pytest.mark.parametrize("size", range(1, len(STREAM) + 1))
def test_it_does_not_matter_where_the_stream_is_cut(size: int) -> None:
    blocks = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert list(git_log.parse(blocks)) == COMMITS


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"1\t2\ta\0", "begin with a commit"),
        (STREAM + b"rest", "end with a NUL"),
        (STREAM[: STREAM.index(b"c@x")], "finish a commit"),
        (STREAM + b"1\t2\0", "line of git log --numstat"),
        (b"commit x\0\0\0\0\0\x00?\t?\ta\0", "line of git log --numstat"),
    ],
)
def test_a_stream_of_another_form_is_refused(stream: bytes, expected: str) -> None:
    with pytest.raises(Invalid, match=expected):
        list(git_log.parse([stream]))


def test_the_last_commit_of_a_git_that_failed_is_not_taken_for_whole(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo")
    for name in ("one", "two", "three"):
        repo.write("a.txt", f"{name}\n")
        repo.commit()
    middle = repo.git("rev-parse", "HEAD~1:a.txt")
    (repo.git_dir / "objects" / middle[:2] / middle[2:]).unlink()
    root = repo.git("rev-parse", "HEAD~2")

    with pytest.raises(Invalid, match=f"got exit code 128: .*{middle}"):
        list(git_log.log(repo.path, [repo.head()], []))
    assert [commit.sha for commit in git_log.log(repo.path, [root], [])] == [root]


def test_a_git_that_falls_silent_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\nprintf begun\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    blocks = git_program.stream(tmp_path, "log", stdin=b"", silence_s=0.5)
    assert next(blocks) == b"begun"
    with pytest.raises(Invalid, match=r"within 0\.5 s"):
        next(blocks)


def test_no_tips_are_no_commits_and_not_those_of_head(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo")
    repo.commit()
    assert list(git_log.log(repo.path, [], [])) == []
    assert git_log.count(repo.path, [], []) == 0
