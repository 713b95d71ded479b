"""``/sync``: where agents send events, and learn where they may."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from devflow import access, wire
from devflow.access import Action
from devflow.audit import Actor
from devflow.errors import Invalid, Unauthorized
from devflow.ingest import authors as whose
from devflow.ingest.sender import Sender
from devflow.models import Device, Project
from devflow.web import guard
from devflow.web.api import bearer, bp, uploads
from devflow.web.api.body import inflated, promised, receive
from devflow.web.api.operation import operation
from devflow.web.current import context, session


@bp.post("/sync/events")
@guard.needs(Action.SYNC)
@operation("Send events", body=wire.Batch, limit=wire.MAX_INFLATED_BYTES)
def events() -> wire.BatchResult:
    """Answered only after COMMIT: what is in ``syncedIds`` is stored."""
    device = _device(session()).public_id  # nobody else's body is worth receiving
    session().rollback()
    size = promised(wire.MAX_INFLATED_BYTES)
    with uploads.current().admitted(device, size):
        body = receive(size)
        with uploads.current().turn():
            return _accept(device, wire.decode_batch(inflated(body, wire.MAX_INFLATED_BYTES)))


def _accept(sender: UUID, batch: wire.Batch) -> wire.BatchResult:
    uploads.current().count(sender, len(batch.events))
    context().intake.known.load(context().database)

    def work(session: Session, by: Actor) -> wire.BatchResult:
        device = _device(session)
        if batch.device_id != device.public_id:
            raise Invalid(f"expected deviceId {device.public_id}, as in the token, got {batch.device_id}")
        return context().intake.accept(session, Sender(by, device), batch)

    return guard.act(work)


@bp.get("/sync/projects")
@guard.needs(Action.SYNC)
@operation("List the projects to send to")
def projects() -> wire.Projects:
    person = bearer.current(session()).person
    allowed = access.visible(person, Action.SEND_EVENTS, Project).order_by(Project.name)
    found = session().scalars(allowed)
    return wire.Projects(projects=[wire.Project(project_id=each.public_id, name=each.name) for each in found])


@bp.put("/sync/authors")
@guard.needs(Action.SYNC)
@operation("Say which commit authors are the own", {400: "One of them is another person."})
def authors(given: wire.Authors) -> None:
    keys = [bytes.fromhex(key) for key in given.authors]

    def work(session: Session, by: Actor) -> None:
        _device(session)
        whose.add(session, by, keys, context().calendar)

    guard.act(work)


def _device(session: Session) -> Device:
    """The PC that asks."""
    device = bearer.current(session).device
    if device is None:
        raise Unauthorized("expected a token of a device: log in with a deviceId")
    return device
