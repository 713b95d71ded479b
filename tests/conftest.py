"""What tests stand on: both databases, a real server, a real browser. Missing means failing."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from devflow import workspace
from devflow.db import Database
from tests import build, year
from tests import postgres as postgres_server
from tests.postgres import Postgres
from tests.server_process import ServerProcess

CHROMIUM_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM_OPTIONS: Final = [
    "--no-sandbox",  # its sandbox refuses root, and only our own pages are opened
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NETWORK: Final = ("Failed to load resource", "htmx: htmx:sse:error")
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests last: from then on Playwright's own event loop forbids ``asyncio.run`` to others.

    Of those the long ones come first, so that no process has one left when the others are done.
    """
    items.sort(
        key=lambda item: (
            "browser" in getattr(item, "fixturenames", ()) and 1 + (item.get_closest_marker("long") is None)
        )
    )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A private PostgreSQL server, started when the first test asks."""
    with postgres_server.running() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """The name of a migrated database that tests get copies of."""
    _migrate(postgres.create("migrated"))
    return "migrated"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file that tests get copies of."""
    live = tmp_path_factory.mktemp("sqlite") / "live.db"
    _migrate(f"sqlite:///{live}")
    # What was written may still lie in the WAL: VACUUM INTO writes one whole file.
    whole = live.with_name("migrated.db")
    connection = sqlite3.connect(live)
    connection.execute("VACUUM INTO ?", [str(whole)])
    connection.close()
    return whole


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> str:
    """The kind of database; a test that uses it, or what stands on it, runs once on each."""
    kind: str = request.param
    return kind


@pytest.fixture
def empty_database_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of this test alone with nothing in it, not even a schema."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        yield from _postgres_database(request.getfixturevalue("postgres"), template="template1")


@pytest.fixture
def database_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of this test alone, without a row; the form that settings take."""
    if backend == "sqlite":
        file = tmp_path / "devflow.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), file)
        yield f"sqlite:///{file}"
    else:
        template = request.getfixturevalue("postgres_template")
        yield from _postgres_database(request.getfixturevalue("postgres"), template)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The migrated database, opened as the server opens it."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[ServerProcess]:
    """A running server without an account. At the end it must stop cleanly and have logged no traceback."""
    process = ServerProcess(database_url, tmp_path / "data")
    process.start()
    yield process
    if process.is_running:
        assert process.stop() == 0
    assert "Traceback" not in process.printed()


def _postgres_database(server: Postgres, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    yield server.create(name, template)
    server.drop(name)


def _migrate(url: str) -> None:
    database = Database(url)
    workspace.migrate(database)
    database.close()


@pytest.fixture(scope="session")
def year_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a year of twenty people, made once for all processes; tests get copies."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "year"
    with FileLock(shared / "year.lock"):
        if not (folder / year.KEPT).exists():
            context, _ = build.context(folder)
            year.keep(year.fill(context), folder)
            context.database.close()
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium, the one on PATH."""
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if found is None:
        pytest.fail(
            f"expected a Chromium for the browser tests, found none of {', '.join(CHROMIUM_NAMES)} on PATH; "
            "`make test` as root installs Debian's, else install chromium by your package manager"
        )
    expect.set_options(timeout=20_000)  # of a machine that does other work meanwhile
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab with no memory. At the end no script may have failed and no other host may have been asked."""
    with watched(browser) as page:
        yield page


@contextmanager
def watched(browser: Browser, **options: Any) -> Iterator[Page]:
    """A tab of a context of its own with these options, watched as ``page`` is."""
    context = browser.new_context(locale="en-GB", timezone_id="Europe/Berlin", **options)
    context.set_default_timeout(10_000)
    page = context.new_page()
    complaints: list[str] = []

    def note_console(message: ConsoleMessage) -> None:
        # A page may well answer 404 or 422, and a server be gone; what scripts and the policy say counts.
        if message.type == "error" and not message.text.startswith(NETWORK):
            complaints.append(message.text)

    def note_request(url: str) -> None:
        if urlsplit(url).scheme in ("http", "https", "ws", "wss") and urlsplit(url).hostname not in (
            "127.0.0.1",
            "localhost",
        ):
            complaints.append(f"asked a foreign host: {url}")

    page.on("console", note_console)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: note_request(request.url))
    yield page
    context.close()
    assert complaints == []
