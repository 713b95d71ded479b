"""The loop behind ``devflow watch``: one process a user that watches every project and syncs.

Two threads a repository, one for its files and one for its history, so that the import of a
long history delays no save; one more for sync, so that a dead server delays neither, one that
says how sync is doing, one that archives and one that counts ahead. A thread that fails is
started again, later each time, and disturbs no other. All it knows is in the store: it may be
killed at any moment.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final
from uuid import UUID

from devflow.errors import DevflowError, NotFound
from devflow_agent import alerts, archiving
from devflow_agent.analyse import activity, asking
from devflow_agent.collect import git, watching
from devflow_agent.collect.files import Files
from devflow_agent.collect.worktree import WorkTree
from devflow_agent.config import Home, now_ms
from devflow_agent.daemon_lock import AlreadyRunning, Daemon, only_daemon, running
from devflow_agent.local_calendar import Calendar
from devflow_agent.store import Observation, Project, Store, disk_trouble

PROJECTS_POLL_S: Final = 1.0
GIT_POLL_S: Final = 1.0
"""A safety net: most of what git does is noticed at once, other work trees' doings only by this."""
GIT_POLL_SHARE: Final = 50
"""With very many refs the look takes longer: at most one part in so many of the time goes into it."""
SYNC_POLL_S: Final = 1.0
SYNC_INTERVAL_S: Final = 300
ARCHIVE_POLL_S: Final = 60.0
COUNT_POLL_S: Final = 60.0
FIRST_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 60.0
STOP_S: Final = 0.7
"""So long a thread may take to end; what it still does then is lost to nobody, the next start finds it."""

__all__ = ["AlreadyRunning", "Daemon", "run", "running", "stopped_by_signals"]

log = logging.getLogger(__name__)


def run(
    home: Home,
    *,
    stop: Event,
    on_message: Callable[[str], None],
    sync: Callable[[], float | None] | None = None,
) -> None:
    """Watch until ``stop`` is set, then return within a second. Raise AlreadyRunning if another does.

    ``sync`` is called at the start, unless ``sync_on_start`` is False, and every
    ``sync_interval_s``, while ``sync_enabled``; it may return in how many seconds it wants to be
    called again instead, and take its time.
    """
    store = home.store()
    with only_daemon(home):
        store.set_settings(daemon={"pid": os.getpid(), "since_ms": now_ms()})
        _run(store, stop, on_message, sync)


@contextmanager
def stopped_by_signals() -> Iterator[Event]:
    """An event that SIGTERM and SIGINT set. For the main thread only."""
    stop = Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda *_: stop.set())
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(
    store: Store, stop: Event, on_message: Callable[[str], None], sync: Callable[[], float | None] | None
) -> None:
    watched: dict[UUID, _Repository] = {}
    syncing = (
        _Thread("sync", lambda: _sync(store, sync, stop), stop, on_message) if sync is not None else None
    )
    alarm = (
        _Thread("alerts", lambda: alerts.Watch(store, on_message).run(stop), stop, on_message)
        if sync is not None
        else None
    )
    archiver = _Thread("archive", lambda: _archive(store, stop), stop, on_message)
    counter = _Thread("numbers", lambda: _count_ahead(store, stop), stop, on_message)
    while not stop.is_set():
        try:
            _update(watched, store, on_message)
        except Exception:
            # Not a reason to stop what is watched already: the disk may be full only for now.
            log.exception("cannot read the list of projects")
        stop.wait(PROJECTS_POLL_S)
    for repository in watched.values():
        repository.stop()
    _join(
        [*watched.values(), archiver, counter, *(thread for thread in (syncing, alarm) if thread is not None)]
    )


def _update(watched: dict[UUID, _Repository], store: Store, on_message: Callable[[str], None]) -> None:
    """Watch exactly the projects of the store; one that has moved is a new one to us."""
    projects = {project.id: project for project in store.projects()}
    for project_id, repository in list(watched.items()):
        project = projects.get(project_id)
        if project is None or not repository.is_of(project):
            watched.pop(project_id).stop()
    for project in projects.values():
        if project.id not in watched:
            on_message(f"watching {project.name} ({project.path})")
            watched[project.id] = _Repository(project, store, on_message)


class _Thread:
    """Runs ``work`` again and again until it returns, waiting longer after each failure."""

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        stop: Event,
        on_message: Callable[[str], None],
    ) -> None:
        self._name = name
        self._work = work
        self._stop = stop
        self._on_message = on_message
        # A daemon thread: a git that does not answer must not keep the process from ending.
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        retry_s, said = FIRST_RETRY_S, ""
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._work()
                return
            except Exception as error:
                trouble = str(error) if isinstance(error, DevflowError) else disk_trouble(error)
                if trouble is None:
                    log.exception("%s failed, next try in %.0f s", self._name, retry_s)
                elif trouble != said:  # what lasts is said once
                    self._on_message(f"{self._name}: {trouble}")
                said = trouble or str(error)
            if time.monotonic() - began > LONGEST_RETRY_S:
                retry_s = FIRST_RETRY_S
            self._stop.wait(retry_s)
            retry_s = min(2 * retry_s, LONGEST_RETRY_S)


