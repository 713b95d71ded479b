"""``make demo`` from the first process to the page that shows what was sent."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import requests

from tests.repo import Repo
from tests.server_process import ROOT


def demo(folder: Path, repository: Path, *options: str) -> list[str]:
    where = ["--folder", str(folder), "--repository", str(repository)]
    return [sys.executable, str(ROOT / "docs/demo.py"), *where, *options]


def test_the_demo_shows_a_history_and_leaves_no_server_behind(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "a [bold] name")
    for number in range(3):
        repo.write(f"{number}.txt", "x\n")
        repo.commit()
    done = subprocess.run(
        demo(tmp_path / "demo", repo.path, "--once"), capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "commits: 3, files changed: 3, events: 3" in done.stdout
    assert "$ devflow sync push\n3 events synced" in done.stdout
    assert "a [bold] name" in done.stdout
    assert not answers(done.stdout)


def test_the_demo_runs_until_it_is_asked_to_end(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "history")
    repo.commit()
    with subprocess.Popen(
        demo(tmp_path / "demo", repo.path), stdout=subprocess.PIPE, text=True, stderr=subprocess.STDOUT
    ) as running:
        assert running.stdout is not None
        said = ""
        for line in running.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        assert answers(said), said
        second = subprocess.run(
            demo(tmp_path / "demo", repo.path), capture_output=True, text=True, timeout=60
        )
        assert (second.returncode, "another demo is running" in second.stderr) == (1, True)
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=30) == 0
    assert not answers(said)


def test_the_demo_says_what_it_misses(tmp_path: Path) -> None:
    whole, shallow = Repo(tmp_path / "whole"), Repo(tmp_path / "shallow", init=False)
    whole.commit()
    whole.commit()
    whole.git("clone", "--quiet", "--depth=1", f"file://{whole.path}", str(shallow.path))
    assert "expected a git repository with a commit at" in refused(tmp_path / "demo", tmp_path)
    assert "run `git fetch --unshallow`" in refused(tmp_path / "demo", shallow.path)


def refused(folder: Path, repository: Path) -> str:
    done = subprocess.run(demo(folder, repository, "--once"), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("demo: ")
    return done.stderr


def answers(said: str) -> bool:
    """Whether the server whose address was printed is there."""
    [url] = set(re.findall(r"open (http://127\.0\.0\.1:\d+)/setup", said))
    try:
        return requests.get(f"{url}/healthz", timeout=10).ok
    except requests.ConnectionError:
        return False
