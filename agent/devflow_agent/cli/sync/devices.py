"""``devflow sync devices``: the PCs that the server knows, and shutting one out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from devflow_agent.cli.run import Run, as_json, json_option
from devflow_agent.config import iso
from devflow_agent.plain import plain

if TYPE_CHECKING:
    from uuid import UUID

    from devflow import wire


@click.group("devices", invoke_without_command=True)
@json_option
@click.pass_context
def devices(context: click.Context, to_json: bool) -> None:
    """List your PCs that the server knows."""
    if context.invoked_subcommand is not None:
        return
    from devflow_agent.remote import Remote

    run: Run = context.obj
    found = Remote(run.home.credentials, run.http).devices()
    if to_json:
        as_json([_device_data(device) for device in found])
    else:
        click.echo("\n".join(_device_line(device) for device in found) or "no PC yet")


@devices.command("revoke")
@click.argument("device_id", metavar="ID", type=click.UUID)
@click.pass_obj
def revoke(run: Run, device_id: UUID) -> None:
    """Shut out the PC with this ID (see `devflow sync devices`) from its very next request on.

    It can only come back by pairing it anew: `devflow sync auth` on it.
    """
    from devflow_agent import enrolment
    from devflow_agent.remote import Remote

    server = Remote(run.home.credentials, run.http)
    server.revoke(device_id)
    click.echo(f"{device_id} is shut out")
    if device_id == run.store.device_id():
        enrolment.forget(run.home, server.account)
        click.echo("that is this PC: it is signed out; `devflow sync auth` pairs it anew")


def _device_data(device: wire.Device) -> dict[str, Any]:
    return {
        "deviceId": str(device.device_id),
        "name": device.name,
        "createdAt": iso(device.created_at),
        "lastSeenAt": None if device.last_seen_at is None else iso(device.last_seen_at),
        "revokedAt": None if device.revoked_at is None else iso(device.revoked_at),
        "isThis": device.is_this,
    }


def _device_line(device: wire.Device) -> str:
    said = [str(device.device_id), plain(device.name)]
    if device.is_this:
        said.append("(this PC)")
    if device.revoked_at is not None:
        said.append(f"revoked {iso(device.revoked_at)}")
    elif device.last_seen_at is None:
        said.append("sent nothing yet")
    else:
        said.append(f"last upload {iso(device.last_seen_at)}")
    return "  ".join(said)
