"""The commands that work with no network: register, import, watch, look, serve an AI client."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from devflow.errors import Invalid
from devflow.windows import Grain
from devflow_agent.cli import progress
from devflow_agent.cli.run import Run, as_json, json_option, path_argument
from devflow_agent.config import now_ms
from devflow_agent.local_calendar import Calendar, named
from devflow_agent.plain import counted, plain
from devflow_agent.store import Project

if TYPE_CHECKING:
    from devflow_agent.collect.git import Repository


@click.command()
@path_argument
@click.option("--name", help="The project's name on this PC; the folder's name if not given.")
@click.pass_obj
def init(run: Run, path: str, name: str | None) -> None:
    """Register the git repository at PATH as a project. Imports nothing yet."""
    if name is not None and not name.strip():
        raise Invalid("expected a name with at least one visible character")
    project, _ = registered(run, Path(path), name)
    click.echo(f"project {plain(project.name)} at {plain(str(project.path))}")
    click.echo("next: `devflow import git` records its history, `devflow watch` follows it")


@click.group("import")
def import_() -> None:
    """Record history that was there before the agent was."""


@import_.command("git")
@path_argument
@json_option
@click.pass_obj
def import_git(run: Run, path: str, to_json: bool) -> None:
    """Record the commits, merges and tags of the repository at PATH.

    Running it again records only what is new; nothing is ever counted twice.
    """
    from devflow_agent.collect import git

    project, repository = registered(run, Path(path))
    total = git.count_new(repository, run.store, project.id)
    with progress.shown("commits", total, quiet=to_json) as advance:
        collected = git.collect(repository, run.store, project.id, now_ms(), progress=advance)
    if to_json:
        as_json({"commits": collected.commits, "added": collected.added, "refused": collected.refused})
        return
    click.echo(
        f"{plain(project.name)}: {counted(collected.commits, 'commit')} read, "
        f"{counted(collected.added, 'new event')}"
    )
    for reason in collected.refused:
        click.echo(f"  {plain(reason)}", err=True)
    if collected.refused:
        click.echo(f"{len(collected.refused)} not recorded, see above", err=True)


@click.command()
@click.pass_obj
def watch(run: Run) -> None:
    """Follow all projects until interrupted, and sync them if that is on."""
    from devflow_agent import daemon
    from devflow_agent.live import Live

    def say(text: str) -> None:
        click.echo(plain(text))

    with daemon.stopped_by_signals() as stop:
        sync = Live(run.home, run.store, run.http, say, stop)
        daemon.run(run.home, stop=stop, on_message=say, sync=sync)
    click.echo("stopped; everything recorded is kept")


@click.command()
@json_option
@click.pass_obj
def status(run: Run, to_json: bool) -> None:
    """Show projects, numbers of today and this week, the last events, and how sync is doing."""
    from devflow_agent.cli import show

    overview = show.overview(run.home, run.store, now_ms())
    if to_json:
        as_json(show.as_data(overview))
    else:
        click.echo(show.as_text(overview))


@click.command()
@click.option(
    "--by",
    type=click.Choice([grain.value for grain in Grain]),
    default="day",
    help="Which windows to count by.",
)
@click.option("--since", metavar="TIME", help="Start, ISO 8601; the last 7 days, 24 hours ... if not given.")
@click.option("--until", metavar="TIME", help="End, excluded; a date means its first moment.")
@click.option("--project", "wanted", metavar="NAME", help="Only this project, by name or id.")
@click.option(
    "--zone",
    metavar="ZONE",
    help="Cut by this time zone, as your team's server does; this PC's if not given.",
)
@click.option("--all-devices", is_flag=True, help="With what `devflow sync download` has fetched.")
@json_option
@click.pass_obj
def activity(
    run: Run,
    by: str,
    since: str | None,
    until: str | None,
    wanted: str | None,
    zone: str | None,
    all_devices: bool,
    to_json: bool,
) -> None:
    """Show your numbers by hour, day, week or month.

    Windows are whole: a range is widened to those that hold it.
    """
    from devflow_agent.analyse import activity as analysed
    from devflow_agent.analyse import asking
    from devflow_agent.cli import numbers

    calendar = Calendar.of_this_pc()
    if zone is not None:
        calendar = replace(calendar, zone=named(zone))
    project = None if wanted is None else asking.named(run.store.projects(), wanted)
    asked = asking.question(
        run.store,
        calendar,
        now_ms(),
        by=Grain(by),
        since=since,
        until=until,
        project_id=None if project is None else project.id,
        all_devices=all_devices,
    )
    found, are_known = analysed.count(run.store, asked), bool(asked.author_keys)
    if to_json:
        as_json(numbers.as_data(found, project, authors_known=are_known))
    elif not run.store.projects():
        click.echo(numbers.NO_PROJECT)
    else:
        click.echo(numbers.as_text(found, project, authors_known=are_known))


@click.command()
@click.pass_obj
def mcp(run: Run) -> None:
    """Answer an AI client over stdin and stdout (Model Context Protocol)."""
    from devflow_agent.mcp_server import serve

    serve(run.home)


def registered(run: Run, path: Path, name: str | None = None) -> tuple[Project, Repository]:
    """The project of the repository at ``path``, made if it is new, and what git says of it."""
    from devflow_agent import authors
    from devflow_agent.collect import git

    repository = git.open_repository(path)
    project = run.store.add_project(name or repository.name, repository.top, repository.git_dir, now_ms())
    authors.remember(run.store, authors.keys([repository.top]))
    return project, repository
