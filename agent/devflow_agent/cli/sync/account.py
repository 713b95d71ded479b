"""``devflow sync init | auth | logout``: choose a server, sign in to it and out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from devflow.errors import CodeNeeded, Invalid, Offline
from devflow_agent.cli.run import Run, as_json_line, json_option
from devflow_agent.config import iso
from devflow_agent.plain import plain

if TYPE_CHECKING:
    from devflow import wire
    from devflow_agent.credentials import Account


@click.command("init")
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


@click.command("auth")
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


@click.command("logout")
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
