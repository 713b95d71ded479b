"""Hostile text everywhere, in a real Chromium: it shows as text, on every page there is.

New pages and new columns are met without a change here: pages by the routes, columns by the tables.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from flask import Flask, render_template_string, request
from jinja2 import ChoiceLoader, DictLoader
from playwright.sync_api import Browser, Error, Page, Request

from devflow.web import guard
from tests import hostile
from tests.browsing import Team, serving
from tests.hostile import STRINGS
from tests.routes import Route, ids, routes

ROOT: Final = Path(__file__).parent.parent.parent
PHONE: Final = {"width": 390, "height": 844}
# What a browser asks for by itself beside the address it was sent to.
ASSETS: Final = "/static/"
KEPT: Final = re.compile("(^|&)(live|poll)=[0-9a-f]+$")
PROJECT: Final = "project/page.html"
HEADING: Final = '<h1 id="heading">{{ panels.heading }}</h1>'
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass
class Watched:
    """A signed-in tab on a phone, and all that went on in it since it was last looked at."""

    page: Page
    site: str
    notes: list[str] = field(default_factory=list)
    expected: str = ""

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self.note(message.type == "error", message.text))
        self.page.on("pageerror", lambda error: self.notes.append(str(error)))
        self.page.on("dialog", lambda dialog: self.notes.append(f"dialog: {dialog.message}"))
        self.page.on("request", self.note_request)

    def note(self, is_wrong: bool, text: str) -> None:
        # Pages of errors are looked at too; the browser's policy and scripts are what counts.
        if is_wrong and "the server responded with a status of" not in text:
            self.notes.append(text)

    def note_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        is_ours = request.url.startswith(self.site) and (
            parts.path.startswith(ASSETS)
            or parts.path == urlsplit(self.expected).path
            or (parts.path, bool(parse_qs(parts.query).get("live"))) == (urlsplit(self.page.url).path, True)
            or request.redirected_from is not None
            # The stream of a page that one was sent on to.
            or (KEPT.search(parts.query) is not None and parts.path == urlsplit(self.page.url).path)
        )
        if not is_ours and parts.scheme != "data":
            self.notes.append(f"asked for {request.url}")

    def open(self, address: str) -> list[str]:
        """What is wrong with the page; nothing, if all is well."""
        self.expected = address
        try:
            self.page.goto(self.site + address)
        except Error as error:
            if "Download is starting" not in error.message:
                raise
        return self.wrongs()

    def wrongs(self) -> list[str]:
        try:
            # Unlike `evaluate` it does not wait for ever for a page that goes away meanwhile.
            handle = self.page.wait_for_function(_WRONGS, arg=[hostile.MARK, hostile.PRODUCT])
            found: list[str] = handle.json_value()
        except Error as error:
            found = [f"the page went away: {error.message}"]
        found, self.notes = found + self.notes, []
        return found


@contextmanager
def tab(browser: Browser, site: str) -> Iterator[Watched]:
    context = browser.new_context(locale="en-GB", viewport=PHONE)  # type: ignore[arg-type]
    context.set_default_timeout(20_000)
    yield Watched(context.new_page(), site)
    context.close()


def sign_in(watched: Watched, team: Team, name: str) -> None:
    """As who has signed in before, which other tests do by the form."""
    cookie = {"name": "devflow", "value": team.session(name), "url": watched.site}
    watched.page.context.add_cookies([cookie])  # type: ignore[list-item]


def pages(team: Team) -> list[Route]:
    """Every page there is, once for each thing it can be about."""
    with team.world.reading() as session:
        found = routes(team.app, ids(session))
        return [route for route in found if route.method == "GET" and route.endpoint.startswith("pages.")]


def one_of_each(team: Team) -> list[Route]:
    """A page of each kind."""
    return list({route.endpoint: route for route in pages(team)}.values())


def worth_opening(team: Team, name: str | None, shown: set[str]) -> Iterator[Route]:
    """Each page that this one may see; one of each kind that is refused, or that others were ``shown``.

    The kinds are endpoints; what this one sees is added to them.
    """
    client = team.browser(name)
    once, seen = set[str](), set[str]()
    for route in pages(team):
        if route.endpoint in once:
            continue
        yield route
        is_shown = client.get(route.address).status_code == 200
        (seen if is_shown else once).add(route.endpoint)
        if route.endpoint in shown:
            once.add(route.endpoint)
    shown |= seen


@pytest.fixture
def planted(team: Team) -> Team:
    """A team all of whose texts are hostile."""
    hostile.populate(team)
    hostile.plant(team)
    return team


def test_every_column_is_known_to_hold_text_or_none() -> None:
    assert hostile.binary_columns() == hostile.SEALED | hostile.NO_TEXT
    columns = {str(column) for column in hostile.text_columns()}
    assert {"people.name", "projects.name", "teams.name", "devices.name", "sessions.browser"} <= columns
    assert not columns & set(hostile.OUR_WORDS)


@pytest.mark.long
def test_hostile_text_is_text_on_every_page(planted: Team, browser: Browser) -> None:
    shown, kinds = "", set[str]()
    wrongs: dict[tuple[str | None, str], list[str]] = {}
    with serving(planted.app) as site:
        for name in (None, "bob", "ada"):
            with tab(browser, site) as watched:
                if name is not None:
                    sign_in(watched, planted, name)
                for route in worth_opening(planted, name, kinds):
                    wrongs[name, route.address] = watched.open(route.address)
                    shown += watched.page.evaluate("document.body.textContent")
    assert {where: found for where, found in wrongs.items() if found} == {}
    words = " ".join(shown.split())
    assert all(" ".join(text.split()) in words for text in STRINGS), "names were on the pages at all"


@pytest.mark.long
def test_hostile_text_in_an_address_is_text(planted: Team, browser: Browser) -> None:
    names = {"from", "to"} | {
        name
        for file in (ROOT / "devflow" / "web").rglob("*.py")
        for name in re.findall(r'(?:(?:args|query)\.get|public_id)\(\s*"(\w+)"', file.read_text())
    }
    assert {"next", "range", "person", "team", "type"} <= names
    addresses = [route.address for route in one_of_each(planted)]
    with serving(planted.app) as site, tab(browser, site) as watched:
        for text in hostile.TOGETHER:
            assert watched.open(f"/{quote(text, safe='')}") == [], text
            assert watched.open(f"/setup/{quote(text, safe='')}") == [], text
            assert watched.open(f"/sign-in?{urlencode({'next': text})}") == [], text
        sign_in(watched, planted, "bob")
        for address, text in itertools.product(addresses, hostile.TOGETHER):
            query = urlencode(dict.fromkeys(sorted(names), text))
            assert watched.open(f"{address}?{query}") == [], (address, text)


@pytest.mark.long
def test_hostile_text_in_a_form_comes_back_as_text(team: Team, browser: Browser) -> None:
    """Each form is sent with the strings in all its fields, and taken or refused."""
    with serving(team.app) as site:
        for name in (None, "ada"):
            with tab(browser, site) as watched:
                if name is not None:
                    sign_in(watched, team, name)
                sent = [each for page in one_of_each(team) for each in _send_forms(watched, team, page, name)]
                assert sent, name


def _send_forms(watched: Watched, team: Team, route: Route, name: str | None) -> Iterator[str]:
    page = watched.page
    watched.open(route.address)
    for number in range(page.evaluate(f"{_FORMS}.length")):
        watched.open(route.address)
        if page.evaluate(f"{_FORMS}.length") <= number:
            break  # what was sent took the form away
        watched.expected = page.evaluate(f"{_FORMS}[{number}].action")
        with page.expect_navigation():
            page.evaluate(_SEND, [number, hostile.AT_ONCE])
        assert watched.wrongs() == [], (name, route)
        yield page.url
        if name is not None and page.locator("form.who").count() == 0:
            sign_in(watched, team, name)


def test_what_is_downloaded_is_no_page_and_no_formula(planted: Team) -> None:
    for name in ("bob", "ada"):
        browser = planted.browser(name)
        for route in pages(planted):
            answer = browser.get(route.address)
            if answer.mimetype == "text/html" or answer.status_code != 200:
                continue
            assert answer.headers["Content-Disposition"].startswith("attachment"), route
            assert answer.mimetype in ("text/csv", "application/json", "application/x-ndjson"), route
            if answer.mimetype == "text/csv":
                cells = [cell for row in csv.reader(io.StringIO(answer.text)) for cell in row]
                assert not [cell for cell in cells if cell.startswith(FORMULA)], route


@pytest.mark.parametrize(
    "text", [text for text in STRINGS if hostile.MARK in text and text.lstrip("\"'>").startswith("<")]
)
def test_one_careless_template_would_be_found(team: Team, browser: Browser, text: str) -> None:
    """The test of the test: a name that a template does not escape."""
    project = team.world.project(text, team.people["bob"])
    careless(team.app, PROJECT, HEADING, "<h1>{{ project.name|safe }}</h1>")
    with serving(team.app) as site, tab(browser, site) as watched:
        sign_in(watched, team, "bob")
        assert watched.open(f"/projects/{project.public_id}") != []


@pytest.mark.parametrize(
    ("heading", "text", "found"),
    [
        ("<h1>{{ nonce() and project.name|safe }}</h1>", "W" * 100, None),
        ("<h1 class=figure-row><span>W</span>{{ project.name }}</h1>", "W" * 100, None),
        ('<h1 title="{{ project.name|safe }}">x</h1>', STRINGS[3], "an attribute"),
        ('<h1><a href="{{ project.name }}">x</a></h1>', STRINGS[10], "a script in a link"),
        ("<h1><img src='{{ project.name }}'></h1>", "/hacked", "asked for"),
        ("<h1>{{ 7919 * 7919 }}</h1>", "x", "a template was run"),
        ("<h1><code>{{ project.name * 3 }}</code></h1>", "a", None),
        ("<table><td>{{ project.name }}</table>", "W" * 100, "wider than"),
    ],
)
def test_each_kind_of_harm_would_be_found(
    team: Team, browser: Browser, heading: str, text: str, found: str | None
) -> None:
    project = team.world.project(text, team.people["bob"])
    careless(team.app, PROJECT, HEADING, heading)
    with serving(team.app) as site, tab(browser, site) as watched:
        sign_in(watched, team, "bob")
        wrongs = watched.open(f"/projects/{project.public_id}")
        assert any(found in wrong for wrong in wrongs) if found else wrongs == [], wrongs


INJECTED: Final = {
    "hx": '<p hx-get="/hacked" hx-trigger="load">x</p>',
    "data-hx": '<p data-hx-get="/hacked" data-hx-trigger="load">x</p>',
    "a made-up nonce": '<p hx-get="/hacked" hx-trigger="load" hx-nonce="x">x</p>',
    "an empty nonce": '<p hx-get="/hacked" hx-trigger="load" hx-nonce="">x</p>',
    "inherited": '<p hx-get:inherited="/hacked"><b hx-trigger="load">x</b></p>',
    "a script": "<script>fetch('/hacked')</script>",
    "a handler": "<img src=data:, onerror=\"fetch('/hacked')\">",
    "an htmx handler": "<p hx-on:htmx:after:init=\"fetch('/hacked')\">x</p>",
}


@pytest.mark.parametrize("raw", INJECTED.values(), ids=INJECTED.keys())
def test_injected_markup_without_the_nonce_does_nothing(team: Team, browser: Browser, raw: str) -> None:
    """The last line of defence, if a template should ever be careless; in a page and in a fragment."""
    assert asked_after(team, browser, raw) == []


def test_htmx_would_run_injected_markup_with_the_nonce_or_without_its_guard(
    team: Team, browser: Browser
) -> None:
    with_nonce = '<p hx-get="/hacked" hx-trigger="load" hx-nonce="{{ nonce() }}">x</p>'
    assert len(asked_after(team, browser, with_nonce)) == 2
    unguarded = team.under()
    careless(unguarded.app, "base.html", ', "vendor/hx-csp-4.0.1.min.js"', "")
    assert len(asked_after(unguarded, browser, INJECTED["hx"])) == 2


def asked_after(team: Team, browser: Browser, raw: str) -> list[str]:
    """The requests that markup makes, put raw into a page and into a fragment that htmx fetches.

    The guard is loaded last and late, as on a slow line.
    """

    def injected() -> str:
        return render_template_string(_UNSAFE.replace("RAW", raw))

    def come_late() -> None:
        if "hx-csp" in request.path:
            time.sleep(0.3)

    app = team.app
    app.before_request(come_late)
    app.add_url_rule("/unsafe", "pages.unsafe", guard.public("a test's own")(injected))
    with serving(app) as site, tab(browser, site) as watched:
        page = watched.page
        asked: list[str] = []
        page.on("request", lambda sent: asked.append(urlsplit(sent.url).path))
        # What stands after the markup and may ask does so after it.
        with page.expect_request("**/after"):
            page.goto(f"{site}/unsafe")
        page.evaluate("window.stayed = true")
        with page.expect_request("**/after"):
            page.locator("#again").click()
        assert page.evaluate("window.stayed") is True
        assert asked.count("/unsafe") == 2
        return [path for path in asked if path == hostile.ASKED]


def careless(app: Flask, template: str, before: str, after: str) -> None:
    """Change a template of the app's, before it is first used."""
    source = (ROOT / "templates" / template).read_text()
    assert source.count(before) == 1, (template, before)
    assert app.jinja_loader is not None
    changed: Any = ChoiceLoader([DictLoader({template: source.replace(before, after)}), app.jinja_loader])
    app.jinja_env.loader = changed
    app.jinja_env.cache.clear()  # type: ignore[union-attr]


