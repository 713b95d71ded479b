"""``devflow sync download``: what your other PCs sent, here too."""

from __future__ import annotations

import click

from devflow.errors import Offline
from devflow_agent import downloaded, settings
from devflow_agent.cli.run import Run, as_json, json_option
from devflow_agent.plain import counted


@click.command("download")
@click.option(
    "--always/--never", "always", default=None, help="Also after each sync from now on, or no longer."
)
@json_option
@click.pass_obj
def download(run: Run, always: bool | None, to_json: bool) -> None:
    """Fetch what your other PCs have sent; `devflow activity --all-devices` counts it too.

    It lies beside the events of this PC: no other number changes by it, and it is never sent again.
    """
    if always is not None:
        settings.keep(run.store, {"sync_download": always})
    new = _fetch(run) if always is not False else 0
    here = downloaded.count(run.store)
    if to_json:
        as_json({"downloaded": new, "here": here, "always": run.store.setting("sync_download") is True})
    elif always is False:
        click.echo(f"nothing is fetched by itself any more; {counted(here, 'event')} of other PCs stay here")
    else:
        click.echo(f"{counted(new, 'event')} fetched, {here:,} of other PCs are here")


def _fetch(run: Run) -> int:
    from devflow_agent.download import fetch
    from devflow_agent.remote import Remote

    try:
        return fetch(run.store, Remote(run.home.credentials, run.http))
    except Offline as error:
        raise Offline(f"{error}; what was fetched until then is here") from error
