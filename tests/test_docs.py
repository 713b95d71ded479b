"""What the documentation says of the code is what the code says."""

from __future__ import annotations

from docs import settings


def test_the_table_of_settings_is_as_the_settings_are() -> None:
    page = settings.PAGE.read_text(encoding="utf-8")
    assert settings.with_table(page) == page, "run `make docs`"
