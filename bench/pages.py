"""What the server takes for each page: of a year of twenty people, and of ten million events.

    python -m bench.pages [--times N] [--postgres]

Each page is asked for by the app as it is served, in this process, with nothing kept in memory from the
question before. The year came in by uploads (tests/year.py). Ten million events are the cells of a team
of as many people and projects, against those of a hundred thousand, page by page in turn: there is no row
for an event, so what reads single events is measured of the year alone. Exit code 1 if a figure misses
what is asked for.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Engine

from bench.ingestion.asked import Asked
from bench.numbers import team
from bench.numbers.reading import FEW, MANY
from devflow import workspace
from devflow.cache.memory import Memory
from devflow.config import Settings
from devflow.context import Context
from devflow.models import Role
from tests import build, every_page, postgres, town, year
from tests.build import NOW_MS, World
from tests.every_page import Place, Sight

TIMES: Final = 20
ASKED: Final = (
    Asked("ms: the slowest page of the year, in the median of its times", most=30),
    Asked(f"times of {FEW:,} events: {MANY:,}, the page that grows most", most=1.5),
    Asked("SQL statements of a page, the most there are"),
    Asked("pages that send more statements of many events than of few", most=0),
)


@dataclass(frozen=True, slots=True)
class Taken:
    """``ms`` is the median; ``least_ms`` is what was disturbed least, for ratios on a shared machine."""

    ms: float
    least_ms: float
    statements: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--times", type=int, default=TIMES)
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL instead of SQLite")
    given = parser.parse_args()
    figures = measure(given.postgres, given.times)
    for asked, figure in zip(ASKED, figures, strict=True):
        print(asked.verdict(figure))
    return 0 if all(asked.is_met(figure) for asked, figure in zip(ASKED, figures, strict=True)) else 1


def measure(on_postgres: bool, times: int) -> tuple[float, ...]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=".")))
        made = stack.enter_context(postgres.running()) if on_postgres else None

        def opened(name: str) -> Context:
            settings = Settings(
                data_dir=str(folder / name),
                database_url=made.create(name) if made else "",
                timezone="Europe/Berlin",
            )
            workspace.prepare(settings, NOW_MS)
            context = Context.open(settings, lambda: NOW_MS)
            stack.callback(context.database.close)
            return context

        context = opened("year")
        of_year = every_page.the_year(context, year.fill(context))
        few, many = (_team(opened(name), events) for name, events in (("few", FEW), ("many", MANY)))
        gc.collect()  # as a worker does when it has started, see gunicorn.conf.py
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        print(f"{'page':44} {'ms':>6} {'SQL':>4} {'ms of few':>10} {'of many':>8} {'times':>6}  (the least)")
        return _measured(of_year, few, many, times)


def _team(context: Context, events: int) -> Place:
    world = World.of(context)
    admin = world.person("Ada", Role.ADMIN)
    people, _ = team.fill(world, events)
    signed_in = {"admin": admin, "lead": people[0], "developer": people[3]}
    cookies = {role: town.cookie(context, who) for role, who in signed_in.items()}
    return Place(context, build.app(context), {**cookies, "nobody": None})


def _measured(of_year: Place, few: Place, many: Place, times: int) -> tuple[float, ...]:
    slowest = worst = most = more = 0.0
    also = {key: (few_, many_) for key, few_, many_ in _in_both(few, many)}
    for sight in every_page.one_each(every_page.sights(of_year)):
        (here,) = _taken([(of_year, sight)], times)
        slowest, most = max(slowest, here.ms), max(most, here.statements)
        line = f"{sight.name:44} {here.ms:6.1f} {here.statements:4}"
        if (pair := also.get((sight.endpoint, sight.address.partition("?")[2]))) is not None:
            of_few, of_many = _taken([(few, pair[0]), (many, pair[1])], times)
            times_as_long = of_many.least_ms / of_few.least_ms
            worst, more = max(worst, times_as_long), more + (of_many.statements > of_few.statements)
            line += f" {of_few.least_ms:10.1f} {of_many.least_ms:8.1f} {times_as_long:6.2f}"
        print(line, flush=True)
    return slowest, worst, most, more


def _in_both(few: Place, many: Place) -> Iterator[tuple[tuple[str, str], Sight, Sight]]:
    by_page = [
        {
            (each.endpoint, each.address.partition("?")[2]): each
            for each in every_page.one_each(every_page.sights(place))
        }
        for place in (few, many)
    ]
    for key in by_page[0].keys() & by_page[1].keys():
        yield key, by_page[0][key], by_page[1][key]


def _taken(asked: list[tuple[Place, Sight]], times: int) -> list[Taken]:
    """The median of each in turn, so that what else the machine does meets all alike."""
    found: list[list[float]] = [[] for _ in asked]
    counts = [0] * len(asked)
    for _ in range(times + 1):
        for number, (place, sight) in enumerate(asked):
            place.context.cache.memory = Memory()
            with _counted(place.context) as statements:
                began = time.perf_counter()
                place.open(sight.role, sight.address)
                found[number].append((time.perf_counter() - began) * 1_000)
            counts[number] = len(statements)
    return [Taken(statistics.median(ms[1:]), min(ms), count) for ms, count in zip(found, counts, strict=True)]


@contextmanager
def _counted(context: Context) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    with context.database.reading() as session:
        engine = session.get_bind()
    assert isinstance(engine, Engine)
    engines = {engine, context.database.engine}
    for each in engines:
        event.listen(each, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        for each in engines:
            event.remove(each, "before_cursor_execute", note)


if __name__ == "__main__":
    sys.exit(main())
