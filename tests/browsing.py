"""A person with a browser: opens pages, sends forms, and reads what they say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from bs4 import BeautifulSoup, Tag
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from devflow.accounts import people, sessions
from devflow.audit import Actor
from devflow.context import Context
from devflow.live import Hub
from devflow.models import Project
from devflow.wire import EventData
from tests import build
from tests.build import Member, World

OURS: Final = {"Sec-Fetch-Site": "same-origin"}
"""What a browser says of a form that this site's own page sends."""


MINUS: Final = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Browser:
    """A test client as a person holds it: cookies are kept, forms come from this site's pages."""

    client: FlaskClient

    def get(self, address: str, **headers: str) -> TestResponse:
        return self.client.get(address, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def post(self, address: str, **form: str) -> TestResponse:
        return self.client.post(address, data=form, headers=OURS)

    def sign_in(self, name: str) -> Browser:
        answer = self.post("/sign-in", email=f"{name}@example.org", password=build.PASSWORD)
        assert answer.status_code == 302
        return self


@dataclass(frozen=True, slots=True)
class Team:
    """Ada, an admin who is no member of the project; Bob and Cem, who are; Eve, who is not."""

    context: Context
    app: Flask
    world: World
    project: Project
    people: dict[str, Member]

    @property
    def page(self) -> str:
        return f"/projects/{self.project.public_id}"

    def browser(self, name: str | None = None) -> Browser:
        """Signed in, if a name is given, without the time that a password takes."""
        browser = Browser(self.app.test_client())
        if name is not None:
            cookie = "__Host-devflow" if self.context.settings.is_https else "devflow"
            browser.client.set_cookie(cookie, self.session(name))
        return browser

    def session(self, name: str) -> str:
        """The cookie's value of a browser in which the person has signed in."""
        with self.context.database.writing() as writing:
            person = people.named(writing, self.context.vault, f"{name}@example.org")
            assert person is not None, name
            by = Actor(person, self.context.now(), self.context.vault)
            return sessions.begin(writing, by, person, "")

    def under(self, **settings: str) -> Team:
        """The same team on the same database, its server run with other settings."""
        context = replace(self.context, settings=replace(self.context.settings, **settings))
        return replace(self, context=context, app=build.app(context))

    def report(self, name: str, *deeds: tuple[int, EventData]) -> None:
        """Send what the person's PC saw in the project, each with its time, and have it counted."""
        self.world.report(self.people[name], self.project, *deeds)
        self.world.refresh()


@contextmanager
def serving(app: Flask, port: int = 0) -> Iterator[str]:
    """The app on a loopback port, for real browsers; yields its address."""
    context = app.extensions["devflow"]
    if context.hub.has_ended:  # of an app that was served before
        app.extensions["devflow"] = replace(context, hub=Hub(context.database, context.now))
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        app.extensions["devflow"].hub.end()  # else its streams hold threads of the server
        server.shutdown()
        thread.join()
        server.server_close()


def soup(answer: TestResponse) -> BeautifulSoup:
    return BeautifulSoup(answer.get_data(as_text=True), "html.parser")


def one(page: BeautifulSoup | Tag, selector: str) -> Tag:
    """The only element the selector finds."""
    (found,) = page.select(selector)
    return found


def text(page: BeautifulSoup | Tag, selector: str) -> str:
    return " ".join(one(page, selector).get_text(" ").split())


def figures(page: BeautifulSoup) -> dict[str, list[str]]:
    """The row of figures: by name, the texts below it."""
    found: dict[str, list[str]] = {}
    for figure in page.select(".figure"):
        name = text(figure, "dt")
        found[name] = [" ".join(part.get_text(" ").split()) for part in figure.select("dd")]
    return found


def table(page: BeautifulSoup, chart: str) -> list[list[str]]:
    """The rows of the table behind a chart, newest first."""
    section = one(page, f"section[aria-labelledby={chart}-title]")
    return [
        [" ".join(cell.get_text(" ").split()) for cell in row.select("th, td")]
        for row in section.select("tbody tr")
    ]


def htmx(target: str, kind: str = "partial", **more: str) -> dict[str, str]:
    """The headers htmx 4 sends."""
    return {"HX_Request": "true", "HX_Target": target, "HX_Request_Type": kind, **more}
