"""What every page keeps to so that it can be heard and walked by keyboard as well as seen.

New pages are met without a change here, by the routes; so are their forms' answers to what is wrong.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from bs4 import BeautifulSoup, Tag
from werkzeug.test import TestResponse

import devflow
from devflow.context import Context
from devflow.web.i18n import CHOSEN
from tests import build
from tests.browsing import OURS, Browser, soup
from tests.build import World
from tests.routes import Route, ids, routes
from tests.staged import Staged, stage

CONTROLS: Final = "input:not([type=hidden]), select, textarea"
PRESSED: Final = "a[href], button, summary"
ASKING: Final = "[hx-get], [hx-post], [hx-put], [hx-patch], [hx-delete]"
REFERRING: Final = ("aria-labelledby", "aria-describedby", "for")
WITHOUT_A_PLACE: Final = (403, 404, 429)
FROM_OUTSIDE: Final = ("/invite/", "/language", "/reset/", "/sign-in")
LEAVING: Final = "pages.sign_out"


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Context, Staged]]:
    context, _ = build.context(tmp_path_factory.mktemp("staged"))
    yield context, stage(context)
    context.database.close()


def test_every_page_keeps_to_the_rules(staged: tuple[Context, Staged]) -> None:
    seen, wrongs = Counter[str](), {}
    for name, route, answer in every_page(*staged):
        seen[route.endpoint] += 1
        has_place = answer.status_code not in WITHOUT_A_PLACE and not route.address.startswith(FROM_OUTSIDE)
        if found := list(flaws(soup(answer), has_place=has_place)):
            wrongs[name, route.method, route.address, answer.status_code] = found
    assert not wrongs, "\n".join(map(str, wrongs.items()))
    assert len(seen) > 30, "pages were met at all"


def test_an_empty_server_keeps_to_them_too(tmp_path: Path) -> None:
    context, token = build.context(tmp_path)
    browser = Browser(build.app(context).test_client())
    pages = [browser.get(f"/setup/{token}"), browser.get("/sign-in")]
    account = {"name": "Ada", "email": "ada@example.org", "password": build.PASSWORD}
    assert browser.post(f"/setup/{token}", **account).status_code == 302
    empty = ("", "teams", "people", "me", "me/receipts", "me/devices", "audit?from=2020-01-01&to=2020-01-02")
    pages += [browser.get(f"/{name}") for name in empty]
    for page in pages:
        assert page.status_code == 200
        assert list(flaws(soup(page))) == [], page.request.path
    context.database.close()


def every_page(
    context: Context, staged: Staged, language: str = "en"
) -> Iterator[tuple[str, Route, TestResponse]]:
    """Each page with who saw it; then, since that may change things, what each form says sent empty."""
    app = build.app(context)
    with World.of(context).reading() as session:
        found = [each for each in routes(app, ids(session)) if each.endpoint.startswith("pages.")]
    pages = [each for each in found if each.method == "GET"]
    pages += [Route("GET", f"/{way}", "pages.open", None) for way in open_links(staged)]
    forms = {each.endpoint: each for each in found if each.method == "POST" and each.endpoint != LEAVING}
    asked = [(name, page) for page in pages for name in ("", *staged.cookies)]
    for name, route in asked + [("Ada", form) for form in forms.values()]:
        client = app.test_client()
        client.set_cookie(CHOSEN, language)
        if name:
            client.set_cookie("devflow", staged.cookies[name])
        answer = client.open(route.address, method=route.method, headers=OURS)
        if answer.mimetype == "text/html" and not 300 <= answer.status_code < 400:
            yield name, route, answer


def open_links(staged: Staged) -> Iterator[str]:
    """Addresses that no row and no word of tests.routes leads to."""
    yield f"invite/{staged.invitation}"
    yield f"reset/{staged.reset}"
    yield f"projects/{staged.project}?range=1y"
    yield f"projects/{staged.project}?from=2020-01-01&to=2020-02-01"
    yield f"projects/{staged.project}?range=no"
    yield "retention?days=1"
    yield "pair?done=approved"


def flaws(page: BeautifulSoup, *, has_place: bool = True) -> Iterator[str]:
    yield from _of_the_frame(page)
    yield from _of_headings(page)
    yield from _of_ids(page)
    yield from _of_controls(page)
    yield from _of_names(page)
    yield from _of_what_needs_no_script(page)
    yield from _of_tables(page)
    if has_place and page.select("form.who"):
        yield from _of_the_place(page)


def _of_the_frame(page: BeautifulSoup) -> Iterator[str]:
    if page.html is None or page.html.get("lang") != "en":
        yield "no language"
    if page.title is None or not re.fullmatch(r"\S.* · DevFlow Monitor", page.title.get_text()):
        yield f"title {page.title}"
    for landmark in ("body > header", "main#main[tabindex='-1']", "body > footer", "a.skip[href='#main']"):
        if len(page.select(landmark)) != 1:
            yield f"{len(page.select(landmark))} of {landmark}"
    footer = page.select_one("footer")
    said = footer.get_text() if footer else ""
    if "Europe/Berlin" not in said or devflow.__version__ not in said:
        yield "the foot does not name time zone and version"
    labels = [str(nav.get("aria-label") or "") for nav in page.select("nav")]
    if "" in labels or len(labels) != len(set(labels)):
        yield f"navigations called {labels}"


def _of_headings(page: BeautifulSoup) -> Iterator[str]:
    levels = [int(heading.name[1]) for heading in page.select("h1, h2, h3, h4, h5, h6")]
    if levels.count(1) != 1 or levels[0] != 1:
        yield f"headings {levels}"
    if any(after > before + 1 for before, after in itertools.pairwise(levels)):
        yield f"headings skip a level: {levels}"


def _of_ids(page: BeautifulSoup) -> Iterator[str]:
    given = Counter(str(element["id"]) for element in page.select("[id]"))
    yield from (f"id {name} {times} times" for name, times in given.items() if times > 1)
    for attribute in REFERRING:
        for element in page.select(f"[{attribute}]"):
            missing = set(str(element[attribute]).split()) - set(given)
            if missing:
                yield f"{attribute} names what is not there: {missing}"


def _of_controls(page: BeautifulSoup) -> Iterator[str]:
    for control in page.select(CONTROLS):
        about = control.find_parent("label") or page.select_one(f"label[for='{control.get('id')}']")
        if about is None or not about.get_text(strip=True):
            yield f"no label: {control}"
        if control.get("type") in ("password", "email") and not control.get("autocomplete"):
            yield f"no autocomplete: {control}"
        if control.get("aria-invalid") and not control.get("aria-describedby"):
            yield f"wrong, and does not say why: {control}"
    for details in page.select("details"):
        first = details.find(True)
        if first is None or first.name != "summary":
            yield f"opens without a summary: {details}"
    if page.select("form form, a a, a button, button a, [tabindex]:not([tabindex='0'], [tabindex='-1'])"):
        yield "nested, or a tab order of its own"


def _of_names(page: BeautifulSoup) -> Iterator[str]:
    for element in page.select(PRESSED):
        if not name_of(element):
            yield f"no name: {element}"
    for picture in page.select("img:not([alt]), [role=img]:not([aria-label]), time:not([datetime])"):
        yield f"says nothing: {picture}"
    aims: dict[str, set[str]] = {}
    for button in page.select("form[action] button"):
        form = button.find_parent("form")
        assert form is not None
        aims.setdefault(name_of(button), set()).add(str(form["action"]))
    yield from (f"buttons called {name} do {does}" for name, does in aims.items() if len(does) > 1)


def _of_what_needs_no_script(page: BeautifulSoup) -> Iterator[str]:
    """What only a script would make do something, or show: links, buttons and forms work by themselves."""
    for asking in page.select(ASKING):
        if asking.name != "a" or asking.get("href") != asking.get("hx-get"):
            yield f"asks by script alone: {asking}"
    for form in page.select("form"):
        if not form.select("button:not([type]), button[type=submit]"):
            yield f"cannot be sent: {form}"
        if form.get("method") == "post" and not form.get("action"):
            yield f"does not say where it is sent: {form}"
    for button in page.select("button"):
        if button.find_parent("form") is None or button.get("type") in ("button", "reset"):
            yield f"does nothing by itself: {button}"
    yield from (f"leads nowhere: {link}" for link in page.select("a:not([href]), a[href='#'], [onclick]"))
    yield from (f"not shown: {each}" for each in page.select("[hidden], template"))


def name_of(element: Tag) -> str:
    """What a screen reader calls it."""
    pictures = (str(picture.get("alt", "")) for picture in element.select("img"))
    said = element.get("aria-label") or " ".join((element.get_text(" "), *pictures))
    return " ".join(str(said).split())


def _of_tables(page: BeautifulSoup) -> Iterator[str]:
    for table in page.select("table"):
        if table.caption is None or not table.caption.get_text(strip=True):
            yield "a table without a caption"
        if not table.select("thead th[scope=col]"):
            yield "a table without a head"
        yield from (f"no scope: {cell}" for cell in table.select("th:not([scope])"))
        for row in table.select("tbody tr"):
            if not row.select("th[scope=row]"):
                yield f"a row without a head: {row}"


def _of_the_place(page: BeautifulSoup) -> Iterator[str]:
    """The navigation shows where one is: one place in the head of the page, one in each row of tabs."""
    for marked, of in (
        (page.select(".top [aria-current]:not(.brand)"), "the head"),
        *((tabs.select("[aria-current]"), "the tabs") for tabs in page.select(".tabs")),
    ):
        if len(marked) != 1:
            yield f"{of} shows {len(marked)} places"
