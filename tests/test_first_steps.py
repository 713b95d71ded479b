"""From a started server to the first event on screen, by following only what the pages say."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from devflow import __version__
from tests import agent_wheel
from tests.build import PASSWORD
from tests.repo import Repo
from tests.server_process import ServerProcess

EMAIL = "alice@example.org"


class Terminal:
    """A developer's shell in the repository, with a virtual environment activated and no other agent."""

    def __init__(self, home: Path, folder: Path, environment: Path) -> None:
        self.folder = folder
        self.environment = environment
        self.env = {
            "PATH": os.pathsep.join([str(environment / "bin"), os.environ["PATH"]]),
            "VIRTUAL_ENV": str(environment),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "NO_PROXY": "127.0.0.1",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",  # what is asked of anybody but this server fails
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def type(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def begin(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )


@pytest.fixture
def offering(sqlite_template: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server without an account that has the wheel, as the image and ``make run`` have it."""
    agent_wheel.build(tmp_path / "dist")
    file = tmp_path / "devflow.db"
    shutil.copyfile(sqlite_template, file)
    process = ServerProcess(
        f"sqlite:///{file}", tmp_path / "data", {"DEVFLOW_AGENT_DIR": str(tmp_path / "dist")}
    )
    process.start()
    yield process
    assert process.stop() == 0
    assert "Traceback" not in process.printed()


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    repo = Repo(tmp_path / "shop")
    repo.git("config", "user.email", EMAIL)
    repo.git("config", "user.name", "Alice")
    repo.write("shop.py", "one\n")
    repo.commit()
    (tmp_path / "home").mkdir()
    return Terminal(tmp_path / "home", repo.path, agent_wheel.bare_environment(tmp_path))


def test_the_pages_lead_from_the_set_up_link_to_the_first_event_within_two_minutes(
    offering: ServerProcess, terminal: Terminal, page: Page
) -> None:
    began = time.monotonic()
    page.goto(offering.setup_link())
    for label, text in {"Name": "Alice", "E-mail": EMAIL, "Password": PASSWORD}.items():
        page.get_by_label(label).fill(text)
    page.get_by_role("button", name="Make account").click()
    page.get_by_label("Name").fill("shop")
    page.get_by_role("button", name="Make project").click()

    said = terminal.type(command(page, "install"))
    assert "Successfully installed devflow-monitor" in said
    where = terminal.type("python3 -c 'import devflow_agent, devflow; print(devflow_agent.__file__)'")
    assert where.startswith(str(terminal.environment)), "what runs is what the server gave"
    terminal.type(command(page, "init"))
    terminal.type(command(page, "server"))
    pair(page, terminal)
    expect(page.locator("#did_pair")).to_contain_text("Paired")
    expect(page.locator("#did_install")).to_contain_text("agent is there")
    expect(page.locator("#did_send")).to_contain_text("not seen yet")

    page.evaluate("window.stayed = true")
    terminal.type(command(page, "enable"))
    with running(terminal, command(page, "watch")):
        save_until(lambda: "counter.py" in page.locator("#arrived").inner_text(), terminal, page)
        took_s = time.monotonic() - began
        expect(page.locator("#did_install")).to_contain_text(f"Version {__version__} is there")
        expect(page.locator("#did_send")).to_contain_text("Your event is here")
    assert took_s < 120
    assert page.evaluate("window.stayed") is True, "all of it without a reload"
    page.get_by_role("link", name="All your events").click()
    expect(page.locator("#own")).to_contain_text("counter.py")


@contextmanager
def running(terminal: Terminal, command: str) -> Iterator[None]:
    """The daemon, until it is interrupted as by its developer."""
    with terminal.begin(command) as daemon:
        try:
            yield
        finally:
            daemon.send_signal(signal.SIGINT)
        assert daemon.wait(timeout=20) == 0


def save_until(is_seen: Callable[[], bool], terminal: Terminal, page: Page) -> None:
    """Work on a file as a developer does, who does not know when exactly the agent has begun to watch."""
    deadline = time.monotonic() + 60
    for number in itertools.count():
        assert time.monotonic() < deadline, page.locator("main").inner_text()
        (terminal.folder / "counter.py").write_text(f"{number}\n")
        page.wait_for_timeout(300)
        if is_seen():
            return


def command(page: Page, step: str) -> str:
    """What the page says to type."""
    return page.locator(f"code#{step}").inner_text()


def pair(page: Page, terminal: Terminal) -> None:
    """Type the code that the PC shows into the page, approve, and go on."""
    with terminal.begin(command(page, "auth")) as waiting:
        assert waiting.stdout is not None
        lines = (re.fullmatch(r"\s*([B-Z]{4}-[B-Z]{4})\s*", line) for line in waiting.stdout)
        code = next(found[1] for found in lines if found)
        page.get_by_label("Code").fill(code)
        page.get_by_role("button", name="Continue").click()
        page.get_by_role("button", name="Let it in").click()
        page.get_by_role("link", name="Go on with the first steps").click()
        assert "signed in" in waiting.stdout.read()
    assert waiting.returncode == 0
