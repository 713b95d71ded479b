"""The git collector against real repositories: what history becomes which events."""

from __future__ import annotations

import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Barrier
from zoneinfo import ZoneInfo

import pytest

from bench import compare_with_git
from devflow import wire
from devflow.wire import FileChange
from devflow_agent.collect import git
from devflow_agent.store import Store
from tests.agent.watched import NOW_MS, Watched
from tests.repo import ALICE, BOB, START, Repo

ALICE_KEY = wire.author_key("alice@example.org")
BOB_KEY = wire.author_key("bob@example.org")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


@pytest.fixture
def watched(repo: Repo, tmp_path: Path) -> Watched:
    return Watched(repo, tmp_path / "home")


def all_commits(repo: Repo) -> list[str]:
    """Every commit object there is, reachable or not."""
    objects = repo.git("cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)")
    return sorted(line.split()[1] for line in objects.splitlines() if line.startswith("commit "))


def burst(repo: Repo, commits: int, *, branch: str = "main", files: int = 1) -> None:
    """Many commits at once, faster than any hand could make them."""
    lines: list[str] = []
    for number in range(commits):
        lines += [f"commit refs/heads/{branch}", f"committer {ALICE} {START + number} +0000", "data 1", "x"]
        for file in range(files):
            lines += [f"M 100644 inline {branch}/{file}.txt", f"data {len(str(number)) + 1}", f"{number}\n"]
    repo.git("fast-import", "--quiet", "--force", stdin="\n".join([*lines, ""]).encode())


# Commits


def test_a_commit_is_recorded_with_its_lines_people_and_times(repo: Repo, watched: Watched) -> None:
    repo.write("a.txt", "1\n2\n3\n")
    root = repo.commit(date=START)
    repo.write("a.txt", "1\n2\nthree\nfour\n")
    repo.write("b.txt", "b\n")
    sha = repo.commit(author=BOB, committer=ALICE, date=START + 100, committed=START + 500)

    assert watched.collect() == git.Collected(commits=2, added=2, refused=[])

    assert watched.commit(sha) == wire.Commit(
        sha=sha,
        parents=[root],
        author=BOB_KEY,
        committer=ALICE_KEY,
        committed_at=(START + 500) * 1000,
        insertions=3,
        deletions=1,
        files_changed=2,
        files=[FileChange("a.txt", 2, 1), FileChange("b.txt", 1, 0)],
    )
    assert [event.timestamp_ms for event in watched.events()] == [(START + 100) * 1000, START * 1000]
    assert watched.events()[0].id == wire.fact_id(wire.EventType.COMMIT, sha)


def test_root_commits_are_counted_against_nothing_however_many_there_are(
    repo: Repo, watched: Watched
) -> None:
    repo.git("config", "log.showRoot", "false")
    repo.write("a.txt", "1\n2\n")
    first = repo.commit()
    repo.git("checkout", "--quiet", "--orphan", "other")
    repo.write("b.txt", "1\n")
    second = repo.commit()

    watched.collect()

    assert (watched.commit(first).parents, watched.commit(first).insertions) == ([], 2)
    assert (watched.commit(second).parents, watched.commit(second).insertions) == ([], 3)


def test_a_merge_names_all_its_parents_and_changes_no_lines(repo: Repo, watched: Watched) -> None:
    repo.write("a", "a\n")
    base = repo.commit()
    tips = {}
    for branch in ("x", "y", "z"):
        repo.git("checkout", "--quiet", "-b", branch, base)
        repo.write(branch, f"{branch}\n")
        tips[branch] = repo.commit()
    repo.git("checkout", "--quiet", "main")
    two = repo.merge("x")
    octopus = repo.merge("y", "z")

    watched.collect()

    assert [merge.parents for merge in watched.data(wire.Merge)] == [
        [base, tips["x"]],
        [two, tips["y"], tips["z"]],
    ]
    assert watched.data(wire.Merge)[1].sha == octopus
    assert watched.store.event_counts()[watched.project.id] == {"git.commit": 4, "git.merge": 2}


