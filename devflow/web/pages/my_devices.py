"""The viewer's own PCs: what is known of each, its name, and the way to shut it out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from devflow.access import Action
from devflow.accounts import devices
from devflow.errors import Invalid
from devflow.live import Watched
from devflow.web import guard, live
from devflow.web.current import now, session
from devflow.web.i18n import said
from devflow.web.pages import bp
from devflow.web.pages.devices import PCS, panels, rows
from devflow.web.session import viewer
from devflow.web.tables import Order


@bp.get("/me/devices")
@guard.needs(Action.USE_OWN)
def my_devices() -> ResponseReturnValue:
    return _show()


@bp.post("/me/devices/<uuid:device_id>/rename")
@guard.needs(Action.USE_OWN)
def rename_device(device_id: UUID) -> ResponseReturnValue:
    name = request.form.get("name", "")
    try:
        guard.act(lambda writing, by: devices.rename(writing, by, device_id, name))
    except Invalid as error:
        return _show(422, renamed=device_id, name=name, wrong=said(error))
    return redirect(url_for("pages.my_devices"), 303)


def _show(status: int = 200, **mistake: Any) -> Response:
    person_id, order = viewer().id, PCS.order()
    own = devices.own(session(), viewer())
    return live.page(
        "my_devices/page.html",
        key=(person_id, str(order)),
        watched=Watched.of((), own, now()),
        panels=lambda: _panels(person_id, order, mistake),
        exports={"pcs": lambda: PCS.csv(PCS.sorted(rows(person_id), order))},
        status=status,
        devices=own,
    )


def _panels(person_id: int, order: Order, mistake: Mapping[str, Any]) -> live.Draw:
    """What is wrong with a new name stands with its PC, on a page that is not kept up to date."""
    drawn = panels(person_id, order)
    return {**drawn, "cards": lambda: {**drawn["cards"](), **mistake}}
