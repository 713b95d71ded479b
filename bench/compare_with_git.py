"""Compare what the agent recorded of a repository with what git itself says, day by day.

    python bench/compare_with_git.py [--zone Europe/Berlin] REPOSITORY...

The truth is read from `git log --numstat -M` line by line, with none of the collector's
code. Exit code 1 if any day differs in commits, insertions, deletions or files.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from devflow import wire
from devflow_agent.collect import git
from devflow_agent.store import Store

EVENTS_A_PAGE = 1_000


@dataclass
class Day:
    """``commits`` counts merges, too; ``files`` are the distinct paths changed on the day."""

    commits: int = 0
    insertions: int = 0
    deletions: int = 0
    files: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        lines = f"{self.insertions:9,} + {self.deletions:9,} -"
        return f"{self.commits:7,} commits {lines} {len(self.files):7,} files"


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


def recorded(store: Store, zone: ZoneInfo) -> dict[date, Day]:
    """The same sums over the events of the agent's store."""
    days: dict[date, Day] = defaultdict(Day)
    with store.read() as connection:
        rows = connection.execute("SELECT timestamp, event_type, event_data FROM events")
        while page := rows.fetchmany(EVENTS_A_PAGE):
            for timestamp_ms, kind, data_json in page:
                data = wire.decode(data_json.encode(), wire.DATA[wire.EventType(kind)])
                if isinstance(data, wire.Commit | wire.Merge | wire.CommitFiles):
                    moment = datetime.fromtimestamp(timestamp_ms / 1000, UTC)
                    _add(days[moment.astimezone(zone).date()], data)
    return dict(days)


def _add(day: Day, data: wire.Commit | wire.Merge | wire.CommitFiles) -> None:
    day.files.update(wire.paths_of(data))
    if isinstance(data, wire.CommitFiles):
        return
    day.commits += 1
    if isinstance(data, wire.Commit):
        day.insertions += data.insertions
        day.deletions += data.deletions


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


def _total(days: dict[date, Day]) -> Day:
    return Day(
        sum(day.commits for day in days.values()),
        sum(day.insertions for day in days.values()),
        sum(day.deletions for day in days.values()),
        set().union(*(day.files for day in days.values())),
    )


def compare(repo: Path, zone: ZoneInfo) -> int:
    """Print both sides; return how many days differ."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "devflow.db")
        repository = git.open_repository(repo)
        project = store.add_project(repository.name, repository.top, repository.git_dir, 0)
        collected = git.collect(repository, store, project.id, 0)
        ours = recorded(store, zone)
    theirs = truth(repo, zone)
    differing = sorted(day for day in ours.keys() | theirs.keys() if ours.get(day) != theirs.get(day))
    print(f"{repo} in {zone.key}: {len(theirs):,} days with commits, {len(differing)} of them differ")
    print(f"  git log   {_total(theirs)}")
    print(f"  DevFlow   {_total(ours)}")
    for message in collected.refused:
        print(f"  {message}")
    for day in differing[:10]:
        print(f"  {day}\n    git log   {theirs.get(day)}\n    DevFlow   {ours.get(day)}")
    return len(differing)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("repository", type=Path, nargs="+")
    parser.add_argument("--zone", type=ZoneInfo, default=ZoneInfo(os.environ.get("TZ", "UTC")))
    asked = parser.parse_args()
    return 1 if sum(compare(repo, asked.zone) for repo in asked.repository) else 0


if __name__ == "__main__":
    sys.exit(main())
