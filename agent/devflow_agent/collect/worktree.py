"""The work tree git has checked out: what it lists, what it ignores, where it keeps its state."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devflow.errors import Invalid, NotFound
from devflow_agent.collect import git_program
from devflow_agent.privacy import never_seen

MAX_PATHS: Final = 400
"""More paths than this are not named to git one by one: a command line holds only so many."""

Stamp = tuple[int, int, int]
"""Inode, size and modification time in nanoseconds: what moves when a file is written anew."""


@dataclass(frozen=True, slots=True)
class WorkTree:
    """``git_dir`` is of this work tree, ``common_dir`` is shared by all work trees of the repository."""

    top: Path
    git_dir: Path
    common_dir: Path

    @classmethod
    def at(cls, path: Path) -> WorkTree:
        """The work tree ``path`` lies in; raise NotFound if there is none."""
        try:
            top = _asked(path, "--show-toplevel")
            return cls(top, _asked(path, "--absolute-git-dir"), path / _asked(path, "--git-common-dir"))
        except Invalid as error:
            raise NotFound(f"expected a git work tree at {path}") from error

    def git(self, *args: str, paths: Collection[bytes] = ()) -> bytes:
        """What git prints; raise Invalid if it fails."""
        if not paths:
            return git_program.run(self.top, *args)
        named = sorted(os.fsdecode(path) for path in paths)
        try:
            return git_program.run(self.top, "--literal-pathspecs", *args, "--", *named)
        except Invalid:
            # git's own message may name a path that git ignores, and this one may end up in a log.
            raise Invalid(f"expected git {args[0]} to read {len(named)} paths of {self.top}") from None

    def listed(self, paths: Collection[bytes] = ()) -> set[bytes]:
        """Files that git tracks or would offer to add, of these paths or, if none are given, of all."""
        if len(paths) > MAX_PATHS:
            return self.listed() & set(paths)
        out = self.git("ls-files", "-z", "-co", "--exclude-standard", paths=paths)
        return {path for path in _names(out) if not never_seen(os.fsdecode(path))}

    def folders(self) -> Iterator[bytes]:
        """The top, as ``b""``, and every folder that is neither ignored nor private nor a repository."""
        out = self.git("ls-files", "-z", "-oi", "--directory", "--exclude-standard")
        ignored = {name.rstrip(b"/") for name in _names(out) if name.endswith(b"/")}
        waiting = [b""]
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting.extend(path for path in self._subfolders(folder) if path not in ignored)

    def _subfolders(self, folder: bytes) -> Iterator[bytes]:
        try:
            with os.scandir(self.absolute(folder)) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:  # removed, or closed to us, since it was listed
            return
        for name in names:
            path = folder + b"/" + name if folder else name
            if not never_seen(os.fsdecode(path)) and not os.path.lexists(self.absolute(path + b"/.git")):
                yield path

    def absolute(self, path: bytes) -> bytes:
        return os.fsencode(self.top) + b"/" + path

    def exclude_files(self) -> list[Path]:
        """The files outside the tree that say what is ignored, and the configuration that names them."""
        try:
            chosen = self.git("config", "--path", "--get", "core.excludesFile").rstrip(b"\n")
        except Invalid:  # git's way to say that it is not set
            chosen = b""
        config_home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        excludes = Path(os.fsdecode(chosen)) if chosen else config_home / "git" / "ignore"
        return [
            self.common_dir / "info" / "exclude",
            self.common_dir / "config",
            Path(os.environ.get("GIT_CONFIG_GLOBAL") or Path.home() / ".gitconfig"),
            config_home / "git" / "config",
            self.top / excludes,
        ]


def stamp(path: Path | bytes) -> Stamp | None:
    """None if nothing is there. A symbolic link is not followed."""
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _asked(folder: Path, what: str) -> Path:
    return Path(os.fsdecode(git_program.run(folder, "rev-parse", what).removesuffix(b"\n")))


def _names(out: bytes) -> list[bytes]:
    return [name for name in out.split(b"\0") if name]
