"""Pages that stay up to date: their streams, and what is asked where those do not get through."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Page, expect

from devflow import live as core
from devflow.models import Role
from devflow.web import live
from devflow.web.pages import labels, overview
from tests import build
from tests.browsing import Browser, Team, one, serving, soup, text
from tests.visitor import within
from tests.web.test_in_a_browser import sign_in


def address(browser: Browser, page: str = "/", way: str = "hx-sse:connect") -> str:
    """Where the page says that it is kept up to date."""
    return str(one(soup(browser.get(page)), "#live")[way])


def version(of: str) -> str:
    query = parse_qs(urlsplit(of).query)
    return next(query[way][0] for way in ("live", "poll") if way in query)


@contextmanager
def stream(browser: Browser, of: str, **headers: str) -> Iterator[Iterator[bytes]]:
    """The chunks of an open stream, on which a change comes once it is counted, however slow that is."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "SETTLING_S", 600.0)
        answer = browser.client.get(of, headers=sent, buffered=False)
        assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
        try:
            yield (bytes(chunk) for chunk in answer.iter_encoded())
        finally:
            answer.close()


def told(chunks: Iterator[bytes]) -> tuple[str, dict[str, Tag]]:
    """The next message: its version, and the panels by the element they fill."""
    chunk = next(each for each in chunks if b"data:" in each).decode()
    (number,) = re.findall(r"^id: (\w+)$", chunk, re.M)
    html = "\n".join(re.findall(r"^data: (.*)$", chunk, re.M))
    parts = BeautifulSoup(html, "html.parser").find_all("hx-partial")
    return number, {str(part["hx-target"]): part for part in parts}


def caught_up(chunks: Iterator[bytes], fresh: BeautifulSoup) -> dict[str, Tag]:
    """The panels that come until all are as in a fresh load: what is counted in steps may come in steps."""
    panels: dict[str, Tag] = {}
    while not panels or not all(_words(panel) == _words(one(fresh, name)) for name, panel in panels.items()):
        panels |= told(chunks)[1]
    return panels


def _words(panel: Tag) -> list[str]:
    return panel.decode_contents().split()


def save(team: Team, path: str = "new.py") -> None:
    team.report("bob", (build.NOW_MS - build.MINUTE_MS, build.saved(path)))


@pytest.fixture
def busy(busy: Team) -> Iterator[Team]:
    yield busy
    busy.context.hub.end()


def test_a_change_comes_as_the_panels_that_differ_and_equals_a_fresh_load(busy: Team) -> None:
    bob = busy.browser("bob")
    with stream(bob, address(bob)) as chunks:
        next(chunks)
        save(busy)
        assert caught_up(chunks, soup(bob.get("/"))).keys() >= {"#week", "#projects"}
        save(busy, "another.py")
        panels = caught_up(chunks, soup(bob.get("/")))
    assert panels.keys() == {"#week", "#projects"}, "commits have not changed, so their chart has not"


