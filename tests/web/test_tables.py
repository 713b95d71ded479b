"""Tables of pages: their order, and what of them can be taken along."""

from __future__ import annotations

import csv
import io

import pytest

from tests import build
from tests.browsing import Browser, Team, soup

COLUMNS = "project,commits,insertions,deletions,files,active_s,last_active"


@pytest.fixture
def bob(busy: Team) -> Browser:
    """Of atlas, where much was done, of borea, where a little was, and of an empty one."""
    bob = busy.people["bob"]
    borea = busy.world.project("borea", bob)
    busy.world.project("Zero", bob)
    busy.world.report(bob, borea, (build.NOW_MS - 1, build.saved()))
    busy.world.refresh()
    return busy.browser("bob")


def names(browser: Browser, address: str) -> list[str]:
    return [row.get_text(strip=True) for row in soup(browser.get(address)).select(".projects tbody th")]


def test_a_table_is_in_the_order_that_the_address_names(bob: Browser) -> None:
    assert names(bob, "/") == ["Zero", "atlas", "borea"]
    assert names(bob, "/?sort=projects.commits") == ["atlas", "Zero", "borea"]
    assert names(bob, "/?sort=projects.project") == ["atlas", "borea", "Zero"]
    assert names(bob, "/?sort=projects.-project") == ["Zero", "borea", "atlas"]


def test_what_is_not_known_comes_last_in_both_directions(bob: Browser) -> None:
    assert names(bob, "/?sort=projects.last_active")[-1] == "Zero"
    assert names(bob, "/?sort=projects.-last_active")[-1] == "Zero"


def test_a_head_links_to_its_order_says_it_and_turns_it_round(bob: Browser) -> None:
    (head,) = soup(bob.get("/?sort=projects.commits")).select("th[aria-sort]")
    assert (head["aria-sort"], head.a and head.a["href"]) == ("descending", "/?sort=projects.-commits")
    (head,) = soup(bob.get("/?sort=projects.-commits")).select("th[aria-sort]")
    assert (head["aria-sort"], head.a and head.a["href"]) == ("ascending", "/?sort=projects.commits")


def test_a_table_can_be_taken_along_in_its_order(bob: Browser) -> None:
    answer = bob.get("/?sort=projects.project&export=projects")
    assert answer.mimetype == "text/csv"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="projects.csv"'
    head, *rows = csv.reader(io.StringIO(answer.get_data(as_text=True)))
    assert ",".join(head) == COLUMNS
    assert [row[0] for row in rows] == ["atlas", "borea", "Zero"]
    assert rows[1][1:5] == ["0", "0", "0", "1"]
    assert rows[2][-1] == ""


@pytest.mark.parametrize("query", ["sort=projects.nothing", "sort=projects.", "export=nothing", "export="])
def test_what_is_not_there_is_answered_with_what_is(bob: Browser, query: str) -> None:
    answer = bob.get(f"/?{query}")
    assert answer.status_code == 400
    assert "projects" in answer.get_data(as_text=True)


def test_the_order_of_another_table_is_not_this_ones(bob: Browser) -> None:
    assert names(bob, "/?sort=another.commits") == names(bob, "/")