_UNSAFE: Final = """{% extends "base.html" %}
{% block main %}
<h1>Unsafe</h1>
<a id="again" href="/unsafe" hx-get="/unsafe" hx-target="#main" hx-select="#main"
   hx-nonce="{{ nonce() }}">again</a>
RAW
<p hx-get="/after" hx-trigger="load" hx-swap="none" hx-nonce="{{ nonce() }}"></p>
{% endblock %}"""

_WRONGS: Final = """([mark, product]) => {
  const wrongs = [];
  const nonce = document.querySelector("script[nonce]")?.nonce;
  const isCode = (name) => name.startsWith("on") || name.startsWith("hx-on");
  for (const element of document.querySelectorAll("*")) {
    const names = element.getAttributeNames();
    if (names.includes(mark)) wrongs.push(`an element of ours: ${mark}`);
    for (const name of names) {
      if (isCode(name)) wrongs.push(`an attribute that is code: ${name}`);
      if (/^(data-)?hx-/.test(name) && element.getAttribute("hx-nonce") !== nonce) {
        wrongs.push(`htmx without the nonce: ${name}`);
      }
      if (/^\\s*(javascript|vbscript|data:text)/i.test(element.getAttribute(name)) && name !== "value") {
        if (["href", "src", "action", "formaction", "data", "xlink:href"].includes(name)) {
          wrongs.push(`a script in a link: ${name}`);
        }
      }
    }
  }
  if (document.body.innerText.includes(product)) wrongs.push("a template was run");
  const width = document.documentElement.scrollWidth;
  if (width > innerWidth) wrongs.push(`wider than the screen: ${width}`);
  return wrongs;
}"""
_TEXT: Final = "input:is([type=text], [type=email], [type=search], [type=date], :not([type])), textarea"
_FORMS: Final = f"[...document.forms].filter((form) => form.querySelector(`{_TEXT}`))"
_SEND: Final = f"""([number, text]) => {{
  const form = {_FORMS}[number];
  const fixed = "[type=hidden], [type=checkbox], [type=radio]";
  for (const input of form.querySelectorAll(`input:not(${{fixed}}), textarea`)) {{
    if (input.tagName === "INPUT") input.type = "text";
    input.removeAttribute("maxlength");
    input.value = text;
  }}
  HTMLFormElement.prototype.submit.call(form);
}}"""
