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
@click.option("--link-only", is_flag=True, help="Link, and leave sync off or on: look at the preview first.")
@click.pass_obj
def enable(run: Run, path: str, project_id: str | None, link_only: bool) -> None:
    """Link the project at PATH to one on the server, and switch sync on.

    All events of the project are sent from then on, also those recorded before. The server
    also learns which commit authors are you (as hashes of `git config user.email`).
    """
    from devflow_agent import enrolment

    project = project_at(run, Path(path))
    chosen = enrolment.link(run.home, run.store, run.http, project, project_id, switch_on=not link_only)
    is_on = Settings.load(run.store).sync_enabled
    state = "on" if is_on else "off"
    click.echo(
        f"{plain(project.name)} reports to {plain(chosen.name)} ({chosen.project_id}); sync is {state},"
        f" it shares {project.level}"
    )
    waiting = outbox.counts(run.store)["pending"]
    then = (
        "`devflow sync push`, or `devflow watch` sends by itself"
        if is_on
        else "`devflow sync preview` shows what would be sent, `devflow sync enable` switches it on"
    )
    click.echo(f"waiting: {counted(waiting, 'event')}; next: {then}")


def project_at(run: Run, path: Path) -> Project:
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
