"""``devflow sync enable | disable``: say which project reports, and stop at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from devflow.errors import Invalid
from devflow_agent import outbox
from devflow_agent.cli.run import Run, path_argument
from devflow_agent.plain import counted, plain
from devflow_agent.settings import Settings

if TYPE_CHECKING:
    from devflow_agent.store import Project


@click.command("enable")
@path_argument
@click.option("--project-id", help="The server's project, by id or name; not needed if there is only one.")
@click.pass_obj
def enable(run: Run, path: str, project_id: str | None) -> None:
    """Link the project at PATH to one on the server, and switch sync on.

    All events of the project are sent from then on, also those recorded before. The server
    also learns which commit authors are you (as hashes of `git config user.email`).
    """
    from devflow_agent import enrolment

    project = _project_at(run, Path(path))
    chosen = enrolment.link(run.home, run.store, run.http, project, project_id)
    click.echo(f"{plain(project.name)} reports to {plain(chosen.name)} ({chosen.project_id}); sync is on")
    waiting = outbox.counts(run.store)["pending"]
    click.echo(
        f"waiting: {counted(waiting, 'event')}; next: `devflow sync push`, or `devflow watch` sends by itself"
    )


def _project_at(run: Run, path: Path) -> Project:
    from devflow_agent.collect import git

    repository = git.open_repository(path)
    for project in run.store.projects():
        if project.git_dir == repository.git_dir:
            return project
    raise Invalid(f"{repository.top} is not a project yet: run `devflow init` there")


@click.command("disable")
@click.pass_obj
def disable(run: Run) -> None:
    """Stop sending at once. Loses nothing: events go on to be recorded and wait."""
    Settings.load(run.store).changed(enabled=False).save_sync(run.store)
    click.echo("sync is off; everything stays recorded on this PC")
