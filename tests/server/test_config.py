"""Settings: what is wrong is named, with what was expected."""

from __future__ import annotations

import pytest

from devflow.config import Settings
from devflow.errors import Invalid


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DEVFLOW_TIMEZONE", "Mars/Olympus", "Europe/Berlin"),
        ("DEVFLOW_TIMEZONE", "../etc/passwd", "Europe/Berlin"),
        ("DEVFLOW_IDLE_LIMIT_S", "0", "1 to 86400"),
        ("DEVFLOW_IDLE_LIMIT_S", "15 min", "1 to 86400"),
        ("DEVFLOW_PUBLIC_URL", "example.org", "http://host"),
        ("DEVFLOW_DATABASE_URL", "mysql://x", "postgresql"),
        ("DEVFLOW_DATABASE", "x", "DEVFLOW_DATABASE_URL"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, expected: str) -> None:
    with pytest.raises(Invalid, match=expected):
        Settings.load({name: value})


def test_without_settings_the_server_uses_sqlite_in_the_data_folder() -> None:
    assert Settings.load({"DEVFLOW_DATA_DIR": "/data"}).database == "sqlite:////data/devflow.db"
