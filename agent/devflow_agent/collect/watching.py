"""Be told by the operating system that something in a work tree, or in its git directory, changed.

On Linux every watched folder costs kernel memory and one of a limited number of watches, and
a recursive watch of a tree with an ignored ``node_modules`` takes 10,103 of them where 2 do.
So there only the folders that are not ignored are watched, one by one (10,000 take 0.13 s),
and the watch is built anew when a folder appears; what happens below an ignored folder
does not even wake us. Elsewhere one recursive watch is cheaper.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Final, Self

from watchfiles import Change
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from devflow.errors import DevflowError, NotFound
from devflow_agent.collect import checkouts
from devflow_agent.collect.files import Files, is_rule
from devflow_agent.collect.worktree import WorkTree
from devflow_agent.privacy import never_seen
from devflow_agent.store import Observation

QUIET_MS: Final = 100
"""Changes are one batch until nothing changes for so long ..."""
LONGEST_BATCH_MS: Final = 400
"""... or for so long after the first of them."""
MANY: Final = 4_000
"""The kernel drops what does not fit its queue of 16,384 and watchfiles does not say so: look at all."""
LOOK_AT_ALL_S: Final = 600.0
"""So often anyway: some file systems report nothing, and a folder whose name is not UTF-8
cannot be watched."""
HELD_S: Final = 10.0
"""So long changes wait for git to finish."""
IDLE_MS: Final = 1_000
RECURSIVE: Final = not sys.platform.startswith("linux")


class TooManyFolders(DevflowError):
    """The system grants no more watches: raise its limit."""


@dataclass(frozen=True, slots=True)
class Report:
    """Where to look: paths relative to the top. ``incomplete``: there may be more that was not reported."""

    paths: frozenset[bytes] = frozenset()
    git: bool = False
    incomplete: bool = False


class Watch:
    """The operating system's watch over one work tree and its git directory."""

    def __init__(self, tree: WorkTree, *, recursive: bool = RECURSIVE) -> None:
        self._tree = tree
        self._recursive = recursive
        self._top = os.fsencode(tree.top)
        self._git = tuple({os.fsencode(tree.git_dir), os.fsencode(tree.common_dir)})
        self._folders: frozenset[str] = frozenset()
        self._notify: RustNotify | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def renew(self) -> None:
        """Watch the folders that are there now. Raise TooManyFolders, or NotFound if the tree is gone.

        What happened to folders that were not watched until now was not reported.
        """
        # A folder that was replaced by one of the same name has lost its watch: take none over.
        self._close()
        for _ in range(5):
            folders = self._present()
            if folders == self._folders and self._notify is not None:
                return
            # Again, until no folder appeared between the listing and the watching.
            self._open(folders)

    def wait(self, stop: Event, timeout_ms: int) -> Report:
        """The next batch of changes, empty if there were none until the time was over."""
        if self._notify is None:
            stop.wait(timeout_ms / 1_000)
            return Report(incomplete=True)
        try:
            seen = self._notify.watch(LONGEST_BATCH_MS, QUIET_MS, timeout_ms, stop)
        except WatchfilesRustInternalError:
            # A name that is not UTF-8: from here on it reports nothing but this.
            self._close()
            return Report(incomplete=True)
        return Report() if isinstance(seen, str) else self._report(seen)

    def _report(self, seen: set[tuple[int, str]]) -> Report:
        paths = set()
        git = incomplete = False
        for kind, name in seen:
            path = os.fsencode(name)
            if any(_within(path, folder) for folder in self._git):
                git = True
            elif not never_seen(os.fsdecode(below := path[len(self._top) + 1 :])):
                paths.add(below)
                incomplete |= is_rule(below) or (kind == Change.added and _is_folder(name))
        return Report(frozenset(paths), git, incomplete or len(seen) >= MANY)

    def _present(self) -> frozenset[str]:
        git = {self._tree.git_dir, self._tree.git_dir / "logs", self._tree.common_dir, *self._refs()}
        tops = [b""] if self._recursive else self._tree.folders()
        work = (os.fsdecode(self._tree.absolute(folder).rstrip(b"/")) for folder in tops)
        return frozenset(name for name in (*map(str, git), *work) if _is_text(name) and _is_readable(name))

    def _refs(self) -> list[Path]:
        refs = self._tree.common_dir / "refs"
        return [Path(folder) for kind in ("heads", "tags") for folder, _, _ in os.walk(refs / kind)]

    def _open(self, folders: frozenset[str]) -> None:
        self._close()
        try:
            # To ignore what we may not read would ignore the system's limit, too (watchfiles 1.3).
            self._notify = RustNotify(sorted(folders), False, False, 300, self._recursive, self._recursive)
        except FileNotFoundError:
            # One of them went away meanwhile: the caller lists them again.
            return
        except OSError as error:
            raise _explained(error, len(folders)) from error
        self._folders = folders

    def _close(self) -> None:
        if self._notify is not None:
            self._notify.close()
            self._notify = None


