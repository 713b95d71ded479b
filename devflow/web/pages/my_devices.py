"""The viewer's own PCs: what is known of each, its name, and the way to shut it out."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from devflow.access import Action
from devflow.accounts import devices
from devflow.errors import Invalid
from devflow.web import guard, htmx
from devflow.web.current import context, session
from devflow.web.i18n import said
from devflow.web.pages import bp
from devflow.web.session import viewer


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
    return htmx.render(
        "my_devices/page.html",
        status,
        devices=devices.own(session(), viewer()),
        public_url=context().settings.public_url,
        **mistake,
    )
