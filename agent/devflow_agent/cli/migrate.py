"""``devflow migrate``: the store's schema, up and down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from sqlite3 import Connection

import click

from devflow.errors import Busy, Invalid
from devflow_agent import daemon_lock, schema
from devflow_agent.cli import progress
from devflow_agent.cli.run import Run, as_json, json_option
from devflow_agent.schema import archive
from devflow_agent.store import connect


@click.group()
def migrate() -> None:
    """See and change the schema version of the local store.

    Every command brings the store to its newest version by itself; going down is for
    installing an older agent afterwards.
    """


@migrate.command("status")
@json_option
@click.pass_obj
def status(run: Run, to_json: bool) -> None:
    """Show the store's schema version."""
    with _store(run) as connection:
        here = schema.version(connection)
    if to_json:
        as_json({"version": here, "newest": schema.LATEST})
        return
    click.echo(f"v{here} of v{schema.LATEST}: " + ("newest" if here == schema.LATEST else "not the newest"))


@migrate.command("up")
@json_option
@click.pass_obj
def up(run: Run, to_json: bool) -> None:
    """Bring the store to the newest schema version."""
    _migrate(run, schema.LATEST, to_json=to_json)


@migrate.command("down")
@click.option("--to", "version", required=True, metavar="vN", help="The version to go down to, such as v1.")
@json_option
@click.pass_obj
def down(run: Run, version: str, to_json: bool) -> None:
    """Take the store back to an older schema version.

    v1 knows nothing of sync: links, attempts and what was sent are forgotten, no event is lost. What
    was archived comes back into the store.
    """
    if re.fullmatch(r"v?[0-9]{1,6}", version) is None:
        raise Invalid(f"expected --to=v1 to --to=v{schema.LATEST}, got {version}")
    target = int(version.removeprefix("v"))
    watching = daemon_lock.running(run.home)
    if watching is not None:
        raise Busy(f"expected no running daemon, one has pid {watching.pid}: stop `devflow watch` first")
    with _store(run) as connection:
        here = schema.version(connection)
    if target > here:
        raise Invalid(f"expected a version below v{here}, where the store is, got v{target}")
    _migrate(run, target, to_json=to_json)


def _migrate(run: Run, target: int, *, to_json: bool) -> None:
    with _store(run) as connection:
        here = schema.version(connection)
        steps = schema.length(here, target) if 0 < target <= schema.LATEST >= here else 0
        with progress.shown("steps", steps, quiet=to_json) as advance:
            passed = schema.migrate(connection, target, progress=advance)
        if target == 1:  # also when the step was taken before, by a run that was killed after it
            archive.clear(connection)
    if to_json:
        as_json({"from": here, "to": target, "passed": passed})
        return
    way = " -> ".join(f"v{step}" for step in passed)
    click.echo(f"migrated: {way}" if passed else f"nothing to do: the store is at v{target}")


@contextmanager
def _store(run: Run) -> Iterator[Connection]:
    """Not by ``Store``, which would migrate."""
    if not run.home.database.exists():
        raise Invalid(f"expected a store at {run.home.database}, there is none yet: run `devflow init`")
    with closing(connect(run.home.database)) as connection:
        yield connection
