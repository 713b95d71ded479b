"""Read the commits of a repository with ``git log``, as a stream of any length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devflow.errors import Invalid
from devflow.wire import FileChange
from devflow_agent.collect import git_program
from devflow_agent.privacy import wire_path

# No line of --numstat begins with a letter, so that the stream needs no other frame.
_MARK: Final = b"commit "
_FORMAT: Final = "tformat:commit %H%x00%P%x00%ae%x00%at%x00%ce%x00%ct"

# What plain `git log --numstat -M` does without any config, spelled out so that none matters.
COMMAND: Final = (
    "log",
    f"--format={_FORMAT}",
    "-z",
    "--numstat",
    "--find-renames=50%",
    "-l1000",
    "--root",
    "--diff-algorithm=default",
    "--ignore-submodules=none",
    "--submodule=short",
    "-O/dev/null",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--no-decorate",
    "--no-notes",
    "--no-mailmap",
    "--no-show-signature",
    "--encoding=UTF-8",
    "--ignore-missing",  # works only ahead of --stdin
    "--stdin",
)


@dataclass(frozen=True, slots=True)
class LoggedCommit:
    """A commit as ``git log --numstat -M`` prints it; e-mails and dates are the bytes in it.

    An e-mail is in UTF-8 if its commit names its encoding, else it is whatever was typed.
    ``files`` is empty for a merge. A date is in seconds, and empty where git can read none.
    """

    sha: str
    parents: list[str]
    author: bytes
    authored: bytes
    committer: bytes
    committed: bytes
    files: list[FileChange]


def log(folder: Path, tips: Sequence[str], seen: Iterable[str]) -> Iterator[LoggedCommit]:
    """Every commit that ``tips`` reach and ``seen`` do not, newest first. Both are hashes.

    One of ``seen`` that no longer exists is ignored. Raise Invalid with git's message if some
    of it cannot be read; what was yielded until then is whole.
    """
    if not tips:
        return iter(())  # git would take an empty list for HEAD
    return parse(git_program.stream(folder, *COMMAND, stdin=_revisions(tips, seen)))


def count(folder: Path, tips: Sequence[str], seen: Iterable[str]) -> int:
    """How many commits ``log`` will yield, in a fraction of its time."""
    if not tips:
        return 0
    revisions = _revisions(tips, seen)
    return int(git_program.run(folder, "rev-list", "--count", "--ignore-missing", "--stdin", stdin=revisions))


def parse(blocks: Iterable[bytes]) -> Iterator[LoggedCommit]:
    """The commits in the output of our ``git log``, however it is cut into blocks."""
    tokens = _tokens(blocks)
    commit: LoggedCommit | None = None
    for token in tokens:
        if token.startswith(_MARK):
            if commit is not None:
                yield commit
            commit = _header(token, tokens)
        elif commit is not None:
            commit.files.append(_change(token, tokens))
        else:
            raise Invalid(f"expected git log to begin with a commit, got {token[:80]!r}")
    if commit is not None:
        yield commit


def _revisions(tips: Iterable[str], seen: Iterable[str]) -> bytes:
    # Through stdin: ten thousand of them are more than a command line holds.
    return "".join([*(f"{tip}\n" for tip in tips), *(f"^{tip}\n" for tip in seen)]).encode()


def _tokens(blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        *tokens, rest = (rest + block).split(b"\0")
        yield from tokens
    if rest:
        raise Invalid(f"expected git log to end with a NUL, got {rest[:80]!r}")


def _header(token: bytes, tokens: Iterator[bytes]) -> LoggedCommit:
    return LoggedCommit(
        sha=token[len(_MARK) :].decode(),
        parents=_next(tokens).decode().split(),
        author=_next(tokens),
        authored=_next(tokens),
        committer=_next(tokens),
        committed=_next(tokens),
        files=[],
    )


def _change(token: bytes, tokens: Iterator[bytes]) -> FileChange:
    """``insertions TAB deletions TAB path``; a rename's path is empty, the old and the new one follow.

    The first line of a commit comes with a newline ahead.
    """
    try:
        added, deleted, path = token.lstrip(b"\n").split(b"\t", 2)
        insertions, deletions = _lines(added), _lines(deleted)
    except ValueError:
        raise Invalid(f"expected a line of git log --numstat, got {token[:80]!r}") from None
    old_path = None
    if not path:
        old_path = wire_path(_next(tokens))
        path = _next(tokens)
    return FileChange(wire_path(path), insertions, deletions, old_path)


def _lines(number: bytes) -> int | None:
    return None if number == b"-" else int(number)


def _next(tokens: Iterator[bytes]) -> bytes:
    token = next(tokens, None)
    if token is None:
        raise Invalid("expected git log to finish a commit, got the end of its output")
    return token
