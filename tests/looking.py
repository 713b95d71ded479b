"""A tab that holds each page it opens to what all keep: quiet, within its width and weight, still, for all.

What it finds wrong it says in words; a caller collects them, so that one run tells of every page.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

Theme = Literal["light", "dark"]
THEMES: Final[tuple[Theme, ...]] = ("light", "dark")
WIDTHS: Final = {"phone": 390, "desktop": 1280}
NARROWEST: Final = 360
HEIGHT: Final = 844
LOCALES: Final = {"en": "en-GB", "ko": "ko-KR"}
MAX_BYTES: Final = 100_000
"""Of a page with all it asks for, compressed."""
MAX_SHIFT_WHILE_READING: Final = 0.01
"""Of a page that comes in pieces; good is less than 0.1 (https://web.dev/articles/cls)."""
SAID_BY_THE_NETWORK: Final = ("Failed to load resource", "htmx: htmx:sse:error")
AXE: Final = Path(__file__).parent / "vendor" / "axe-4.14.1.min.js"
RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
MAX_TABS_IN_ONE: Final = 8
"""A date field has parts of its own."""

_WATCH_SHIFTS: Final = """
window.shifts = [];
new PerformanceObserver((list) => {
  const [loading] = performance.getEntriesByType("navigation");
  for (const shift of list.getEntries()) {
    const moved = shift.sources.map(({node}) => node?.id || node?.className || node?.nodeName);
    const isRead = loading.domInteractive > 0 && shift.startTime > loading.domInteractive;
    if (!shift.hadRecentInput) window.shifts.push({isRead, value: shift.value, moved: moved.join(", ")});
  }
}).observe({type: "layout-shift", buffered: true});
"""
_DRAWN: Final = """() => document.fonts.ready.then(() => new Promise((done) =>
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))))"""
_UNFOLD: Final = "() => document.querySelectorAll('details').forEach((each) => { each.open = true; })"
_WIDER: Final = """(width) => document.documentElement.scrollWidth <= width ? [] :
  [...document.body.querySelectorAll("*")].filter((each) => each.getBoundingClientRect().right > width + 1)
    .slice(0, 3).map((each) => each.outerHTML.slice(0, 80))"""
_RUN_AXE: Final = """async (tags) => {
  const found = await axe.run(document, {runOnly: tags, resultTypes: ["violations"]});
  const why = (node) => [...node.any, ...node.all, ...node.none].map((check) => check.message).join("; ");
  return found.violations.flatMap((rule) =>
    rule.nodes.map((node) => `${rule.id}: ${node.target.join(" ")}: ${why(node)}`));
}"""
# Everything that takes part in Tab, in the order of the page; of a group of radio buttons one.
_FOLLOW_FOCUS: Final = """() => {
  const takesPart = "a[href], button, input, select, textarea, summary, [tabindex]";
  const ofGroup = (name) => document.querySelector(`input[name="${name}"]:checked`)
    ?? document.querySelector(`input[name="${name}"]`);
  const all = [...document.querySelectorAll(takesPart)].filter((each) =>
    each.tabIndex >= 0 && !each.disabled && each.type !== "hidden"
    && each.checkVisibility({visibilityProperty: true})
    && (each.type !== "radio" || ofGroup(each.name) === each));
  const called = (each) => {
    const name = each.getAttribute("aria-label") || each.textContent || each.name || "";
    return `${each.nodeName.toLowerCase()} ${name.trim().slice(0, 40)}`;
  };
  window.expected = all.map((each, place) => `${place} ${called(each)}`);
  window.reached = [];
  window.unseen = [];
  document.addEventListener("focusin", (event) => {
    const place = all.indexOf(event.target);
    if (place < 0) return;
    window.reached.push(`${place} ${called(event.target)}`);
    const style = getComputedStyle(event.target);
    const box = event.target.getBoundingClientRect();
    const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
    if (!outlined || box.width < 1 || box.height < 1) window.unseen.push(called(event.target));
  });
  return all.length;
}"""


@dataclass
class Tab:
    """One tab of one language, signed in as who holds the cookie or as nobody."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    fetched: list[Request] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    """By address, the bytes that came when it was first fetched; later the cache has it."""

    def open(self, address: str) -> list[str]:
        """Load the page; return what was wrong with that: faults, foreign hosts, weight, shifts."""
        self.complaints.clear()
        self.fetched.clear()
        self.page.goto(address)
        self.settle()
        return [*self.complaints, *self.shifts(), *self.too_heavy()]

    def settle(self) -> None:
        """Wait until the page is drawn as it is now."""
        self.page.evaluate(_DRAWN)

    def dress(self, theme: Theme, width: int) -> None:
        self.page.emulate_media(color_scheme=theme)
        self.page.set_viewport_size({"width": width, "height": HEIGHT})

    def unfold(self) -> None:
        self.page.evaluate(_UNFOLD)

    def shifts(self) -> list[str]:
        """What moved by itself: nothing may once the page is read, and before that hardly anything."""
        seen = self.page.evaluate("window.shifts")
        meanwhile = sum(each["value"] for each in seen if not each["isRead"])
        is_too_much = meanwhile > MAX_SHIFT_WHILE_READING
        return [
            f"layout shift of {each['value']:.6f} by {each['moved']}"
            for each in seen
            if each["isRead"] or is_too_much
        ]

    def weight(self) -> tuple[int, int]:
        """Bytes of the page, compressed, and of all else it asked for, as they came."""
        page = rest = 0
        for request in self.fetched:
            if request.is_navigation_request():
                page += len(gzip.compress(request.response().body()))  # type: ignore[union-attr]
            else:
                came = request.sizes()["responseBodySize"]
                rest += self.sizes.setdefault(request.url, came) if came else self.sizes[request.url]
        return page, rest

    def too_heavy(self) -> list[str]:
        page, rest = self.weight()
        return [f"{page} bytes of page and {rest} of assets"] if page + rest > MAX_BYTES else []

    def too_wide(self) -> list[str]:
        width = self.page.viewport_size["width"]  # type: ignore[index]
        return [f"wider than {width}: {each}" for each in self.page.evaluate(_WIDER, width)]

    def barriers(self) -> list[str]:
        """What axe finds that keeps somebody out; all of it is looked at that is unfolded."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text("utf-8"))
        return list(self.page.evaluate(_RUN_AXE, list(RULES)))

    def walk(self) -> list[str]:
        """Press Tab from the top to the end; return what is not reached, in another order, or unseen.

        Of a page on which nothing had the focus yet.
        """
        count = self.page.evaluate(_FOLLOW_FOCUS)
        for pressed in range(count * 2 + MAX_TABS_IN_ONE):
            self.page.keyboard.press("Tab")
            if pressed >= count and self.page.evaluate("window.reached.length >= window.expected.length"):
                break
        expected, reached = self.page.evaluate("[window.expected, window.reached]")
        found = [f"not seen when focused: {each}" for each in self.page.evaluate("window.unseen")]
        for place, (wanted, got) in enumerate(zip(expected, reached, strict=False)):
            if wanted != got:
                return [*found, f"stop {place} is {got}, expected {wanted}"]
        return (
            found
            if len(reached) >= len(expected)
            else [*found, f"not reached: {expected[len(reached) :][:3]}"]
        )

    def skip(self) -> list[str]:
        """Follow the link that skips the head of the page, which is the first stop there is."""
        self.page.locator("a[href]").first.focus()
        self.page.keyboard.press("Enter")
        place = self.page.evaluate("document.activeElement?.id")
        return [] if place == "main" else [f"the skip link leads to {place!r}"]


@contextmanager
def tab(browser: Browser, site: str, cookie: str | None, language: str = "en") -> Iterator[Tab]:
    context = browser.new_context(
        locale=LOCALES[language], timezone_id="Europe/Berlin", reduced_motion="reduce"
    )
    context.set_default_timeout(20_000)
    if cookie is not None:
        context.add_cookies([{"name": "devflow", "value": cookie, "url": site}])
    try:
        yield _watched(context, site)
    finally:
        context.close()


def _watched(context: BrowserContext, site: str) -> Tab:
    context.add_init_script(_WATCH_SHIFTS)
    found = Tab(context.new_page())

    def note_console(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(SAID_BY_THE_NETWORK):
            found.complaints.append(message.text)

    def note_request(request: Request) -> None:
        if urlsplit(request.url).scheme != "data" and not request.url.startswith(f"{site}/"):
            found.complaints.append(f"asked elsewhere: {request.url}")

    found.page.on("console", note_console)
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.on("request", note_request)
    found.page.on("requestfinished", lambda request: found.fetched.append(request))
    return found
