"""Everybody's PCs, for administrators; and the revoking of one, for its owner too."""

from __future__ import annotations

from flask import redirect, url_for
from flask.typing import ResponseReturnValue

from devflow import wire
from devflow.access import Action
from devflow.accounts import devices as core
from devflow.accounts.devices import Trouble
from devflow.models import Device
from devflow.web import guard, htmx
from devflow.web.current import now, session
from devflow.web.i18n import gettext
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


@bp.app_template_filter("report")
def report(device: Device) -> wire.Report | None:
    return core.reported(device)


@bp.app_template_filter("troubles")
def troubles(device: Device) -> list[str]:
    """What its owner should look at, in words."""
    return [_trouble(one) for one in core.troubles(device, now())]


def _trouble(found: Trouble) -> str:
    match found:
        case Trouble.QUEUE:
            return gettext("A lot was waiting to be sent. On the PC, devflow sync queue says why.")
        case Trouble.FAILURES:
            return gettext("More than one attempt in ten failed. On the PC, devflow sync logs shows them.")
        case Trouble.SILENT:
            return gettext(
                "It was not heard of since, though more was waiting. Is it switched off, or offline?"
            )