def test_who_has_what_there_is_hears_nothing_and_who_has_less_gets_all(
    busy: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = busy.browser("bob")
    old = address(bob)
    save(busy)
    with stream(bob, old) as chunks:
        number, panels = told(chunks)
        assert panels.keys() == {"#fresh", "#week", "#trend", "#people", "#projects"}
    assert number == version(address(bob))
    monkeypatch.setattr(live, "PING_S", 0.5)
    with stream(bob, old, Last_Event_ID=number) as chunks:
        assert [next(chunks) for _ in range(3)][1:] == [b": still here\n\n"] * 2


def test_what_is_drawn_for_open_pages_is_nobodys_own(busy: Team) -> None:
    """It is drawn where nobody is signed in, so a panel that asked who looks would fail, not tell."""
    bob, cem = busy.browser("bob"), busy.browser("cem")
    with stream(bob, address(bob)) as his, stream(cem, address(cem)) as others:
        next(his), next(others)
        assert len(busy.context.hub) == 2
        save(busy)
        assert told(his) == told(others)
    assert "nonce" not in bob.get(address(bob, way="data-poll").replace("poll=", "poll=old")).get_data(True)


def test_whoever_loses_a_right_is_shown_no_more(busy: Team) -> None:
    bob = busy.browser("bob")
    with stream(bob, address(bob)) as chunks:
        next(chunks)
        assert bob.post(f"{busy.page}/leave").status_code == 302
        assert [each for each in chunks if b"data:" in each] == [], "it is to be asked for anew"
    assert "atlas" not in bob.get("/").get_data(as_text=True)


@pytest.mark.parametrize("is_looked", [True, False], ids=["somebody looks", "nobody looks"])
def test_a_right_lost_while_the_page_is_being_asked_for_is_noticed(
    busy: Team, monkeypatch: pytest.MonkeyPatch, is_looked: bool
) -> None:
    """After the projects to show were looked up, and before anything of them is followed."""
    bob, cem, hub = busy.browser("bob"), busy.browser("cem"), busy.context.hub
    of, others = address(bob), address(cem)

    def late(*things: Any) -> core.Watched:
        monkeypatch.undo()
        before = hub.rights
        with ThreadPoolExecutor(1) as elsewhere:  # a request of its own, not one within ours
            assert elsewhere.submit(bob.post, f"{busy.page}/leave").result().status_code == 302
        within(20, lambda: hub.rights > before or not is_looked)
        return core.Watched.of(*things)

    with stream(cem, others) if is_looked else nullcontext():
        monkeypatch.setattr(overview, "Watched", SimpleNamespace(of=late))
        with stream(bob, of) as chunks:
            assert [each for each in chunks if b"data:" in each] == []


def test_a_new_name_of_a_project_comes_to_open_pages(busy: Team) -> None:
    ada, bob = busy.browser("ada"), busy.browser("bob")
    pages = {busy.page: "#heading", "/": "#projects"}
    with ExitStack() as open_pages:
        chunks = {page: open_pages.enter_context(stream(bob, address(bob, page))) for page in pages}
        for each in chunks.values():
            next(each)
        ways = {page: address(bob, page) for page in pages}
        ada.post(f"{busy.page}/name", name="borealis")
        for each in chunks.values():
            list(each)  # what may change rights ends streams, and browsers come again
    for page, target in pages.items():
        with stream(bob, ways[page], Last_Event_ID=version(ways[page])) as again:
            next(again)
            number, panels = told(again)
        assert "borealis" in panels[target].get_text()
        assert number == version(address(bob, page))


@pytest.mark.parametrize("kind", ["team", "person"])
def test_so_does_one_of_a_team_and_of_oneself(busy: Team, kind: str) -> None:
    bob, team = busy.browser("bob"), busy.world.team("Platform", {busy.people["bob"]: Role.MANAGER})
    page, form = {
        "team": (f"/teams/{team.public_id}", f"/teams/{team.public_id}/name"),
        "person": (f"/people/{busy.people['bob'].public_id}", "/me/account/name"),
    }[kind]
    way = address(bob, page)
    bob.post(form, name="Bright")
    with stream(bob, way) as chunks:
        next(chunks)
        _, panels = told(chunks)
    assert panels["#heading"].get_text() == "Bright" == text(soup(bob.get(page)), "h1")


def test_whoever_was_signed_out_is_told_that_it_is_over(busy: Team) -> None:
    bob = busy.browser("bob")
    with stream(bob, address(bob)) as chunks:
        next(chunks)
        busy.browser("bob").post("/me/security/sessions/end-others")
        assert next(each for each in chunks if b"data:" in each).startswith(b"event: over")
        assert list(chunks) == []


def test_a_stranger_gets_no_stream(busy: Team) -> None:
    bob = busy.browser("bob")
    answer = busy.browser().get(address(bob))
    assert (answer.status_code, answer.mimetype) == (302, "text/html")


def test_a_stream_beyond_the_room_is_told_when_to_come_again(
    busy: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = busy.browser("bob")
    of = address(bob)
    monkeypatch.setattr(core, "MOST", 1)
    with stream(bob, of) as chunks:
        next(chunks)
        answer = bob.get(of)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")


def test_where_streams_do_not_get_through_the_same_is_asked_for(busy: Team) -> None:
    bob = busy.browser("bob")
    of = address(bob, way="data-poll")
    assert bob.get(of).status_code == 204
    save(busy)
    answer = bob.get(of)
    assert answer.status_code == 200
    assert answer.headers["DevFlow-Version"] == version(address(bob)) != version(of)
    assert [part["hx-target"] for part in soup(answer).find_all("hx-partial")] == [
        "#fresh",
        "#week",
        "#trend",
        "#people",
        "#projects",
    ]


def test_one_panel_that_fails_leaves_the_others_alone(
    busy: Team, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "axis", None)
    page = soup(busy.browser("bob").get("/"))
    assert "could not be shown" in one(page, "#trend").get_text()
    assert "atlas" in one(page, "#projects").get_text()
    assert "the panel trend" in caplog.text


# In a browser


def events_of(page: Page) -> Any:
    return page.locator(".figure", has_text="Events").locator(".figure-main")


def test_an_open_page_follows_what_happens_and_recovers_from_a_restart(busy: Team, page: Page) -> None:
    with serving(busy.app) as site:
        sign_in(page, site)
        expect(page.locator("#live")).to_have_attribute("data-state", "live", timeout=20_000)
        before = int(events_of(page).inner_text())
        page.evaluate("window.stayed = true")
        page.locator("#trend summary").click()
        save(busy)
        expect(events_of(page)).to_have_text(str(before + 1), timeout=20_000)
        assert page.locator("#trend details").get_attribute("open") is not None, "what was opened stays open"
    save(busy, "while it was away.py")
    with serving(build.app(build_again(busy)), int(urlsplit(site).port or 0)):
        expect(events_of(page)).to_have_text(str(before + 2), timeout=20_000)
        assert page.evaluate("window.stayed") is True


def build_again(team: Team) -> Any:
    context, _ = build.context(team.context.settings.data_path)
    return context


def test_a_hidden_tab_costs_nothing(busy: Team, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PING_S", 0.5)  # by which the server notices
    with serving(busy.app) as site:
        sign_in(page, site)
        expect(page.locator("#live")).to_have_attribute("data-state", "live", timeout=20_000)
        assert len(busy.context.hub) == 1
        page.evaluate(
            "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )
        within(20, lambda: len(busy.context.hub) == 0)


def test_a_page_of_who_was_signed_out_elsewhere_goes_away(busy: Team, page: Page) -> None:
    with serving(busy.app) as site:
        sign_in(page, site)
        expect(page.locator("#live")).to_have_attribute("data-state", "live", timeout=20_000)
        elsewhere = busy.browser("bob")
        elsewhere.post("/me/security/sessions/end-others")
        expect(page.get_by_label("Password")).to_be_visible(timeout=15_000)


def test_an_admin_without_projects_has_nothing_to_follow(team: Team) -> None:
    team.world.person("Zoe", Role.DEVELOPER)
    assert soup(team.browser("zoe").get("/")).select("#live") == []
