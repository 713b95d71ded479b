"""The command line: ``devflow``. Turns errors into one line and an exit code.

Commands import what is heavy (requests, rich, mcp, watchfiles) inside themselves, so that
``devflow status`` starts as fast as SQLite answers.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from devflow.errors import Busy, DevflowError, Offline, Unauthorized
from devflow_agent.cli import archive, config, doctor, local, migrate, remove, sync
from devflow_agent.cli.run import Exit, Run
from devflow_agent.config import Home
from devflow_agent.plain import plain
from devflow_agent.store import WAY_OUT, disk_trouble

EXIT_CODES = """\
Exit codes:

\b
  0  done
  1  something unexpected went wrong
  2  wrong usage or input
  3  nobody is signed in, or the server does not accept who is
  4  the server was not reached or not available; everything is kept
  5  the server refused some events for good
  6  another process does this already
"""


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="devflow-monitor", prog_name="devflow")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_obj
def devflow(run: Run, debug: bool) -> None:
    """Record development work on this PC and, if asked to, sync it with a team's server.

    Everything stays in a private SQLite file (DEVFLOW_HOME moves it). Nothing is sent
    unless you choose a server, sign in and link a project.
    """
    run.debug = debug


devflow.add_command(local.init)
devflow.add_command(local.import_)
devflow.add_command(local.watch)
devflow.add_command(local.status)
devflow.add_command(local.activity)
devflow.add_command(local.mcp)
devflow.add_command(config.config)
devflow.add_command(sync.sync)
devflow.add_command(archive.archive)
devflow.add_command(doctor.doctor)
devflow.add_command(migrate.migrate)
devflow.add_command(remove.remove)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    run = Run(Home.default())
    try:
        devflow.main(arguments, prog_name="devflow", standalone_mode=False, obj=run)
    except Exception as error:  # the entry point: nothing above could handle it
        if run.debug:
            traceback.print_exc()
        sys.exit(_report(error))
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    sys.exit(run.exit_code)


def _report(error: Exception) -> Exit:
    """Say on stderr in one line what was expected and what came; only help takes more."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()  # `devflow` alone: a page of help, and no problem to name
        return Exit.INVALID
    code, message = _judged(error)
    if message:
        click.echo(f"devflow: {plain(message, 2_000)}", err=True)
    return code


def _judged(error: Exception) -> tuple[Exit, str]:
    match error:
        case click.Abort():
            return Exit.INTERRUPTED, "interrupted"
        case click.ClickException():
            return Exit.INVALID, error.format_message()
        case Unauthorized():
            return Exit.NOT_SIGNED_IN, str(error)
        case Offline():
            return Exit.OFFLINE, str(error)
        case Busy():
            return Exit.BUSY, str(error)
        case DevflowError():
            return Exit.INVALID, str(error)
        case BrokenPipeError():  # `devflow status | head -1`
            _forget_stdout()
            return Exit.UNEXPECTED, ""
        case sqlite3.OperationalError() if (said := disk_trouble(error)) is not None:
            return Exit.UNEXPECTED, said
        case OSError():
            return Exit.UNEXPECTED, str(error)
        case sqlite3.Error():
            return Exit.UNEXPECTED, f"{error} ({WAY_OUT})"
        case _:
            named = f"{type(error).__name__}: {error}"
            return Exit.UNEXPECTED, f"unexpected {named} (--debug shows where; {WAY_OUT})"


def _forget_stdout() -> None:
    # Python flushes stdout once more at exit and would complain about the closed pipe again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
