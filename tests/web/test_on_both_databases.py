"""The whole way through the pages, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from devflow.context import Context
from devflow.models import Project
from tests import build
from tests.browsing import Browser, figures, soup, text
from tests.build import World


@pytest.fixture
def new(tmp_path: Path, database_url: str) -> Iterator[tuple[Context, str]]:
    """A server without accounts, and the token of its set-up link."""
    context, token = build.context(tmp_path, database_url=database_url)
    assert token is not None
    yield context, token
    context.database.close()


def test_from_the_setup_link_to_numbers_on_a_page(new: tuple[Context, str]) -> None:
    context, token = new
    browser = Browser(build.app(context).test_client())
    browser.post(f"/setup/{token}", name="Ada", email="ada@example.org", password=build.PASSWORD)
    made = browser.post("/projects", name="atlas").headers["Location"]
    assert soup(browser.get("/")).select(".projects tbody tr")

    with context.database.reading() as session:
        project = session.scalars(select(Project)).one()
    assert made == f"/projects/{project.public_id}"
    world = World.of(context)
    ada = world.member("Ada")
    days = [build.NOW_MS - day * build.DAY_MS for day in range(0, 380, 7)]
    world.report(ada, project, *((day, build.commit(ada.author, "a.py")) for day in days))
    world.refresh()
    for query, commits in (("", 5), ("?range=1y", 53), ("?range=all", 55)):
        assert figures(soup(browser.get(made + query)))["Commits"] == [str(commits)]
    assert figures(soup(browser.get("/")))["Commits"][-1] == "30 days 5 (+1)"


@pytest.mark.parametrize("address", ["a\0b@example.org", "x" * 5_000])
def test_an_address_no_database_can_hold_is_a_wrong_one(new: tuple[Context, str], address: str) -> None:
    context, token = new
    app = build.app(context)
    form = {"email": address, "password": build.PASSWORD, "name": "A\0da"}
    answer = Browser(app.test_client()).post("/sign-in", **form)
    assert (answer.status_code, text(soup(answer), "[role=alert]").split()[0]) == (422, "That")
    assert Browser(app.test_client()).post(f"/setup/{token}", **form).status_code == 422
    login = app.test_client().post("/auth/login", json={"email": address[:320], "password": build.PASSWORD})
    assert login.status_code == 401
