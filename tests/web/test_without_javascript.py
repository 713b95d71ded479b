"""Every page and every form in a real browser that runs no script.

What changes something is sent once in each kind; a form that is new fails here until it is. That links
and forms are such as a browser follows by itself is looked at on all pages by test_structure.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit
from uuid import uuid4

import pyotp
import pytest
from flask import Flask
from playwright.sync_api import Browser, Locator, Page, Request, expect

from devflow.accounts import pairing
from devflow.context import Context
from tests import build, every_page, looking
from tests.browsing import serving
from tests.build import World
from tests.every_page import PAGES, Place
from tests.staged import Staged, stage

NO_EVENT: Final = "00000000-0000-4000-8000-000000000000"
DIFFERS_BY_ROLE: Final = {f"{PAGES}{name}" for name in ("overview", "start", "teams", "team", "project")}
"""Pages that each role is shown; of the others one who sees most of it is, since each look takes time."""
FILTERS: Final = "#main form:not([method=post])"
# What is said only to narrow screens, and by the line that script alone can keep true.
NOT_SAID_HERE: Final = "details:not([open]) > :not(summary), .narrow, #live, option, svg"
_NOT_SHOWN: Final = """(aside) => [...document.querySelectorAll("#main *")].filter((each) =>
  [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
  && !each.closest(aside) && !each.checkVisibility({visibilityProperty: true, opacityProperty: true})
).map((each) => each.outerHTML.slice(0, 120))"""


@dataclass
class Visitor:
    """Somebody at a browser that runs no script; what their forms were sent to is noted by endpoint."""

    app: Flask
    site: str
    page: Page
    sent: set[str]

    def note(self, request: Request) -> None:
        if request.method == "POST":
            path = urlsplit(request.url).path
            endpoint, _ = self.app.url_map.bind("localhost").match(path, "POST")
            self.sent.add(endpoint)

    def open(self, address: str, *names: str) -> Visitor:
        """Go there, and unfold what has these names."""
        self.page.goto(self.site + address, wait_until="domcontentloaded")
        for name in names:
            self.page.locator("summary", has_text=name).first.click()
        return self

    def fill(self, within: str = "#main", **fields: str) -> Visitor:
        for name, value in fields.items():
            place = self.page.locator(within).locator(f"[name={name}]:visible").first
            if place.evaluate("(each) => each.tagName") == "SELECT":
                place.select_option(label=value)
            else:
                place.fill(value)
        return self

    def press(self, name: str, within: str = "#main", *, says: str = "") -> Visitor:
        """Press the button of this name, and read what is answered."""
        button = self.page.locator(within).get_by_role("button", name=name).first
        with self.page.expect_navigation(wait_until="domcontentloaded") as found:
            button.click()
        assert found.value is not None and found.value.status < 400, (name, self.page.url, self.said())
        assert says in self.said(), (name, self.page.url, self.said())
        return self

    def said(self) -> str:
        return self.page.locator("#main").inner_text()

    def sign_in(self, email: str, password: str = build.PASSWORD) -> Visitor:
        return self.open("/sign-in").fill(email=email, password=password).press("Sign in")


@dataclass(frozen=True, slots=True)
class Stage:
    """The staged server, served; ``visitor`` brings whoever of it to a browser."""

    browser: Browser
    place: Place
    staged: Staged
    site: str
    sent: set[str]

    @contextmanager
    def visitor(self, cookie: str | None = None) -> Iterator[Visitor]:
        with without_script(self.browser, self.place.app, self.site, cookie, self.sent) as found:
            yield found


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Context, Staged]]:
    context, _ = build.context(tmp_path_factory.mktemp("staged"))
    yield context, stage(context)
    context.database.close()


@contextmanager
def without_script(
    browser: Browser, app: Flask, site: str, cookie: str | None, sent: set[str]
) -> Iterator[Visitor]:
    context = browser.new_context(
        java_script_enabled=False, locale="en-GB", viewport={"width": 1280, "height": looking.HEIGHT}
    )
    context.set_default_timeout(10_000)
    if cookie is not None:
        context.add_cookies([{"name": "devflow", "value": cookie, "url": site}])
    visitor = Visitor(app, site, context.new_page(), sent)
    visitor.page.on("request", visitor.note)
    try:
        yield visitor
    finally:
        context.close()


@pytest.mark.long
def test_every_page_can_be_read_and_asked_for_other_things(
    browser: Browser, staged: tuple[Context, Staged]
) -> None:
    place, sent = a_place(*staged), set[str]()
    first = every_page.one_each(found := every_page.sights(place))
    sights = [each for each in found if each in first or each.endpoint in DIFFERS_BY_ROLE]
    assert len(sights) > 40, "pages were met at all"
    wrongs, tried = [], set[str]()
    with serving(place.app) as site:
        for role, cookie in place.cookies.items():
            with without_script(browser, place.app, site, cookie, sent) as visitor:
                for sight in (each for each in sights if each.role == role):
                    visitor.open(sight.address)
                    wrongs += [f"{sight.address} as {role}: {each}" for each in unreadable(visitor.page)]
                    ask(visitor.page, sight.endpoint, tried)
    assert not wrongs, "\n".join(wrongs)
    assert {
        "filter project by from to",
        "filter feed by project type",
        "sort people",
        "export days",
    } <= tried, tried


def unreadable(page: Page) -> Iterator[str]:
    heading = page.locator("h1")
    if heading.count() != 1 or not heading.is_visible() or not heading.inner_text().strip():
        yield "no heading"
    yield from (f"not shown: {each}" for each in page.evaluate(_NOT_SHOWN, NOT_SAID_HERE))
    if page.locator("#live").count() and page.locator("#live").is_visible():
        yield "says that it is live"


def ask(page: Page, endpoint: str, tried: set[str]) -> None:
    """Use each kind of filter of the page, and one way to sort and to export each table, once in the test."""
    for number in range(page.locator(FILTERS).count()):
        form = page.locator(FILTERS).nth(number)
        names = form.locator("[name]").evaluate_all("(all) => all.map((each) => each.name)")
        if is_new(f"filter {endpoint.removeprefix(PAGES)} by {' '.join(sorted(set(names)))}", tried):
            name, value = choose(form)
            press(page, form.get_by_role("button"))
            kept = page.locator(f"#main [name={name}]:visible").first.input_value()
            assert kept == value, (page.url, name)
    for kind in ("sort", "export"):
        for link in page.locator(f"a.{kind}").evaluate_all("(all) => all.map((each) => each.href)"):
            (asked,) = parse_qs(urlsplit(link).query)[kind]
            if is_new(f"{kind} {asked.partition('.')[0]}", tried):
                follow(page, kind, urlsplit(link))


def follow(page: Page, kind: str, link: SplitResult) -> None:
    found = page.locator(f"a.{kind}[href='{link.path}?{link.query}']")
    if kind == "sort":
        press(page, found)
        expect(page.locator("th[aria-sort]").first).to_be_visible()
        page.go_back()
    else:
        with page.expect_download() as download:
            found.click()
        assert download.value.suggested_filename.endswith(".csv")


def is_new(name: str, tried: set[str]) -> bool:
    was_there = name in tried
    tried.add(name)
    return not was_there


def choose(form: Locator) -> tuple[str, str]:
    """Ask for something in the form; return the field's name and value, which the answer keeps."""
    field_of_it = form.locator("[name]:visible").last
    if field_of_it.evaluate("(each) => each.tagName") == "SELECT":
        field_of_it.select_option(index=field_of_it.locator("option").count() - 1)
    elif field_of_it.get_attribute("type") == "number":
        field_of_it.fill("100")
    elif field_of_it.get_attribute("type") == "checkbox":
        field_of_it.check()
    for needed in form.locator("input[required]:visible:not([type=number], [type=date])").all():
        needed.fill(NO_EVENT)
    return str(field_of_it.get_attribute("name")), field_of_it.input_value()


def press(page: Page, what: Locator) -> None:
    with page.expect_navigation(wait_until="domcontentloaded") as found:
        what.click()
    assert found.value is not None and found.value.status in (200, 404), page.url


def a_place(context: Context, staged: Staged) -> Place:
    known = {role: name for role, name in every_page.ROLES.items() if not name or name in staged.cookies}
    return Place(
        context,
        build.app(context),
        {role: staged.cookies.get(name) for role, name in known.items()},
        {"pages.invitation": staged.invitation, "pages.new_password": staged.reset},
    )


@pytest.mark.long
def test_every_form_that_changes_something_can_be_sent(
    browser: Browser, staged: tuple[Context, Staged], tmp_path: Path
) -> None:
    place, sent = a_place(*staged), set[str]()
    with serving(place.app) as site:
        stage = Stage(browser, place, staged[1], site, sent)
        for story in (to_join, to_connect_a_pc, to_be_safe, to_work_together, to_run_the_server):
            story(stage)
    to_begin(browser, tmp_path / "new", sent)
    changing = {
        rule.endpoint
        for rule in place.app.url_map.iter_rules()
        if rule.endpoint.startswith(PAGES) and "POST" in (rule.methods or ())
    }
    assert sent == changing, f"not sent by a browser without script: {changing - sent}"


def to_begin(browser: Browser, folder: Path, sent: set[str]) -> None:
    new = every_page.new_server(folder)
    with (
        serving(new.app) as site,
        without_script(browser, new.app, site, None, sent) as visitor,
    ):
        visitor.open(f"/setup/{new.tokens['pages.setup']}")
        visitor.fill(name="Ada", email="ada@example.org", password=build.PASSWORD)
        visitor.press("Make account", says="First, a project")
        visitor.fill(name="atlas").press("Make project", says="devflow sync enable")
    new.context.database.close()


def to_join(stage: Stage) -> None:
    """By an invitation, with a look at the pages in Korean, and out and in again."""
    with stage.visitor() as ned:
        ned.open(f"/invite/{stage.staged.invitation}")
        ned.fill(name="Ned", email="ned@example.org", password=build.PASSWORD)
        ned.press("Make account", says="First steps").open("/")
        ned.press("한국어", "footer", says="개요").press("English", "footer", says="Overview")
        ned.press("Sign out", "header", says="Sign in")
        with pytest.raises(AssertionError, match="Sign in"):
            ned.sign_in("ned@example.org", "guess")
        assert ned.page.locator("[role=alert]").is_visible()
        ned.sign_in("ned@example.org")
        ned.open(f"/projects/{stage.staged.project}/members", "Leave").press(
            "Leave", "main form[action$=leave]"
        )
        ned.open(f"/teams/{stage.staged.team}/members", "Leave").press("Leave", "main form[action$=leave]")
    with stage.visitor() as cem:
        cem.open(f"/reset/{stage.staged.reset}").fill(password="another long phrase")
        cem.press("Set password")


def to_connect_a_pc(stage: Stage) -> None:
    with stage.visitor(stage.staged.cookies["Ada"]) as ada:
        ada.open("/pair").fill(code=stage.staged.pairing_code).press("Continue", says="Let this PC in?")
        ada.press("Turn it away", says="was turned away")
        world = World.of(stage.place.context)
        with world.database.writing() as session:
            code = pairing.start(session, world.by(session), uuid4(), "New laptop").code
        ada.open("/start").fill(code=code).press("Continue").press("It is my PC, let it in", says="is let in")
        ada.open("/me/devices")
        card = "li.device:has(h2:text-is('New laptop'))"
        ada.page.locator(card).locator("summary", has_text="Rename").click()
        ada.page.locator(card).get_by_label("Name").fill("Desk")
        ada.press("Rename", card, says="Desk")
        card = "li.device:has(h2:text-is('Desk'))"
        ada.page.locator(card).locator("summary", has_text="Revoke").click()
        ada.press("Revoke this PC", card, says="revoked")


def to_be_safe(stage: Stage) -> None:
    """A second factor, its codes, other browsers, a new password and name, and to go or stay."""
    with stage.visitor() as gus, stage.visitor() as elsewhere:
        gus.sign_in("gus@example.org").open("/me/security").press("Set up")
        secret = "".join(gus.page.locator("code.secret").inner_text().split())
        gus.fill(current=build.PASSWORD, code=pyotp.TOTP(secret).at(build.NOW_MS // 1_000))
        codes = gus.press("Switch on", says="Recovery codes").page.locator(".recovery code").all_inner_texts()
        for end in ("li.entry form", "form[action$=end-others]"):
            elsewhere.sign_in("gus@example.org").fill(code=codes.pop()).press("Sign in", says="Overview")
            gus.open("/me/security").press("Sign out", end)
        gus.open("/me/security", "New recovery codes")
        gus.fill("form[action$=recovery-codes]", current=build.PASSWORD, code=codes.pop())
        codes = gus.press("Make new codes").page.locator(".recovery code").all_inner_texts()
        gus.open("/me/security", "Switch off")
        gus.fill("form[action$=off]", current=build.PASSWORD, code=codes.pop())
        gus.press("Switch off", "form[action$=off]", says="Off. With it")
        gus.fill(current=build.PASSWORD, new="another long phrase").press("Change password")
        gus.open("/me/account").fill(name="August").press("Change name", says="Your account")
        gus.fill(password="another long phrase").press("Ask to be deleted", says="You asked to be deleted")
        gus.press("Keep my account", says="Delete this account")


def to_work_together(stage: Stage) -> None:
    """A team and a project are made, filled, renamed and deleted."""
    with stage.visitor(stage.staged.cookies["Ada"]) as ada:
        for kind, start in (("team", "/teams"), ("project", "/")):
            ada.open(start).fill(name="Search").press(f"Make {kind}", says="Search")
            ada.page.goto(ada.page.url.partition("?")[0].removesuffix("/members") + "/members")
            ada.fill(person="Hana").press("Add", "form[action$=members]", says="Hana")
            row = "tr:has(th:has-text('Hana'))"
            ada.page.locator(row).get_by_role("combobox").select_option(label="Lead")
            ada.press("Save", row)
            assert ada.page.locator(row).get_by_role("combobox").input_value() == "lead"
            ada.page.locator(row).locator("summary").click()
            ada.press("Remove", f"{row} form[action$=remove]")
            assert ada.page.locator(row).count() == 0
            ada.fill("form[action$=name]", name="Find").press("Rename", says="Members of Find")
            ada.page.locator("summary", has_text=f"Delete this {kind}").click()
            ada.fill(typed="Find").press("Delete", "form[action$=delete]")
            assert "Find" not in ada.said()


def to_run_the_server(stage: Stage) -> None:
    """Accounts, invitations, keys and retention, by an admin."""
    cookies = stage.staged.cookies
    with stage.visitor(cookies["Ada"]) as ada, stage.visitor(cookies["Bob"]) as to_be_helped:
        to_be_helped.open("/me/security/second-factor")
        to_be_helped.fill(current=build.PASSWORD, code=stage.staged.factor_code).press("Switch on")
        bob, fay = (f"/people/{stage.staged.people[name]}/account" for name in ("Bob", "Fay"))
        ada.open(bob).press("Switch second factor off")
        ada.open(bob).fill(role="Developer").press("Change role")
        ada.press("Make a link for a new password", says="/reset/").open(bob)
        ada.press("Deactivate").press("Reactivate", says="Deactivating ends")
        ada.open(fay).fill(name="Fay").press("Delete for good")
        ada.open("/people").press("Make link", says="/invite/").open("/people").press("Withdraw", "table")
        ada.open("/keys").press("Replace", "form[action$=keys]")
        ada.open("/retention").fill(days="100").press("Preview", says="Keep events for 100 days")
        ada.press("Keep for 100 days", says="100 days at least")
