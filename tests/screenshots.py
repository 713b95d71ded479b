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
from devflow.wire import EventData
from tests import build
from tests.browsing import serving
from tests.build import World

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
                "people": "/people",
                "own-account": "/me/account",
                "project-members": f"/projects/{busy}/members",
                "teams": "/teams",
                "not-found": "/projects/nothing",
            }
            shoot(browser, folder, {name: address + path for name, path in pages.items()}, "ada@example.org")
        context.database.close()
        browser.close()


def seed(context: Context) -> tuple[UUID, UUID]:
    """A small team's year; return a busy project and one without events."""
    chance = random.Random(7)
    world = World.of(context)
    ada, bob = world.person("Ada", Role.ADMIN), world.person("Bob")
    world.team("platform", {ada: Role.MANAGER, bob: Role.LEAD})
    found = [world.project(name, ada, bob) for name in ("atlas-api", "billing", "design-system")]
    for number, project in enumerate(found):
        for who in (ada, bob):
            world.report(who, project, *_year(chance, who.author, busy=0.85 - 0.25 * number))
    outside = [build.NOW_MS - 40 * build.DAY_MS - day * 3 * build.DAY_MS for day in range(60)]
    world.report(ada, found[2], *((day, build.commit(build.STRANGER, "src/app.py")) for day in outside))
    world.refresh()
    return found[0].public_id, world.project("field-notes", ada).public_id


def _year(chance: random.Random, author: str, busy: float) -> Iterator[tuple[int, EventData]]:
    for days_ago in range(365):
        morning = build.NOW_MS - days_ago * build.DAY_MS - 6 * build.HOUR_MS
        is_weekend = (morning // build.DAY_MS + 3) % 7 > 4
        if chance.random() > busy * (0.1 if is_weekend else 1):
            continue
        at = morning + chance.randrange(build.HOUR_MS)
        for _ in range(chance.randrange(6, 32)):
            at += chance.randrange(2, 17) * build.MINUTE_MS
            if at > build.NOW_MS:
                break
            path = f"{chance.choice(('src', 'tests', 'docs'))}/part{chance.randrange(40)}.py"
            yield at, build.saved(path)
            if chance.random() < 0.22:
                lines = int(chance.lognormvariate(3, 1.1))
                deletions = int(lines * chance.random() * 0.8)
                yield at + 20_000, build.commit(author, path, insertions=lines, deletions=deletions)


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
