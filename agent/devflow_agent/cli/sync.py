"""``devflow sync``: choose a server, sign in, link a project, send."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from devflow.errors import CodeNeeded, Invalid, Offline
from devflow_agent import outbox
from devflow_agent.cli import progress
from devflow_agent.cli.run import Exit, Run, as_json, json_option, path_argument
from devflow_agent.plain import counted, plain
from devflow_agent.settings import Settings

if TYPE_CHECKING:
    from devflow_agent.store import Project
    from devflow_agent.sync import Pushed


@click.group()
def sync() -> None:
    """Report to a team's server: metadata and metrics, never code. Off until you switch it on."""


@sync.command("init")
@click.argument("url")
@click.option(
    "--insecure-http", is_flag=True, help="Accept plain http to another machine: anybody can listen."
)
@click.pass_obj
def init(run: Run, url: str, insecure_http: bool) -> None:
    """Make the server at URL the one this PC reports to. Sends nothing but the question who it is."""
    from devflow_agent import enrolment

    server = enrolment.enrol(run.home, run.store, run.http, url, insecure_http=insecure_http)
    click.echo(f"server {plain(server.server_url)} ({server.server_id})")
    if server.account is None:
        click.echo("next: `devflow sync auth --email E`")


@sync.command("auth")
@click.option("--email", required=True, help="Your e-mail address on the server.")
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from stdin, for scripts; the second line is the code of a second factor.",
)
@click.pass_obj
def auth(run: Run, email: str, password_stdin: bool) -> None:
    """Sign in. The password is not stored; the tokens are, readable by you only."""
    from devflow_agent import credentials, enrolment

    server = credentials.enrolled(run.home.credentials)
    password = _password(server.server_url, from_stdin=password_stdin)
    try:
        account = enrolment.sign_in(run.home, run.store, run.http, email, password)
    except CodeNeeded:
        code = _code(from_stdin=password_stdin)
        account = enrolment.sign_in(run.home, run.store, run.http, email, password, code)
    click.echo(f"signed in as {plain(account.email)} (tokens in {run.home.credentials}, mode 0600)")
    click.echo("next: `devflow sync enable` in a repository")


def _password(url: str, *, from_stdin: bool) -> str:
    if not from_stdin:
        prompt = f"Password for {plain(url)}"
        return str(click.prompt(prompt, hide_input=True, err=True))
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise Invalid("expected the password on the first line of stdin, got nothing")
    return password


def _code(*, from_stdin: bool) -> str:
    if not from_stdin:
        return str(click.prompt("Code of your authenticator, or a recovery code", err=True))
    code = sys.stdin.readline().strip()
    if not code:
        raise CodeNeeded("expected a code of the second factor on the second line of stdin, got nothing")
    return code


@sync.command("enable")
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


@sync.command("disable")
@click.pass_obj
def disable(run: Run) -> None:
    """Stop sending at once. Loses nothing: events go on to be recorded and wait."""
    Settings.load(run.store).changed(enabled=False).save_sync(run.store)
    click.echo("sync is off; everything stays recorded on this PC")


@sync.command("push")
@click.option("--all", "retry_failed", is_flag=True, help="Also send again what the server refused for good.")
@json_option
@click.pass_obj
def push(run: Run, retry_failed: bool, to_json: bool) -> None:
    """Send everything that waits, now."""
    from devflow_agent import sync as sender

    counts = outbox.counts(run.store)
    total = counts["pending"] + (counts["failed"] if retry_failed else 0)
    with progress.shown("events", total, quiet=to_json) as advance:
        try:
            pushed = sender.push(
                run.home,
                run.store,
                run.http,
                retry_failed=retry_failed,
                on_progress=lambda so_far: advance(so_far.sent),
            )
        except Offline as error:
            raise Offline(f"{error}; everything is kept, try again later") from error
    waiting = outbox.counts(run.store)["pending"]
    if to_json:
        as_json({"synced": pushed.synced, "failed": pushed.failed, "kept": pushed.kept, "pending": waiting})
    else:
        click.echo(_said(pushed, waiting))
    if pushed.failed:
        run.exit_code = Exit.REFUSED


def _said(pushed: Pushed, waiting: int) -> str:
    if not pushed.sent:
        return "nothing to send"
    said = [f"{counted(pushed.synced, 'event')} synced"]
    if pushed.failed:
        said.append(f"{pushed.failed:,} refused for good (`devflow sync status`; --all tries them again)")
    if waiting:
        said.append(f"{waiting:,} wait")
    return ", ".join(said)


@sync.command("status")
@json_option
@click.pass_obj
def status(run: Run, to_json: bool) -> None:
    """Show how sync is doing. Asks only this PC."""
    from devflow_agent.analyse.sync_state import sync_state
    from devflow_agent.cli import show

    state = sync_state(run.home, run.store)
    if to_json:
        as_json(show.sync_data(state))
    else:
        click.echo("\n".join(show.sync_lines(state)))
