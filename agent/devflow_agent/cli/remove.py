"""``devflow remove``: an end to sync, on this PC and on the server."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from devflow.errors import DevflowError, Invalid
from devflow_agent.cli.run import Run, as_json, json_option
from devflow_agent.config import iso
from devflow_agent.plain import plain

if TYPE_CHECKING:
    from devflow_agent.removal import Step

_QUESTIONS: Final = {
    "disable": "Switch sync off?",
    "account": "Ask the server to delete your account? It waits 30 days; team numbers stay without a name.",
    "sign out": "End this PC's tokens?",
    "local data": "Delete credentials, links and all that sync wrote on this PC? Events stay.",
}


@click.command()
@click.option("--keep-account", is_flag=True, help="Do not ask the server to delete the account.")
@click.option("--yes", is_flag=True, help="Ask nothing, do all steps.")
@click.option("--password-stdin", is_flag=True, help="Read the account's password from stdin.")
@json_option
@click.pass_obj
def remove(run: Run, keep_account: bool, yes: bool, password_stdin: bool, to_json: bool) -> None:
    """Take sync away: switch it off, have the account deleted, delete what sync keeps on this PC.

    Each step is confirmed. Events stay on this PC. If a step fails, running it again goes on there.
    """
    from devflow_agent import removal

    steps = removal.left(run.home, run.store, keep_account=keep_account)
    if to_json and not yes and steps:
        raise Invalid("--json asks nothing: add --yes")
    if yes and removal.Step.ACCOUNT in steps and not password_stdin:
        raise Invalid("--yes needs --password-stdin for the account's deletion, or --keep-account")
    done: dict[str, str] = {}
    for number, step in enumerate(steps):
        if not yes and not click.confirm(_QUESTIONS[step], err=True):
            raise click.Abort
        try:
            done[step] = _do(run, step, password_stdin=password_stdin)
        except DevflowError as error:
            raise type(error)(f"{error}; {_state(list(done), steps[number:])}") from error
        if not to_json:
            click.echo(f"{step}: {done[step]}")
    if to_json:
        as_json({"done": done, "left": []})
    else:
        click.echo("sync is gone from this PC; what was recorded stays, and recording goes on")


def _do(run: Run, step: Step, *, password_stdin: bool) -> str:
    from devflow_agent import removal

    match step:
        case removal.Step.DISABLE:
            removal.disable(run.store)
            return "off"
        case removal.Step.ACCOUNT:
            due_at = removal.ask_deletion(run.home, run.store, run.http, _password(from_stdin=password_stdin))
            return f"the server deletes it on {iso(due_at)}"
        case removal.Step.SIGN_OUT:
            removal.sign_out(run.home, run.http)
            return "the tokens are ended"
        case removal.Step.LOCAL:
            removal.delete_local(run.home, run.store)
            return "deleted"


def _password(*, from_stdin: bool) -> str:
    if not from_stdin:
        return str(click.prompt("Password of your account", hide_input=True, err=True))
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise Invalid("expected the password on the first line of stdin, got nothing")
    return password


def _state(done: list[str], remaining: list[Step]) -> str:
    return plain(f"done: {', '.join(done) or 'nothing'}; left: {', '.join(remaining)}")
