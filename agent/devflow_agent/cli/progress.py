"""How far long work has come: a bar on a terminal, nothing in a script."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def shown(unit: str, total: int, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """The block calls what it gets with how many of ``total`` are done. The bar goes to stderr."""
    if quiet or not sys.stderr.isatty():
        yield lambda done: None
        return
    # Imported here: it costs more than most commands take.
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + unit),
        progress.BarColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(unit, total=total)
        yield lambda done: bar.update(task, completed=done)
