"""Real git repositories for tests, the same on every machine and at every time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

START: Final = 1_700_000_000
"""When the first commit of every repository is made, in Unix seconds; each further one a minute later."""

ALICE: Final = "Alice <alice@example.org>"
BOB: Final = "Bob <bob@example.org>"


class Repo:
    """A repository in ``path`` and the git commands on it; its first branch is ``main``."""

    def __init__(self, path: Path, *, init: bool = True) -> None:
        self.path = path
        self.clock = START
        if init:
            path.mkdir(parents=True, exist_ok=True)
            self.git("init", "--quiet", "--initial-branch=main")

    @property
    def git_dir(self) -> Path:
        return self.path / ".git"

    def git(self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        """What git prints, without the last newline. A failure raises with git's message."""
        done = subprocess.run(
            ["git", *args], cwd=self.path, input=stdin, capture_output=True, env=self._environment(env)
        )
        if done.returncode != 0:
            raise AssertionError(f"git {' '.join(args)}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode(errors="backslashreplace").removesuffix("\n")

    def write(self, path: str, content: str | bytes) -> Path:
        """Put ``content`` into the file; folders are made."""
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def commit(
        self,
        message: str = "work",
        *args: str,
        author: str = ALICE,
        committer: str | None = None,
        date: int | str | None = None,
        committed: int | str | None = None,
    ) -> str:
        """Commit all there is, if nothing then an empty commit; return its hash.

        ``date`` (the author's) and ``committed`` are Unix seconds, or anything git reads as a date.
        """
        self.git("add", "--all")
        env = self._who_and_when(author, committer, date, committed)
        self.git("commit", "--quiet", "--allow-empty", "--message", message, *args, env=env)
        return self.head()

    def merge(self, *branches: str, date: int | None = None) -> str:
        """A merge commit even where git could fast-forward; return its hash."""
        env = self._who_and_when(ALICE, None, date, None)
        self.git("merge", "--quiet", "--no-ff", "--message", "merge", *branches, env=env)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def clone(self, path: Path, *args: str) -> Self:
        """A clone in ``path``, over the git protocol's own transport as from another machine."""
        self.git("clone", "--quiet", *args, self.path.as_uri(), os.fspath(path))
        return type(self)(path, init=False)

    def worktree(self, path: Path, *args: str) -> Self:
        """A linked work tree in ``path``; ``args`` go to ``git worktree add`` ahead of it."""
        self.git("worktree", "add", "--quiet", *args, os.fspath(path))
        linked = type(self)(path, init=False)
        linked.clock = self.clock
        return linked

    def _who_and_when(
        self, author: str, committer: str | None, date: int | str | None, committed: int | str | None
    ) -> dict[str, str]:
        now, self.clock = self.clock, self.clock + 60
        date = now if date is None else date
        return {
            **_identity("AUTHOR", author, date),
            **_identity("COMMITTER", committer or author, date if committed is None else committed),
        }

    def _environment(self, more: Mapping[str, str] | None) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        return {
            **inherited,
            "HOME": os.fspath(self.path / "no-home"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_EDITOR": "true",
            "LC_ALL": "C",
            **_identity("AUTHOR", ALICE, self.clock),
            **_identity("COMMITTER", ALICE, self.clock),
            **(more or {}),
        }


def _identity(role: str, who: str, date: int | str) -> dict[str, str]:
    name, _, email = who.rstrip(">").partition(" <")
    return {
        f"GIT_{role}_NAME": name,
        f"GIT_{role}_EMAIL": email,
        # The @ keeps git from reading few digits as a year or an hour.
        f"GIT_{role}_DATE": f"@{date} +0000" if isinstance(date, int) else date,
    }
