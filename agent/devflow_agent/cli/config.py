"""``devflow config``: the settings as a page in the terminal, and one by one for scripts."""

from __future__ import annotations

import sys

import click

from devflow.errors import Invalid
from devflow_agent import choices
from devflow_agent.cli.run import Run, as_json, json_option
from devflow_agent.plain import plain
from devflow_agent.settings import Settings


@click.group("config", invoke_without_command=True)
@json_option
@click.pass_context
def config(context: click.Context, to_json: bool) -> None:
    """Show and change the settings on a page; with --json, or by its commands, for scripts."""
    if context.invoked_subcommand is not None:
        if to_json:
            raise Invalid("expected --json behind the command")
        return
    run: Run = context.obj
    if to_json:
        as_json(as_data(run))
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Invalid("expected a terminal to show the page on; `devflow config --json` lists the settings")
    from devflow_agent.tui.settings_page import SettingsPage

    SettingsPage(run.store).run()


def as_data(run: Run) -> dict[str, dict[str, choices.Value]]:
    """Every setting by its name; ``device`` is the other PC that it was chosen on."""
    seen = choices.seen(Settings.load(run.store), run.store)
    return {one.choice.name: {"value": one.value, "from": one.source, "device": one.device} for one in seen}


@config.command("get")
@click.argument("name")
@json_option
@click.pass_obj
def get(run: Run, name: str, to_json: bool) -> None:
    """Print the value of the setting NAME, `-` for none."""
    choice = choices.named(name)
    found = as_data(run)[choice.name]
    if to_json:
        as_json(found)
    else:
        click.echo(plain(choices.as_text(found["value"]), 5_000))


@config.command("set")
@click.argument("name")
@click.argument("value")
@json_option
@click.pass_obj
def set_(run: Run, name: str, value: str, to_json: bool) -> None:
    """Set the setting NAME to VALUE; an empty VALUE lets a text be as it comes."""
    choice = choices.named(name)
    checked = choices.checked(choice, value)
    if checked is None:
        choices.change(run.store, {}, [choice.field])
    else:
        choices.change(run.store, {choice.field: checked})
    _say(run, choice, to_json=to_json)


@config.command("unset")
@click.argument("name")
@json_option
@click.pass_obj
def unset(run: Run, name: str, to_json: bool) -> None:
    """Let the setting NAME be as it comes."""
    choice = choices.named(name)
    choices.change(run.store, {}, [choice.field])
    _say(run, choice, to_json=to_json)


def _say(run: Run, choice: choices.Choice, *, to_json: bool) -> None:
    found = as_data(run)[choice.name]
    if to_json:
        as_json(found)
    else:
        click.echo(f"{choice.name} is {plain(choices.as_text(found['value']))} ({plain(str(found['from']))})")
