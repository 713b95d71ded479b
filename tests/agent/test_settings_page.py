"""The settings page: what it shows, what it says beside a field, and that it saves all or nothing."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static, Switch

from devflow.errors import Invalid
from devflow_agent import choices
from devflow_agent.settings import Settings
from devflow_agent.store import Store
from devflow_agent.tui.settings_page import SettingsPage
from tests.cli import Cli

HOSTILE = "[red]\x1b[2J\u202e"


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for choice in choices.TABLE:
        for name in choice.variables:
            monkeypatch.delenv(name, raising=False)


def shown(store: Store, talk: Callable[[SettingsPage, Pilot[Any]], Awaitable[None]]) -> None:
    async def run() -> None:
        page = SettingsPage(store)
        async with page.run_test(size=(100, 60)) as pilot:
            await talk(page, pilot)

    asyncio.run(run())


async def typed(page: SettingsPage, pilot: Pilot[Any], name: str, text: str) -> None:
    page.query_one(f"#{name}", Input).value = text
    await pilot.pause()


def says(page: SettingsPage, element: str) -> str:
    return str(page.query_one(element, Static).content)


def test_every_setting_has_a_field_with_its_value_and_where_it_comes_from(store: Store) -> None:
    store.set_settings(sync_interval_s=60, sync_on_start=False)

    async def talk(page: SettingsPage, pilot: Pilot[Any]) -> None:
        for choice in choices.TABLE:
            kind = Switch if choice.kind == "switch" else Input
            assert page.query_one(f"#{choice.name}", kind)
            assert choice.says in says(page, f"#about-{choice.name}")
        assert page.query_one("#syncInterval", Input).value == "60"
        assert page.query_one("#syncOnStart", Switch).value is False
        assert "In seconds. (set)" in says(page, "#about-syncInterval")
        assert "(default)" in says(page, "#about-batchSize")

    shown(store, talk)


def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_saved(store: Store) -> None:
    async def talk(page: SettingsPage, pilot: Pilot[Any]) -> None:
        await typed(page, pilot, "batchSize", "50")
        await typed(page, pilot, "syncInterval", "5")
        await typed(page, pilot, "alertFailureRate", "often")
        assert "from 10 to 86400 seconds, got 5" in says(page, "#wrong-syncInterval")
        assert "expected a number" in says(page, "#wrong-alertFailureRate")
        assert page.query_one("#wrong-syncInterval").display
        assert not page.query_one("#wrong-batchSize").display
        await pilot.press("ctrl+s")
        assert says(page, "#said") == "not saved: syncInterval, alertFailureRate"
        assert page.focused is page.query_one("#syncInterval")
        assert Settings.load(store) == Settings()
        await typed(page, pilot, "syncInterval", "30")
        await typed(page, pilot, "alertFailureRate", "0.25")
        assert not page.query_one("#wrong-syncInterval").display
        await pilot.press("ctrl+s")
        assert says(page, "#said").startswith("saved")

    shown(store, talk)
    assert Settings.load(store) == Settings(sync_batch_size=50, sync_interval_s=30, alert_failure_rate=0.25)


def test_only_what_was_changed_is_saved(store: Store) -> None:
    async def talk(page: SettingsPage, pilot: Pilot[Any]) -> None:
        store.set_settings(sync_interval_s=77)  # by another process, meanwhile
        page.query_one("#syncEnabled", Switch).value = True
        await pilot.pause()
        await pilot.click("#save")
        assert says(page, "#said").startswith("saved")
        assert "(set)" in says(page, "#about-syncEnabled")
        await pilot.press("ctrl+s")
        assert says(page, "#said") == "nothing was changed"
        assert page.query_one("#syncInterval", Input).value == "77"

    shown(store, talk)
    assert Settings.load(store) == Settings(sync_enabled=True, sync_interval_s=77)


def test_a_password_is_never_shown_and_an_emptied_field_is_as_it_comes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://eve:other@env.example.org:80")
    store.set_settings(sync_proxy="http://ada:secret@proxy.example.org:3128")

    async def talk(page: SettingsPage, pilot: Pilot[Any]) -> None:
        assert page.query_one("#proxy", Input).value == "http://***@proxy.example.org:3128"
        await pilot.press("ctrl+s")
        assert store.setting("sync_proxy") == "http://ada:secret@proxy.example.org:3128", "left alone"
        await typed(page, pilot, "proxy", "http://***@proxy.example.org:8080")
        assert "type the user and the password again" in says(page, "#wrong-proxy")
        await typed(page, pilot, "proxy", "")
        await pilot.press("ctrl+s")
        assert "(HTTPS_PROXY http://***@env.example.org:80)" in says(page, "#about-proxy")

    shown(store, talk)
    assert store.setting("sync_proxy") is None


@pytest.mark.parametrize("text", [HOSTILE, "/etc/" + HOSTILE, "x" * 10_000, "relative/ca.pem", "\x00"])
def test_any_text_in_a_field_is_answered_beside_it(store: Store, text: str) -> None:
    async def talk(page: SettingsPage, pilot: Pilot[Any]) -> None:
        await typed(page, pilot, "caFile", text)
        wrong = says(page, "#wrong-caFile")
        assert "CA file: expected the whole path" in wrong
        assert "\x1b" not in wrong
        assert "\u202e" not in wrong
        await pilot.press("ctrl+s")
        assert says(page, "#said") == "not saved: caFile"

    shown(store, talk)
    assert Settings.load(store) == Settings()


def test_settings_that_cannot_be_read_are_no_page(store: Store) -> None:
    store.set_settings(sync_interval_s="often")
    with pytest.raises(Invalid, match="interval: expected a whole number"):
        SettingsPage(store)


def test_in_a_terminal_the_page_opens_and_leaves(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home", tmp_path)
    ours, theirs = pty.openpty()
    started = subprocess.Popen(
        [sys.executable, "-m", "devflow_agent", "config"],
        cwd=tmp_path,
        env={**cli.env, "TERM": "xterm-256color", "LINES": "40"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        assert "syncInterval" in until_shown(ours, "syncInterval")
        os.write(ours, b"\x1b")
        until_shown(ours, None)
        assert started.wait(timeout=30) == 0
    finally:
        started.kill()
        os.close(ours)


def until_shown(terminal: int, text: str | None, timeout_s: float = 30) -> str:
    """What is written to the terminal until ``text`` is, or with None to its end."""
    seen, deadline = b"", time.monotonic() + timeout_s
    while text is None or text.encode() not in seen:
        assert time.monotonic() < deadline, seen[-500:]
        if select.select([terminal], [], [], 1)[0]:
            try:
                seen += os.read(terminal, 65_536)
            except OSError:  # nobody writes any more
                break
    return seen.decode(errors="replace")


# For scripts


def test_settings_are_read_and_written_one_by_one(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home", tmp_path)
    assert cli.ok("config", "get", "syncInterval") == "300\n"
    assert cli.ok("config", "set", "syncInterval", "60") == "syncInterval is 60 (set)\n"
    assert cli.json("config", "get", "syncInterval") == {"value": 60, "from": "set", "device": None}
    assert cli.json("config")["syncInterval"] == {"value": 60, "from": "set", "device": None}
    assert cli.json("config") == cli.json("sync", "configure")
    assert cli.ok("config", "set", "syncOnStart", "false") == "syncOnStart is false (set)\n"
    assert cli.ok("config", "get", "proxy") == "-\n"
    assert (
        cli.json("config", "set", "proxy", "http://u:p@h.example.org:1")["value"]
        == "http://***@h.example.org:1"
    )
    assert cli.ok("config", "set", "proxy", "") == "proxy is - (default)\n"
    assert cli.ok("config", "unset", "syncInterval") == "syncInterval is 300 (default)\n"
    assert "expected a terminal" in cli.fails(2, "config")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("get", "colour"), "expected one of syncEnabled"),
        (("set", "syncInterval", "5"), "from 10 to 86400"),
        (("set", "syncInterval", ""), "expected a whole number"),
        (("set", "syncInterval", "1e3"), "expected a whole number"),
        (("set", "syncOnStart", "maybe"), "expected true or false"),
        (("set", "alertFailureRate", "inf"), "at most 1"),
        (("set", "caFile", HOSTILE), "expected the whole path"),
        (("set", HOSTILE, "1"), "expected one of syncEnabled"),
        (("set", "syncInterval"), "Missing argument"),
        (("--json", "get", "proxy"), "--json behind the command"),
    ],
)
def test_a_wrong_name_or_value_is_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    cli = Cli(tmp_path / "home", tmp_path)
    for name in ("HTTPS_PROXY", "https_proxy"):
        cli.env.pop(name, None)
    message = cli.fails(2, "config", *arguments)
    assert said in message
    assert "\x1b" not in message
