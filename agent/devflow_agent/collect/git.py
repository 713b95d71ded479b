"""The git collector: compares a repository with what was last seen of it, and records what is new.

Importing a history and following a repository are the same operation. A commit is recorded
once however often and from wherever it is seen, because its id is drawn from its hash; the
refs that say how far the collector has come are written with the last of its observations.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from devflow import pseudonyms, wire
from devflow.errors import Busy, Invalid
from devflow.wire import EventType, FileChange
from devflow_agent.collect import git_log, git_program, git_refs
from devflow_agent.collect.git_log import LoggedCommit
from devflow_agent.collect.git_refs import Known, Refs, branch_of
from devflow_agent.store import Observation, Store

CHUNK: Final = 1_000
"""Observations a transaction."""

_MAX_DATA_BYTES: Final = wire.MAX_EVENT_BYTES - 1_024  # the envelope around it takes less than half of that
_MAX_FILES_BYTES: Final = _MAX_DATA_BYTES - 1_024  # what stands beside the files takes less than half, too
_MAX_PARENTS: Final = 256


@dataclass(frozen=True, slots=True)
class Repository:
    """``top`` is the work tree's top folder; ``git_dir`` the common one, the same for all work trees.

    A bare repository has no work tree to watch, its history can be imported: ``top`` is its git_dir.
    """

    top: Path
    git_dir: Path
    name: str
    bare: bool


@dataclass(slots=True)
class Collected:
    """``commits`` were read, ``added`` events were new to the store.

    ``refused`` says of each commit or tag that could not be recorded which it is, and why.
    """

    commits: int = 0
    added: int = 0
    refused: list[str] = field(default_factory=list)


def open_repository(path: Path) -> Repository:
    """The repository ``path`` is in. Raise Invalid if there is none, or git cannot read it."""
    if not path.is_dir():
        came = "a file" if path.exists() else "nothing there"
        raise Invalid(f"expected the folder of a git repository at {path}, got {came}")
    git_program.check_version()
    git_dir = _git_dir(path)
    bare = git_program.run(path, "rev-parse", "--is-bare-repository") == b"true\n"
    if bare:
        return Repository(git_dir, git_dir, git_dir.name.removesuffix(".git") or git_dir.name, bare=True)
    if git_program.run(path, "rev-parse", "--is-inside-work-tree") != b"true\n":
        raise Invalid(
            f"expected the work tree of a repository, got a folder inside its git directory: {path}"
        )
    top = _path(git_program.run(path, "rev-parse", "--show-toplevel"))
    # Of the common directory, so that a linked work tree does not rename the project.
    name = git_dir.parent.name if git_dir.name == ".git" else top.name
    return Repository(top, git_dir, name, bare=False)


def _git_dir(path: Path) -> Path:
    try:
        return (path / _path(git_program.run(path, "rev-parse", "--git-common-dir"))).resolve()
    except Invalid as error:
        if "not a git repository" not in str(error):
            raise
        if (path / ".git").exists():
            raise Invalid(f"expected a git repository at {path}, its .git is broken: {error}") from error
        raise Invalid(f"expected a git repository at {path}, got a folder that is in none") from error


def _path(line: bytes) -> Path:
    return Path(os.fsdecode(line.removesuffix(b"\n")))


def state(repository: Repository) -> Hashable:
    """Changes when there may be something to collect. A few dozen stat calls and no git.

    Take it before ``collect``, not after: what happens meanwhile then shows as a change.
    """
    git_dir = repository.git_dir
    seen: list[Hashable] = []
    for worktree in (git_dir, *sorted(git_dir.glob("worktrees/*"))):
        # The log grows with every move of HEAD, which tells two moves within one clock tick apart.
        seen += [_stat(worktree / "HEAD"), _stat(worktree / "logs" / "HEAD")]
    seen += [_stat(git_dir / name) for name in ("packed-refs", "shallow", "reftable/tables.list")]
    for refs in ("refs/heads", "refs/tags"):
        seen += _tree(git_dir / refs)
    return tuple(seen)


def _tree(folder: Path | str) -> Iterator[Hashable]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            yield entry.name, _stat(entry)
            if entry.is_dir():
                yield from _tree(entry.path)


def _stat(file: Path | os.DirEntry[str]) -> Hashable:
    try:
        found = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def count_new(repository: Repository, store: Store, project_id: UUID) -> int:
    """How many commits ``collect`` would read now."""
    seen = git_refs.known(store.refs(project_id))
    refs = git_refs.read(repository.top, repository.git_dir)
    return git_log.count(repository.top, sorted(refs.tips), _reached(seen, refs))


def collect(
    repository: Repository,
    store: Store,
    project_id: UUID,
    now_ms: int,
    *,
    progress: Callable[[int], None] = lambda _commits: None,
) -> Collected:
    """Record what is new: commits, merges and tags, and after the first time also what branches did.

    Commits are those that local branches and the HEADs of all work trees reach. ``progress``
    is told after each transaction how many were read so far. Interrupted, it has recorded a
    part, and the next call reads all of it again.
    """
    collected = Collected()
    while True:
        # Branch events have no identity by which a second recording would be noticed: where another
        # collector was faster, go on from where it has come to.
        with suppress(Busy):
            _collect(repository, store, project_id, now_ms, collected, progress)
            return collected


def _collect(
    repository: Repository,
    store: Store,
    project_id: UUID,
    now_ms: int,
    collected: Collected,
    progress: Callable[[int], None],
) -> None:
    recorded = store.refs(project_id)
    refs = git_refs.read(repository.top, repository.git_dir)
    if refs.recorded() == recorded:
        return
    seen = git_refs.known(recorded)
    waiting: list[Observation] = []
    for commit in git_log.log(repository.top, sorted(refs.tips), _reached(seen, refs)):
        waiting += _of_commit(commit, refs.shallow, collected.refused)
        collected.commits += 1
        if len(waiting) >= CHUNK:
            collected.added += store.add(project_id, waiting)
            waiting.clear()
            progress(collected.commits)
    waiting += _of_tags(seen, refs, collected.refused)
    if recorded:
        waiting += _of_branches(seen, refs, now_ms)
    collected.added += store.add_and_advance(project_id, waiting, seen=recorded, refs=refs.recorded())
    progress(collected.commits)


def _reached(seen: Known, refs: Refs) -> list[str]:
    """The commits with all of their history recorded: none if a shallow clone has got more of it since."""
    return sorted(seen.tips) if seen.shallow == refs.shallow else []


def _of_commit(commit: LoggedCommit, shallow: frozenset[str], refused: list[str]) -> list[Observation]:
    """The event of a commit and those of the files that do not fit into it; none if it is refused."""
    authored, committed = _millis(commit.authored), _millis(commit.committed)
    if commit.sha in shallow:
        reason = "a shallow clone begins here, what it changed is unknown"
    elif authored is None or committed is None:
        reason = (
            "expected dates from 1970 to 9998 (in seconds),"
            f" got author date {_shown(commit.authored)}, committer date {_shown(commit.committed)}"
        )
    elif len(commit.parents) > _MAX_PARENTS:
        reason = f"expected at most {_MAX_PARENTS} parents, got {len(commit.parents)}"
    else:
        return [
            Observation(_commit_id(data), authored, data)
            for data in (_merge(commit, committed) if len(commit.parents) > 1 else _commit(commit, committed))
        ]
    refused.append(f"commit {commit.sha} is not recorded: {reason}")
    return []


def _shown(seconds: bytes) -> str:
    return seconds.decode(errors="backslashreplace") or "that git cannot read"


def _commit_id(data: wire.Commit | wire.Merge | wire.CommitFiles) -> UUID:
    if isinstance(data, wire.CommitFiles):
        return wire.fact_id(EventType.COMMIT_FILES, data.sha, str(data.part))
    return wire.fact_id(EventType.COMMIT, data.sha)


def _merge(commit: LoggedCommit, committed: int) -> Iterator[wire.Merge]:
    yield wire.Merge(
        sha=commit.sha,
        parents=commit.parents,
        author=_author(commit.author),
        committer=_author(commit.committer),
        committed_at=committed,
    )


def _commit(commit: LoggedCommit, committed: int) -> Iterator[wire.Commit | wire.CommitFiles]:
    data = wire.Commit(
        sha=commit.sha,
        parents=commit.parents,
        author=_author(commit.author),
        committer=_author(commit.committer),
        committed_at=committed,
        insertions=sum(change.insertions or 0 for change in commit.files),
        deletions=sum(change.deletions or 0 for change in commit.files),
        files_changed=len(commit.files),
        files=commit.files,
    )
    bare = msgspec.structs.replace(data, files=[])
    if len(wire.encode(bare)) + sum(map(_weight, commit.files)) <= _MAX_DATA_BYTES:
        yield data
        return
    first, *more = _parts(commit.files)
    yield msgspec.structs.replace(data, files=first)
    for part, files in enumerate(more, start=2):
        yield wire.CommitFiles(sha=commit.sha, author=data.author, part=part, files=files)


def _parts(changes: Iterable[FileChange]) -> Iterator[list[FileChange]]:
    """The changes in order, in runs that each fit one event."""
    part: list[FileChange] = []
    size = 0
    for change in changes:
        weight = _weight(change)
        if part and size + weight > _MAX_FILES_BYTES:
            yield part
            part, size = [], 0
        part.append(change)
        size += weight
    yield part


def _weight(change: FileChange) -> int:
    """The bytes it takes in an event at most, with its names or with pseudonyms.

    Whatever a clone shares, it cuts a commit where the others do: the parts are the same events everywhere.
    """
    names = [name for name in (change.path, change.old_path) if name is not None]
    longer = sum(max(pseudonyms.LONGEST - len(name), 0) for name in names)
    return len(wire.encode(change)) + longer + 1


def _of_tags(seen: Known, refs: Refs, refused: list[str]) -> Iterator[Observation]:
    for name, tag in refs.tags.items():
        if seen.tags.get(name) == tag.sha:
            continue
        created = _millis(tag.created)
        if created is None:
            refused.append(f"tag {name} is not recorded: expected a date, got one {_shown(tag.created)}")
            continue
        data = wire.TagCreated(tag=name, sha=tag.sha, author=tag.tagger)
        yield Observation(wire.fact_id(EventType.TAG_CREATED, name, tag.sha), created, data)


def _of_branches(seen: Known, refs: Refs, now_ms: int) -> Iterator[Observation]:
    for name, sha in refs.branches.items():
        if name not in seen.branches:
            yield Observation.own(now_ms, wire.BranchCreated(branch=name, sha=sha))
    for name, sha in seen.branches.items():
        if name not in refs.branches:
            yield Observation.own(now_ms, wire.BranchDeleted(branch=name, sha=sha))
    for worktree in refs.heads.keys() & seen.heads.keys():
        branch, previous = branch_of(refs.heads[worktree]), branch_of(seen.heads[worktree])
        if branch != previous:
            yield Observation.own(now_ms, wire.BranchSwitched(branch=branch, previous=previous))


def _millis(seconds: bytes) -> int | None:
    """None for a date that no event can carry."""
    try:
        millis = int(seconds) * 1_000
    except ValueError:
        return None
    return millis if 0 <= millis <= wire.MAX_TIMESTAMP_MS else None


@lru_cache(maxsize=10_000)
def _author(email: bytes) -> str:
    return wire.author_key(email.decode(errors="surrogateescape"))
