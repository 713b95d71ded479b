"""``devflow sync test``: try the way to the server step by step, and say what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from devflow_agent.cli.run import Exit, Run, as_json, json_option
from devflow_agent.config import now_ms
from devflow_agent.plain import plain

if TYPE_CHECKING:
    from devflow_agent.probing import Check


@click.command("test")
@json_option
@click.pass_obj
def test(run: Run, to_json: bool) -> None:
    """Try the way to the server step by step, and say what to do. Sends no event.

    The exit code is that of what failed first.
    """
    from devflow_agent import probing

    done = []
    for check in probing.probe(run.home, run.store, run.http, now_ms()):
        done.append(check)
        if not to_json:
            click.echo(_line(check))
    if to_json:
        as_json([_data(check) for check in done])
    run.exit_code = _exit_code(done)


def _line(check: Check) -> str:
    line = f"{check.state:<9}  {plain(check.name):<12}  {plain(check.says)}".rstrip()
    return f"{line}\n{'':<25}{plain(check.next_step)}" if check.next_step else line


def _data(check: Check) -> dict[str, Any]:
    return {
        "check": check.name,
        "state": check.state,
        "says": check.says or None,
        "next": check.next_step or None,
    }


def _exit_code(done: Sequence[Check]) -> Exit:
    from devflow_agent.probing import Kind

    codes = {Kind.INVALID: Exit.INVALID, Kind.SIGNED_OUT: Exit.NOT_SIGNED_IN, Kind.OFFLINE: Exit.OFFLINE}
    return next((codes[check.kind] for check in done if check.kind is not None), Exit.OK)
