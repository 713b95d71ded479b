"""Run parts and print their medians, each beside what is asked for; exit code 1 if one misses it."""

from __future__ import annotations

import argparse
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import bench.ingestion
from bench.ingestion import activitywatch, again, growth, peers, plain, postgres, small
from bench.ingestion.asked import Asked, Given, Part

PARTS: Final[dict[str, Part]] = {
    "plain": plain,
    "small": small,
    "again": again,
    "growth": growth,
    "peers": peers,
    "postgres": postgres,
}
Median = tuple[str, Asked, float]


def main() -> int:
    given = _arguments()
    chosen = given.parts or [name for name in PARTS if name != "postgres"]
    if given.postgres and "postgres" not in chosen:
        chosen.append("postgres")
    with ExitStack() as stack:
        if "peers" in chosen and given.aw_python is None:
            given.aw_python = stack.enter_context(activitywatch.installed())
        medians = [median for name in chosen for median in _medians(name, given)]
    print("\nmedians of the rounds")
    for name, asked, figure in medians:
        print(f"{name:10}{asked.verdict(figure)}")
    return 0 if all(asked.is_met(figure) for _, asked, figure in medians) else 1


def _medians(name: str, given: argparse.Namespace) -> list[Median]:
    part = PARTS[name]
    how = Given(given.rows or part.ROWS, given.aw_python)
    print(f"{name}: {(part.__doc__ or '').splitlines()[0]} ({how.rows:,} events)", flush=True)
    rounds = []
    for number in range(1, (given.rounds or part.ROUNDS) + 1):
        seen, figures = part.measure(how)
        rounds.append(figures)
        print(f"  round {number}: {seen}: {', '.join(f'{figure:.2f}' for figure in figures)}", flush=True)
    return [
        (name, asked, statistics.median(figures))
        for asked, figures in zip(part.ASKED, zip(*rounds, strict=True), strict=True)
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.ingestion",
        description=bench.ingestion.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all but postgres if none is named"
    )
    parser.add_argument("--rows", type=int, help="events of each side of a part")
    parser.add_argument("--rounds", type=int, help="how often each part is measured")
    parser.add_argument("--postgres", action="store_true", help="measure the part postgres too")
    parser.add_argument(
        "--aw-python", type=Path, help="the Python that has aw-server; else it is installed for the run"
    )
    given = parser.parse_args()
    if unknown := set(given.parts) - PARTS.keys():
        parser.error(f"expected parts out of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    return given


if __name__ == "__main__":
    sys.exit(main())
