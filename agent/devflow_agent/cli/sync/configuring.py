"""``devflow sync configure``: see and change how this PC syncs, and where each value comes from."""

from __future__ import annotations

from typing import Any

import click

from devflow.errors import Invalid
from devflow_agent import choices
from devflow_agent.cli import config
from devflow_agent.cli.run import Run, as_json, json_option
from devflow_agent.plain import plain
from devflow_agent.settings import Settings


@click.command("configure")
@click.option("--interval", "sync_interval_s", type=int, help="Seconds between two syncs.")
@click.option("--batch-size", "sync_batch_size", type=int, help="The most events of a request.")
@click.option(
    "--on-start/--no-on-start", "sync_on_start", default=None, help="Sync when `devflow watch` starts."
)
@click.option(
    "--download/--no-download", "sync_download", default=None, help="Fetch what your other PCs sent, too."
)
@click.option(
    "--share-settings/--no-share-settings",
    "sync_share_settings",
    default=None,
    help="Have the settings marked so in common with your other PCs that share theirs.",
)
@click.option("--proxy", "sync_proxy", metavar="URL", help="Through this proxy, instead of HTTPS_PROXY's.")
@click.option("--ca-file", "sync_ca_file", metavar="PATH", help="Trust the certificate authorities in it.")
@click.option("--alert-queue", "alert_queue_size", type=int, help="Alert when more events wait.")
@click.option("--alert-failure-rate", type=float, help="Alert when a larger share of attempts fails.")
@click.option("--alert-offline", "alert_offline_s", type=int, help="Alert when offline for more seconds.")
@click.option("--desktop/--no-desktop", "alert_desktop", default=None, help="Show alerts on the desktop.")
@click.option(
    "--default",
    "forgotten",
    metavar="NAME",
    multiple=True,
    help="Let NAME, as the list shows it, be as it comes.",
)
@json_option
@click.pass_obj
def configure(run: Run, /, forgotten: tuple[str, ...], to_json: bool, **given: Any) -> None:
    """Change how this PC syncs; with no option, show all values and where each comes from."""
    values = {field: value for field, value in given.items() if value is not None}
    fields = [choices.named(name).field for name in forgotten]
    if overlap := values.keys() & set(fields):
        raise Invalid(f"expected a value or --default, got both for {', '.join(sorted(overlap))}")
    choices.change(run.store, values, fields)
    if to_json:
        as_json(config.as_data(run))
    else:
        click.echo("\n".join(map(_line, choices.seen(Settings.load(run.store), run.store))))


def _line(one: choices.Seen) -> str:
    value = plain(choices.as_text(one.value))
    return f"{one.choice.name:<18} {plain(one.origin):<20} {value} {one.choice.unit}".rstrip()
