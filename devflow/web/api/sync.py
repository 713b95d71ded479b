"""``/sync``: where agents send events, and learn where they may."""

from __future__ import annotations

import threading
from typing import Final
from uuid import UUID

from flask import Response, request
from sqlalchemy.orm import Session

from devflow import access, digests, ingest, own_events, wire
from devflow.access import Action
from devflow.audit import Actor
from devflow.errors import Invalid, Unauthorized
from devflow.ingest import Sender
from devflow.models import Device, Project
from devflow.web import guard
from devflow.web.api import answer, bearer, bp, zipped
from devflow.web.api.body import inflated, read_body, receive
from devflow.web.current import context, now, session

# As many as the database is busy with; whoever waits holds at most 1 MiB. A body made to be bad,
# of millions of tiny events, takes 290 MiB until its events are counted.
_uploads: Final = threading.BoundedSemaphore(4)


_MISSING_BYTES: Final = 256 * 1_024
"""More than the names of ``wire.MAX_BATCH_EVENTS`` events take, however they are spaced."""
_DIGITS: Final = 18


@bp.post("/sync/events")
@guard.needs(Action.SYNC)
def events() -> Response:
    """Answered only after COMMIT: what is in ``syncedIds`` is stored."""
    _device(session())  # nobody else's body is worth inflating
    session().rollback()
    body = receive(wire.MAX_INFLATED_BYTES)
    with _uploads:
        return _accept(wire.decode_batch(inflated(body, wire.MAX_INFLATED_BYTES)))


def _accept(batch: wire.Batch) -> Response:
    def work(session: Session, by: Actor) -> wire.BatchResult:
        device = _device(session)
        if batch.device_id != device.public_id:
            raise Invalid(f"expected deviceId {device.public_id}, as in the token, got {batch.device_id}")
        return ingest.accept(session, Sender(by, device), batch, context().calendar)

    return answer(guard.act(work))


@bp.get("/sync/updates")
@guard.needs(Action.SYNC)
def updates() -> Response:
    asking, epoch = bearer.current(session()), context().epoch.value
    after = own_events.position(request.args.get("since", ""), epoch)
    return answer(own_events.updates(session(), asking.person, asking.device, after, epoch))


@bp.get("/sync/events")
@guard.needs(Action.SYNC)
def own() -> Response:
    asking, epoch = bearer.current(session()), context().epoch.value
    after = own_events.position(request.args.get("since", ""), epoch)
    limit = _number("limit", wire.MAX_BATCH_EVENTS)
    by = Actor(asking.person, now(), context().vault)
    return zipped(answer(own_events.page(session(), by, asking.device, after, limit, epoch)))


@bp.get("/sync/events/<uuid:event_id>")
@guard.needs(Action.SYNC)
def trace(event_id: UUID) -> Response:
    """With the event's time, which leads to it: its id alone is in no order."""
    by = Actor(bearer.current(session()).person, now(), context().vault)
    return answer(own_events.trace(session(), by, event_id, _number("timestamp")))


@bp.get("/sync/projects")
@guard.needs(Action.SYNC)
def projects() -> Response:
    person = bearer.current(session()).person
    allowed = access.visible(person, Action.SEND_EVENTS, Project).order_by(Project.name)
    found = session().scalars(allowed)
    return answer(
        wire.Projects(projects=[wire.Project(project_id=each.public_id, name=each.name) for each in found])
    )


@bp.get("/sync/projects/<uuid:project_id>/digests")
@guard.needs(Action.SEND_EVENTS)
def project_digests(project: Project) -> Response:
    days = range(_number("from"), _number("until"))
    return answer(digests.of_days(session(), _device(session()), project, days, now(), context().calendar))


@bp.post("/sync/projects/<uuid:project_id>/missing")
@guard.needs(Action.SEND_EVENTS)
def missing(project: Project) -> Response:
    """A question, and a POST for its length alone: nothing is changed."""
    _device(session())
    asked = wire.decode(read_body(_MISSING_BYTES), wire.AskMissing)
    return answer(wire.Missing(ids=digests.missing(session(), asked.events, now(), context().calendar)))


@bp.put("/sync/authors")
@guard.needs(Action.SYNC)
def authors() -> Response:
    keys = [bytes.fromhex(key) for key in wire.decode(read_body(), wire.Authors).authors]

    def work(session: Session, by: Actor) -> None:
        _device(session)
        ingest.add_authors(session, by, keys, context().calendar)

    guard.act(work)
    return Response(status=204)


def _number(name: str, default: int | None = None) -> int:
    """A whole number of the query, which must be there unless it has a ``default``."""
    given = request.args.get(name, "" if default is None else str(default))
    if not (given.isascii() and given.isdecimal() and len(given) <= _DIGITS):
        raise Invalid(f"expected a whole number `{name}` in the query, got {given[:50]!r}")
    return int(given)


def _device(session: Session) -> Device:
    """The PC that asks."""
    device = bearer.current(session).device
    if device is None:
        raise Unauthorized("expected a token of a device: log in with a deviceId")
    return device
