"""``devflow sync``: choose a server, sign in, link a project, send, and see how that goes."""

from __future__ import annotations

import click

from devflow_agent.cli.sync import (
    account,
    configuring,
    devices,
    downloading,
    linking,
    sending,
    share,
    testing,
    tracing,
    watching,
)


@click.group()
def sync() -> None:
    """Report to a team's server: metadata and metrics, never code. Off until you switch it on."""


for _command in (
    account.init,
    account.auth,
    account.logout,
    devices.devices,
    linking.enable,
    linking.disable,
    share.share,
    configuring.configure,
    sending.push,
    sending.preview,
    sending.retry,
    downloading.download,
    watching.status,
    watching.queue,
    watching.errors,
    watching.logs,
    watching.history,
    tracing.trace,
    testing.test,
):
    sync.add_command(_command)
