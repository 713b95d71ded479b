"""Tells open pages what changed: one look at the database for all of them, one drawing for all alike.

A ``View`` is what several viewers see the same of: a page, of one thing, over one range, in one
language. Its panels are drawn when what they were drawn from has changed, at most once a second, however
many look; each viewer is then given the panels that differ. The thread ends with the last viewer.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import exists, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

import devflow
from devflow import outage
from devflow.audit import Act
from devflow.db import Database
from devflow.models import AuditEntry, Device, Mark, Project

LOOK_EVERY_S: Final = 1.0
REST_S: Final = 0.2
"""Between two looks, however much happens."""
DRAW_EVERY_S: Final = 1.0
SETTLING_S: Final = 2.0
"""So long a view waits for days that are still being counted before it is drawn without them."""
HOUR_MS: Final = 3_600_000
MOST: Final = 256
"""Viewers at a time: each holds one of gunicorn's threads."""
_RIGHTLESS: Final = frozenset(
    {
        Act.SIGNED_IN,
        Act.SIGN_IN_REFUSED,
        Act.REFUSED,
        Act.PERSON_VIEWED,
        Act.TRAIL_READ,
        Act.TRAIL_EXPORTED,
        Act.DATA_EXPORTED,
        Act.EVENTS_CONFLICT,
        Act.AUTHORS_TOLD,
        Act.TOKENS_RENEWED,
    }
)
"""What stands in the trail and changes nobody's rights; after anything else all are looked up again."""
log = logging.getLogger(__name__)

Panels = Mapping[str, str]
"""HTML by the id of the element it fills."""


class Full(Exception):
    """There is no room for another viewer."""


class Over(Exception):
    """There is nothing more to come: the server stops, or the view cannot be drawn any more."""


