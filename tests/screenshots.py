"""Pictures of every page as each role sees it: ``python -m tests.screenshots FOLDER``, ``--help`` says more.

Light and dark, on a phone and on a desktop, in every language; ``FOLDER/index.html`` shows them in a grid.
Pages are held to what all keep while they are looked at (tests/looking.py), and the exit code is 1 if one
does not, or is in no picture.
"""

from __future__ import annotations

import argparse
import html
import itertools
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from flask import abort
from playwright.sync_api import Browser, sync_playwright

from devflow.web import guard
from devflow.web.catalogs import OFFERED, SOURCE
from tests import build, every_page, looking, year
from tests.browsing import serving
from tests.every_page import Place, Sight
from tests.looking import Tab
from tests.staged import Staged

FAULTS: Final = (403, 429, 500)
STYLE: Final = """
body { font: 14px system-ui, sans-serif; margin: 1rem } td { vertical-align: top; padding: 4px }
img { width: 240px; max-height: 400px; object-fit: cover; object-position: top; border: 1px solid #888 }
"""


@dataclass(frozen=True, slots=True)
class Shot:
    """The page at an address, after some fields of it were filled in and a button was pressed, if any."""

    name: str
    address: str
    fill: Mapping[str, str] = field(default_factory=dict)
    press: str = ""


@dataclass
class Camera:
    browser: Browser
    folder: Path
    wanted: tuple[str, ...] = ()
    languages: tuple[str, ...] = tuple(OFFERED)
    flaws: list[str] = field(default_factory=list)
    taken: dict[str, list[str]] = field(default_factory=dict)
    """Files of pictures, by what they show."""

    def look_around(self, place: Place, site: str, sights: Iterable[Sight]) -> None:
        """Take pictures of all, and hold each to what pages keep."""
        for language, (role, of_role) in itertools.product(
            self.languages, [(role, list(each)) for role, each in itertools.groupby(sights, lambda s: s.role)]
        ):
            with looking.tab(self.browser, site, place.cookies[role], language) as tab:
                for sight in of_role:
                    if sight.name.startswith(self.wanted or ""):
                        self._look(tab, site, sight, language)

    def _look(self, tab: Tab, site: str, sight: Sight, language: str) -> None:
        found, name = [], f"{sight.role}-{sight.name}-{language}"
        for size, width in looking.WIDTHS.items():
            tab.dress("light", width)
            found += tab.open(site + sight.address)
            for theme in looking.THEMES:
                tab.dress(theme, width)
                self._shoot(tab, f"{sight.role}: {sight.name}", f"{name}-{size}-{theme}.png")
            tab.unfold()
            for theme in looking.THEMES:
                tab.dress(theme, width)
                found += tab.barriers()
            found += tab.too_wide()
            tab.dress("light", min(width, looking.NARROWEST))
            found += tab.too_wide()
        found += tab.walk() + tab.skip()
        self.note(f"{sight.address} as {sight.role} in {language}", found)

    def press(self, site: str, cookie: str | None, shots: Iterable[Shot]) -> None:
        """Take pictures of what forms say once; sending a form again would say another thing."""
        with looking.tab(self.browser, site, cookie) as tab:
            for shot in shots:
                self._press(tab, site, shot)

    def _press(self, tab: Tab, site: str, shot: Shot) -> None:
        tab.page.goto(site + shot.address)
        for label, text in shot.fill.items():
            tab.page.get_by_label(label, exact=True).first.fill(text)
        if shot.press:
            with tab.page.expect_navigation():
                tab.page.get_by_role("button", name=shot.press).first.click()
        if SOURCE not in self.languages or not shot.name.startswith(self.wanted or ""):
            return
        for theme, (size, width) in itertools.product(looking.THEMES, looking.WIDTHS.items()):
            tab.dress(theme, width)
            self._shoot(tab, f"form: {shot.name}", f"{shot.name}-{size}-{theme}.png")
            self.note(shot.name, [*tab.too_wide(), *tab.barriers()])

    def note(self, where: str, found: Iterable[str]) -> None:
        """Said at once, too: all of it takes minutes."""
        for each in found:
            self.flaws.append(f"{where}: {each}")
            print(self.flaws[-1], flush=True)

    def _shoot(self, tab: Tab, title: str, file: str) -> None:
        tab.page.screenshot(path=self.folder / file, full_page=True)
        self.taken.setdefault(title, []).append(file)

    def write_index(self) -> None:
        rows = "".join(
            f"<tr><th>{html.escape(title)}</th>"
            + "".join(
                f'<td><a href="{file}"><img src="{file}" loading="lazy" alt="{file}"></a></td>'
                for file in files
            )
            + "</tr>\n"
            for title, files in self.taken.items()
        )
        head = f'<!doctype html><meta charset="utf-8"><title>Pages</title><style>{STYLE}</style>'
        (self.folder / "index.html").write_text(f"{head}<table>{rows}</table>", "utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to put the pictures")
    parser.add_argument("wanted", nargs="*", metavar="NAME", help="only pages whose names begin with one")
    parser.add_argument("--language", choices=OFFERED, help="only pages in this one")
    asked = parser.parse_args(arguments)
    languages = (asked.language,) if asked.language else tuple(OFFERED)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        camera = take(browser, asked.folder, tuple(asked.wanted), languages)
        browser.close()
    taken = sum(map(len, camera.taken.values()))
    print(f"{taken} pictures, {len(camera.flaws)} flaws: {asked.folder / 'index.html'}")
    return 1 if camera.flaws else 0