def test_a_merge_with_more_parents_than_an_event_holds_is_refused_by_name(
    repo: Repo, watched: Watched
) -> None:
    root = repo.commit()
    tree = repo.git("rev-parse", "HEAD^{tree}")
    parents = [root, *(repo.git("commit-tree", tree, "-p", root, "-m", str(n)) for n in range(256))]
    merge = repo.git("commit-tree", tree, *(arg for sha in parents for arg in ("-p", sha)), "-m", "all")
    repo.git("update-ref", "refs/heads/main", merge)

    collected = watched.collect()

    assert collected.refused == [
        f"commit {merge} is not recorded: expected at most 256 parents, got 257",
    ]
    assert collected.added == 257


def test_a_rename_keeps_the_old_path_and_a_binary_file_has_no_lines(repo: Repo, watched: Watched) -> None:
    repo.write("old name.txt", "1\n2\n3\n4\n5\n6\n")
    repo.commit()
    repo.git("mv", "old name.txt", "new name.txt")
    repo.write("new name.txt", "1\n2\n3\n4\n5\nsix\n")
    repo.write("picture", b"\x00\x01")
    sha = repo.commit()

    watched.collect()

    commit = watched.commit(sha)
    assert commit.files == [
        FileChange("new name.txt", 1, 1, "old name.txt"),
        FileChange("picture", None, None),
    ]
    assert (commit.insertions, commit.deletions, commit.files_changed) == (1, 1, 2)


def test_an_empty_commit_is_a_commit_of_no_files(repo: Repo, watched: Watched) -> None:
    sha = repo.commit()
    watched.collect()
    assert watched.commit(sha).files == []


def test_a_submodule_counts_as_the_one_line_git_shows(repo: Repo, watched: Watched) -> None:
    for commit in ("1" * 40, "2" * 40):
        repo.git("update-index", "--add", "--cacheinfo", f"160000,{commit},library")
        repo.git("commit", "--quiet", "--message", commit)
    repo.git("config", "submodule.library.ignore", "all")

    watched.collect()

    assert watched.commit(repo.head()).files == [FileChange("library", 1, 1)]


@pytest.mark.parametrize("seconds", [0, 2**32, 100 * 365 * 86_400, 4_300_000_000])
def test_a_date_of_1970_or_after_2106_is_a_date(repo: Repo, watched: Watched, seconds: int) -> None:
    repo.commit(date=seconds)
    assert watched.collect().refused == []
    assert watched.events()[0].timestamp_ms == seconds * 1000


@pytest.mark.parametrize("date", ["-1", "253402300800", "99999999999999999999", "soon"])
@pytest.mark.parametrize("role", ["author", "committer"])
def test_a_date_that_no_event_can_carry_refuses_only_its_commit(
    repo: Repo, watched: Watched, role: str, date: str
) -> None:
    root = repo.commit()
    lines = [f"tree {repo.git('rev-parse', 'HEAD^{tree}')}", f"parent {root}"]
    lines += [f"{who} {ALICE} {date if who == role else START} +0000" for who in ("author", "committer")]
    raw = "\n".join([*lines, "", "odd", ""])
    odd = repo.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=raw.encode())
    repo.git("update-ref", "refs/heads/main", odd)
    last = repo.commit()

    (refused,) = watched.collect().refused

    assert odd in refused
    assert f"{role} date {date if date.isdigit() else 'that git cannot read'}" in refused
    assert watched.shas() == sorted([root, last])


@pytest.mark.parametrize(
    ("header", "address"),
    [(b"encoding ISO-8859-1\n", "j\u00f6@example.org"), (b"", "j\udcf6@example.org")],
)
def test_an_address_beyond_ascii_is_read_as_its_commit_says(
    repo: Repo, watched: Watched, header: bytes, address: str
) -> None:
    repo.git("config", "i18n.logOutputEncoding", "UTF-16")
    repo.git("config", "i18n.commitEncoding", "ISO-8859-1")
    tree = repo.git("mktree").encode()
    who = b"J <j\xf6@example.org> 1 +0000"
    raw = b"tree %s\nauthor %s\ncommitter %s\n%s\nx\n" % (tree, who, who, header)
    sha = repo.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw)
    repo.git("update-ref", "refs/heads/main", sha)

    watched.collect()

    assert watched.commit(sha).author == wire.author_key(address)