@dataclass(frozen=True, slots=True)
class State:
    """What views depend on, at one look.

    ``generations`` are of projects and ``heard`` of PCs (when last) by their ids; ``counting`` are
    projects with days that are still to be derived, ``names`` those of projects.
    """

    generations: Mapping[int, int] = field(default_factory=dict)
    heard: Mapping[int, int | None] = field(default_factory=dict)
    counting: frozenset[int] = frozenset()
    hour: int = 0
    names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Watched:
    """What a view is drawn from, as of when it was: projects, and PCs, by id."""

    generations: Mapping[int, int]
    heard: Mapping[int, int | None] = field(default_factory=dict)
    hour: int = 0
    names: Mapping[int, str] = field(default_factory=dict)
    """Of the projects: to be renamed changes no number, but what pages call it."""

    @classmethod
    def of(cls, projects: Collection[Project], devices: Iterable[Device], now_ms: int) -> Watched:
        return cls(
            {project.id: project.generation for project in projects},
            {device.id: device.last_seen_at for device in devices},
            now_ms // HOUR_MS,
            {project.id: project.name for project in projects},
        )

    def now(self, state: State) -> Watched:
        """The same things, as they are in ``state``; what is gone has the generation -1."""
        return Watched(
            {each: state.generations.get(each, -1) for each in self.generations},
            {each: state.heard.get(each) for each in self.heard},
            state.hour,
            {each: state.names.get(each, name) for each, name in self.names.items()},
        )

    def version(self, key: Hashable) -> str:
        """Of what the view ``key`` shows of these things: the same after a restart of this release."""
        of_each = (self.generations, self.heard, self.names)
        things = (*(sorted(each.items()) for each in of_each), self.hour)
        return hashlib.sha256(repr((devflow.__version__, key, things)).encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """The panels to replace, and the version they make of the page; the same object for all who get it."""

    version: str
    panels: Panels


class View:
    """What several viewers see the same of; ``draw`` makes its panels anew.

    Its thread alone draws, and everything else happens under the hub's lock.
    """

    def __init__(self, key: Hashable, watched: Watched, draw: Callable[[], Panels]) -> None:
        self.key = key
        self.draw = draw
        self.viewers = 0
        self.is_wanted = False
        """Whether somebody has another version, and nothing was drawn yet."""
        self._watched = watched
        self._alike = {watched.version(key)}
        """The versions of what there is now: not every change is seen on the page."""
        self._before: set[str] = set()
        self._all: News | None = None
        self._changed: News | None = None
        self._drawn_at = -DRAW_EVERY_S
        self._settling_since: float | None = None

    def changed(self, state: State) -> Watched | None:
        """What it is to be drawn from, None while that is what it was drawn from."""
        watched = self._watched.now(state)
        return watched if self.is_wanted or watched != self._watched else None

    def may_draw(self, state: State, now_s: float) -> bool:
        """Whether the last time is long enough ago, and nothing is just being counted."""
        if now_s - self._drawn_at < DRAW_EVERY_S:
            return False
        if state.counting.isdisjoint(self._watched.generations):
            return True
        if self._settling_since is None:
            self._settling_since = now_s
        return now_s - self._settling_since >= SETTLING_S

    def take(self, watched: Watched, panels: Panels | None, now_s: float) -> None:
        """Have these panels from now on; None if they could not be drawn: then the old ones stay."""
        self._settling_since, self.is_wanted, self._watched = None, False, watched
        if panels is None:
            self._drawn_at = now_s
            return
        version = watched.version(self.key)
        known = {} if self._all is None else self._all.panels
        changed = {name: html for name, html in panels.items() if known.get(name) != html}
        if self._all is not None and not changed:
            self._alike.add(version)  # nothing was sent, so the next change need not wait
            return
        self._drawn_at = now_s
        self._before, self._alike = self._alike, {version}
        self._all, self._changed = News(version, panels), News(version, changed)

    def news_for(self, version: str) -> News | None:
        """What who has ``version`` lacks, None if that is nothing, or not drawn yet."""
        if version in self._alike:
            return None
        return self._changed if version in self._before else self._all

    def welcome(self, version: str) -> None:
        """Note that somebody comes with ``version`` of the page."""
        self.viewers += 1
        self.is_wanted = self.is_wanted or (version not in self._alike and self._all is None)


class Hub:
    """The views that are looked at in this process, and the one thread that keeps them up to date."""

    def __init__(self, database: Database, now: Callable[[], int]) -> None:
        self._database = database
        self._now = now
        self._lock = threading.Condition()
        self._stirred = threading.Event()
        self._views: dict[Hashable, View] = {}
        self._thread: threading.Thread | None = None
        self._trail = 0
        """The last entry of the trail that was looked at."""
        self.has_ended = False
        self.rights = 0
        """Moves with every act that may have changed what somebody may see."""

    def __len__(self) -> int:
        """How many viewers there are."""
        with self._lock:
            return self._viewers()

    def note_rights(self) -> int:
        """``rights`` now: who notes them before looking up somebody's rights misses no change of those."""
        with self._lock:
            if self._thread is None:
                with self._database.reading() as session:
                    self._trail = session.scalar(select(func.max(AuditEntry.id))) or 0
            return self.rights

    def stir(self) -> None:
        """Look soon; cheap, for whoever has just changed something."""
        self._stirred.set()

    @contextlib.contextmanager
    def joined(
        self, key: Hashable, version: str, watched: Watched, draw: Callable[[], Panels]
    ) -> Iterator[View]:
        """Take part in the view with a page of ``version``; raise Full or Over."""
        view = self._join(key, version, watched, draw)
        try:
            yield view
        finally:
            self._leave(view)

    def wait(self, view: View, version: str, rights: int, timeout_s: float) -> News | None:
        """What who has ``version`` lacks, as soon as there is some.

        None when the time is up or ``rights`` have moved; raise Over when the server stops.
        """
        with self._lock:
            self._lock.wait_for(
                lambda: self.has_ended or self.rights != rights or view.news_for(version), timeout_s
            )
            if self.has_ended:
                raise Over
            return None if self.rights != rights else view.news_for(version)

    def end(self) -> None:
        """Send everybody away, and take nobody in; for a worker that has to stop."""
        with self._lock:
            self.has_ended = True
            self._lock.notify_all()
        self.stir()

    def _viewers(self) -> int:
        return sum(view.viewers for view in self._views.values())

    def _join(self, key: Hashable, version: str, watched: Watched, draw: Callable[[], Panels]) -> View:
        with self._lock:
            if self.has_ended:
                raise Over
            if self._viewers() >= MOST:
                raise Full
            view = self._views.setdefault(key, View(key, watched, draw))
            view.welcome(version)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="live", daemon=True)
                self._thread.start()
        self.stir()
        return view

    def _leave(self, view: View) -> None:
        with self._lock:
            view.viewers -= 1
            if view.viewers == 0:
                del self._views[view.key]

    def _run(self) -> None:
        is_due = False
        while True:
            self._stirred.wait(REST_S if is_due else LOOK_EVERY_S)
            self._stirred.clear()
            with self._lock:
                if self.has_ended or not self._views:
                    self._thread = None
                    return
                views = list(self._views.values())
            is_due = self._follow(views)
            time.sleep(REST_S)

    def _follow(self, views: list[View]) -> bool:
        """Look once, and draw what has changed; return whether something is yet to be drawn."""
        try:
            with self._database.reading() as session:
                state, has_moved = self._look(session)
        except Exception as error:
            if not _passes(error):
                log.exception("could not look for changes")
            return False
        if has_moved:
            with self._lock:
                self.rights += 1
                self._lock.notify_all()
        behind = [view for view in views if self._is_behind(view, state)]
        return bool(behind)

    def _is_behind(self, view: View, state: State) -> bool:
        """Draw the view if it has changed and may be drawn; return whether it is to be drawn later."""
        watched = view.changed(state)
        if watched is None:
            return False
        if not view.may_draw(state, time.monotonic()):
            return True
        try:
            panels = view.draw()
        except Exception as error:
            if _passes(error):
                return True
            log.exception("could not draw what open pages show")
            panels = None
        with self._lock:
            view.take(watched, panels, time.monotonic())
            self._lock.notify_all()
        return False

    def _look(self, session: Session) -> tuple[State, bool]:
        """Three statements, whoever looks at what; also whether rights may have changed since the last."""
        since, moving = AuditEntry.id > self._trail, func.count().filter(AuditEntry.act.not_in(_RIGHTLESS))
        newest, moved = session.execute(select(func.max(AuditEntry.id), moving).where(since)).one()
        self._trail = newest or self._trail
        is_counting = exists().where(Mark.project_id == Project.id)
        projects = session.execute(
            # In one statement, which sees one moment.
            select(Project.id, Project.generation, Project.name, is_counting).where(
                Project.deleted_at.is_(None)
            )
        ).all()
        heard = session.execute(select(Device.id, Device.last_seen_at))
        return State(
            generations={row.id: row.generation for row in projects},
            names={row.id: row.name for row in projects},
            heard={row.id: row.last_seen_at for row in heard},
            counting=frozenset(project_id for project_id, *_, is_marked in projects if is_marked),
            hour=self._now() // HOUR_MS,
        ), moved > 0


def _passes(error: Exception) -> bool:
    """Whether the next look may well do better."""
    return isinstance(error, SQLAlchemyError) and outage.of(error) is not None
