"""``/sync``: where agents send events, and learn where they may."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from flask import request
from sqlalchemy.orm import Session

from devflow import access, digests, own_events, shared_settings, wire
from devflow.access import Action
from devflow.accounts import devices, tokens
from devflow.audit import Actor
from devflow.errors import Invalid, Unauthorized
from devflow.ingest import authors as whose
from devflow.ingest.sender import Sender
from devflow.models import Device, Project
from devflow.web import guard
from devflow.web.api import bearer, bp, uploads
from devflow.web.api.body import inflated, promised, receive
from devflow.web.api.operation import operation
from devflow.web.current import context, now, session

_NO_DEVICE: Final = "expected a token of a device: log in with a deviceId"
_MISSING_BYTES: Final = 256 * 1_024
"""More than the names of ``wire.MAX_BATCH_EVENTS`` events take, however they are spaced."""


@bp.post("/sync/events")
@guard.needs(Action.SYNC, in_the_act=True)
@operation("Send events", body=wire.Batch, limit=wire.MAX_INFLATED_BYTES)
def events() -> wire.BatchResult:
    """Answered only after COMMIT: what is in ``syncedIds`` is stored."""
    device = tokens.device_of(bearer.claims())  # nobody else's body is worth receiving
    if device is None:
        raise Unauthorized(_NO_DEVICE)
    # Before the body, which may take its time.
    clock_ahead = wire.clock_ahead(request.headers.get(wire.CLOCK_HEADER), now())
    report = request.headers.get(wire.REPORT_HEADER)
    size = promised(wire.MAX_INFLATED_BYTES)
    with uploads.current().admitted(device, size):
        body = receive(size)
        with uploads.current().turn():
            return _accept(
                device, wire.decode_batch(inflated(body, wire.MAX_INFLATED_BYTES)), clock_ahead, report
            )


def _accept(sender: UUID, batch: wire.Batch, clock_ahead: int | None, report: str | None) -> wire.BatchResult:
    uploads.current().count(sender, len(batch.events))
    context().intake.prepare(context().database, batch, now())

    def work(session: Session, by: Actor) -> wire.BatchResult:
        device = _device(session)
        if batch.device_id != device.public_id:
            raise Invalid(f"expected deviceId {device.public_id}, as in the token, got {batch.device_id}")
        result = context().intake.accept(session, Sender(by, device), batch)
        device.clock_skew_ms = clock_ahead
        devices.note(device, report, by.now_ms)
        return result

    result = guard.act(work)
    for heard in context().on_upload:
        heard()
    return result


@bp.get("/sync/updates")
@guard.needs(Action.SYNC)
@operation("Ask whether other PCs sent anything")
def updates(asked: wire.AskUpdates) -> wire.Updates:
    asking, epoch = bearer.current(session()), context().epoch.value
    after = own_events.position(asked.since, epoch)
    return own_events.updates(session(), asking.person, asking.device, after, epoch)


@bp.get("/sync/events")
@guard.needs(Action.SYNC)
@operation("Download the own events", is_zipped=True)
def own(asked: wire.AskOwnEvents) -> wire.OwnEvents:
    """What the person's other PCs sent, in the order in which it was stored."""
    asking, epoch = bearer.current(session()), context().epoch.value
    after = own_events.position(asked.since, epoch)
    by = Actor(asking.person, now(), context().vault)
    return own_events.page(session(), by, asking.device, after, asked.limit, epoch)


@bp.get("/sync/events/<uuid:event_id>")
@guard.needs(Action.SYNC)
@operation("Trace an event", {404: "There is no such event of yours at that time."})
def trace(event_id: UUID, asked: wire.AskTrace) -> wire.Trace:
    """With the event's time, which leads to it: its id alone is in no order."""
    by = Actor(bearer.current(session()).person, now(), context().vault)
    return own_events.trace(session(), by, event_id, asked.timestamp)


@bp.get("/sync/projects")
@guard.needs(Action.SYNC)
@operation("List the projects to send to")
def projects() -> wire.Projects:
    person = bearer.current(session()).person
    allowed = access.visible(person, Action.SEND_EVENTS, Project).order_by(Project.name)
    found = session().scalars(allowed)
    return wire.Projects(projects=[wire.Project(project_id=each.public_id, name=each.name) for each in found])


@bp.get("/sync/projects/<uuid:project_id>/digests")
@guard.needs(Action.SEND_EVENTS)
@operation("Compare days")
def project_digests(project: Project, asked: wire.AskDigests) -> wire.Digests:
    days = range(asked.start, asked.until)
    device = _device(session())
    with context().database.reading(takes_locks=True) as reading:
        return digests.of_days(reading, device, project, days, now())


@bp.post("/sync/projects/<uuid:project_id>/missing")
@guard.needs(Action.SEND_EVENTS)
@operation("Ask which events are missing", limit=_MISSING_BYTES)
def missing(project: Project, given: wire.AskMissing) -> wire.Missing:
    """A question, and a POST for its length alone: nothing is changed."""
    _device(session())
    with context().database.reading(takes_locks=True) as reading:
        return wire.Missing(ids=digests.missing(reading, given.events, now()))


@bp.put("/sync/authors")
@guard.needs(Action.SYNC)
@operation("Say which commit authors are the own", {400: "One of them is another person."})
def authors(given: wire.Authors) -> None:
    keys = [bytes.fromhex(key) for key in given.authors]

    def work(session: Session, by: Actor) -> None:
        _device(session)
        whose.add(session, by, keys)

    guard.act(work)


@bp.get("/sync/settings")
@guard.needs(Action.SYNC)
@operation("Ask for the settings that the own PCs have in common")
def settings(asked: wire.AskSettings) -> wire.SharedSettings:
    """As they were changed last, on whichever PC."""
    return shared_settings.read(session(), bearer.current(session()).person, asked.known)


@bp.put("/sync/settings")
@guard.needs(Action.SYNC)
@operation("Change the settings that the own PCs have in common", {400: "One of them is of the future."})
def change_settings(given: wire.ChangeSettings) -> wire.SharedSettings:
    """Each is taken unless it was changed later on another PC; the answer is what holds then."""

    def work(session: Session, by: Actor) -> wire.SharedSettings:
        return shared_settings.change(session, by, _device(session), given.settings)

    return guard.act(work)


def _device(session: Session) -> Device:
    """The PC that asks."""
    device = bearer.current(session).device
    if device is None:
        raise Unauthorized(_NO_DEVICE)
    return device