def test_a_mailmap_gives_nobody_elses_commits_to_anybody(repo: Repo, watched: Watched) -> None:
    repo.write(".mailmap", "Alice <alice@example.org> <bob@example.org>\n")
    repo.git("config", "log.mailmap", "true")
    sha = repo.commit(author=BOB)
    watched.collect()
    assert watched.commit(sha).author == BOB_KEY


# Names


HOSTILE = [
    b"new\nline",
    b"tab\there",
    b'"quotes" and \\ backslash',
    b"commit 1234567",
    b"a => b/{c => d}",
    b"-\t-\tx",
    b"\xff\xfe not UTF-8",
    b"\xed\xa0\x80 surrogate",
    "ünïcödé ☃".encode(),
    b"\x01\x1b[31m control",
    b" ",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_arrives_whole(repo: Repo, watched: Watched, name: bytes) -> None:
    blob = repo.git("hash-object", "-w", "--stdin", stdin=b"1\n")
    repo.git("update-index", "-z", "--index-info", stdin=b"100644 %s\t%s\0" % (blob.encode(), name))
    repo.git("commit", "--quiet", "--message", "x")
    repo.git("update-index", "-z", "--index-info", stdin=b"0 %s\t%s\0" % (b"0" * 40, name))
    repo.git("update-index", "-z", "--index-info", stdin=b"100644 %s\t%s.moved\0" % (blob.encode(), name))
    repo.git("commit", "--quiet", "--message", "y")

    watched.collect()

    shown = name.decode("utf-8", "backslashreplace")
    changes = {change.old_path: change for data in watched.data(wire.Commit) for change in data.files}
    assert changes == {
        None: FileChange(shown, 1, 0),
        shown: FileChange(f"{shown}.moved", 0, 0, shown),
    }


def test_paths_of_any_length_fit_and_stay_apart(repo: Repo, watched: Watched) -> None:
    long = b"/".join([b"d" * 99] * 40)
    names = [long + b"/short", long + b"/" + b"e" * 200, long + b"/" + b"f" * 200, b"\x01" * 3_999]
    names += ["\u2603".encode() * 1_300, b"\xff" * 4_090, b"\xff" * 4_091]
    # Each with a content of its own, so that the renaming of one is not taken for that of another.
    blobs = [repo.git("hash-object", "-w", "--stdin", stdin=name) for name in names]
    commits: list[str] = []
    for ending in (b"", b"x"):
        entries = zip(blobs, names, strict=True)
        index = b"".join(b"100644 %s\t%s\0" % (blob.encode(), name + ending) for blob, name in entries)
        repo.git("read-tree", "--empty")
        repo.git("update-index", "-z", "--index-info", stdin=index)
        parents = [arg for sha in commits for arg in ("-p", sha)]
        commits.append(repo.git("commit-tree", repo.git("write-tree"), "-m", "long", *parents))
    repo.git("update-ref", "refs/heads/main", commits[-1])

    watched.collect()

    changes = [change for data in watched.data(wire.Commit) for change in data.files]
    changes += [change for data in watched.data(wire.CommitFiles) for change in data.files]
    assert len({change.path for change in changes}) == 2 * len(names)
    before = {change.path for change in changes if change.old_path is None}
    assert {change.old_path for change in changes} == {None, *before}
    assert f"{long.decode()}/short" in before
    assert "\u2603" * 1_300 in before
    assert max(len(change.path) for change in changes) <= wire.MAX_PATH
    assert max(len(event.data_json.encode()) for event in watched.events()) < wire.MAX_EVENT_BYTES - 512


def test_branches_and_tags_may_be_named_beyond_utf8_and_beyond_the_wire(repo: Repo, watched: Watched) -> None:
    sha = repo.commit()
    packed = f"{sha} refs/heads/{'b' * 2_000}\n{sha} refs/tags/".encode() + b"\xff\n"
    (repo.git_dir / "packed-refs").write_bytes(packed)
    watched.collect()
    (repo.git_dir / "packed-refs").write_bytes(b"")
    watched.collect()

    (tag,) = watched.data(wire.TagCreated)
    (deleted,) = watched.data(wire.BranchDeleted)
    assert tag.tag == "\\xff"
    assert deleted.branch.startswith("bbb")
    assert len(deleted.branch) <= 1_024


# A commit too large for one event


def test_a_commit_of_3000_files_is_split_into_events_that_each_fit(repo: Repo, watched: Watched) -> None:
    for number in range(3_000):
        repo.write(f"folder with a long name/another one/file {number:05}.txt", "1\n2\n")
    sha = repo.commit()

    collected = watched.collect()

    commit, parts = watched.commit(sha), watched.data(wire.CommitFiles)
    assert (commit.insertions, commit.files_changed, collected.commits) == (6_000, 3_000, 1)
    assert [part.part for part in parts] == list(range(2, len(parts) + 2))
    assert {(part.sha, part.author) for part in parts} == {(sha, ALICE_KEY)}
    paths = [change.path for files in (commit.files, *(part.files for part in parts)) for change in files]
    assert len(set(paths)) == len(paths) == 3_000
    assert {event.timestamp_ms for event in watched.events()} == {START * 1000}
    # The longest numbers and ids that an envelope around the data can have.
    envelope = 6 * 36 + 15 + 19 + len('{"id":"","timestamp":,"deviceId":"","userId":"","projectId":"",') + 60
    assert max(len(event.data_json.encode()) for event in watched.events()) + envelope <= wire.MAX_EVENT_BYTES
    assert len(parts) < 12, "the parts should be filled"


# Each commit once


def test_running_twice_changes_nothing(repo: Repo, watched: Watched) -> None:
    repo.commit()
    repo.git("tag", "v1")
    watched.collect()
    before = watched.events()
    assert watched.collect() == git.Collected()
    assert watched.events() == before


def test_an_amended_commit_is_recorded_beside_the_first(repo: Repo, watched: Watched) -> None:
    repo.write("a", "1\n")
    repo.commit()
    watched.collect()
    repo.write("a", "2\n")
    repo.commit("work", "--amend", date=START)
    watched.collect()
    assert watched.shas() == all_commits(repo)
    assert len(watched.shas()) == 2


def test_a_rebase_adds_only_the_new_commits_at_the_time_of_the_work(repo: Repo, watched: Watched) -> None:
    base = repo.commit()
    repo.git("checkout", "--quiet", "-b", "feature")
    for number in range(3):
        repo.write(f"f{number}", "x\n")
        repo.commit(date=START + 1_000 + number)
    repo.git("checkout", "--quiet", "main")
    repo.write("m", "m\n")
    repo.commit()
    watched.collect()

    repo.git("rebase", "--quiet", "main", "feature")
    collected = watched.collect()

    assert (collected.commits, collected.added) == (3, 4)  # and one switch of branch
    assert watched.shas() == all_commits(repo)
    times = [data.committed_at for data in watched.data(wire.Commit)]
    assert base in watched.shas()
    assert len(times) == 8
    by_time = [event.timestamp_ms // 1000 for event in watched.events()]
    assert [by_time.count(START + 1_000 + number) for number in range(3)] == [2, 2, 2]


def test_a_force_pushed_branch_keeps_what_was_recorded_of_it(repo: Repo, watched: Watched) -> None:
    base = repo.commit()
    lost = repo.commit()
    watched.collect()
    repo.git("reset", "--quiet", "--hard", base)
    new = repo.commit(author=BOB)
    watched.collect()
    assert watched.shas() == sorted([base, lost, new])

    repo.git("reset", "--quiet", "--hard", lost)
    watched.collect()
    assert watched.shas() == sorted([base, lost, new])


def test_a_thousand_commits_in_one_burst_are_all_there(repo: Repo, watched: Watched) -> None:
    watched.collect()
    burst(repo, 1_000)
    assert watched.count_new() == 1_000
    assert watched.collect().commits == 1_000
    assert watched.shas() == all_commits(repo)
    assert watched.count_new() == 0


def test_branches_and_work_trees_that_share_commits_record_each_once(
    repo: Repo, watched: Watched, tmp_path: Path
) -> None:
    repo.commit()
    repo.git("branch", "side")
    linked = repo.worktree(tmp_path / "linked", "-b", "linked")
    detached = repo.worktree(tmp_path / "detached", "--detach")
    watched.collect()
    repo.commit()
    linked.commit(author=BOB)
    only_there = detached.commit(author=BOB, date=START + 9)

    assert watched.collect().commits == 3

    assert watched.shas() == all_commits(repo)
    assert only_there in watched.shas()


def test_what_only_a_remote_a_stash_or_a_note_reaches_is_not_imported(
    repo: Repo, watched: Watched, tmp_path: Path
) -> None:
    shared = repo.commit()
    other = repo.clone(tmp_path / "other")
    other.commit(author=BOB)
    repo.git("remote", "add", "origin", other.path.as_uri())
    repo.git("fetch", "--quiet", "origin")
    repo.git("notes", "add", "--message", "note")
    repo.write("a", "1")
    repo.git("add", "a")
    repo.git("stash")
    watched.collect()
    assert watched.shas() == [shared]


def test_an_interrupted_import_is_repeated_and_doubles_nothing(repo: Repo, watched: Watched) -> None:
    burst(repo, 2_500)

    def stop(commits: int) -> None:
        if commits == 2_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watched.collect(stop)
    assert len(watched.shas()) == 2_000
    assert watched.store.refs(watched.project.id) == {}

    seen: list[int] = []
    collected = watched.collect(seen.append)

    assert (collected.commits, collected.added) == (2_500, 500)
    assert seen == [1_000, 2_000, 2_500]
    assert watched.shas() == all_commits(repo)


def test_old_tips_that_are_gone_for_good_do_not_matter(repo: Repo, watched: Watched) -> None:
    base = repo.commit()
    gone = repo.commit()
    watched.collect()
    repo.git("reset", "--quiet", "--hard", base)
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "--quiet", "--prune=now")
    assert gone not in all_commits(repo)
    new = repo.commit(author=BOB)

    assert watched.count_new() == 2
    watched.collect()

    assert watched.shas() == sorted([base, gone, new])


def test_ten_thousand_refs_are_not_too_many(repo: Repo, watched: Watched) -> None:
    burst(repo, 10_000, files=0)
    commits = repo.git("rev-list", "main").split()
    refs = sorted(f"refs/heads/b{number}" for number in range(len(commits)))
    (repo.git_dir / "packed-refs").write_text(
        "".join(f"{sha} {ref}\n" for sha, ref in zip(commits, refs, strict=True))
    )
    assert watched.collect().added == 10_000
    repo.git("commit", "--quiet", "--allow-empty", "--message", "next")
    assert watched.collect() == git.Collected(commits=1, added=1)


def test_a_commit_that_comes_back_through_replace_or_graft_stays_as_it_was(
    repo: Repo, watched: Watched
) -> None:
    repo.write("a", "1\n")
    first = repo.commit()
    repo.write("a", "1\n2\n")
    second = repo.commit()
    repo.git("replace", "--graft", second)
    (repo.git_dir / "info" / "grafts").write_text(f"{second}\n")
    watched.collect()
    assert watched.shas() == sorted([first, second])
    assert (watched.commit(second).parents, watched.commit(second).insertions) == ([first], 1)


# Branches, heads and tags


def test_the_first_import_observes_no_branch_events(repo: Repo, watched: Watched) -> None:
    repo.commit()
    repo.git("branch", "other")
    watched.collect()
    assert {event.event_type for event in watched.events()} == {wire.EventType.COMMIT}


def test_branches_are_seen_to_be_created_switched_and_deleted(repo: Repo, watched: Watched) -> None:
    first = repo.commit()
    watched.collect()
    repo.git("checkout", "--quiet", "-b", "feature/one")
    tip = repo.commit(author=BOB)
    watched.collect()
    repo.git("checkout", "--quiet", "main")
    repo.git("branch", "--quiet", "--delete", "--force", "feature/one")
    watched.collect()
    watched.collect()

    assert watched.data(wire.BranchCreated) == [wire.BranchCreated(branch="feature/one", sha=tip)]
    assert watched.data(wire.BranchDeleted) == [wire.BranchDeleted(branch="feature/one", sha=tip)]
    assert watched.data(wire.BranchSwitched) == [
        wire.BranchSwitched(branch="feature/one", previous="main"),
        wire.BranchSwitched(branch="main", previous="feature/one"),
    ]
    assert first in watched.shas()
    assert max(event.timestamp_ms for event in watched.events()) == NOW_MS


def test_two_collectors_at_once_record_each_branch_event_once(repo: Repo, watched: Watched) -> None:
    repo.commit()
    watched.collect()
    burst(repo, git.CHUNK + 1, branch="feature")
    repo.git("symbolic-ref", "HEAD", "refs/heads/feature")
    under_way = Barrier(2)

    def wait_for_the_other(commits: int) -> None:
        if commits == git.CHUNK:
            under_way.wait(30)

    def collect(store: Store) -> git.Collected:
        return git.collect(watched.repository, store, watched.project.id, NOW_MS, progress=wait_for_the_other)

    with ThreadPoolExecutor(2) as both:
        collected = list(both.map(collect, [watched.store, Store(watched.store.path)]))
    assert sum(one.added for one in collected) == git.CHUNK + 3
    assert len(watched.data(wire.BranchCreated)) == 1
    assert len(watched.data(wire.BranchSwitched)) == 1
    assert watched.collect().added == 0


def test_a_detached_head_is_no_branch_and_its_commits_count(repo: Repo, watched: Watched) -> None:
    repo.commit()
    watched.collect()
    repo.git("checkout", "--quiet", "--detach")
    watched.collect()
    sha = repo.commit(author=BOB)
    assert watched.collect() == git.Collected(commits=1, added=1)
    repo.commit(author=BOB)
    assert watched.collect() == git.Collected(commits=1, added=1)
    repo.git("checkout", "--quiet", "main")
    watched.collect()

    assert sha in watched.shas()
    assert watched.data(wire.BranchSwitched) == [
        wire.BranchSwitched(branch=None, previous="main"),
        wire.BranchSwitched(branch="main", previous=None),
    ]


def test_a_switch_in_a_linked_work_tree_is_seen_its_making_and_removal_is_no_switch(
    repo: Repo, watched: Watched, tmp_path: Path
) -> None:
    repo.commit()
    watched.collect()
    linked = repo.worktree(tmp_path / "linked", "-b", "one")
    watched.collect()
    assert watched.data(wire.BranchSwitched) == []
    linked.git("checkout", "--quiet", "-b", "two")
    watched.collect()
    assert watched.data(wire.BranchSwitched) == [wire.BranchSwitched(branch="two", previous="one")]
    repo.git("worktree", "remove", "--force", os.fspath(linked.path))
    watched.collect()
    assert len(watched.data(wire.BranchSwitched)) == 1


def test_an_unborn_branch_has_no_commits_and_the_first_one_is_seen(repo: Repo, watched: Watched) -> None:
    assert watched.count_new() == 0
    assert watched.collect() == git.Collected()
    sha = repo.commit()
    watched.collect()
    assert watched.shas() == [sha]
    assert watched.data(wire.BranchCreated) == [wire.BranchCreated(branch="main", sha=sha)]


def test_tags_light_annotated_and_nested_name_their_commit_once(repo: Repo, watched: Watched) -> None:
    sha = repo.commit(date=START)
    repo.clock = START + 600
    repo.git("tag", "light")
    bob = {"GIT_COMMITTER_NAME": "Bob", "GIT_COMMITTER_EMAIL": "bob@example.org"}
    repo.git("tag", "--annotate", "--message", "x", "annotated", env=bob)
    repo.git("tag", "--annotate", "--message", "x", "nested", "annotated")
    repo.git("tag", "of-a-tree", "HEAD^{tree}")
    repo.git("tag", "--annotate", "--message", "x", "annotated-tree", "HEAD^{tree}")

    watched.collect()
    repo.git("tag", "--delete", "light")
    watched.collect()
    repo.git("tag", "light")
    watched.collect()

    tags = {data.tag: data for data in watched.data(wire.TagCreated)}
    assert tags == {
        "light": wire.TagCreated(tag="light", sha=sha, author=None),
        "annotated": wire.TagCreated(tag="annotated", sha=sha, author=BOB_KEY),
        "nested": wire.TagCreated(tag="nested", sha=sha, author=ALICE_KEY),
    }
    times = [event.timestamp_ms for event in watched.events() if event.event_type == "git.tag_created"]
    assert sorted(times) == [START * 1000, (START + 600) * 1000, (START + 600) * 1000]


def test_a_tag_that_moved_is_a_new_tag(repo: Repo, watched: Watched) -> None:
    first = repo.commit()
    repo.git("tag", "latest")
    watched.collect()
    second = repo.commit()
    repo.git("tag", "--force", "latest")
    watched.collect()
    assert [data.sha for data in watched.data(wire.TagCreated)] == [first, second]


def test_a_tag_without_a_date_is_refused_by_name(repo: Repo, watched: Watched) -> None:
    sha = repo.commit()
    raw = f"object {sha}\ntype commit\ntag old\n\nx\n".encode()
    tag = repo.git("hash-object", "-t", "tag", "-w", "--literally", "--stdin", stdin=raw)
    repo.git("update-ref", "refs/tags/old", tag)
    (refused,) = watched.collect().refused
    assert "tag old" in refused


def test_the_sums_of_every_day_are_those_that_git_itself_prints(repo: Repo, watched: Watched) -> None:
    hours = 3_600
    for number in range(40):
        if number % 10 == 3:
            repo.git("checkout", "--quiet", "-b", f"topic{number}")
        repo.write(f"src/{number % 7}/file \u00e4{number % 5}.txt", "line\n" * (number * 37 % 23))
        repo.write("data.bin", bytes([0, number]))
        if number % 10 == 5:
            repo.git("mv", "data.bin", f"data{number}.bin")
            repo.git("mv", "src", "moved")
            repo.git("mv", "moved", f"lib{number}")
        repo.commit(date=START + number * 7 * hours, committed=START + 90 * hours)
        if number % 10 == 8:
            repo.git("checkout", "--quiet", "main")
            repo.write(f"meanwhile{number}", "x\n")
            repo.commit(date=START + number * 7 * hours)
            repo.merge(f"topic{number - 5}", date=START + number * 8 * hours)
    watched.collect()

    for zone in (ZoneInfo("Pacific/Auckland"), ZoneInfo("America/Los_Angeles")):
        truth = compare_with_git.truth(repo.path, zone)
        assert recorded(watched.store, zone) == truth
        assert len(truth) > 10


# Shallow and partial clones


def test_a_shallow_clone_invents_nothing_and_catches_up_when_it_is_deepened(
    repo: Repo, tmp_path: Path
) -> None:
    for number in range(4):
        repo.write(f"{number}.txt", "x\n" * 10)
        repo.commit()
    shallow = repo.clone(tmp_path / "shallow", "--depth=2")
    boundary = shallow.git("rev-parse", "HEAD~1")
    watched = Watched(shallow, tmp_path / "home")

    collected = watched.collect()

    assert watched.shas() == [shallow.head()]
    assert collected.refused == [
        f"commit {boundary} is not recorded: a shallow clone begins here, what it changed is unknown"
    ]
    shallow.git("fetch", "--quiet", "--unshallow")
    assert watched.collect().refused == []
    assert watched.shas() == all_commits(repo)
    assert {data.insertions for data in watched.data(wire.Commit)} == {10}


def recorded(store: Store, zone: ZoneInfo) -> dict[date, compare_with_git.Day]:
    """The same sums over the events of the agent's store."""
    days: dict[date, compare_with_git.Day] = defaultdict(compare_with_git.Day)
    with store.read() as connection:
        rows = connection.execute("SELECT timestamp, event_type, event_data FROM events")
        while page := rows.fetchmany(1_000):
            for timestamp_ms, kind, data_json in page:
                data = wire.decode(data_json.encode(), wire.DATA[wire.EventType(kind)])
                if isinstance(data, wire.Commit | wire.Merge | wire.CommitFiles):
                    moment = datetime.fromtimestamp(timestamp_ms / 1000, UTC)
                    _add(days[moment.astimezone(zone).date()], data)
    return dict(days)


def _add(day: compare_with_git.Day, data: wire.Commit | wire.Merge | wire.CommitFiles) -> None:
    day.files.update(wire.paths_of(data))
    if isinstance(data, wire.CommitFiles):
        return
    day.commits += 1
    if isinstance(data, wire.Commit):
        day.insertions += data.insertions
        day.deletions += data.deletions