def _within(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder + b"/")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_folder(name: str) -> bool:
    return Path(name).is_dir() and not Path(name).is_symlink()


def _is_readable(name: str) -> bool:
    return Path(name).is_dir() and os.access(name, os.R_OK)


def _explained(error: OSError, wanted: int) -> Exception:
    if error.errno == errno.ENOSPC or "watch limit" in str(error):
        return TooManyFolders(
            f"expected the system to watch {wanted} more folders, got its limit:"
            " raise it with `sudo sysctl fs.inotify.max_user_watches=524288`"
        )
    if error.errno == errno.EMFILE or "Too many open files" in str(error):
        return TooManyFolders(
            "expected the system to start one more watch, got its limit:"
            " raise it with `sudo sysctl fs.inotify.max_user_instances=1024`"
        )
    return error


def watch(
    files: Files,
    record: Callable[[list[Observation]], None],
    *,
    stop: Event,
    git_moved: Callable[[], None],
    now_ms: Callable[[], int],
    recursive: bool = RECURSIVE,
) -> None:
    """Hand what happens to the files to ``record`` until ``stop``; tell of changes below the git directory.

    ``files`` may come from an earlier call that failed: what happened since is found first.
    If ``record`` raises, its observations are found again by the next call.
    """
    with Watch(files.tree, recursive=recursive) as eyes:
        _Loop(files, record, eyes, stop, git_moved, now_ms).run()


class _Loop:
    def __init__(
        self,
        files: Files,
        record: Callable[[list[Observation]], None],
        eyes: Watch,
        stop: Event,
        git_moved: Callable[[], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._files = files
        self._record = record
        self._eyes = eyes
        self._stop = stop
        self._git_moved = git_moved
        self._now_ms = now_ms
        self._pending: set[bytes] = set()
        self._whole = True
        self._git_worked = False
        self._held_until = 0.0
        self._next_whole = 0.0
        self._latest_whole = 0.0

    def run(self) -> None:
        self._look()
        while not self._stop.is_set():
            waiting = self._pending or self._whole or self._git_worked
            report = self._eyes.wait(self._stop, QUIET_MS if waiting else IDLE_MS)
            self._take(report)
            if not self._must_wait(git=report.git):
                self._look()

    def _take(self, report: Report) -> None:
        if report.git:
            self._git_moved()
            self._git_worked = True
        if not (self._pending or self._whole):
            self._held_until = time.monotonic() + HELD_S
        self._pending |= report.paths
        self._whole |= report.incomplete or time.monotonic() > self._latest_whole

    def _must_wait(self, *, git: bool) -> bool:
        """While git works its files are not yet what they will be, nor is HEAD."""
        now = time.monotonic()
        if self._whole and now < self._next_whole:
            return True
        return (git or checkouts.busy(self._files.tree)) and now < self._held_until

    def _look(self) -> None:
        if not self._files.tree.git_dir.is_dir() or not self._files.tree.top.is_dir():
            raise NotFound(
                f"expected the folder of a git repository at {self._files.tree.top}, got nothing there"
            )
        if self._whole:
            self._look_at_all()
        elif self._pending:
            self._settle(self._pending, whole=False)
        elif self._git_worked:
            self._files.git_is_at_rest()
        self._git_worked = False

    def _look_at_all(self) -> None:
        began = time.monotonic()
        self._eyes.renew()
        self._settle(self._pending, whole=True)
        ended = time.monotonic()
        # A tool that makes folders all the time must not keep a core busy.
        self._next_whole = ended + min(2 * (ended - began), 0.5)
        self._latest_whole = ended + LOOK_AT_ALL_S

    def _settle(self, paths: set[bytes], *, whole: bool) -> None:
        now = self._now_ms()
        look = self._files.look(paths, now, whole=whole)
        if look.observations:
            self._record(look.observations)
        self._files.settle(look)
        self._pending = set()
        self._whole = look.new_rules and not whole
