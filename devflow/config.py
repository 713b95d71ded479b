"""The server's settings, read once from the environment and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from devflow.errors import Invalid

AGENT_HOME: Final = "DEVFLOW_HOME"  # the agent's own setting, no mistake where both run


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
    timezone: str = _setting(
        "DEVFLOW_TIMEZONE",
        "UTC",
        "Zone of hours, days, weeks and months; changing it counts everything anew.",
    )
    idle_limit: str = _setting(
        "DEVFLOW_IDLE_LIMIT_S", "900", "The longest gap between two events, in seconds, that counts as work."
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

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def idle_limit_ms(self) -> int:
        return int(self.idle_limit) * 1_000

    @property
    def data_path(self) -> Path:
        return Path(self.data_dir)

    @property
    def database(self) -> str:
        """The URL SQLAlchemy opens; a bare ``postgresql`` means psycopg 3 to it."""
        return self.database_url or f"sqlite:///{self.data_path / 'devflow.db'}"
