"""Measure the import of a history against `git log --numstat` alone, with the same options.

    python -m bench.import_speed [REPOSITORY...]

Three rounds in turn, each into a fresh store. Exit code 1 if the import reaches less than a
third of git's own speed in the median.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from devflow_agent.collect import git, git_log, git_program, git_refs
from devflow_agent.store import Store

ROUNDS = 3
FLOOR = 1 / 3


def git_alone(repository: git.Repository) -> float:
    """Seconds in which git prints what the collector reads, into /dev/null."""
    tips = sorted(git_refs.read(repository.top, repository.git_dir).tips)
    started = time.perf_counter()
    subprocess.run(
        git_program.argv(repository.top, *git_log.COMMAND),
        input="\n".join(tips).encode(),
        stdout=subprocess.DEVNULL,
        env=git_program.environment(os.environ),
        check=True,
    )
    return time.perf_counter() - started


def with_import(repository: git.Repository) -> tuple[float, git.Collected]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "devflow.db")
        project = store.add_project(repository.name, repository.top, repository.git_dir, 0)
        started = time.perf_counter()
        collected = git.collect(repository, store, project.id, 0)
        return time.perf_counter() - started, collected


def measure(path: Path) -> float:
    """Print the rounds; return the median of the ratios of speed, 1.0 being as fast as git alone."""
    repository = git.open_repository(path)
    ratios: list[float] = []
    for number in range(1, ROUNDS + 1):
        alone_s = git_alone(repository)
        import_s, collected = with_import(repository)
        ratios.append(alone_s / import_s)
        print(
            f"{path} round {number}: git log {alone_s:.2f} s, import {import_s:.2f} s,"
            f" {collected.commits / import_s:,.0f} commits/s, ratio {ratios[-1]:.2f}"
        )
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{path} median ratio {statistics.median(ratios):.2f}, peak memory {peak_mib:.0f} MiB")
    return statistics.median(ratios)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("repository", type=Path, nargs="*", default=[Path()])
    return 1 if min(measure(path) for path in parser.parse_args().repository) < FLOOR else 0


if __name__ == "__main__":
    sys.exit(main())
