"""Settings that this PC has in common with its person's others, if it was told to: the last change wins.

A change is ordered by its time and then by the id of the PC, here as on the server, so that all end with
the same values however changes and answers pass each other. A change that is made here after another
one was seen is later than that one, whatever this PC's clock says.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec

from devflow import wire
from devflow_agent import choices, outbox, settings
from devflow_agent.store import Store

FIELDS: Final = {choice.name: choice.field for choice in choices.TABLE if choice.name in wire.SHARED_SETTINGS}
_TROUBLE: Final = "sync_share_trouble"


class Server(Protocol):
    """Where the person's PCs meet."""

    def shared_settings(self, known: str) -> wire.SharedSettings: ...

    def change_settings(self, changes: wire.ChangeSettings) -> wire.SharedSettings: ...


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The last change of a setting that this PC knows of; ``device`` is None if it was made here."""

    value: Any
    changed_at: int
    device: UUID | None = None
    device_name: str | None = None
    is_sent: bool = False

    def order(self, this_device: UUID) -> tuple[int, UUID]:
        return self.changed_at, self.device or this_device


class _State(msgspec.Struct, kw_only=True):
    """``whose`` are server and person: of others nothing here holds."""

    whose: str = ""
    version: str = ""
    known: dict[str, Known] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class This:
    """Who shares: the server and the person in one text, and this PC."""

    whose: str
    device: UUID


def agree(store: Store, server: Server, this: This, now_ms: int) -> list[str]:
    """Tell what was changed here, take what was changed later elsewhere; return the settings taken.

    One request. Raise Offline, Unauthorized or Invalid, as the server answers; then all stays and
    is told the next time.
    """
    state = _take_up(store, this, now_ms)
    changes = [_as_change(name, one) for name, one in state.known.items() if not one.is_sent]
    if changes:
        told = server.change_settings(wire.ChangeSettings(settings=changes))
    else:
        told = server.shared_settings(state.version)
    return [] if told.settings is None else _take(store, this, told.version, told.settings)


def note_trouble(store: Store, why: str) -> None:
    """Why settings could not be shared the last time, "" if they could."""
    if why != (trouble(store) or ""):
        store.set_settings(**{_TROUBLE: why})


def trouble(store: Store) -> str | None:
    return store.setting(_TROUBLE) or None


def chosen_elsewhere(store: Store) -> dict[str, str]:
    """By field, on which other PC the value was chosen that holds here."""
    stored = store.settings()
    if stored.get(settings.SHARES) is not True:
        return {}
    state, changed = _state(stored), stored.get(settings.CHANGED_AT, {})
    return {
        field: one.device_name or str(one.device)
        for name, field in FIELDS.items()
        if (one := state.known.get(name)) is not None
        and one.device is not None
        and field not in changed
        and stored.get(field) == one.value
    }


def _take_up(store: Store, this: This, now_ms: int) -> _State:
    """What is known, with what was changed here since the last time; it is kept until it is sent."""
    by_server_ms = now_ms - (outbox.clock_skew_ms(store) or 0)
    with store.write() as connection:
        stored = _settings(connection)
        state = _state(stored, this.whose)
        noted = stored.get(settings.CHANGED_AT, {})
        for name, field in FIELDS.items():
            one, value = state.known.get(name), stored.get(field)
            if field in noted or value != (None if one is None else one.value):
                at_ms = by_server_ms - now_ms + noted[field] if field in noted else by_server_ms
                if field not in noted and one is None:
                    at_ms = 0  # chosen before anything was shared: it gives way to what is
                state.known[name] = Known(value=value, changed_at=_after(one, at_ms))
        _keep(connection, settings.CHANGED_AT, {})
        for name, one in state.known.items():
            # No server took that: it was out of the future, by a clock that is known to be wrong by now.
            if not one.is_sent and one.changed_at > by_server_ms + wire.CLOCK_TOLERANCE_MS:
                state.known[name] = msgspec.structs.replace(one, changed_at=by_server_ms)
        _keep(connection, settings.SHARED, msgspec.to_builtins(state))
    return state


def _after(known: Known | None, at_ms: int) -> int:
    return min(max(at_ms, 0 if known is None else known.changed_at + 1), wire.MAX_TIMESTAMP_MS)


def _as_change(name: str, one: Known) -> wire.SettingChange:
    change: wire.SettingChange = msgspec.convert(
        {"key": name, "value": one.value, "changedAt": one.changed_at}, wire.SettingChange
    )
    return change


def _take(store: Store, this: This, version: str, told: list[wire.SharedSetting]) -> list[str]:
    """Let the later changes hold here, in one transaction; return the settings whose value is another now."""
    by_name = {one.key: one for one in told if _is_understood(one)}
    taken = []
    with store.write() as connection:
        stored = _settings(connection)
        if stored.get(settings.SHARES) is not True:  # switched off meanwhile
            return []
        state = _state(stored, this.whose)
        changed = stored.get(settings.CHANGED_AT, {})
        state.version = version
        for name, field in FIELDS.items():
            mine, theirs = state.known.get(name), _known(by_name.get(name), this.device)
            if mine is not None and _is_later(mine, theirs, this.device):
                # The server has lost it, by a backup that was restored: who made a change sends it again.
                state.known[name] = msgspec.structs.replace(mine, is_sent=mine.device is not None)
            elif theirs is not None:
                state.known[name] = theirs
                if field not in changed and stored.get(field) != theirs.value:
                    _keep(connection, field, theirs.value)
                    taken.append(name)
        _keep(connection, settings.SHARED, msgspec.to_builtins(state))
    return taken


def _is_understood(one: wire.SharedSetting) -> bool:
    """A newer server may know more settings, and more values."""
    try:
        msgspec.convert({"key": one.key, "value": one.value, "changedAt": one.changed_at}, wire.SettingChange)
    except msgspec.ValidationError:
        return False
    return True


def _known(one: wire.SharedSetting | None, this_device: UUID) -> Known | None:
    if one is None:
        return None
    is_own = one.device_id == this_device
    return Known(
        value=one.value,
        changed_at=one.changed_at,
        device=None if is_own else one.device_id,
        device_name=None if is_own else one.device_name,
        is_sent=True,
    )


def _is_later(mine: Known, theirs: Known | None, this_device: UUID) -> bool:
    return theirs is None or mine.order(this_device) > theirs.order(this_device)


def _state(stored: Mapping[str, Any], whose: str | None = None) -> _State:
    """As it is stored; an empty one if it is somebody else's."""
    state = msgspec.convert(stored.get(settings.SHARED, {}), _State)
    if whose is None or state.whose == whose:
        return state
    return _State(whose=whose)


def _settings(connection: sqlite3.Connection) -> dict[str, Any]:
    return {key: json.loads(value) for key, value in connection.execute("SELECT key, value FROM settings")}


def _keep(connection: sqlite3.Connection, key: str, value: Any) -> None:
    """None is kept as the lack of a value."""
    if value is None:
        connection.execute("DELETE FROM settings WHERE key = ?", (key,))
    else:
        connection.execute(
            "INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)", (key, json.dumps(value))
        )
