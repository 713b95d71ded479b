"""Pictures of every page, light, dark and on a phone: ``python -m tests.screenshots FOLDER [NAME ...]``.

With names, only the pictures whose names begin with one of them.
"""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from flask import abort
from playwright.sync_api import Browser, Page, sync_playwright

from devflow.context import Context
from devflow.web import guard
from tests import build, year
from tests.browsing import serving
from tests.staged import Staged

SIZES: Final = {"wide": (1280, 800), "phone": (390, 844)}
THEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
FAULTS: Final = (403, 429, 500)
DAYS: Final = 365


@dataclass(frozen=True, slots=True)
class Shot:
    """The page at an address, after some fields of it were filled in and a button was pressed, if any."""

    name: str
    address: str
    fill: Mapping[str, str] = field(default_factory=dict)
    press: str = ""


@dataclass(frozen=True, slots=True)
class Camera:
    browser: Browser
    folder: Path
    wanted: tuple[str, ...]

    def shoot(self, site: str, cookie: str | None, shots: list[Shot]) -> None:
        with self._tab(site, cookie) as page:
            for shot in shots:
                if shot.press or shot.name.startswith(self.wanted or ""):
                    self._shoot(page, site, shot)

    @contextmanager
    def _tab(self, site: str, cookie: str | None) -> Iterator[Page]:
        tab = self.browser.new_context(reduced_motion="reduce")
        if cookie is not None:
            tab.add_cookies([{"name": "devflow", "value": cookie, "url": site}])
        yield tab.new_page()
        tab.close()

    def _shoot(self, page: Page, site: str, shot: Shot) -> None:
        page.goto(site + shot.address)
        for label, text in shot.fill.items():
            page.get_by_label(label, exact=True).first.fill(text)
        if shot.press:
            with page.expect_navigation():
                page.get_by_role("button", name=shot.press).first.click()
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            for size, (width, height) in SIZES.items():
                page.set_viewport_size({"width": width, "height": height})
                page.screenshot(path=self.folder / f"{shot.name}-{size}-{theme}.png", full_page=True)


def main(folder: Path, *wanted: str) -> None:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        camera = Camera(browser, folder, wanted)
        _new_server(camera, Path(data) / "new")
        _team_server(camera, Path(data) / "team")
        browser.close()


def _new_server(camera: Camera, data: Path) -> None:
    context, token = build.context(data)
    with _site(context) as site:
        camera.shoot(site, None, list(_first_minutes(f"/setup/{token}")))
    context.database.close()


def _team_server(camera: Camera, data: Path) -> None:
    context, _ = build.context(data)
    staged = year.fill(context)
    with _site(context) as site:
        for name, shots in {
            "": _to_strangers(staged),
            "Dan": [Shot("sign-in-code", "/sign-in/code")],
            "Cem": _to_a_newcomer(staged),
            "Bob": _to_a_lead(staged),
            "Ada": _to_an_admin(staged),
        }.items():
            camera.shoot(site, staged.cookies.get(name), list(shots))
    context.database.close()


@contextmanager
def _site(context: Context) -> Iterator[str]:
    app = build.app(context)
    app.add_url_rule("/fault/<int:code>", "pages.fault", guard.public("for a picture of it")(abort))
    with serving(app) as site:
        yield site


def _first_minutes(setup: str) -> Iterator[Shot]:
    """The first person's, who owns a server on which nothing happened yet."""
    yield Shot("new-sign-in", "/sign-in")
    yield Shot("new-setup", setup)
    account = {"Name": "Ada", "E-mail": "ada@example.org"}
    yield Shot("new-setup-wrong", setup, {**account, "Password": "a" * 12}, press="Make account")
    yield Shot("new-overview", setup, {**account, "Password": build.PASSWORD}, press="Make account")
    for name in (
        "teams",
        "people",
        "devices",
        "keys",
        "retention",
        "audit",
        "me",
        "me/receipts",
        "me/devices",
    ):
        yield Shot(f"new-{name.replace('/', '-')}", f"/{name}")
    yield Shot("new-audit-none", "/audit?from=2020-01-01&to=2020-01-02")
    yield Shot("new-project", "/", {"Name": "atlas-api"}, press="Make project")
    yield Shot("new-team", "/teams", {"Name": "Platform"}, press="Make team")


