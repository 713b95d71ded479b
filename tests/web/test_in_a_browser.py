"""The pages in a real Chromium; ``page`` fails on script errors, policy breaches and foreign hosts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests import build
from tests.browsing import Team, serving

PHONE_WIDTH = 360


@dataclass(frozen=True, slots=True)
class Open:
    """A busy team's server with Bob signed in to it."""

    team: Team
    page: Page
    address: str

    @property
    def project(self) -> str:
        return self.address + self.team.page


@pytest.fixture
def site(busy: Team) -> Iterator[str]:
    with serving(busy.app) as address:
        yield address


@pytest.fixture
def bob(busy: Team, site: str, page: Page) -> Open:
    sign_in(page, site)
    return Open(busy, page, site)


def sign_in(page: Page, site: str) -> None:
    page.goto(site)
    page.get_by_label("E-mail").fill("bob@example.org")
    page.get_by_label("Password").fill(build.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def bars(page: Page) -> Locator:
    return page.locator("section[aria-labelledby=commits-title] .slot")


def test_a_range_link_changes_the_charts_without_loading_the_page_and_back_returns(bob: Open) -> None:
    page = bob.page
    page.goto(bob.address)
    page.get_by_role("link", name="atlas").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("atlas")
    expect(bars(page)).to_have_count(30)
    page.evaluate("window.stayed = true")

    page.get_by_role("link", name="90 days").click()
    expect(page.locator("#range-90d")).to_have_attribute("aria-current", "true")
    expect(bars(page)).to_have_count(90)
    expect(page).to_have_url(f"{bob.project}?range=90d")

    page.get_by_role("link", name="1 year").click()
    expect(page.get_by_role("heading", name="Commits per week")).to_be_visible()
    expect(page.locator("main")).to_have_count(1)

    page.go_back()
    expect(page.locator("#range-90d")).to_have_attribute("aria-current", "true")
    expect(bars(page)).to_have_count(90)
    page.go_back()
    expect(page.locator("#range-30d")).to_have_attribute("aria-current", "true")
    expect(page).to_have_url(bob.project)
    assert page.evaluate("window.stayed") is True

    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def test_links_still_work_in_what_htmx_put_there(bob: Open) -> None:
    page = bob.page
    page.goto(bob.project)
    for name, count in (("90d", 90), ("30d", 30), ("90d", 90)):
        page.locator(f"#range-{name}").click()
        expect(page.locator(f"#range-{name}")).to_have_attribute("aria-current", "true")
        expect(bars(page)).to_have_count(count)
        expect(page.locator(f"#range-{name}")).to_be_focused()


def test_what_just_came_in_shows_by_itself_when_it_is_counted(bob: Open) -> None:
    page, team = bob.page, bob.team
    page.goto(bob.project)
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    events = page.locator(".figure", has_text="Events").locator(".figure-main")
    expect(events).to_have_text("73")
    before = team.context.now() - build.MINUTE_MS
    team.world.report(team.people["bob"], team.project, (before, build.saved()))
    expect(page.locator("#fresh")).to_contain_text("Counting", timeout=10_000)
    team.world.refresh()
    expect(events).to_have_text("74")
    expect(page.locator("#fresh")).to_be_empty()
    expect(page.locator("h1")).to_have_count(1)


def test_the_first_event_shows_by_itself(bob: Open) -> None:
    page, team = bob.page, bob.team
    waiting = team.world.project("waiting", team.people["bob"])
    page.goto(f"{bob.address}/projects/{waiting.public_id}")
    expect(page.locator("h2").first).to_have_text("Waiting for the first event")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    expect(page.locator(".steps")).to_be_visible()
    team.world.report(team.people["bob"], waiting, (team.context.now(), build.saved()))
    team.world.refresh()
    expect(page.locator(".figure", has_text="Events").locator(".figure-main")).to_have_text("1")
    expect(page.locator("#fresh")).to_be_empty()


def test_pointing_at_a_bar_says_its_numbers(bob: Open) -> None:
    page = bob.page
    page.goto(bob.project)
    page.get_by_label("Show the part of").select_option("me")
    page.get_by_role("button", name="Apply").click()
    card = page.locator("section[aria-labelledby=commits-title]")
    bar = card.locator(".slot").last
    bar.scroll_into_view_if_needed()  # else pointing at it would move the page
    box = card.bounding_box()
    bar.hover()
    expect(card.locator("[data-readout]")).to_have_attribute(
        "data-text", "Thursday, November 19, 2026: 6 commits (yours: 3)"
    )
    assert card.bounding_box() == box
    page.get_by_role("heading", level=1).hover()
    expect(card.locator("[data-readout][data-text]")).to_have_count(0)


@pytest.mark.parametrize(
    ("theme", "language"), [("light", "English"), ("dark", "English"), ("light", "한국어")]
)
def test_nothing_scrolls_sideways_on_a_phone(
    bob: Open, theme: Literal["light", "dark"], language: str
) -> None:
    page = bob.page
    page.get_by_role("button", name=language).click()
    expect(page.get_by_role("button", name=language)).to_have_attribute("aria-current", "true")
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": PHONE_WIDTH, "height": 740})
    bob.team.world.project("without events", bob.team.people["bob"])
    for address in (bob.address, bob.project, f"{bob.project}?range=1y", f"{bob.project}?range=no"):
        page.goto(address)
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE_WIDTH, address
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(250, 250, 248)") == (theme == "light")


def test_the_pages_work_without_javascript(busy: Team, site: str, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, site)
    page.get_by_role("link", name="atlas").click()
    page.get_by_role("link", name="90 days").click()
    expect(page).to_have_url(f"{site}{busy.page}?range=90d")
    expect(bars(page)).to_have_count(90)
    page.get_by_label("From", exact=True).fill("2026-11-10")
    page.get_by_label("To", exact=True).fill("2026-11-19")
    page.get_by_role("button", name="Show").click()
    expect(bars(page)).to_have_count(10)
    page.locator("section[aria-labelledby=commits-title] summary").click()
    expect(page.locator("section[aria-labelledby=commits-title] tbody tr")).to_have_count(10)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    context.close()


def test_text_can_be_read_in_both_themes(bob: Open) -> None:
    """WCAG AA: 4.5 to 1 between every text and the nearest ground behind it."""
    for theme in ("light", "dark"):
        bob.page.emulate_media(color_scheme=theme)
        for address in (bob.address, bob.project, f"{bob.project}?range=no"):
            bob.page.goto(address)
            assert bob.page.evaluate(_LOW_CONTRAST) == [], (theme, address)


_LOW_CONTRAST = """() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((part) => {
      const c = part / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(color)) return color;
    }
    return getComputedStyle(document.body).backgroundColor;
  };
  const low = [];
  for (const element of document.body.querySelectorAll("*")) {
    const said = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!said || element.tagName === "title" || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(element.closest("svg") ? style.fill : style.color), light(ground(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) low.push([element.tagName, element.className, element.textContent.trim(), contrast]);
  }
  return low;
}"""