class _Repository:
    """The threads that watch one project."""

    def __init__(self, project: Project, store: Store, on_message: Callable[[str], None]) -> None:
        self.project = project
        self._store = store
        self._on_message = on_message
        self._stop = Event()
        self._git_moved = Event()
        self._files: Files | None = None
        self._threads = [
            _Thread(f"{project.name}, history", self._follow_git, self._stop, on_message),
            _Thread(f"{project.name}, files", self._watch_files, self._stop, on_message),
        ]

    def is_of(self, project: Project) -> bool:
        """True if this is still the same repository, whatever else of it has changed."""
        return (project.path, project.git_dir) == (self.project.path, self.project.git_dir)

    def stop(self) -> None:
        self._stop.set()
        self._git_moved.set()

    def join(self, timeout_s: float) -> None:
        _join(self._threads, timeout_s)

    def _watch_files(self) -> None:
        if git.open_repository(self.project.path).bare:
            return
        try:
            tree = WorkTree.at(self.project.path)
            # After a failure they are still known: what happened meanwhile is found.
            if self._files is None or self._files.tree != tree:
                self._files = Files(tree, now_ms())
            watching.watch(
                self._files, self._record, stop=self._stop, git_moved=self._git_moved.set, now_ms=now_ms
            )
        except NotFound:
            # What will be there when it comes back is not what was saved meanwhile.
            self._files = None
            raise

    def _record(self, observations: list[Observation]) -> None:
        self._store.add(self.project.id, observations)

    def _follow_git(self) -> None:
        """First what happened while nobody watched, then everything as it happens."""
        repository = git.open_repository(self.project.path)
        collected = None
        while not self._stop.is_set():
            self._git_moved.clear()
            began = time.monotonic()
            state = git.state(repository)
            took_s = time.monotonic() - began
            if state != collected:
                self._collect(repository)
                collected = state
            self._git_moved.wait(max(GIT_POLL_S, GIT_POLL_SHARE * took_s))

    def _collect(self, repository: git.Repository) -> None:
        for refusal in git.collect(repository, self._store, self.project.id, now_ms()).refused:
            self._on_message(f"{self.project.name}: {refusal}")


def _sync(store: Store, sync: Callable[[], float | None], stop: Event) -> None:
    """The settings are read each second: what somebody does for sync to go on waits for no interval."""
    due, signed_in = time.monotonic(), store.setting("sync_signed_in_at")
    if store.setting("sync_on_start") is False:
        due += _sync_interval_s(store)
    while not stop.is_set():
        interval_s = _sync_interval_s(store)
        now = time.monotonic()
        # A shorter interval counts from now on, not after the longer one.
        due = min(due, now + interval_s)
        if (latest := store.setting("sync_signed_in_at")) != signed_in:
            signed_in, due = latest, now
        if now >= due and store.setting("sync_enabled") is True:
            wait_s = None
            try:
                wait_s = sync()
            except Exception:
                log.exception("sync failed, next try in %.0f s", interval_s)
            due = time.monotonic() + (interval_s if wait_s is None else wait_s)
            if wait_s == 0:
                continue
        stop.wait(SYNC_POLL_S)


def _archive(store: Store, stop: Event) -> None:
    """Once a week by the wall clock, which goes on while the PC sleeps."""
    while not stop.is_set():
        if archiving.is_due(store, now_ms()):
            archiving.run(store, now_ms(), is_stopped=stop.is_set)
        stop.wait(ARCHIVE_POLL_S)


def _count_ahead(store: Store, stop: Event) -> None:
    """What `devflow status` shows, so that after very many events nobody waits for it to be counted."""
    counted = None
    while not stop.is_set():
        if (sequence := store.sequence()) != counted:
            activity.count_ahead(store, asking.question(store, Calendar.of_this_pc(), now_ms()))
            counted = sequence
        stop.wait(COUNT_POLL_S)


def _sync_interval_s(store: Store) -> float:
    chosen = store.setting("sync_interval_s")
    usable = isinstance(chosen, int | float) and not isinstance(chosen, bool) and chosen >= 1
    return float(chosen) if usable else SYNC_INTERVAL_S


def _join(threads: Sequence[_Thread | _Repository], timeout_s: float = STOP_S) -> None:
    """Wait for all of them together no longer than ``timeout_s``."""
    until = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
