"""``/sync``: where agents send events, and learn where they may."""

from __future__ import annotations

import threading
from typing import Final

from flask import Response, request
from sqlalchemy.orm import Session

from devflow import access, ingest, wire
from devflow.access import Action
from devflow.audit import Actor
from devflow.errors import Invalid, Unauthorized
from devflow.ingest import Sender
from devflow.models import Device, Project
from devflow.web import guard
from devflow.web.api import answer, bearer, bp
from devflow.web.api.body import inflated, read_body, receive
from devflow.web.current import context, now, session

# As many as the database is busy with; whoever waits holds at most 1 MiB. A body made to be bad,
# of millions of tiny events, takes 290 MiB until its events are counted.
_uploads: Final = threading.BoundedSemaphore(4)


@bp.post("/sync/events")
@guard.needs(Action.SYNC)
def events() -> Response:
    """Answered only after COMMIT: what is in ``syncedIds`` is stored."""
    _device(session())  # nobody else's body is worth inflating
    session().rollback()
    # Before the body, which may take its time.
    clock_ahead = wire.clock_ahead(request.headers.get(wire.CLOCK_HEADER), now())
    body = receive(wire.MAX_INFLATED_BYTES)
    with _uploads:
        return _accept(wire.decode_batch(inflated(body, wire.MAX_INFLATED_BYTES)), clock_ahead)


def _accept(batch: wire.Batch, clock_ahead: int | None) -> Response:
    def work(session: Session, by: Actor) -> wire.BatchResult:
        device = _device(session)
        if batch.device_id != device.public_id:
            raise Invalid(f"expected deviceId {device.public_id}, as in the token, got {batch.device_id}")
        result = ingest.accept(session, Sender(by, device), batch, context().calendar)
        device.clock_skew_ms = clock_ahead
        return result

    return answer(guard.act(work))


@bp.get("/sync/projects")
@guard.needs(Action.SYNC)
def projects() -> Response:
    person = bearer.current(session()).person
    allowed = access.visible(person, Action.SEND_EVENTS, Project).order_by(Project.name)
    found = session().scalars(allowed)
    return answer(
        wire.Projects(projects=[wire.Project(project_id=each.public_id, name=each.name) for each in found])
    )


@bp.put("/sync/authors")
@guard.needs(Action.SYNC)
def authors() -> Response:
    keys = [bytes.fromhex(key) for key in wire.decode(read_body(), wire.Authors).authors]

    def work(session: Session, by: Actor) -> None:
        _device(session)
        ingest.add_authors(session, by, keys, context().calendar)

    guard.act(work)
    return Response(status=204)


def _device(session: Session) -> Device:
    """The PC that asks."""
    device = bearer.current(session).device
    if device is None:
        raise Unauthorized("expected a token of a device: log in with a deviceId")
    return device
