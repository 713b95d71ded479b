"""Tell git's own writing into the work tree from the developer's.

A checkout, pull, merge, rebase, reset or stash changes files that nobody saved. They are known
by two signs together: git has rewritten its index or moved HEAD since the last look, and
the file is exactly what HEAD says. What a plain commit of the same moment contains stays a
save: the developer wrote it and committed at once. So ``git checkout -- file``, ``git
restore`` and ``git stash`` record nothing. Files that git leaves different from HEAD do count
as written: ``git stash pop``, a merge with conflicts, ``git cherry-pick -n``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from devflow.errors import Invalid
from devflow_agent.collect.worktree import MAX_PATHS, Stamp, WorkTree, stamp

STALE_LOCK_S: Final = 10.0
"""An older ``index.lock`` was left behind by a crash, or git is busy longer than we can wait."""

# "commit", "commit (initial)", "commit (amend)", "commit (merge)": what the developer wrote himself.
_PLAIN: Final = re.compile(rb"commit( \((initial|amend|merge)\))?: ")


@dataclass(frozen=True, slots=True)
class Position:
    """Where git stood: the index file, the length of HEAD's log in bytes, without a log branch and commit."""

    index: Stamp | None
    log_bytes: int
    branch: str
    head: str


@dataclass(frozen=True, slots=True)
class _Move:
    """One line of HEAD's log: it went from one commit to another."""

    old: str
    new: str
    plain: bool

    @property
    def is_first(self) -> bool:
        return not self.old.strip("0")


def busy(tree: WorkTree) -> bool:
    """True while git is at work in the tree and its files are not yet what they will be."""
    try:
        since = (tree.git_dir / "index.lock").stat().st_mtime
    except OSError:
        return False
    return time.time() - since < STALE_LOCK_S


def position(tree: WorkTree) -> Position:
    log = stamp(tree.git_dir / "logs" / "HEAD")
    index = stamp(tree.git_dir / "index")
    if log is not None:
        return Position(index, log[1], "", "")
    # With the reftable format, or when the log is switched off, only HEAD itself can tell.
    return Position(index, 0, _head(tree, "--symbolic-full-name", "HEAD"), _head(tree, "HEAD^{commit}"))


def written_by_git(tree: WorkTree, since: Position, changed: Mapping[bytes, Stamp | None]) -> set[bytes]:
    """Those of the changed paths (None: deleted) that git itself wrote or deleted after ``since``."""
    now = position(tree)
    if not changed or now == since:
        return set()
    moves = _moves(tree, since, now)
    written = _clean(tree, [path for path, found in changed.items() if found is not None])
    if moves:
        deleted = {path for path, found in changed.items() if found is None}
        written |= deleted & _diff(tree, "--diff-filter=D", moves[0].old, moves[-1].new)
    for move in moves:
        if move.plain:
            written -= _committed(tree, move)
    return written


def _moves(tree: WorkTree, since: Position, now: Position) -> list[_Move]:
    if now.head or since.head:
        return _move_without_log(tree, since, now)
    start = since.log_bytes if since.log_bytes <= now.log_bytes else 0
    with (tree.git_dir / "logs" / "HEAD").open("rb") as log:
        log.seek(start)
        lines = log.read().splitlines()
    return [move for line in lines if (move := _move(line)) is not None]


def _move(line: bytes) -> _Move | None:
    who, _, what = line.partition(b"\t")
    shas = who.split(b" ", 2)
    if len(shas) < 3:
        return None
    return _Move(shas[0].decode(), shas[1].decode(), _PLAIN.match(what) is not None)


def _move_without_log(tree: WorkTree, since: Position, now: Position) -> list[_Move]:
    """A branch that moved on by one commit was most likely committed to, and not merged into."""
    if not now.head or since.head == now.head:
        return []
    parents = tree.git("rev-list", "--parents", "-n1", now.head).decode().split()[1:]
    plain = since.branch == now.branch and parents == ([since.head] if since.head else [])
    return [_Move(since.head or "0", now.head, plain)]


def _head(tree: WorkTree, *asked: str) -> str:
    try:
        return tree.git("rev-parse", "-q", "--verify", *asked).decode().strip()
    except Invalid:  # no commit yet
        return ""


def _clean(tree: WorkTree, paths: Collection[bytes]) -> set[bytes]:
    """Those that HEAD has, with exactly this content."""
    if not paths:
        return set()
    named = paths if len(paths) <= MAX_PATHS else ()
    try:
        in_head = set(
            tree.git("ls-tree", "-rz", "--full-tree", "--name-only", "HEAD", paths=named).split(b"\0")
        )
    except Invalid:  # no commit yet: nothing can have come from one
        return set()
    return in_head.intersection(paths) - _diff(tree, "HEAD", paths=named)


def _committed(tree: WorkTree, move: _Move) -> set[bytes]:
    if move.is_first:
        return set(tree.git("ls-tree", "-rz", "--full-tree", "--name-only", move.new).split(b"\0"))
    return _diff(tree, move.old, move.new)


def _diff(tree: WorkTree, *args: str, paths: Collection[bytes] = ()) -> set[bytes]:
    """Names only; a range that starts before the first commit has none."""
    if any(not arg.strip("0") for arg in args):
        return set()
    options = (
        "-z",
        "--name-only",
        "--no-renames",
        "--no-ext-diff",
        "--no-textconv",
        "--ignore-submodules=all",
    )
    return set(tree.git("diff", *options, *args, paths=paths).split(b"\0"))
