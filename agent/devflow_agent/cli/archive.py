"""``devflow archive``: old events that the server has go into a file of their own."""

from __future__ import annotations

import re

import click

from devflow import wire
from devflow.errors import Invalid
from devflow_agent.cli import progress
from devflow_agent.cli.run import Run, as_json, json_option
from devflow_agent.config import now_ms
from devflow_agent.plain import counted

MAX_DAYS = 36_500


@click.command()
@click.option(
    "--older-than", default="30d", metavar="DAYS", help="Move what happened so long ago; 30d if not given."
)
@json_option
@click.pass_obj
def archive(run: Run, older_than: str, to_json: bool) -> None:
    """Move old events that the server has into archive.db, beside the store.

    Every command shows them as before. What waits to be sent stays where it is. `devflow watch` does
    this each week.
    """
    from devflow_agent import archiving

    days, now = _days(older_than), now_ms()
    total = archiving.waiting(run.store, now, older_than_ms=days * wire.DAY_MS)
    with progress.shown("events", total, quiet=to_json) as advance:
        moved = archiving.run(run.store, now, older_than_ms=days * wire.DAY_MS, progress=advance)
    in_archive = archiving.archived(run.store)
    if to_json:
        as_json({"olderThanDays": days, "moved": moved, "inArchive": in_archive})
        return
    click.echo(f"{counted(moved, 'event')} moved; {in_archive:,} in the archive, shown everywhere as before")


def _days(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,6})d?", text)
    days = int(found[1]) if found else 0
    if not 0 < days <= MAX_DAYS:
        raise Invalid(f"--older-than: expected days from 1d to {MAX_DAYS}d, got {text[:100]!r}")
    return days
