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
        ("DEVFLOW_REDIS_URL", "http://cache.example.org", "DEVFLOW_REDIS_URL: expected redis://"),
        ("DEVFLOW_REDIS_URL", "cache.example.org", "DEVFLOW_REDIS_URL: expected redis://"),
        ("DEVFLOW_REDIS_URL", "redis://cache.example.org:port/0", "DEVFLOW_REDIS_URL: expected redis://"),
        ("DEVFLOW_TLS_CERT", "cert.pem", "DEVFLOW_TLS_KEY: expected a file"),
        ("DEVFLOW_TLS_KEY", "key.pem", "DEVFLOW_TLS_CERT: expected a file"),
        ("DEVFLOW_TRUSTED_PROXIES", "proxy.example.org", "addresses, networks"),
        ("DEVFLOW_TRUSTED_PROXIES", "10.0.0.1, 10.0.0.1/8", "got '10.0.0.1/8'"),
        ("DEVFLOW_TRUSTED_PROXIES", "0.0.0.0/0", "addresses, networks"),
        ("DEVFLOW_TRUSTED_PROXIES", "::/0", "addresses, networks"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, expected: str) -> None:
    with pytest.raises(Invalid, match=expected):
        Settings.load({name: value})


def test_without_settings_the_server_uses_sqlite_in_the_data_folder() -> None:
    assert Settings.load({"DEVFLOW_DATA_DIR": "/data"}).database == "sqlite:////data/devflow.db"


def test_a_redis_address_is_taken_and_its_password_never_shown() -> None:
    for address in ("redis://:secret@cache.example.org:6379/0", "unix:///run/redis.sock"):
        settings = Settings.load({"DEVFLOW_REDIS_URL": address})
        assert settings.redis_url == address
        assert "secret" not in repr(settings)
    with pytest.raises(Invalid) as refused:
        Settings.load({"DEVFLOW_REDIS_URL": "http://:secret@cache.example.org"})
    assert "secret" not in str(refused.value)


def test_tls_needs_a_public_address_with_https() -> None:
    files = {"DEVFLOW_TLS_CERT": "cert.pem", "DEVFLOW_TLS_KEY": "key.pem"}
    with pytest.raises(Invalid, match="DEVFLOW_PUBLIC_URL: expected https://host"):
        Settings.load(files)
    assert Settings.load(files | {"DEVFLOW_PUBLIC_URL": "https://devflow.example.org"}).is_https


def test_proxies_are_addresses_networks_and_unix_sockets() -> None:
    settings = Settings.load({"DEVFLOW_TRUSTED_PROXIES": " 192.0.2.1, 10.0.0.0/8,fd00::/8 , unix,"})
    assert [str(network) for network in settings.proxies] == ["192.0.2.1/32", "10.0.0.0/8", "fd00::/8"]
    assert settings.trusts_unix
    nobody = Settings.load({})
    assert (nobody.proxies, nobody.trusts_unix) == ((), False)
