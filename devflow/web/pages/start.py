"""From an account to the first event on screen: what to do, each step ticked when the server sees it done.

What it sees is little: which PCs are paired, and what they sent. So steps on the PC are ticked together,
by what can only be once they are done.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from devflow import access, own_feed, projects, retention, wire
from devflow.access import Action
from devflow.accounts import devices
from devflow.errors import Invalid, NotFound
from devflow.live import Watched
from devflow.models import Device, Person, Project
from devflow.own_feed import Entry
from devflow.web import guard, live
from devflow.web.current import context, now, session
from devflow.web.i18n import said
from devflow.web.pages import bp
from devflow.web.session import viewer


@dataclass(frozen=True, slots=True)
class Progress:
    """What the server knows of somebody's way: the PCs let in, and what they last sent of the project."""

    pcs: Sequence[Device]
    version: str | None
    last_seen_at: int | None
    first: Entry | None

    @property
    def is_paired(self) -> bool:
        return bool(self.pcs)

    @property
    def has_sent(self) -> bool:
        return self.first is not None


@bp.get("/start")
@guard.needs(Action.USE_OWN)
def start() -> ResponseReturnValue:
    return _show()


@bp.post("/start/project")
@guard.needs(Action.CREATE_PROJECTS)
def start_project() -> ResponseReturnValue:
    name = request.form.get("name", "")
    try:
        project_id = guard.act(lambda writing, by: projects.create(writing, by, name).public_id)
    except Invalid as error:
        return _show(422, name=name, wrong=said(error))
    return redirect(url_for("pages.start", project=project_id), 303)


def _show(status: int = 200, *, name: str = "", wrong: str | None = None) -> Response:
    mine = own_feed.may_send_to(session(), viewer())
    chosen = _chosen(mine)
    own = devices.own(session(), viewer())
    person_id, project_id = viewer().id, None if chosen is None else chosen.id
    return live.page(
        "start/page.html",
        key=(person_id, project_id),
        watched=Watched.of([] if chosen is None else [chosen], own, now()),
        panels=lambda: _panels(person_id, project_id),
        status=status,
        projects=mine,
        project=chosen,
        taken_from=retention.taken_from(session(), now()) if live.is_whole() else None,
        may_create=access.may(viewer(), Action.CREATE_PROJECTS),
        name=name,
        wrong=wrong,
    )


def _chosen(mine: Sequence[Project]) -> Project | None:
    """The one in the address, else the first; raise NotFound for one that is not theirs to send to."""
    given = request.args.get("project")
    if given is None:
        return next(iter(mine), None)
    try:
        wanted = UUID(given)
    except ValueError:
        raise Invalid(f"expected project to be the id of one, got {given[:40]!r}") from None
    found = next((each for each in mine if each.public_id == wanted), None)
    if found is None:
        raise NotFound(f"there is no project {wanted} that you may send to")
    return found


def _panels(person_id: int, project_id: int | None) -> live.Draw:
    @functools.cache
    def progress() -> Mapping[str, Any]:
        return {"progress": _progress(person_id, project_id)}

    names = ("did_install", "did_init", "did_name", "did_pair", "did_enable", "did_send", "arrived")
    return dict.fromkeys(names, progress)


def _progress(person_id: int, project_id: int | None) -> Progress:
    own = devices.own(session(), session().get_one(Person, person_id))
    pcs = [device for device in own if device.revoked_at is None]
    project = session().scalar(select(Project).where(Project.id == project_id, Project.deleted_at.is_(None)))
    first = None
    if project is not None:
        ids = [device.id for device in pcs]
        first = own_feed.newest_sent(session(), context().vault, ids, project.id)
    reports = [found for device in pcs if (found := devices.reported(device)) is not None]
    versions = [found.version for found in reports if found.version is not None]
    return Progress(
        pcs,
        version=wire.version_text(max(versions)) if versions else None,
        last_seen_at=max((device.last_seen_at or 0 for device in pcs), default=0) or None,
        first=first,
    )
