"""Settings and the secret key: what is wrong is named, with what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from devflow import crypto
from devflow.config import Settings
from devflow.errors import Invalid


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DEVFLOW_TIMEZONE", "Mars/Olympus", "Europe/Berlin"),
        ("DEVFLOW_TIMEZONE", "../etc/passwd", "Europe/Berlin"),
        ("DEVFLOW_IDLE_LIMIT_S", "0", "1 to 86400"),
        ("DEVFLOW_IDLE_LIMIT_S", "15 min", "1 to 86400"),
        ("DEVFLOW_SECRET_KEY", "short", "at least 32 characters, got 5"),
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


def test_the_secret_key_is_made_once_and_private(tmp_path: Path) -> None:
    key = crypto.master_key("", tmp_path)
    assert crypto.master_key("", tmp_path) == key
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600


def test_a_damaged_secret_key_is_refused_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_bytes(b"half")
    with pytest.raises(Invalid, match="expected 32 bytes, got 4"):
        crypto.master_key("", tmp_path)
    assert (tmp_path / "secret.key").read_bytes() == b"half"


def test_keys_for_two_purposes_differ() -> None:
    assert crypto.derive(b"m" * 32, "cookie") != crypto.derive(b"m" * 32, "token")
