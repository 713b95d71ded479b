"""Everybody's PCs, for administrators; and the revoking of one, for its owner too."""

from __future__ import annotations

from flask import redirect, url_for
from flask.typing import ResponseReturnValue

from devflow.access import Action
from devflow.accounts import devices as core
from devflow.models import Device
from devflow.web import guard, htmx
from devflow.web.current import session
from devflow.web.pages import bp
from devflow.web.session import viewer


@bp.get("/devices")
@guard.needs(Action.MANAGE_DEVICES)
def devices() -> ResponseReturnValue:
    return htmx.render("devices/page.html", rows=core.everybodys(session(), viewer()))


@bp.post("/devices/<uuid:device_id>/revoke")
@guard.needs(Action.REVOKE_DEVICE)
def revoke_device(device: Device) -> ResponseReturnValue:
    public_id, is_own = device.public_id, device.person_id == viewer().id
    guard.act(lambda writing, by: core.revoke(writing, by, public_id))
    return redirect(url_for("pages.my_devices" if is_own else "pages.devices"), 303)
