"""What a repository's refs say at one moment: branches, tags and the HEAD of every work tree."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devflow import wire
from devflow.errors import Invalid
from devflow_agent.collect import git_program
from devflow_agent.privacy import wire_ref

_BRANCH: Final = "refs/heads/"
_TAG: Final = "refs/tags/"
_SHALLOW: Final = "shallow/"
_FORMAT: Final = "%00".join(
    (
        "%(refname)",
        "%(objecttype)",
        "%(objectname)",
        "%(*objecttype)",
        "%(*objectname)",
        "%(creatordate:unix)",
        "%(taggeremail)",
    )
)


@dataclass(frozen=True, slots=True)
class Tag:
    """``sha`` is the commit it stands for; ``created`` is in seconds, raw; a light tag has no ``tagger``."""

    sha: str
    created: bytes
    tagger: str | None


@dataclass(frozen=True, slots=True)
class Refs:
    """Names of branches and tags are short; ``heads`` goes from ``HEAD`` (the main work tree's)
    and ``worktrees/<id>/HEAD`` to a full branch name or, detached, to a hash.

    ``tips`` are the commits that branches and heads stand at, ``shallow`` those whose parents
    a shallow clone left out.
    """

    branches: Mapping[str, str]
    tags: Mapping[str, Tag]
    heads: Mapping[str, str]
    shallow: frozenset[str]
    tips: frozenset[str]

    def recorded(self) -> dict[str, str]:
        """As the store keeps it and ``known`` reads it: everything by the name git gives it."""
        return {
            **{f"{_BRANCH}{name}": sha for name, sha in self.branches.items()},
            **{f"{_TAG}{name}": tag.sha for name, tag in self.tags.items()},
            **self.heads,
            **{f"{_SHALLOW}{sha}": sha for sha in self.shallow},
        }


@dataclass(frozen=True, slots=True)
class Known:
    """What ``Refs.recorded`` said last time."""

    branches: Mapping[str, str]
    tags: Mapping[str, str]
    heads: Mapping[str, str]
    shallow: frozenset[str]

    @property
    def tips(self) -> set[str]:
        """Commits that are recorded with all they reach. Not the tags: nobody walked from them."""
        detached = {head for head in self.heads.values() if branch_of(head) is None}
        return {*self.branches.values(), *detached}


def known(recorded: Mapping[str, str]) -> Known:
    return Known(
        branches=_below(_BRANCH, recorded),
        tags=_below(_TAG, recorded),
        heads={name: value for name, value in recorded.items() if name.endswith("HEAD") and _is_head(name)},
        shallow=frozenset(_below(_SHALLOW, recorded)),
    )


def branch_of(head: str) -> str | None:
    """The short name of the branch a HEAD is on, None if it is detached."""
    return head.removeprefix(_BRANCH) if head.startswith(_BRANCH) else None


def read(folder: Path, git_dir: Path) -> Refs:
    """The refs now. Raise Invalid if one cannot be read: it must not look deleted."""
    branches, tags = _branches_and_tags(folder)
    heads = _heads(git_dir)
    detached = [head for head in heads.values() if branch_of(head) is None]
    return Refs(
        branches=dict(branches),
        tags=tags,
        heads=heads,
        shallow=_shallow(git_dir),
        tips=frozenset([*(sha for _, sha in branches), *detached]),
    )


def _branches_and_tags(folder: Path) -> tuple[list[tuple[str, str]], dict[str, Tag]]:
    listed = git_program.run(folder, "for-each-ref", f"--format={_FORMAT}", "refs/heads", "refs/tags")
    branches: list[tuple[str, str]] = []
    tags: dict[str, Tag] = {}
    nested: dict[str, tuple[str, bytes, bytes]] = {}
    for line in listed.splitlines():
        refname, kind, sha, peeled_kind, peeled, created, tagger = line.split(b"\0")
        if refname.startswith(_BRANCH.encode()):
            if kind == b"commit":
                branches.append((wire_ref(refname[len(_BRANCH) :]), sha.decode()))
            continue
        name = wire_ref(refname[len(_TAG) :])
        if kind == b"commit":
            tags[name] = Tag(sha.decode(), created, None)
        elif peeled_kind == b"commit":
            tags[name] = Tag(peeled.decode(), created, _author(tagger))
        elif peeled_kind == b"tag":
            nested[name] = (sha.decode(), created, tagger)
    return branches, tags | _peel(folder, nested)


def _peel(folder: Path, nested: Mapping[str, tuple[str, bytes, bytes]]) -> dict[str, Tag]:
    """Tags of tags; for-each-ref looks only one level deep before git 2.45."""
    if not nested:
        return {}
    asked = "".join(f"{sha}^{{commit}}\n" for sha, _, _ in nested.values()).encode()
    answers = git_program.run(
        folder, "cat-file", "--batch-check=%(objecttype) %(objectname)", stdin=asked
    ).splitlines()
    return {
        name: Tag(answer.split()[1].decode(), created, _author(tagger))
        for (name, (_, created, tagger)), answer in zip(nested.items(), answers, strict=True)
        if answer.startswith(b"commit ")
    }


def _author(tagger: bytes) -> str | None:
    """``%(taggeremail)`` comes in angle brackets, and empty for the nameless tags of git's first days."""
    if not tagger:
        return None
    return wire.author_key(
        tagger.strip().removeprefix(b"<").removesuffix(b">").decode(errors="surrogateescape")
    )


def _heads(git_dir: Path) -> dict[str, str]:
    heads = {"HEAD": _head(git_dir)}
    for worktree in sorted(path.parent for path in git_dir.glob("worktrees/*/HEAD")):
        # A linked work tree that is half made or half removed is no reason to stop.
        with suppress(Invalid):
            heads[f"worktrees/{wire_ref(os.fsencode(worktree.name))}/HEAD"] = _head(worktree)
    return {name: head for name, head in heads.items() if head is not None}


def _head(git_dir: Path) -> str | None:
    """The branch it is on, born or not, else the commit; None for an unborn ref of another kind."""
    this = f"--git-dir={git_dir}"
    ref = git_program.ask(git_dir, this, "symbolic-ref", "--quiet", "HEAD")
    if ref is not None and ref.startswith(_BRANCH.encode()):
        return _BRANCH + wire_ref(ref[len(_BRANCH) :].removesuffix(b"\n"))
    commit = git_program.ask(git_dir, this, "rev-parse", "--quiet", "--verify", "HEAD^{commit}")
    if commit is not None:
        return commit.decode().strip()
    if ref is None:
        raise Invalid(f"expected the detached HEAD of {git_dir} to be a commit, git finds none there")
    return None


def _shallow(git_dir: Path) -> frozenset[str]:
    try:
        return frozenset((git_dir / "shallow").read_text("ascii").split())
    except FileNotFoundError:
        return frozenset()


def _below(prefix: str, recorded: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(prefix): sha for name, sha in recorded.items() if name.startswith(prefix)}


def _is_head(name: str) -> bool:
    return name == "HEAD" or name.startswith("worktrees/")
