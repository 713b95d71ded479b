"""Everybody's PCs, for administrators; and the revoking of one, for its owner too."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from babel.numbers import format_percent
from flask import redirect, url_for
from flask.typing import ResponseReturnValue

from devflow import wire
from devflow.access import Action
from devflow.accounts import devices as core
from devflow.accounts.devices import Trouble
from devflow.live import Watched
from devflow.models import Device, Person
from devflow.web import guard, i18n, live
from devflow.web.current import now, session
from devflow.web.i18n import gettext, ngettext
from devflow.web.pages import bp
from devflow.web.session import viewer
from devflow.web.tables import Order, Table


@dataclass(frozen=True, slots=True)
class Row:
    """A PC with what it said last; ``troubles`` are in words."""

    device: Device
    owner: Person
    report: wire.Report
    troubles: Sequence[str]

    @property
    def state(self) -> str:
        if self.device.revoked_at is not None:
            return gettext("revoked")
        return gettext("look at it") if self.troubles else gettext("in order")

    @property
    def version(self) -> str | None:
        """Of the agent."""
        return None if self.report.version is None else wire.version_text(self.report.version)


PCS: Final = Table[Row](
    "pcs",
    {
        "pc": lambda row: row.device.name,
        "person": lambda row: row.owner.name,
        "state": lambda row: row.state,
        "last_upload": lambda row: _iso(row.device.last_seen_at),
        "queue": lambda row: row.report.queue,
        "success": lambda row: row.report.success,
        "latency_ms": lambda row: row.report.latency,
        "version": lambda row: row.report.version,
        "said_at": lambda row: _iso(row.device.reported_at),
        "alerts": lambda row: " ".join(row.troubles) or None,
    },
)


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else i18n.iso(at_ms)


@bp.get("/devices")
@guard.needs(Action.MANAGE_DEVICES)
def devices() -> ResponseReturnValue:
    order, known = PCS.order(), [device for device, _ in core.everybodys(session(), viewer())]
    return live.page(
        "devices/page.html",
        key=("everybody", str(order)),
        watched=Watched.of((), known, now()),
        panels=lambda: panels(None, order),
        exports={"pcs": lambda: PCS.csv(PCS.sorted(rows(None), order))},
        has_any=bool(known),
    )


def rows(person_id: int | None) -> list[Row]:
    """Those of the person, or everybody's."""
    found = core.of_all(session(), person_id)
    return [
        Row(device, owner, core.reported(device) or wire.Report(), troubles(device))
        for device, owner in found
    ]


def panels(person_id: int | None, order: Order) -> live.Draw:
    @functools.cache
    def found() -> list[Row]:
        return rows(person_id)

    def health() -> Mapping[str, Any]:
        used = [row for row in found() if row.device.revoked_at is None]
        return {
            "rows": PCS.sorted(found(), order),
            "table": PCS,
            "order": order,
            "is_everybodys": person_id is None,
            "used": len(used),
            "waiting": sum(row.report.queue or 0 for row in used),
            "troubled": sum(bool(row.troubles) for row in used),
            "quiet_days": core.QUIET_DAYS,
        }

    return {"health": health, "cards": lambda: {"rows": found()}}


@bp.post("/devices/<uuid:device_id>/revoke")
@guard.needs(Action.REVOKE_DEVICE)
def revoke_device(device: Device) -> ResponseReturnValue:
    public_id, is_own = device.public_id, device.person_id == viewer().id
    guard.act(lambda writing, by: core.revoke(writing, by, public_id))
    return redirect(url_for("pages.my_devices" if is_own else "pages.devices"), 303)


@bp.app_template_filter("report")
def report(device: Device) -> wire.Report | None:
    return core.reported(device)


@bp.app_template_filter("release")
def release(number: int) -> str:
    return wire.version_text(number)


@bp.app_template_filter("permille")
def permille(of_thousand: int) -> str:
    """987 as 98.7%."""
    return format_percent(of_thousand / 1_000, format="0.#%", locale=i18n.locale())


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
        case Trouble.QUIET:
            return ngettext(
                "Nothing was heard of it for more than %(n)s day. If it is not used any more, revoke it.",
                "Nothing was heard of it for more than %(n)s days. If it is not used any more, revoke it.",
                core.QUIET_DAYS,
                n=core.QUIET_DAYS,
            )
        case Trouble.NEVER:
            return gettext("It was let in, but never sent anything. On the PC, devflow sync test says why.")
