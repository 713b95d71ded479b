"""Pictures of every page, light, dark and on a phone: ``python -m tests.screenshots FOLDER``."""

from __future__ import annotations

import logging
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal
from uuid import UUID

from playwright.sync_api import Browser, sync_playwright

from devflow.context import Context
from devflow.factory import create_app
from devflow.models import Role
from tests import build
from tests.browsing import serving

SIZES: Final = {"wide": (1440, 900), "tablet": (768, 1024), "phone": (360, 760)}
THEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")


def main(folder: Path) -> None:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        context, token = build.context(Path(data) / "new")
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        with serving(create_app(context)) as address:
            shoot(browser, folder, {"setup": f"{address}/setup/{token}", "no-account": f"{address}/sign-in"})
        context.database.close()
        context, _ = build.context(Path(data) / "team")
        busy, silent = seed(context)
        with serving(create_app(context)) as address:
            shoot(browser, folder, {"sign-in": f"{address}/sign-in"})
            pages = {
                "overview": "/",
                "project": f"/projects/{busy}",
                "project-year": f"/projects/{busy}?range=1y",
                "project-empty": f"/projects/{silent}",
                "not-found": "/projects/nothing",
            }
            shoot(browser, folder, {name: address + path for name, path in pages.items()}, "ada@example.org")
        context.database.close()
        browser.close()


def seed(context: Context) -> tuple[UUID, UUID]:
    """A small team's year; return a busy project and one without events."""
    chance = random.Random(7)
    ada = build.person(context, "ada", Role.ADMIN)
    bob = build.person(context, "bob")
    names = ("atlas-api", "billing", "design-system")
    found = [build.project(context, name, [ada, bob]) for name in names]
    for number, project in enumerate(found):
        for who, name in ((ada, "ada"), (bob, "bob")):
            acts = list(_year(chance, f"{name}@example.org", busy=0.85 - 0.25 * number))
            build.send(context, who, project, acts, refresh=False)
    outside = [
        build.commit(build.NOW - 40 * build.DAY - day * 3 * build.DAY, "guest@example.com")
        for day in range(60)
    ]
    build.send(context, ada, found[2], outside)
    return found[0], build.project(context, "field-notes", [ada])


def _year(chance: random.Random, author: str, busy: float) -> Iterator[build.Act]:
    for days_ago in range(365):
        morning = build.NOW - days_ago * build.DAY - 6 * build.HOUR
        is_weekend = (morning // build.DAY + 3) % 7 > 4
        if chance.random() > busy * (0.1 if is_weekend else 1):
            continue
        at = morning + chance.randrange(build.HOUR)
        for _ in range(chance.randrange(6, 32)):
            at += chance.randrange(2, 17) * build.MINUTE
            if at > build.NOW:
                break
            path = f"{chance.choice(('src', 'tests', 'docs'))}/part{chance.randrange(40)}.py"
            yield build.saved(at, path)
            if chance.random() < 0.22:
                lines = int(chance.lognormvariate(3, 1.1))
                yield build.commit(at + 20_000, author, [(path, lines, int(lines * chance.random() * 0.8))])


def shoot(browser: Browser, folder: Path, pages: dict[str, str], email: str | None = None) -> None:
    for theme in THEMES:
        for size, (width, height) in SIZES.items():
            tab = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce"
            )
            page = tab.new_page()
            if email is not None:
                page.goto(next(iter(pages.values())))
                page.fill("#email", email)
                page.fill("#password", build.PASSWORD)
                page.click("main button")
                page.wait_for_selector("h1:has-text('Overview')")
            for name, address in pages.items():
                page.goto(address)
                page.screenshot(path=folder / f"{name}-{size}-{theme}.png", full_page=True)
            tab.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
