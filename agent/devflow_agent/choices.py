"""The settings by their names for people and scripts: what each is, and how its value is written.

The command line, the settings page and ``devflow config`` all read this table.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from devflow.errors import Invalid
from devflow_agent import settings as stored
from devflow_agent.settings import Settings
from devflow_agent.store import Store

Value = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """``field`` is that of ``Settings``; ``variables`` stand in for it while it is not set."""

    name: str
    field: str
    kind: Literal["switch", "number", "share", "text"]
    says: str
    unit: str = ""
    variables: tuple[str, ...] = ()


TABLE: Final = (
    Choice("syncEnabled", "sync_enabled", "switch", "Send events of linked projects; off is immediate."),
    Choice("syncInterval", "sync_interval_s", "number", "Time between two syncs.", "seconds"),
    Choice("batchSize", "sync_batch_size", "number", "The most events of a request."),
    Choice("syncMode", "sync_mode", "text", "auto, live (streams, tried without end) or batch (no streams)."),
    Choice("syncDownload", "sync_download", "switch", "Fetch what your other PCs sent after each sync."),
    Choice("syncOnStart", "sync_on_start", "switch", "Sync when `devflow watch` starts."),
    Choice("shareSettings", "sync_share_settings", "switch", "Have them in common with your other PCs."),
    Choice(
        "proxy", "sync_proxy", "text", "The way to the server, such as http://proxy.example.org:3128.",
        variables=("HTTPS_PROXY", "https_proxy"),
    ),
    Choice(
        "caFile", "sync_ca_file", "text", "Certificate authorities to trust: the whole path of a file.",
        variables=("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"),
    ),
    Choice("alertQueue", "alert_queue_size", "number", "Alert when more events wait."),
    Choice("alertFailureRate", "alert_failure_rate", "share", "Alert when a larger share of attempts fails."),
    Choice("alertOffline", "alert_offline_s", "number", "Alert when offline for longer.", "seconds"),
    Choice("alertDesktop", "alert_desktop", "switch", "Show alerts on the desktop, too."),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """A value fit to be shown, and where it comes from: ``set``, ``default``, or a variable's name.

    ``device`` is the other PC that it was chosen on, None for this one.
    """

    choice: Choice
    value: Value
    source: str
    device: str | None = None

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        return self.source if self.device is None else f"{self.source} on {self.device}"


def named(name: str) -> Choice:
    """Raise Invalid, naming the choices, if there is none of this name."""
    for choice in TABLE:
        if choice.name == name:
            return choice
    raise Invalid(f"expected one of {', '.join(choice.name for choice in TABLE)}; got {name}")


def parsed(choice: Choice, text: str) -> Value:
    """The value that ``text`` writes; raise Invalid for one of another kind. An empty text is None."""
    text = text.strip()
    match choice.kind:
        case "switch":
            if text not in ("true", "false"):
                raise Invalid(f"{choice.name}: expected true or false, got {text!r}")
            return text == "true"
        case "number" | "share":
            try:
                return int(text) if choice.kind == "number" else float(text)
            except ValueError:
                whole = "a whole number" if choice.kind == "number" else "a number"
                raise Invalid(f"{choice.name}: expected {whole}, got {text!r}") from None
        case "text":
            return text or None


def checked(choice: Choice, text: str) -> Value:
    """Like ``parsed``, and raise Invalid if the value is out of range; None lets it be as it comes."""
    value = parsed(choice, text)
    if value is not None:
        Settings().with_values({choice.field: value})
    return value


def as_text(value: Value) -> str:
    """How a value is written; nothing is written as ``-``."""
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


def change(store: Store, values: Mapping[str, Value], forgotten: Sequence[str] = ()) -> None:
    """Set fields and let others be as they come; raise Invalid, with nothing changed, for a wrong value."""
    if values:
        Settings.load(store).with_values(dict(values))
    if values or forgotten:
        stored.keep(store, values, forgotten)


def seen(settings: Settings, store: Store) -> list[Seen]:
    """Every choice with its value, in the table's order. Passwords of proxies are left out."""
    from devflow_agent import sharing  # which reads the table

    chosen, elsewhere = stored.are_set(store), sharing.chosen_elsewhere(store)
    return [
        replace(_seen(choice, settings, is_set=choice.field in chosen), device=elsewhere.get(choice.field))
        for choice in TABLE
    ]


def _seen(choice: Choice, settings: Settings, *, is_set: bool) -> Seen:
    value, source = getattr(settings, choice.field), "set" if is_set else "default"
    if value is None:
        found = [(name, os.environ[name]) for name in choice.variables if os.environ.get(name)]
        source, value = found[0] if found else (source, None)
    if choice.field == "sync_proxy" and value is not None:
        value = stored.without_password(value)
    return Seen(choice, value, source)
