"""A person at a real server, by HTTP and without JavaScript: sets it up, makes projects, reads pages."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import requests
from bs4 import BeautifulSoup

from tests.cli import Cli
from tests.server_process import ServerProcess

EMAIL: Final = "alice@example.org"
PASSWORD: Final = "correct horse battery"


def within(seconds: float, found: Callable[[], Any]) -> Any:
    """What ``found`` returns as soon as that is true; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, f"not found within {seconds} s"
        time.sleep(0.02)
    return result


@dataclass
class Visitor:
    """A person at a browser without JavaScript."""

    server: ServerProcess
    http: requests.Session

    def get(self, path: str) -> BeautifulSoup:
        answer = self.http.get(self.server.url + path, timeout=30)
        assert answer.status_code == 200, answer.text
        return BeautifulSoup(answer.text, "html.parser")

    def post(self, path: str, **form: str) -> requests.Response:
        headers = {"Origin": self.server.url}
        answer = self.http.post(self.server.url + path, data=form, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer

    def set_up(self) -> None:
        path = self.server.setup_link().removeprefix(self.server.url)
        self.post(path, name="Alice", email=EMAIL, password=PASSWORD)
        self.post("/retention", days="forever")  # the histories of tests are of any age

    def new_project(self, name: str) -> str:
        """The path of its page."""
        return self.post("/projects", name=name).url.removeprefix(self.server.url)

    def figures(self, path: str) -> dict[str, str]:
        """The figures of a project's page over its whole history, once they are fresh."""

        def fresh() -> dict[str, str] | None:
            page = self.get(f"{path}?range=all")
            if page.select_one("#fresh .notice"):
                return None
            return {
                figure.dt.get_text(strip=True): figure.dd.get_text(" ", strip=True)
                for figure in page.select(".figure")
                if figure.dt is not None and figure.dd is not None
            }

        found: dict[str, str] = within(20, fresh)
        return found


def enrol(cli: Cli, visitor: Visitor, url: str | None = None) -> str:
    """Link the repository to a new project of the server; return the path of its page."""
    page = visitor.new_project("shop")
    cli.ok("init")
    cli.ok("sync", "init", url or visitor.server.url)
    cli.ok("sync", "auth", "--email", EMAIL, "--password-stdin", stdin=PASSWORD + "\n")
    cli.ok("sync", "enable", "--project-id", page.rpartition("/")[2])
    return page
