"""``devflow doctor``: what is wrong, and a new store out of a damaged one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from devflow_agent.cli.run import Exit, Run, as_json, json_option
from devflow_agent.config import now_ms
from devflow_agent.plain import counted, plain

if TYPE_CHECKING:
    from devflow_agent.checking import Finding
    from devflow_agent.salvaging import Salvaged


@click.command()
@click.option(
    "--salvage", "salvaging", is_flag=True, help="Make a new store of what can be read of a damaged one."
)
@json_option
@click.pass_obj
def doctor(run: Run, salvaging: bool, to_json: bool) -> None:
    """Look at everything the store stands on, and say what is wrong and what to do.

    With --salvage, a damaged store is kept aside and a new one made of all events that can be read and
    are as they were recorded. AI clients should be closed, and no daemon may run.
    """
    from devflow_agent import checking

    found = checking.examine(run.home, now_ms())
    is_damaged = any(one.state is checking.State.DAMAGED for one in found)
    salvaged = _salvage(run) if salvaging and is_damaged else None
    if salvaged is not None:
        found = checking.examine(run.home, now_ms())
        is_damaged = any(one.state is checking.State.DAMAGED for one in found)
    if to_json:
        as_json(
            {"findings": [_data(one) for one in found], "salvaged": salvaged and _salvaged_data(salvaged)}
        )
    else:
        if salvaged is not None:
            click.echo(_said(salvaged))
        elif salvaging:
            click.echo("nothing to salvage: no file is damaged")
        for one in found:
            click.echo(_line(one))
    if is_damaged:
        run.exit_code = Exit.INVALID


def _salvage(run: Run) -> Salvaged:
    from devflow_agent import salvaging

    return salvaging.salvage(run.home, now_ms())


def _data(one: Finding) -> dict[str, str]:
    return {"name": one.name, "state": one.state, "said": one.said, "advice": one.advice}


def _line(one: Finding) -> str:
    advice = f"; {plain(one.advice)}" if one.advice else ""
    return f"{one.state:<8} {one.name:<12} {plain(one.said)}{advice}"


def _salvaged_data(salvaged: Salvaged) -> dict[str, object]:
    return {
        "events": salvaged.events,
        "changed": salvaged.changed,
        "recorded": salvaged.recorded,
        "projects": salvaged.projects,
        "aside": str(salvaged.aside),
    }


def _said(salvaged: Salvaged) -> str:
    of = "" if salvaged.recorded is None else f" of {salvaged.recorded:,}"
    said = [f"{salvaged.events:,}{of} events and {counted(salvaged.projects, 'project')} are in a new store"]
    if salvaged.changed:
        said.append(f"{salvaged.changed:,} were not as they were recorded and are left out")
    said.append(f"the damaged files are in {plain(str(salvaged.aside))}")
    said.append("`devflow import git` brings commits back that could not be read")
    return "\n".join(said)
