"""Every page as each role, in both themes, on phone and desktop, in every language: nothing is wrong."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser

from tests import screenshots


def test_nothing_is_wrong_with_any_look_of_any_page(browser: Browser, tmp_path: Path) -> None:
    camera = screenshots.take(browser, tmp_path)
    assert camera.flaws == []
    assert len(camera.taken) > 100, "pages were met at all"