def take(
    browser: Browser,
    pictures: Path,
    wanted: tuple[str, ...] = (),
    languages: tuple[str, ...] = tuple(OFFERED),
) -> Camera:
    """All pictures, and what was found wrong while they were taken."""
    pictures.mkdir(parents=True, exist_ok=True)
    camera = Camera(browser, pictures, wanted, languages)
    with tempfile.TemporaryDirectory() as data:
        seen = _new_server(camera, Path(data) / "new")
        folder = Path(data) / "year"
        context, _ = build.context(folder)
        staged = year.fill(context)
        context.database.close()  # which leaves one whole file
        sights = _found_on_a_copy(folder, staged)
        context, _ = build.context(folder)
        place = every_page.the_year(context, staged)
        with serving(place.app) as site:
            camera.look_around(place, site, sights)
        missing = every_page.missing(place.app, [*seen, *sights])
        camera.note("tests/every_page.py", [f"nobody gets {each}: say what leads there" for each in missing])
        _press_buttons(camera, place, staged)
        context.database.close()
    camera.write_index()
    return camera


def _found_on_a_copy(folder: Path, staged: Staged) -> list[Sight]:
    """Every page of the year. To try who gets what leaves refusals, which no picture's trail shall have."""
    shutil.copytree(folder, copy := folder.with_name("copy"))
    context, _ = build.context(copy)
    found = every_page.sights(every_page.the_year(context, staged))
    context.database.close()
    return found


def _new_server(camera: Camera, data: Path) -> list[Sight]:
    """The first person's pages, who owns a server on which nothing happened yet."""
    place = every_page.new_server(data)
    with serving(place.app) as site:
        seen = every_page.sights(place)
        camera.look_around(place, site, seen)
        setup = f"/setup/{place.tokens['pages.setup']}"
        account = {"Name": "Ada", "E-mail": "ada@example.org", "Password": "a" * 12}
        camera.press(site, None, [Shot("setup-wrong", setup, account, press="Make account")])
        owner = every_page.set_up(place)
        of_owner = every_page.sights(owner)
        camera.look_around(owner, site, of_owner)
        camera.press(
            site,
            owner.cookies["first"],
            [
                Shot("first-project", "/", {"Name": "atlas-api"}, press="Make project"),
                Shot("first-team", "/teams", {"Name": "Platform"}, press="Make team"),
            ],
        )
    place.context.database.close()
    return seen + of_owner


def _press_buttons(camera: Camera, place: Place, staged: Staged) -> None:
    app = build.app(place.context)
    app.add_url_rule("/fault/<int:code>", "pages.fault", guard.public("for a picture of it")(abort))
    with serving(app) as site:
        for name, shots in {
            "": _to_strangers(),
            "Bob": _to_a_lead(staged),
            "Ada": _to_an_admin(staged),
        }.items():
            camera.press(site, staged.cookies.get(name), shots)


def _to_strangers() -> Iterator[Shot]:
    yield Shot(
        "sign-in-wrong", "/sign-in", {"E-mail": "ada@example.org", "Password": "guess"}, press="Sign in"
    )
    yield Shot("link-over", "/invite/guess")
    for status in FAULTS:
        yield Shot(f"error-{status}", f"/fault/{status}")


def _to_a_lead(staged: Staged) -> Iterator[Shot]:
    factor = "/me/security/second-factor"
    proof = {"Current password": build.PASSWORD, "Code that the app shows now": staged.factor_code}
    yield Shot("second-factor-wrong", factor, {**proof, "Current password": "x"}, press="Switch on")
    yield Shot("recovery-codes", factor, proof, press="Switch on")
    yield Shot("security-with-factor", "/me/security")


def _to_an_admin(staged: Staged) -> Iterator[Shot]:
    bob, eve, fay = (f"/people/{staged.people[name]}/account" for name in ("Bob", "Eve", "Fay"))
    yield Shot("account-leaving", eve)
    yield Shot("account-deactivated", fay)
    yield Shot("project-empty", f"/projects/{staged.silent}")
    yield Shot("overview-wrong", "/", {"Name": "atlas-api"}, press="Make project")
    yield Shot("people-link", "/people", press="Make link")
    yield Shot("account-link", bob, press="Make a link for a new password")
    yield Shot("pair-decide", "/pair", {"Code": staged.pairing_code}, press="Continue")
    yield Shot("pair-wrong", "/pair", {"Code": "BCDF-GHJK"}, press="Continue")
    yield Shot(
        "me-security-wrong",
        "/me/security",
        {"Current password": "x", "New password": "y" * 12},
        press="Change password",
    )


if __name__ == "__main__":
    sys.exit(main())
