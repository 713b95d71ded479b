"""``devflow sync``: choose a server, sign in, link a project, send."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from devflow.errors import CodeNeeded, Invalid, Offline
from devflow_agent import outbox
from devflow_agent.cli import progress
from devflow_agent.cli.download import download
from devflow_agent.cli.run import Exit, Run, as_json, as_json_line, json_option, path_argument
from devflow_agent.config import iso
from devflow_agent.plain import counted, plain
from devflow_agent.settings import Settings

if TYPE_CHECKING:
    from uuid import UUID

    from devflow import wire
    from devflow_agent.credentials import Account
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
        click.echo("next: `devflow sync auth`")


@sync.command("auth")
@click.option("--email", help="Sign in with this address and a password, on this PC alone.")
@click.option(
    "--password-stdin",
    is_flag=True,
    help="With --email: read the password from stdin; the second line is the code of a second factor.",
)
@click.option("--open", "open_browser", is_flag=True, help="Open the page for the code in the browser.")
@json_option
@click.pass_obj
def auth(run: Run, email: str | None, password_stdin: bool, open_browser: bool, to_json: bool) -> None:
    """Sign in: shows a code that you approve in your browser, where you are signed in already.

    No password is typed or stored on this PC; the tokens are stored, readable by you only.
    """
    from devflow_agent import enrolment

    if email is None and password_stdin:
        raise Invalid("--password-stdin needs --email")
    if email is None:
        account = enrolment.pair(
            run.home,
            run.store,
            run.http,
            on_code=lambda begun: _show_code(begun, to_json=to_json, open_browser=open_browser),
        )
    else:
        account = _sign_in(run, email, from_stdin=password_stdin)
    if to_json:
        as_json_line({"email": account.email, "userId": str(account.user_id)})
        return
    click.echo(f"signed in as {plain(account.email)} (tokens in {run.home.credentials}, mode 0600)")
    click.echo("next: `devflow sync enable` in a repository")


def _show_code(begun: wire.Pairing, *, to_json: bool, open_browser: bool) -> None:
    if to_json:
        as_json_line({"url": begun.url, "code": begun.code, "expiresAt": iso(begun.expires_at)})
    else:
        click.echo(f"open {plain(begun.url)} in your browser and type the code\n\n    {plain(begun.code)}\n")
        click.echo("waiting for you to approve it there; Ctrl-C changes nothing")
    if open_browser:
        _open(begun)


def _open(begun: wire.Pairing) -> None:
    """The page with the code filled in; a browser that does not open is no reason to stop."""
    import webbrowser
    from urllib.parse import quote

    if not begun.url.startswith(("https://", "http://")):
        raise Invalid(f"expected the server to name a page, got {begun.url!r}")
    if not webbrowser.open(f"{begun.url}?code={quote(begun.code)}"):
        click.echo("devflow: no browser opened; open the address yourself", err=True)


@sync.command("logout")
@click.option("--local", "only_here", is_flag=True, help="Do not ask the server; its tokens stay good there.")
@click.pass_obj
def logout(run: Run, only_here: bool) -> None:
    """Sign out: the tokens end on the server and are deleted here. Events go on to be recorded and wait."""
    from devflow_agent import enrolment

    try:
        account = enrolment.sign_out(run.home, run.http, only_here=only_here)
    except Offline as error:
        raise Offline(f"{error}; still signed in (--local deletes the tokens on this PC alone)") from error
    click.echo(f"{plain(account.email)} is signed out on this PC")


@sync.group("devices", invoke_without_command=True)
@json_option
@click.pass_context
def devices(context: click.Context, to_json: bool) -> None:
    """List your PCs that the server knows."""
    if context.invoked_subcommand is not None:
        return
    from devflow_agent.remote import Remote

    run: Run = context.obj
    found = Remote(run.home.credentials, run.http).devices()
    if to_json:
        as_json([_device_data(device) for device in found])
    else:
        click.echo("\n".join(_device_line(device) for device in found) or "no PC yet")


@devices.command("revoke")
@click.argument("device_id", metavar="ID", type=click.UUID)
@click.pass_obj
def revoke(run: Run, device_id: UUID) -> None:
    """Shut out the PC with this ID (see `devflow sync devices`) from its very next request on.

    It can only come back by pairing it anew: `devflow sync auth` on it.
    """
    from devflow_agent import enrolment
    from devflow_agent.remote import Remote

    server = Remote(run.home.credentials, run.http)
    server.revoke(device_id)
    click.echo(f"{device_id} is shut out")
    if device_id == run.store.device_id():
        enrolment.forget(run.home, server.account)
        click.echo("that is this PC: it is signed out; `devflow sync auth` pairs it anew")


def _device_data(device: wire.Device) -> dict[str, Any]:
    return {
        "deviceId": str(device.device_id),
        "name": device.name,
        "createdAt": iso(device.created_at),
        "lastSeenAt": None if device.last_seen_at is None else iso(device.last_seen_at),
        "revokedAt": None if device.revoked_at is None else iso(device.revoked_at),
        "isThis": device.is_this,
    }


def _device_line(device: wire.Device) -> str:
    said = [str(device.device_id), plain(device.name)]
    if device.is_this:
        said.append("(this PC)")
    if device.revoked_at is not None:
        said.append(f"revoked {iso(device.revoked_at)}")
    elif device.last_seen_at is None:
        said.append("sent nothing yet")
    else:
        said.append(f"last upload {iso(device.last_seen_at)}")
    return "  ".join(said)


def _sign_in(run: Run, email: str, *, from_stdin: bool) -> Account:
    from devflow_agent import credentials, enrolment

    server = credentials.enrolled(run.home.credentials)
    password = _password(server.server_url, from_stdin=from_stdin)
    try:
        return enrolment.sign_in(run.home, run.store, run.http, email, password)
    except CodeNeeded:
        code = _code(from_stdin=from_stdin)
        return enrolment.sign_in(run.home, run.store, run.http, email, password, code)


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
        as_json(
            {
                "synced": pushed.synced,
                "failed": pushed.failed,
                "kept": pushed.kept,
                "lost": pushed.lost,
                "pending": waiting,
            }
        )
    else:
        click.echo(_said(pushed, waiting))
    if pushed.failed:
        run.exit_code = Exit.REFUSED


def _said(pushed: Pushed, waiting: int) -> str:
    if not pushed.sent:
        return "nothing to send"
    said = [f"{counted(pushed.synced, 'event')} synced"]
    if pushed.lost:
        said.append(f"{pushed.lost:,} of them again, which the server had lost")
    if pushed.failed:
        said.append(f"{pushed.failed:,} refused for good (`devflow sync status`; --all tries them again)")
    if waiting:
        said.append(f"{waiting:,} wait")
    return ", ".join(said)


sync.add_command(download)


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
