"""Show DevFlow Monitor at work: a server, an agent, and a repository's history on the server's page.

Does by itself what a new user does by hand, with the same programs, links and forms. Everything
lies in one folder, which is emptied at each start; the server listens on loopback only.
"""

from __future__ import annotations

import argparse
import fcntl
import html
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import requests
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

ROOT: Final = Path(__file__).resolve().parent.parent
DEADLINE_S: Final = 120
EMAIL: Final = "demo@example.org"
out = Console(highlight=False)


class Failed(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Demo:
    """Where this run has its files, and the history it shows."""

    folder: Path
    repository: Path

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def environ(self, **ours: str) -> dict[str, str]:
        """The caller's environment without the settings of other servers and agents."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DEVFLOW_")}
        return inherited | ours


def main() -> None:
    parser = argparse.ArgumentParser(description="Show a server, an agent, and a history on a page.")
    parser.add_argument(
        "--repository", type=Path, default=ROOT, help="whose history (default: this project's)"
    )
    parser.add_argument("--folder", type=Path, default=ROOT / ".demo", help="emptied at the start")
    parser.add_argument("--once", action="store_true", help="end when the page has proved right")
    chosen = parser.parse_args()
    demo = Demo(chosen.folder.resolve(), chosen.repository.resolve())
    signal.signal(signal.SIGTERM, _end)
    try:
        with _alone(demo.folder):
            run(demo, once=chosen.once)
    except Failed as error:
        sys.exit(f"demo: {error}")
    except requests.RequestException as error:
        sys.exit(f"demo: {error}; {demo.log} may say why")
    except KeyboardInterrupt:
        out.print("\nstopped")


def run(demo: Demo, *, once: bool) -> None:
    check_history(demo.repository)
    began = time.monotonic()
    with serving(demo) as (server, url):
        password = secrets.token_urlsafe(12)
        browser = set_up(demo, url, password)
        keep_all(browser, url)
        page = create_project(browser, url, demo.repository.name)
        report(demo, url, password)
        show_page(browser, page, events=synced(demo))
        took = time.monotonic() - began
        out.print(f"\n[green]Ready after {took:.0f} s.[/] Open this page, and sign in:\n")
        out.print(f"    {page}\n    e-mail    {EMAIL}\n    password  {password}\n", soft_wrap=True)
        if not once:
            out.print("Ctrl-C ends the demo.")
            server.wait()
            raise Failed(f"the server ended by itself; {demo.log} may say why")


def check_history(repository: Path) -> None:
    """Raise Failed unless there is something to show: an archive or a clone of depth 1 has no history."""
    tip = _git(repository, "rev-parse", "--verify", "HEAD")
    if tip.returncode != 0:
        raise Failed(
            f"expected a git repository with a commit at {repository}, got: {tip.stderr.strip()}; "
            "clone the project with git, or name a repository: make demo REPOSITORY=/path/to/one"
        )
    is_shallow = _git(repository, "rev-parse", "--is-shallow-repository").stdout.strip() == "true"
    if is_shallow and _git(repository, "rev-list", "--count", "HEAD").stdout.strip() == "1":
        raise Failed(
            f"expected a history at {repository}, got a clone of depth 1; run `git fetch --unshallow`"
        )


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder, and empty it of an earlier run. The lock goes with the process, however it ends."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed(f"another demo is running on {folder}; stop it first") from None
        for entry in folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != "lock":
                entry.unlink()
        yield


@contextmanager
def serving(demo: Demo) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The real server on a free port, stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    url = f"http://{address}"
    say(f"gunicorn --bind {address}", because="the server, with SQLite as its database")
    with demo.log.open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", "--bind", address],
            cwd=ROOT,
            env=demo.environ(DEVFLOW_DATA_DIR=str(demo.folder / "data"), DEVFLOW_PUBLIC_URL=url),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the demo, which then stops the server
        )
    try:
        wait_until("the server answers", lambda: _is_up(server, url, demo.log))
        yield server, url
    finally:
        server.terminate()
        server.wait()


def _is_up(server: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    if server.poll() is not None:
        raise Failed(f"the server ended at once:\n{log.read_text()}")
    # Its own log tells that the port is its own.
    if f"Listening at: {url}" not in log.read_text():
        return False
    try:
        return requests.get(f"{url}/healthz", timeout=5).ok
    except requests.ConnectionError:
        return False


def set_up(demo: Demo, url: str, password: str) -> requests.Session:
    """Follow the link that the server printed, and fill in the form. Return the signed-in browser."""
    found = re.search(rf"{url}/setup/\S+", demo.log.read_text())
    if found is None:
        raise Failed(f"expected a set-up link in {demo.log}, got none")
    say(f"open {found[0]}", because="the link that the server printed; it works once")
    browser = requests.Session()
    browser.headers["Origin"] = url  # as browsers send it with a form
    browser.get(found[0], timeout=30).raise_for_status()
    submit(browser, found[0], name="Demo", email=EMAIL, password=password)
    return browser


def keep_all(browser: requests.Session, url: str) -> None:
    """A server keeps events for a year, unless its admin says otherwise; a history is often older."""
    say("keep events: for ever", because="by the form on the page Retention")
    submit(browser, f"{url}/retention", days="forever")


def create_project(browser: requests.Session, url: str, name: str) -> str:
    """Fill in the form for a new project; return the address of its page."""
    say(f"new project: {name}", because="by the form on the overview")
    return submit(browser, f"{url}/projects", name=name).url


def submit(browser: requests.Session, address: str, **fields: str) -> requests.Response:
    """Send a form and follow to the page it leads to."""
    answer = browser.post(address, data=fields, timeout=30)
    if not answer.ok:
        said = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", answer.text)))
        raise Failed(f"expected the form at {address} to be accepted, got {answer.status_code}: {said}")
    return answer


def report(demo: Demo, url: str, password: str) -> None:
    """Run the agent's commands as a developer does, on the developer's own machine."""
    repository = str(demo.repository)
    agent(demo, "init", repository, because="the agent learns of the repository")
    agent(demo, "import", "git", repository, because="its history becomes events, in a local file")
    agent(demo, "sync", "init", url, because="from here on it is opt-in: the team's server")
    agent(demo, "sync", "auth", "--email", EMAIL, "--password-stdin", because="sign in", stdin=password)
    agent(demo, "sync", "enable", repository, because="link the project to the one on the server")
    agent(demo, "sync", "push", because="send metadata, never code")


def agent(demo: Demo, *arguments: str, because: str, stdin: str = "") -> None:
    say(shlex.join(["devflow", *arguments]), because=because)
    done = subprocess.run(_agent(*arguments), env=_agent_environ(demo), input=stdin, text=True)
    if done.returncode != 0:
        raise Failed(f"expected devflow {shlex.join(arguments)} to succeed, got exit code {done.returncode}")


def synced(demo: Demo) -> int:
    """How many events the agent has a receipt for."""
    command = _agent("sync", "status", "--json")
    done = subprocess.run(command, env=_agent_environ(demo), capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout)["synced"])


def _agent(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "devflow_agent", *arguments]


def _agent_environ(demo: Demo) -> dict[str, str]:
    return demo.environ(DEVFLOW_HOME=str(demo.folder / "agent"))


def show_page(browser: requests.Session, page: str, *, events: int) -> None:
    """Wait until the page has counted everything; raise Failed if it shows other numbers than were sent."""
    say(f"open {page}?range=all", because="what the team sees")
    text = ""

    def is_fresh() -> bool:
        nonlocal text
        answer = browser.get(page, params={"range": "all"}, headers={"Accept-Language": "en"}, timeout=30)
        answer.raise_for_status()
        text = answer.text
        return re.search(r'<div id="fresh">\s*</div>', text) is not None

    wait_until("the page has counted everything", is_fresh)
    shown = {name: figure(text, name) for name in ("Commits", "Files changed", "Events")}
    out.print("  " + ", ".join(f"{name.lower()}: {number:,}" for name, number in shown.items()))
    if shown["Events"] != events or shown["Commits"] == 0:
        raise Failed(f"expected {events} events and their commits on the page, got {shown}")


def figure(text: str, name: str) -> int:
    found = re.search(rf'<dt>{name}</dt>\s*<dd class="figure-main">([\d,]+)</dd>', text)
    return int(found[1].replace(",", "")) if found else 0


def say(what: str, *, because: str) -> None:
    out.print(f"\n[dim]# {because}[/]")
    out.print(f"[bold]$ {escape(what)}[/]", soft_wrap=True)


def wait_until(what: str, is_true: Callable[[], bool]) -> None:
    """Look again and again, with a spinner; raise Failed after the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as progress:
        progress.add_task(f"waiting until {what}", total=None)
        while not is_true():
            if time.monotonic() > deadline:
                raise Failed(f"waited {DEADLINE_S} s in vain until {what}")
            time.sleep(0.1)


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
