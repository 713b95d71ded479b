"""``devflow migrate``: the store's schema, up and down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from sqlite3 import Connection

import click

from devflow.errors import Busy, Invalid
from devflow_agent import daemon_lock, schema
from devflow_agent.cli.run import Run
from devflow_agent.store import connect


@click.group()
def migrate() -> None:
    """See and change the schema version of the local store.

    Every command brings the store to its newest version by itself; going down is for
    installing an older agent afterwards.
    """


@migrate.command("status")
@click.pass_obj
def status(run: Run) -> None:
    """Show the store's schema version."""
    with _store(run) as connection:
        here = schema.version(connection)
    click.echo(f"v{here} of v{schema.LATEST}: " + ("newest" if here == schema.LATEST else "not the newest"))


@migrate.command("up")
@click.pass_obj
def up(run: Run) -> None:
    """Bring the store to the newest schema version."""
    _migrate(run, schema.LATEST)


@migrate.command("down")
@click.option("--to", "version", required=True, metavar="vN", help="The version to go down to, such as v1.")
@click.pass_obj
def down(run: Run, version: str) -> None:
    """Take the store back to an older schema version.

    v1 knows nothing of sync: links, attempts and what was sent are forgotten, no event is lost.
    """
    if re.fullmatch(r"v?\d{1,6}", version) is None:
        raise Invalid(f"expected --to=v1 to --to=v{schema.LATEST}, got {version}")
    target = int(version.removeprefix("v"))
    watching = daemon_lock.running(run.home)
    if watching is not None:
        raise Busy(f"expected no running daemon, one has pid {watching.pid}: stop `devflow watch` first")
    with _store(run) as connection:
        here = schema.version(connection)
    if target > here:
        raise Invalid(f"expected a version below v{here}, where the store is, got v{target}")
    _migrate(run, target)


def _migrate(run: Run, target: int) -> None:
    with _store(run) as connection:
        passed = schema.migrate(connection, target)
    steps = " -> ".join(f"v{step}" for step in passed)
    click.echo(f"migrated: {steps}" if passed else f"nothing to do: the store is at v{target}")


@contextmanager
def _store(run: Run) -> Iterator[Connection]:
    """Not by ``Store``, which would migrate."""
    if not run.home.database.exists():
        raise Invalid(f"expected a store at {run.home.database}, there is none yet: run `devflow init`")
    with closing(connect(run.home.database)) as connection:
        yield connection
