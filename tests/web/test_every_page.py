"""Every page on a year of twenty people, in a real browser: what it weighs, who can use it, what moves.

One look at each, in one theme and one size, turn by turn; `make soak` looks at all of them.
"""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from flask import Flask, Response
from playwright.sync_api import Browser, expect
from sqlalchemy import select

from devflow.models import Project
from tests import build, every_page, looking
from tests.browsing import serving
from tests.build import World
from tests.every_page import Place, Sight
from tests.year import kept

Seen = tuple[Place, str, list[Sight]]
TURNS: Final = list(itertools.product(looking.THEMES, looking.WIDTHS.values()))


@pytest.fixture(scope="module")
def place(year_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("every") / "data"
    shutil.copytree(year_folder, folder)
    context, _ = build.context(folder)
    yield every_page.the_year(context, kept(year_folder))
    context.database.close()


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    opened = every_page.new_server(tmp_path_factory.mktemp("new") / "data")
    yield opened
    opened.context.database.close()


@pytest.fixture(scope="module")
def sights(place: Place, new: Place) -> list[Sight]:
    """One of each page, all that there are."""
    found = every_page.sights(place)
    missing = every_page.missing(place.app, [*found, *every_page.sights(new)])
    assert not missing, f"nobody gets {missing}: say in tests/every_page.py what leads there"
    return every_page.one_each(found)


@pytest.mark.long
def test_every_page_is_quiet_light_still_and_open_to_all(
    browser: Browser, place: Place, sights: list[Sight]
) -> None:
    with serving(place.app) as site:
        assert not (flaws := list(_flaws(browser, place, site, sights))), "\n".join(flaws)
    assert len(sights) > 30, "pages were met at all"


@pytest.mark.long
def test_so_are_the_first_pages_of_a_new_server(browser: Browser, new: Place) -> None:
    with serving(new.app) as site:
        flaws = list(_flaws(browser, new, site, every_page.sights(new)))
        owner = every_page.set_up(new)
        flaws += _flaws(browser, owner, site, every_page.one_each(every_page.sights(owner)))
    assert not flaws, "\n".join(flaws)


def test_nothing_moves_when_a_push_changes_a_page(browser: Browser, place: Place) -> None:
    world = World.of(place.context)
    with world.reading() as session:
        project = session.scalars(select(Project).filter_by(name="infrastructure")).one()
    with serving(place.app) as site, looking.tab(browser, site, place.cookies["developer"]) as tab:
        for theme, width in TURNS:
            tab.dress(theme, width)
            assert tab.open(f"{site}/") == []
            expect(tab.page.locator("#live[data-state=live]")).to_be_visible()
            week = tab.page.locator("#week")
            before = week.inner_text()
            world.report(world.member("Gil"), project, (world.now_ms, build.commit(build.STRANGER, "new.py")))
            world.refresh()
            expect(week).not_to_have_text(before, use_inner_text=True)
            tab.settle()
            assert tab.shifts() == [] and tab.complaints == []


BAD: Final = """<!doctype html><html lang="en"><title>Bad</title>
<link rel="stylesheet" href="/noise">
<a href="#main" style="outline: none">Skip</a><a href="/" tabindex="3">First</a>
<main id="main"><p style="color: #ccc; background: #fff">Pale</p><p id="moved">Moved</p>
<div style="width: 3000px">Wide</div>
<img src="http://127.0.0.2:9/" alt="elsewhere"></main>
<script>
console.error("oh");
addEventListener("load", () => setTimeout(() => {
  const before = document.createElement("div");
  before.style.height = "300px";
  document.getElementById("main").prepend(before);
}, 200));
</script>"""


def test_a_page_with_everything_wrong_is_told_of_it(browser: Browser, new: Place) -> None:
    app = Flask("bad")
    app.extensions["devflow"] = new.context
    app.add_url_rule("/", "bad", lambda: BAD)
    noise = random.Random(1).randbytes(2 * looking.MAX_BYTES)
    app.add_url_rule("/noise", "noise", lambda: Response(noise, mimetype="text/css"))
    with serving(app) as site, looking.tab(browser, site, None) as tab:
        tab.dress("light", looking.WIDTHS["phone"])
        told = "\n".join(tab.open(f"{site}/"))
        for each in ("oh", "asked elsewhere: http://127.0.0.2:9/", "of assets"):
            assert each in told
        tab.page.wait_for_function("document.querySelector('main').firstElementChild.tagName === 'DIV'")
        tab.settle()
        assert "layout shift" in "\n".join(tab.shifts())
        assert "wider than 390" in "\n".join(tab.too_wide())
        assert "color-contrast" in "\n".join(tab.barriers())
        walked = "\n".join(tab.walk())
        assert "not seen when focused: a Skip" in walked and "expected 0 a Skip" in walked
        assert tab.skip() != []


def _flaws(browser: Browser, place: Place, site: str, sights: list[Sight]) -> Iterator[str]:
    turns = itertools.cycle(TURNS)
    for role, of_role in itertools.groupby(sights, lambda sight: sight.role):
        with looking.tab(browser, site, place.cookies[role]) as tab:
            for sight, (theme, width) in zip(of_role, turns, strict=False):
                tab.dress(theme, width)
                found = tab.open(site + sight.address)
                tab.unfold()
                found += tab.too_wide() + tab.barriers() + tab.walk() + tab.skip()
                yield from (f"{sight.address} as {role}, {theme}, {width} wide: {each}" for each in found)
