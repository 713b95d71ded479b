"""How the git program is run: as itself, whatever the environment and the repository's config say.

A repository is somebody else's data. Nothing its config names is executed, no lock is
taken that a developer's own git would wait for, nothing is fetched and nobody is prompted.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final, Self

from devflow.errors import Invalid

OLDEST: Final = (2, 25)
TIMEOUT_S: Final = 120.0
_BLOCK: Final = 1 << 20

_KEPT_ENVIRONMENT: Final = frozenset(
    {
        "GIT_CEILING_DIRECTORIES",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_SYSTEM",
        "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    }
)
_SET_ENVIRONMENT: Final = {
    "GIT_ALLOW_PROTOCOL": "",  # no transport at all, also where git is too old for NO_LAZY_FETCH
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_FLUSH": "0",  # into a pipe, git would otherwise write after every commit
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LANGUAGE": "C",
    "LC_ALL": "C",
}
_OPTIONS: Final = (
    "--no-pager",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.attributesFile=/dev/null",
    "-c",
    "advice.graftFileDeprecated=false",  # said of our empty GIT_GRAFT_FILE
    # A file beyond it counts as binary; set here so that it is the same on every PC.
    "-c",
    "core.bigFileThreshold=512m",
)


def check_version() -> None:
    """Raise Invalid unless there is a git on the PATH that is new enough."""
    answer = _run(["git", "version"], Path(), b"")
    text = answer.stdout.decode(errors="replace").strip()
    found = re.match(r"git version (\d+)\.(\d+)", text)
    if found is None:
        raise Invalid(f"expected `git version` to name a version, got {text!r}")
    if (int(found[1]), int(found[2])) < OLDEST:
        raise Invalid(
            f"expected git {OLDEST[0]}.{OLDEST[1]} or newer, got {text.removeprefix('git version ')}"
        )


def run(folder: Path, *args: str, stdin: bytes = b"") -> bytes:
    """What git prints when run in ``folder``; raise Invalid with git's own message if it fails."""
    answer = _run(argv(folder, *args), folder, stdin)
    # A ref that cannot be read is left out with a warning: to us it would look deleted.
    if answer.returncode != 0 or b"broken ref" in answer.stderr:
        raise _failure(folder, args, answer.returncode, answer.stderr)
    return answer.stdout


def ask(folder: Path, *args: str) -> bytes | None:
    """As ``run``, but exit code 1, git's plain "no", is None."""
    answer = _run(argv(folder, *args), folder, b"")
    if answer.returncode == 1:
        return None
    if answer.returncode != 0:
        raise _failure(folder, args, answer.returncode, answer.stderr)
    return answer.stdout


def stream(folder: Path, *args: str, stdin: bytes, silence_s: float = TIMEOUT_S) -> Iterator[bytes]:
    """What git prints, in blocks as it comes; git works on while the caller uses one.

    Raise Invalid if git fails, *before* the iteration would end, so that no caller takes the
    beginning of something for all of it; also if git prints nothing for ``silence_s``.
    """
    with (
        tempfile.TemporaryFile() as errors,
        _started(argv(folder, *args), errors) as process,
        _Patience(process, silence_s) as patience,
    ):
        assert process.stdin is not None  # noqa: S101 - both are pipes, which the type does not say
        assert process.stdout is not None  # noqa: S101
        # git reads all of its input before it prints; one that died early says why on stderr.
        with suppress(BrokenPipeError):
            process.stdin.write(stdin)
            process.stdin.close()
        while True:
            with patience.waiting():
                block = process.stdout.read1(_BLOCK)  # type: ignore[attr-defined]
            if not block:
                break
            yield block
        with patience.waiting():
            process.wait()
        if process.returncode != 0:
            errors.seek(0)
            raise _failure(folder, args, process.returncode, errors.read())


class _Patience:
    """Kills a process that is waited for longer than ``silence_s``; one thread, however often it is.

    A thread for each wait cost a fifth of an import, and select() knows no pipes on Windows.
    """

    def __init__(self, process: subprocess.Popen[bytes], silence_s: float) -> None:
        self._process = process
        self._silence_s = silence_s
        self._since: float | None = None
        self._over = threading.Event()
        self._lost = False
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Raise Invalid after the block if patience was lost in it."""
        self._since = time.monotonic()
        yield
        self._since = None
        if self._lost:
            raise Invalid(
                f"expected git to print something within {self._silence_s:g} s, got nothing and stopped it"
            )

    def _watch(self) -> None:
        while not self._over.wait(self._silence_s / 4):
            since = self._since
            if since is not None and time.monotonic() - since > self._silence_s:
                self._lost = True
                self._process.kill()


@contextmanager
def _started(command: list[str], errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The process, which does not outlive the block."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment(os.environ),
            bufsize=_BLOCK,
            pipesize=_BLOCK,
        )
    except FileNotFoundError as error:
        raise _missing() from error
    try:
        yield process
    finally:
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        process.wait()


def _run(command: list[str], folder: Path, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            env=environment(os.environ),
            timeout=TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise _missing() from error
    except subprocess.TimeoutExpired as error:
        raise Invalid(f"expected git to answer within {TIMEOUT_S:.0f} s in {folder}, got nothing") from error


def argv(folder: Path, *args: str) -> list[str]:
    return ["git", "-C", os.fspath(folder), *_OPTIONS, *args]


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Ours may come from a git hook, where GIT_DIR and its like name another repository."""
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.startswith("GIT_") or name in _KEPT_ENVIRONMENT
    }
    return kept | _SET_ENVIRONMENT


def _missing() -> Invalid:
    return Invalid("expected the git program on the PATH, found none: install git")


def _failure(folder: Path, args: Sequence[str], returncode: int, stderr: bytes) -> Invalid:
    if not folder.is_dir():
        return Invalid(f"expected the folder of a git repository at {folder}, got nothing there")
    said = stderr.decode(errors="backslashreplace").strip()
    if "dubious ownership" in said or "unsafe repository" in said:
        return Invalid(
            f"expected {folder} to belong to you, git says that it is another user's; if you trust it:"
            f" git config --global --add safe.directory {folder}"
        )
    if "promisor" in said or "lazy fetching" in said:
        return Invalid(
            f"expected all of the history in {folder}, but this partial clone left some out, and the agent"
            f" fetches nothing by itself: {said}"
        )
    command = next(arg for arg in args if not arg.startswith("-"))
    ended = f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
    return Invalid(f"expected git {command} to read {folder}, got {ended}: {said or 'no message'}")
