"""Compare what the project's page shows with what git itself says, day by day.

    python -m bench.compare_with_git [--zone Europe/Berlin] [REPOSITORY...]

Each repository goes the whole way: imported by the agent, pushed over HTTP to a server of its
own, read from the page. The truth is read from `git log --numstat -M` line by line, with none
of the collector's code. Exit code 1 if any day differs in commits, insertions, deletions or files.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import requests
from bs4 import BeautifulSoup

from tests.cli import Cli
from tests.server_process import ServerProcess
from tests.visitor import Visitor, enrol

DAYS_A_PAGE = 100  # few enough that the page shows days and not weeks


class Sums(NamedTuple):
    """``commits`` counts merges, too."""

    commits: int
    insertions: int
    deletions: int
    files: int

    def __str__(self) -> str:
        return (
            f"{self.commits:,} commits, +{self.insertions:,} -{self.deletions:,} lines, {self.files:,} files"
        )


@dataclass
class Day:
    """What git says of a day; ``files`` are the distinct paths changed on it."""

    commits: int = 0
    insertions: int = 0
    deletions: int = 0
    files: set[str] = field(default_factory=set)

    @property
    def sums(self) -> Sums:
        return Sums(self.commits, self.insertions, self.deletions, len(self.files))


def truth(repo: Path, zone: ZoneInfo) -> dict[date, Day]:
    """What git says of the commits on local branches and HEAD, by the day of the author date in ``zone``."""
    printed = subprocess.run(
        ["git", "-c", "core.quotePath=true", "log", "--branches", "HEAD", "--numstat", "-M", "--format=@%at"],
        cwd=repo,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    days: dict[date, Day] = defaultdict(Day)
    day = Day()
    for line in printed.decode("ascii").splitlines():
        if line.startswith("@"):
            day = days[datetime.fromtimestamp(int(line[1:]), zone).date()]
            day.commits += 1
        elif line:
            insertions, deletions, path = line.split("\t")
            day.insertions += 0 if insertions == "-" else int(insertions)
            day.deletions += 0 if deletions == "-" else int(deletions)
            day.files.add(_unquoted(_new_name(path)))
    return dict(days)


def shown(visitor: Visitor, page: str, first: date, last: date) -> dict[date, Sums]:
    """What the project's page says of each day on which something was committed."""
    days: dict[date, Sums] = {}
    for start in range(0, (last - first).days + 1, DAYS_A_PAGE):
        begin = first + timedelta(days=start)
        end = min(begin + timedelta(days=DAYS_A_PAGE - 1), last)
        soup = visitor.get(f"{page}?from={begin}&to={end}")
        commits, lines, files = (_table(soup, chart) for chart in ("commits", "lines", "files"))
        for day, numbers in commits.items():
            if numbers[0]:
                days[day] = Sums(numbers[0], lines[day][0], lines[day][1], files[day][0])
    return days


def _table(page: BeautifulSoup, chart: str) -> dict[date, list[int]]:
    """The table behind a chart: its numbers by day, none where the range is empty."""
    found: dict[date, list[int]] = {}
    for row in page.select(f"section[aria-labelledby={chart}-title] tbody tr"):
        heading, *cells = (cell.get_text(strip=True) for cell in row.select("th, td"))
        # The last column, the viewer's own part, is not always one number.
        found[datetime.strptime(heading, "%b %d, %Y").replace(tzinfo=UTC).date()] = [
            int(cell.replace(",", "")) for cell in cells[:-1]
        ]
    return found


def _new_name(path: str) -> str:
    """A rename is printed as ``a => b``, or with what both names share around it: ``x/{a => b}/y``."""
    if " => " not in path:
        return path
    if "{" not in path:
        return path.split(" => ")[1]
    before, rest = path.split("{", 1)
    renamed, after = rest.rsplit("}", 1)
    return (before + renamed.split(" => ")[1] + after).replace("//", "/").removeprefix("/")


def _unquoted(path: str) -> str:
    if not path.startswith('"'):
        return path
    raw = path[1:-1].encode().decode("unicode_escape").encode("latin-1")
    return raw.decode("utf-8", "backslashreplace")


def _total(days: Mapping[date, Day]) -> Sums:
    return Sums(
        sum(day.commits for day in days.values()),
        sum(day.insertions for day in days.values()),
        sum(day.deletions for day in days.values()),
        len(set().union(*(day.files for day in days.values()))),
    )


def compare(repo: Path, zone: ZoneInfo) -> int:
    """Take the repository through agent and server, print both sides, return how many days differ."""
    theirs = truth(repo, zone)
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder), zone) as server:
        visitor = Visitor(server, requests.Session())
        visitor.set_up()
        cli = Cli(Path(folder) / "agent", repo)
        page = enrol(cli, visitor)
        imported = cli.ok("import", "git")
        cli.ok("sync", "push")
        whole = visitor.figures(page)
        ours = shown(visitor, page, min(theirs), max(theirs))
    wanted = {day: found.sums for day, found in theirs.items()}
    differing = sorted(day for day in ours.keys() | wanted.keys() if ours.get(day) != wanted.get(day))
    name = repo.resolve().name
    print(f"{name} in {zone.key}: {len(wanted):,} days with commits, {len(differing)} of them differ")
    print(f"  git log   {_total(theirs)}")
    print(f"  the page  {whole['Commits']} commits, {whole['Lines']} lines, {whole['Files changed']} files")
    print(f"  {imported.strip().splitlines()[-1]}")
    for day in differing[:10]:
        print(f"  {day}\n    git log   {wanted.get(day)}\n    the page  {ours.get(day)}")
    return len(differing)


@contextmanager
def _server(folder: Path, zone: ZoneInfo) -> Iterator[ServerProcess]:
    server = ServerProcess(
        f"sqlite:///{folder / 'server.db'}", folder / "data", {"DEVFLOW_TIMEZONE": zone.key}
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("repository", type=Path, nargs="*", default=[Path()])
    parser.add_argument("--zone", type=ZoneInfo, default=ZoneInfo("UTC"))
    asked = parser.parse_args()
    return 1 if sum(compare(repo, asked.zone) for repo in asked.repository) else 0


if __name__ == "__main__":
    sys.exit(main())
