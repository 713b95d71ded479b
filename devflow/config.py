"""The server's settings, read once from the environment and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from devflow.errors import Invalid
from devflow.wire import MAX_BATCH_EVENTS

AGENT_HOME: Final = "DEVFLOW_HOME"  # the agent's own setting, no mistake where both run
_DIGITS: Final = 12
UNIX: Final = "unix"
"""Stands among trusted proxies for whoever may open the server's unix socket."""


def _setting(env: str, default: str, meaning: str, *, is_secret: bool = False) -> str:
    """A field read from ``env``; docs/operating.md lists them from here.

    One that is secret does not show when the settings are printed.
    """
    value: str = field(default=default, repr=not is_secret, metadata={"env": env, "meaning": meaning})
    return value


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting as text; the properties below give it its meaning, checked by ``load``."""

    data_dir: str = _setting("DEVFLOW_DATA_DIR", "data", "Folder of the SQLite file and the secret key.")
    database_url: str = _setting(
        "DEVFLOW_DATABASE_URL",
        "",
        "`postgresql://user:password@host/name`. Empty: SQLite in the data folder.",
        is_secret=True,
    )
    secret_key: str = _setting(
        "DEVFLOW_SECRET_KEY",
        "",
        "At least 32 random characters that the keys of the database are sealed with. Empty: made once, "
        "kept in the data folder.",
        is_secret=True,
    )
    old_secret_key: str = _setting(
        "DEVFLOW_OLD_SECRET_KEY",
        "",
        "The secret before, for the one start that changes it.",
        is_secret=True,
    )
    public_url: str = _setting(
        "DEVFLOW_PUBLIC_URL",
        "http://localhost:8080",
        "The address people and agents use; stands in links and set-up commands.",
    )
    tls_cert: str = _setting(
        "DEVFLOW_TLS_CERT",
        "",
        "PEM file of the certificate, and of those between it and the root. Empty: plain HTTP.",
    )
    tls_key: str = _setting("DEVFLOW_TLS_KEY", "", "PEM file of its private key, without a passphrase.")
    trusted_proxies: str = _setting(
        "DEVFLOW_TRUSTED_PROXIES",
        "",
        "Whose `X-Forwarded-For`, `-Proto` and `-Host` count: addresses and networks such as `10.0.0.0/8`, "
        "or `unix`, separated by commas. Empty: nobody's.",
    )
    agent_dir: str = _setting(
        "DEVFLOW_AGENT_DIR",
        "dist",
        "Folder of the agent's wheel, which people install from this server's page `/agent`.",
    )
    timezone: str = _setting(
        "DEVFLOW_TIMEZONE",
        "UTC",
        "Zone of hours, days, weeks and months; changing it counts everything anew.",
    )
    idle_limit: str = _setting(
        "DEVFLOW_IDLE_LIMIT_S", "900", "The longest gap between two events, in seconds, that counts as work."
    )
    most_events: str = _setting(
        "DEVFLOW_MAX_EVENTS_PER_HOUR",
        "2000000",
        "What one PC may send in an hour, at once or spread out; 0 for no limit. The longest histories have "
        "about so many commits: it stops who sends without end, and slows no import.",
    )
    most_uploads: str = _setting(
        "DEVFLOW_MAX_UPLOADS_PER_HOUR",
        "20000",
        "How often one PC may send in an hour; 0 for no limit. So many events go in batches of 100, which "
        "is what agents send over a poor network.",
    )
    disk_reserve: str = _setting(
        "DEVFLOW_DISK_RESERVE_MB",
        "64",
        "With less free space than that beside the SQLite file no events are taken, so that people can "
        "still sign in. 0 for none.",
    )

    redis_url: str = _setting(
        "DEVFLOW_REDIS_URL",
        "",
        "`redis://:password@host:6379/0`, `rediss://` or `unix://`: a Redis or Valkey in which several "
        "processes keep what was counted. Empty: none. No answer depends on it.",
        is_secret=True,
    )

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Settings:
        """Raise Invalid naming the variable, what it expects and what came."""
        known = {item.metadata["env"]: item.name for item in fields(cls)}
        unknown = {name for name in environ if name.startswith("DEVFLOW_")} - {*known, AGENT_HOME}
        if unknown:
            raise Invalid(f"expected one of {', '.join(sorted(known))}, got {', '.join(sorted(unknown))}")
        settings = cls(**{name: environ[env] for env, name in known.items() if environ.get(env)})
        settings._check()
        return settings

    def _check(self) -> None:
        try:
            ZoneInfo(self.timezone)
        except (LookupError, ValueError, OSError) as error:
            raise Invalid(
                f"DEVFLOW_TIMEZONE: expected a zone name such as Europe/Berlin, got {self.timezone!r}"
            ) from error
        if not self.idle_limit.isdecimal() or not 0 < int(self.idle_limit) <= 86_400:
            raise Invalid(
                f"DEVFLOW_IDLE_LIMIT_S: expected whole seconds from 1 to 86400, got {self.idle_limit!r}"
            )
        self._check_numbers()
        if (
            urlsplit(self.public_url).scheme not in ("http", "https")
            or not urlsplit(self.public_url).hostname
        ):
            raise Invalid(
                f"DEVFLOW_PUBLIC_URL: expected http://host or https://host, got {self.public_url!r}"
            )
        if self.database_url and urlsplit(self.database_url).scheme not in ("postgresql", "sqlite"):
            raise Invalid(
                "DEVFLOW_DATABASE_URL: expected postgresql://... or sqlite:///file, "
                f"got a {urlsplit(self.database_url).scheme!r} address"
            )
        self._check_redis()
        self._check_tls()
        for entry in self._proxies():
            _check_proxy(entry)

    def _check_numbers(self) -> None:
        """A whole batch has to pass, so a limit of fewer events would hold it for ever."""
        for env, value, least in (
            ("DEVFLOW_MAX_EVENTS_PER_HOUR", self.most_events, MAX_BATCH_EVENTS),
            ("DEVFLOW_MAX_UPLOADS_PER_HOUR", self.most_uploads, 1),
            ("DEVFLOW_DISK_RESERVE_MB", self.disk_reserve, 1),
        ):
            if not _is_number(value) or 0 < int(value) < least:
                raise Invalid(f"{env}: expected 0 or a whole number from {least}, got {value!r}")

    def _check_redis(self) -> None:
        """Without a word of the address, which may hold a password."""
        try:
            url = urlsplit(self.redis_url)
            is_wrong = url.scheme not in ("", "redis", "rediss", "unix") or url.port == 0
        except ValueError:  # a port that is no number, or brackets that do not close
            is_wrong = True
        if is_wrong or (self.redis_url and not url.scheme):
            raise Invalid("DEVFLOW_REDIS_URL: expected redis://host:6379/0, rediss://... or unix:///path")

    def _check_tls(self) -> None:
        if bool(self.tls_cert) != bool(self.tls_key):
            missing = "DEVFLOW_TLS_KEY" if self.tls_cert else "DEVFLOW_TLS_CERT"
            raise Invalid(f"{missing}: expected a file, since the other of the two is set, got nothing")
        if self.tls_cert and not self.is_https:
            raise Invalid(
                "DEVFLOW_PUBLIC_URL: expected https://host, since DEVFLOW_TLS_CERT is set, "
                f"got {self.public_url!r}"
            )

    @property
    def is_https(self) -> bool:
        """Whether browsers come by https, whoever speaks it: the server itself or a proxy."""
        return urlsplit(self.public_url).scheme == "https"

    @property
    def is_plain_elsewhere(self) -> bool:
        """Whether agents come by plain http from other PCs, which they do only if told to accept it."""
        return not self.is_https and not _is_loopback(self.public_host)

    @property
    def public_host(self) -> str:
        """The name in the public address, in lower case and without a port."""
        return urlsplit(self.public_url).hostname or ""

    @property
    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of trusted proxies."""
        return tuple(ip_network(entry) for entry in self._proxies() if entry != UNIX)

    @property
    def trusts_unix(self) -> bool:
        """Whether the other end of a unix socket is a trusted proxy."""
        return UNIX in self._proxies()

    def _proxies(self) -> list[str]:
        return [entry.strip() for entry in self.trusted_proxies.split(",") if entry.strip()]

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def idle_limit_ms(self) -> int:
        return int(self.idle_limit) * 1_000

    @property
    def events_an_hour(self) -> int:
        return int(self.most_events)

    @property
    def uploads_an_hour(self) -> int:
        return int(self.most_uploads)

    @property
    def disk_reserve_bytes(self) -> int:
        return int(self.disk_reserve) << 20

    @property
    def data_path(self) -> Path:
        return Path(self.data_dir)

    @property
    def agent_path(self) -> Path:
        return Path(self.agent_dir)

    @property
    def database(self) -> str:
        """The URL SQLAlchemy opens; a bare ``postgresql`` means psycopg 3 to it."""
        return self.database_url or f"sqlite:///{self.data_path / 'devflow.db'}"


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) <= _DIGITS


def _check_proxy(entry: str) -> None:
    """Raise Invalid for what names no proxy, or the whole internet: whose headers everybody can send."""
    try:
        is_wrong = entry != UNIX and ip_network(entry).prefixlen == 0
    except ValueError:
        is_wrong = True
    if is_wrong:
        raise Invalid(
            "DEVFLOW_TRUSTED_PROXIES: expected addresses, networks such as 10.0.0.0/8, or unix, "
            f"separated by commas, got {entry[:50]!r}"
        )


def _is_loopback(host: str) -> bool:
    """As the agent tells it: by the address, not by what a name may lead to."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
