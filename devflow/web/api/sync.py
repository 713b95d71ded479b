"""``/sync``: where agents send events, and learn where they may."""

from __future__ import annotations

import threading
from typing import Final

from flask import Response
from sqlalchemy.orm import Session

from devflow import access, ingest, wire
from devflow.access import Action
from devflow.accounts import Bearer
from devflow.errors import Invalid, Unauthorized
from devflow.ingest import Sender
from devflow.web.api import answer, bp
from devflow.web.api.auth import bearer
from devflow.web.api.body import inflated, read_body, receive
from devflow.web.current import context, now, session

# As many as the database is busy with; whoever waits holds at most 1 MiB. A body made to be bad,
# of millions of tiny events, takes 290 MiB until its events are counted.
_uploads: Final = threading.BoundedSemaphore(4)


@bp.post("/sync/events")
def events() -> Response:
    """Answered only after COMMIT: what is in ``syncedIds`` is stored."""
    _sender(bearer(session()))  # a stranger's body is not worth inflating
    session().rollback()
    body = receive(wire.MAX_INFLATED_BYTES)
    with _uploads:
        return _accept(wire.decode_batch(inflated(body, wire.MAX_INFLATED_BYTES)))


def _accept(batch: wire.Batch) -> Response:
    def work(session: Session) -> wire.BatchResult:
        # Again, in the transaction that stores: what was revoked meanwhile is refused.
        sender = _sender(bearer(session))
        if batch.device_id != sender.device.public_id:
            raise Invalid(
                f"expected deviceId {sender.device.public_id}, as in the token, got {batch.device_id}"
            )
        return ingest.accept(session, sender, batch, context().calendar, now())

    return answer(context().database.transact(work))


@bp.get("/sync/projects")
def projects() -> Response:
    person = bearer(session()).person
    found = session().scalars(access.visible(person, Action.SEND_EVENTS))
    return answer(
        wire.Projects(projects=[wire.Project(project_id=each.public_id, name=each.name) for each in found])
    )


@bp.put("/sync/authors")
def authors() -> Response:
    keys = [bytes.fromhex(key) for key in wire.decode(read_body(), wire.Authors).authors]

    def work(session: Session) -> None:
        person = _sender(bearer(session)).person
        ingest.add_authors(session, person, keys, context().calendar)

    context().database.transact(work)
    return Response(status=204)


def _sender(bearer: Bearer) -> Sender:
    if bearer.device is None:
        raise Unauthorized("expected a token of a device: log in with a deviceId")
    return Sender(bearer.person, bearer.device)
