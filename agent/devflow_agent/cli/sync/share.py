"""``devflow sync share``: see and choose how much of a project leaves this PC."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from devflow.errors import Invalid
from devflow_agent.cli.run import Run, as_json, json_option
from devflow_agent.cli.sync.linking import project_at
from devflow_agent.plain import counted, plain
from devflow_agent.store import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devflow_agent.levels import Shared
    from devflow_agent.store import Project

_SAID: Final = {
    Level.OFF: "shares nothing: it goes on to be recorded here, and waits",
    Level.METRICS: "shares metrics: pseudonyms stand for names of files, branches and tags",
    Level.METADATA: "shares metadata, with the names of files, branches and tags",
}
_NEXT: Final = {
    Level.OFF: "`devflow sync share metrics` or `metadata` sends what waits",
    Level.METRICS: "`devflow sync preview` shows what would be sent",
    Level.METADATA: "`devflow sync preview` shows what would be sent",
}


@click.command("share")
@click.argument("level", required=False, type=click.Choice([level.value for level in Level]))
@click.option("--project-id", metavar="P", help="Of this project, by its id or name, here or on the server.")
@json_option
@click.pass_obj
def share(run: Run, level: str | None, project_id: str | None, to_json: bool) -> None:
    """Share nothing of a project, its numbers, or all metadata; without a level, show what is shared.

    The project is that of this folder, unless one is named. `off` sends nothing, and what is recorded
    waits. `metrics` sends events with pseudonyms for the names of files, branches and tags. `metadata`, as
    at first, sends the names too. It is for what is not sent yet: what the server has stays there.
    """
    if level is None:
        _show(run, project_id, to_json=to_json)
    else:
        _choose(run, Level(level), project_id, to_json=to_json)


def _show(run: Run, wanted: str | None, *, to_json: bool) -> None:
    from devflow_agent import levels

    found = levels.shared(run.store)
    if wanted is None:
        found = [
            one
            for one in found
            if one.project.remote_id is not None or one.project.level is not Level.METADATA
        ]
    else:
        named = _named(run.store.projects(), wanted)
        found = [one for one in found if one.project in named]
    if to_json:
        as_json([_data(one) for one in found])
    else:
        click.echo("\n".join(map(_line, found)) or "no project is linked, so nothing leaves this PC")


def _choose(run: Run, level: Level, wanted: str | None, *, to_json: bool) -> None:
    from devflow_agent import levels

    projects = run.store.projects()
    chosen = [project_at(run, Path())] if wanted is None else _named(projects, wanted)
    levels.choose(run.store, {project.id: project.path for project in chosen}, level)
    ids = {project.id for project in chosen}
    found = [one for one in levels.shared(run.store) if one.project.id in ids]
    if to_json:
        as_json([_data(one) for one in found])
        return
    for one in found:
        click.echo(f"{plain(one.project.name)} {_SAID[level]}{_whose_key(one)}")
    click.echo(f"what was sent before stays on the server; next: {_NEXT[level]}")


def _named(projects: Sequence[Project], wanted: str) -> list[Project]:
    """Those with this id, here or on the server; else the one with this name, or all that report to it."""
    by_id = [one for one in projects if wanted in map(str, (one.id, one.remote_id or one.id))]
    found = by_id or [one for one in projects if wanted in (one.name, one.remote_name)]
    if len(found) == 1 or (found and len({one.remote_id or one.id for one in found}) == 1):
        return found
    if found:
        named = "; ".join(f"{one.id} ({one.path})" for one in found)
        raise Invalid(f"expected --project-id to be one of {named}; got {wanted}, which is all of these")
    named = "; ".join(f"{one.id} ({one.name})" for one in projects) or "none, as no project is known"
    raise Invalid(f"expected --project-id to be one of {named}; got {wanted}")


def _line(one: Shared) -> str:
    project = one.project
    target = "not linked" if project.remote_name is None else plain(project.remote_name)
    held = f", {counted(one.held, 'event')} held back" if one.held else ""
    return f"{project.level:<8}  {plain(project.name)} -> {target}{held}{_whose_key(one)}"


def _whose_key(one: Shared) -> str:
    if one.project.level is not Level.METRICS or one.is_key_common:
        return ""
    return " (pseudonyms of this PC alone: its clone has no first commit that others could share)"


def _data(one: Shared) -> dict[str, Any]:
    project = one.project
    is_common = one.is_key_common
    return {
        "projectId": str(project.id),
        "name": project.name,
        "linkedTo": project.remote_name,
        "remoteId": None if project.remote_id is None else str(project.remote_id),
        "shares": project.level,
        "heldBack": one.held,
        "pseudonyms": None if is_common is None else "common" if is_common else "this PC",
    }
