"""Turn "something changed here" into the files that were saved, created, deleted and renamed.

What the file system reports says little: an atomic save looks like a new file, a rename like
two others. So a report only says where to look, and what happened is the difference between
the files there now and those known before. Only names, sizes and times are looked at; no
file is ever opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from devflow import wire
from devflow_agent.collect.checkouts import Position, position, written_by_git
from devflow_agent.collect.worktree import Stamp, WorkTree, stamp
from devflow_agent.privacy import never_seen, wire_path
from devflow_agent.store import Observation

IGNORED_KEPT: Final = 10_000
"""So many ignored names are remembered, to spare git the question at each write to a log file."""

CLOCK_TICK_NS: Final = 50_000_000
"""The time a file system writes down may lie so far behind the clock: it moves once a tick."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """What git's list of files hangs on, beside the tree: when it moves, files come into or out of sight."""

    index: Stamp | None
    rules: tuple[Stamp | None, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found. It is found again by the next one, until ``Files.settle``."""

    observations: list[Observation]
    new_rules: bool
    """What git ignores may have changed, folders too."""
    _changed: Mapping[bytes, Stamp | None]
    _present: Mapping[bytes, Stamp] | None
    _git: Position
    _listed: _Listing
    _now_ms: int


@dataclass(frozen=True, slots=True)
class _Change:
    path: bytes
    before: Stamp | None
    after: Stamp | None

    @property
    def is_event(self) -> bool:
        """A new inode alone is no save: the content that took its place has the same size and time."""
        if self.before is None or self.after is None:
            return self.before is not self.after
        return self.before[1:] != self.after[1:]


class Files:
    """The files of one work tree as last recorded. Not for use by several threads."""

    def __init__(self, tree: WorkTree, now_ms: int) -> None:
        """Take the files that are there as known: of what happened before nothing is said."""
        self.tree = tree
        self._ignored: set[bytes] = set()
        self._git = position(tree)
        self._rule_files = tree.exclude_files()
        self._listed = self._listing()
        self._known = self._all()
        self._seen_all_ns = now_ms * 1_000_000

    def look(self, reported: Collection[bytes], now_ms: int, *, whole: bool = False) -> Look:
        """What happened at the reported paths (files or folders), or with ``whole`` anywhere.

        Renames first, then deletions, creations and saves, each in the order of the paths.
        """
        git, listed = position(self.tree), self._listing()
        new_rules = listed.rules != self._listed.rules or any(is_rule(path) for path in reported)
        present = None
        if whole or new_rules or listed != self._listed:
            self._ignored.clear()
            present = self._all()
            changes = self._since_known(present, reported, new_rules=new_rules)
        else:
            changes = self._at(reported)
        changed = {change.path: change.after for change in changes}
        quiet = written_by_git(self.tree, self._git, changed)
        events = [change for change in changes if change.is_event and change.path not in quiet]
        return Look(
            observations=[Observation.own(now_ms, data) for data in _describe(events)],
            new_rules=new_rules,
            _changed=changed,
            _present=present,
            _git=git,
            _listed=listed,
            _now_ms=now_ms,
        )

    def settle(self, look: Look) -> None:
        """Take what was found as known: call it after its observations are stored."""
        if look._present is not None:
            self._known = dict(look._present)
            self._listed = look._listed
            self._rule_files = self.tree.exclude_files() if look.new_rules else self._rule_files
            self._seen_all_ns = look._now_ms * 1_000_000
        for path, found in look._changed.items():
            if found is None:
                self._known.pop(path, None)
            else:
                self._known[path] = found
        # As it was before the look: what git began meanwhile must still explain what comes.
        self._git = look._git

    def git_is_at_rest(self) -> None:
        """Nothing git did until now can explain a later change."""
        self._git = position(self.tree)

    def _listing(self) -> _Listing:
        return _Listing(stamp(self.tree.git_dir / "index"), tuple(stamp(path) for path in self._rule_files))

    def _all(self) -> dict[bytes, Stamp]:
        found = ((path, self._file(path)) for path in self.tree.listed())
        return {path: there for path, there in found if there is not None}

    def _since_known(
        self, present: Mapping[bytes, Stamp], reported: Collection[bytes], *, new_rules: bool
    ) -> list[_Change]:
        """The difference to all files; those that only became visible or invisible are no change."""
        changes = []
        for path in sorted(self._known.keys() | present.keys()):
            before, after = self._known.get(path), present.get(path)
            if before == after:
                continue
            if before is None and not self._is_new(path, reported, new_rules=new_rules):
                continue
            if after is None and self._file(path) is not None:
                continue
            changes.append(_Change(path, before, after))
        return changes

    def _is_new(self, path: bytes, reported: Collection[bytes], *, new_rules: bool) -> bool:
        if _is_below(path, reported):
            return True
        return not new_rules and self._changed_ns(path) + CLOCK_TICK_NS >= self._seen_all_ns

    def _at(self, reported: Collection[bytes]) -> list[_Change]:
        places = {path for path in reported if not never_seen(os.fsdecode(path))}
        there = {path: found for path in places if (found := self._file(path)) is not None}
        gone = places - there.keys()
        lost = {path for path in self._known if _is_below(path, gone)} if gone else set()
        new = {path for path in there if path not in self._known and path not in self._ignored}
        visible = self.tree.listed(new) if new else set()
        self._ignore(new - visible)
        candidates = lost | visible | (there.keys() & self._known.keys())
        changes = (_Change(path, self._known.get(path), self._file(path)) for path in sorted(candidates))
        return [change for change in changes if change.before != change.after]

    def _ignore(self, paths: Iterable[bytes]) -> None:
        if len(self._ignored) > IGNORED_KEPT:
            self._ignored.clear()
        self._ignored.update(paths)

    def _file(self, path: bytes) -> Stamp | None:
        """None for what is gone, a folder, a link, or below a link."""
        try:
            found = os.lstat(self.tree.absolute(path))
        except (OSError, ValueError):
            return None
        return (found.st_ino, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None

    def _changed_ns(self, path: bytes) -> int:
        """When the file came to be here: unlike its modification time nobody can set this one back."""
        try:
            return os.lstat(self.tree.absolute(path)).st_ctime_ns
        except OSError:
            return 0


def is_rule(path: bytes) -> bool:
    return path == b".gitignore" or path.endswith(b"/.gitignore")


def _is_below(path: bytes, places: Collection[bytes]) -> bool:
    """True if the path, or a folder it lies in, is one of the places."""
    while path:
        if path in places:
            return True
        path = path.rpartition(b"/")[0]
    return False


def _describe(changes: list[_Change]) -> list[wire.EventData]:
    renamed = _renames(changes)
    moved = set(renamed) | set(renamed.values())
    events: list[wire.EventData] = [
        wire.FileRenamed(path=wire_path(new), old_path=wire_path(old)) for new, old in renamed.items()
    ]
    others = [change for change in changes if change.path not in moved]
    events.extend(wire.FileDeleted(path=wire_path(change.path)) for change in others if change.after is None)
    for change in others:
        if change.after is not None:
            kind = wire.FileCreated if change.before is None else wire.FileSaved
            events.append(kind(path=wire_path(change.path), size_bytes=change.after[1]))
    return events


def _renames(changes: list[_Change]) -> dict[bytes, bytes]:
    """New path to old: the same inode, size and time. An inode alone is soon given to another file."""
    gone = {
        change.before: change.path for change in changes if change.after is None and change.before is not None
    }
    return {
        change.path: gone.pop(change.after)
        for change in changes
        if change.before is None and change.after is not None and change.after in gone
    }
