"""What ``devflow activity`` says, as text and as JSON, and how numbers stand in a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from devflow.windows import SECOND_MS
from devflow_agent.analyse.activity import Activity, Numbers
from devflow_agent.config import iso
from devflow_agent.plain import counted, plain
from devflow_agent.store import Project

NO_PROJECT: Final = "no project yet: run `devflow init` in a git repository"
AUTHORS_UNKNOWN: Final = (
    "  which commits are yours is unknown: set `git config user.email`, run `devflow init`"
)


def as_data(seen: Activity, project: Project | None, *, authors_known: bool) -> dict[str, Any]:
    """The JSON of ``--json``: every window of the range, also those in which nothing happened."""
    return {
        "by": seen.by,
        "timezone": seen.zone,
        "idleLimit": seen.idle_limit_ms // SECOND_MS,
        "start": iso(seen.start_ms),
        "end": iso(seen.end_ms),
        "project": None if project is None else {"id": str(project.id), "name": project.name},
        "authorsKnown": authors_known,
        "total": data(seen.total),
        "windows": [
            {
                "group": part.group,
                "start": iso(part.start_ms),
                "end": iso(part.end_ms),
                **data(part.numbers),
            }
            for part in seen.parts
        ],
    }


def data(numbers: Numbers) -> dict[str, Any]:
    return {
        "events": numbers.events,
        "commits": numbers.commits,
        "insertions": numbers.insertions,
        "deletions": numbers.deletions,
        "files": numbers.files,
        # Whole seconds, as the server tells them.
        "activeSeconds": numbers.active_ms // SECOND_MS,
        "eventsByOthers": numbers.events_by_others,
        "commitsByOthers": numbers.commits_by_others,
        "filesByOthers": numbers.files_by_others,
    }


def as_text(seen: Activity, project: Project | None, *, authors_known: bool) -> str:
    """The windows in which the developer did something, and what all of them add up to."""
    of_what = "all projects" if project is None else plain(project.name)
    lines = [f"{of_what} by {seen.by}, {seen.zone}", ""]
    own = [(part.group, part.numbers) for part in seen.parts if part.numbers.events or part.numbers.active_ms]
    if own:
        lines += table([*own, ("Total", seen.total)])
    else:
        lines.append(f"nothing of yours from {seen.parts[0].group} to {seen.parts[-1].group}")
    if seen.total.commits_by_others:
        lines.append(f"  and {counted(seen.total.commits_by_others, 'commit')} of others")
    return "\n".join(lines if authors_known else [*lines, AUTHORS_UNKNOWN])


def table(rows: Sequence[tuple[str, Numbers]]) -> list[str]:
    """Lines with a heading, each row by its title."""
    width = max(12, *(len(title) for title, _ in rows))
    columns = f"{{:<{width}}} {{:>8}} {{:>8}} {{:>9}} {{:>9}} {{:>7}}  {{}}"
    return [
        columns.format("", "events", "commits", "lines +", "lines -", "files", "active"),
        *(
            columns.format(
                title,
                numbers.events,
                numbers.commits,
                numbers.insertions,
                numbers.deletions,
                numbers.files,
                duration(numbers.active_ms),
            )
            for title, numbers in rows
        ),
    ]


def duration(milliseconds: int) -> str:
    hours, minutes = divmod(round(milliseconds / 60_000), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