def _to_strangers(staged: Staged) -> Iterator[Shot]:
    yield Shot("sign-in", "/sign-in")
    yield Shot(
        "sign-in-wrong", "/sign-in", {"E-mail": "ada@example.org", "Password": "guess"}, press="Sign in"
    )
    yield Shot("invitation", f"/invite/{staged.invitation}")
    yield Shot("reset", f"/reset/{staged.reset}")
    yield Shot("link-over", "/invite/guess")
    for status in FAULTS:
        yield Shot(f"error-{status}", f"/fault/{status}")


def _to_a_newcomer(staged: Staged) -> Iterator[Shot]:
    yield Shot("newcomer-overview", "/")
    yield Shot("newcomer-teams", "/teams")
    yield Shot("newcomer-me", "/me")
    yield Shot("newcomer-project", f"/projects/{staged.project}")
    yield Shot("newcomer-people", "/people")


def _to_a_lead(staged: Staged) -> Iterator[Shot]:
    yield Shot("lead-team", f"/teams/{staged.team}")
    yield Shot("lead-project-members", f"/projects/{staged.project}/members")
    yield Shot("lead-person", f"/people/{staged.people['Ada']}")
    yield Shot("lead-person-nothing", f"/people/{staged.people['Eve']}")
    factor = "/me/security/second-factor"
    yield Shot("second-factor", factor)
    proof = {"Current password": build.PASSWORD, "Code that the app shows now": staged.factor_code}
    yield Shot("second-factor-wrong", factor, {**proof, "Current password": "x"}, press="Switch on")
    yield Shot("recovery-codes", factor, proof, press="Switch on")
    yield Shot("security-with-factor", "/me/security")


def _to_an_admin(staged: Staged) -> Iterator[Shot]:
    project, team = f"/projects/{staged.project}", f"/teams/{staged.team}"
    own, bob, eve, fay = (f"/people/{staged.people[name]}" for name in ("Ada", "Bob", "Eve", "Fay"))
    addresses = {
        "overview": "/",
        "project": project,
        "project-year": f"{project}?range=1y",
        "project-none-in-range": f"{project}?from=2020-01-01&to=2020-02-01",
        "project-empty": f"/projects/{staged.silent}",
        "project-members": f"{project}/members",
        "teams": "/teams",
        "team": team,
        "people": "/people",
        "person-own": own,
        "account": f"{bob}/account",
        "account-own": f"{own}/account",
        "account-leaving": f"{eve}/account",
        "account-deactivated": f"{fay}/account",
        "devices": "/devices",
        "keys": "/keys",
        "retention": "/retention",
        "retention-preview": "/retention?days=100",
        "audit": "/audit",
        "me": "/me",
        "me-as-seen-by": f"/me/as-seen-by/{staged.people['Bob']}",
        "me-receipts": "/me/receipts",
        "me-account": "/me/account",
        "me-security": "/me/security",
        "me-devices": "/me/devices",
        "pair": "/pair",
        "pair-denied": "/pair?done=denied",
        "error-404": "/nothing",
        "error-400": f"{project}?range=x",
    }
    for name, address in addresses.items():
        yield Shot(name, address)
    yield Shot("overview-wrong", "/", {"Name": "atlas-api"}, press="Make project")
    yield Shot("people-link", "/people", press="Make link")
    yield Shot("account-link", f"{bob}/account", press="Make a link for a new password")
    yield Shot("pair-decide", "/pair", {"Code": staged.pairing_code}, press="Continue")
    yield Shot("pair-wrong", "/pair", {"Code": "BCDF-GHJK"}, press="Continue")
    yield Shot(
        "me-security-wrong",
        "/me/security",
        {"Current password": "x", "New password": "y" * 12},
        press="Change password",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
