"""What sync says of itself: four numbers everywhere, and alerts that begin once and end once."""

from __future__ import annotations

import os
import queue
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import devflow
from devflow import wire
from devflow.errors import Offline
from devflow_agent import alerts, daemon, desktop, measures
from devflow_agent.alerts import Alert
from devflow_agent.analyse.sync_state import sync_state
from devflow_agent.config import now_ms
from devflow_agent.measures import Measures
from devflow_agent.outbox import Attempt, settle
from devflow_agent.settings import Settings
from tests.agent.outbox import Outbox
from tests.agent.scripted_server import ScriptedServer, hang_up
from tests.cli import Cli

ON = Settings(sync_enabled=True)
QUIET = Measures(
    queue_size=0,
    attempts=(),
    success_rate=None,
    average_latency_ms=None,
    last_success_ms=None,
    offline_since_ms=None,
)


def attempt(outcome: str = "ok", latency_ms: int | None = 20, at_ms: int = 0, sent: int = 10) -> Attempt:
    return Attempt(at_ms, sent, 0, 0, 100, latency_ms, outcome, "")


def failing(share: float, of: int = 100) -> Measures:
    failed = round(share * of)
    return replace(QUIET, attempts=[attempt("refused")] * failed + [attempt()] * (of - failed))


def test_an_alert_begins_at_its_limit_and_ends_clearly_below() -> None:
    def after(sizes: list[int]) -> list[bool]:
        on: dict[Alert, int] = {}
        seen = []
        for at, size in enumerate(sizes):
            on = alerts.judged(on, replace(QUIET, queue_size=size), ON, at)
            seen.append(Alert.QUEUE in on)
        return seen

    assert after([1_000, 1_001, 1_000, 900, 801, 800, 900, 1_000, 1_001]) == [
        *[False, True, True, True, True, False, False, False, True],
    ]


def test_a_share_of_failures_counts_from_ten_attempts_on() -> None:
    assert alerts.judged({}, failing(0.5, of=9), ON, 5) == {}
    assert alerts.judged({}, failing(0.1), ON, 5) == {}, "at the limit, not above"
    on = alerts.judged({}, failing(0.11), ON, 5)
    assert on == {Alert.FAILURES: 5}
    assert alerts.judged(on, failing(0.06), ON, 9) == {Alert.FAILURES: 5}, "since when it began"
    assert alerts.judged(on, failing(0.05), ON, 9) == {}


def test_being_offline_counts_from_the_first_attempt_that_reached_nobody(
    outbox: Outbox, server: ScriptedServer
) -> None:
    outbox.record(1)
    began = now_ms()
    for minute in range(3):
        server.script.append(hang_up)
        with pytest.raises(Offline):
            outbox.push(clock=lambda minute=minute: began + 60_000 * minute)
    found = measures.measured(outbox.store)
    assert found.offline_since_ms == began
    assert alerts.judged({}, found, ON, began + 3_600_000) == {}
    assert alerts.judged({}, found, ON, began + 3_600_001) == {Alert.OFFLINE: began + 3_600_001}
    outbox.push(clock=lambda: began + 200_000)
    assert measures.measured(outbox.store).offline_since_ms is None


def test_who_switched_sync_off_is_not_alerted() -> None:
    full = replace(QUIET, queue_size=5_000, offline_since_ms=0)
    assert alerts.judged({Alert.QUEUE: 1}, full, Settings(), 10**12) == {}
    assert alerts.judged({}, full, replace(ON, alert_queue_size=5_000, alert_offline_s=86_400), 10**7) == {}


def test_each_alert_is_said_once_on_the_desktop_too_and_so_is_its_end(outbox: Outbox) -> None:
    said: list[str] = []
    shown: list[tuple[str, str]] = []

    def watch(at_ms: int) -> alerts.Watch:
        return alerts.Watch(
            outbox.store, said.append, notify=lambda *text: shown.append(text), clock=lambda: at_ms
        )

    outbox.record(1_001)
    first = watch(50)
    first.look()
    first.look()
    assert said == ["alert: 1,001 events wait to be sent, limit 1,000: `devflow sync queue`"]
    assert [title for title, _ in shown] == ["DevFlow sync"]
    watch(60).look()
    assert len(said) == 1, "another daemon knows what was said"
    assert alerts.raised(outbox.store) == {Alert.QUEUE: 50}
    outbox.push()
    watch(70).look()
    assert said[1:] == ["alert is over: queue"]
    assert len(shown) == 1
    assert alerts.raised(outbox.store) == {}


def test_who_wants_none_on_the_desktop_gets_none(outbox: Outbox) -> None:
    said: list[str] = []
    shown: list[tuple[str, str]] = []
    outbox.store.set_settings(alert_desktop=False, alert_queue_size=1)
    outbox.record(2)
    alerts.Watch(outbox.store, said.append, notify=lambda *text: shown.append(text)).look()
    assert (len(said), shown) == (1, [])


def test_a_daemon_says_alerts_while_its_sync_is_busy(outbox: Outbox) -> None:
    stop, said = threading.Event(), queue.SimpleQueue[str]()
    outbox.store.set_settings(alert_queue_size=1, alert_desktop=False)
    outbox.record(2)
    running = threading.Thread(
        target=daemon.run,
        args=(outbox.home,),
        kwargs={"stop": stop, "on_message": said.put, "sync": lambda: stop.wait(30) and None},
    )
    running.start()
    try:
        while not (heard := said.get(timeout=30)).startswith("alert: "):
            pass
    finally:
        stop.set()
        running.join()
    assert heard == "alert: 2 events wait to be sent, limit 1: `devflow sync queue`"


def test_the_numbers_are_told_by_the_command_line(outbox: Outbox, tmp_path: Path) -> None:
    cli = Cli(outbox.home.path, tmp_path)
    before = cli.json("sync", "status")
    assert (before["syncQueueSize"], before["lastSyncTime"]) == (0, None)
    assert (before["syncSuccessRate"], before["averageSyncLatency"], before["alerts"]) == (None, None, [])
    assert (before["networkQuality"], before["currentBatchSize"]) == ("unknown", 100)
    outbox.record(1_001)
    now = now_ms()
    settle(outbox.store, (), attempt=attempt("offline", None, now - 4_000_000))
    found = cli.json("sync", "status")
    assert (found["syncQueueSize"], found["syncSuccessRate"], found["averageSyncLatency"]) == (1_001, 0, None)
    assert {one["alert"] for one in found["alerts"]} == {"queue", "offline"}
    text = cli.ok("sync", "status")
    assert "1,001 events wait to be sent, limit 1,000" in text
    assert "the server is out of reach since" in text
    assert "network   unknown: 100 events an upload at most; 0.0% of attempts worked" in text
    assert alerts.raised(outbox.store) == {}, "to look says nothing to anybody"


def test_an_upload_tells_the_server_numbers_and_nothing_else(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(150)
    outbox.store.set_settings(
        sync_on_start=False, sync_proxy="http://u:p@127.0.0.1:1", author_keys=["0" * 32]
    )
    outbox.store.set_settings(sync_proxy=None)
    outbox.push()
    first, second = (upload.headers["DevFlow-Sync"] for upload in server.uploads)
    assert (
        first
        == f"queue=50, interval=300, batch=1000, start=0, version={wire.version_number(devflow.__version__)}"
    )
    report = wire.read_report(second)
    assert (report.queue, report.success) == (0, 1_000)
    assert report.latency is not None


def test_a_status_costs_no_more_with_a_long_history(outbox: Outbox) -> None:
    for number in range(300):
        settle(outbox.store, (), attempt=attempt(at_ms=number))
    assert len(measures.measured(outbox.store).attempts) == measures.JUDGED_ATTEMPTS
    assert sync_state(outbox.home, outbox.store).success_rate == 1


# On the desktop


def fake_program(folder: Path, script: str) -> None:
    program = folder / "notify-send"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)


def test_a_notification_is_given_as_arguments_and_never_through_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(tmp_path, f'for each in "$@"; do echo "$each"; done > {tmp_path}/seen')
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":0")
    assert desktop.notify("--title", "$(touch /nowhere); `x`")
    seen = (tmp_path / "seen").read_text().splitlines()
    assert seen == ["--app-name=DevFlow", "--", "--title", "$(touch /nowhere); `x`"]


@pytest.mark.parametrize("script", [None, "exit 1", "kill -9 $$"])
def test_a_desktop_that_is_not_there_or_fails_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    if script is not None:
        fake_program(tmp_path, script)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    monkeypatch.setenv("DISPLAY", ":0")
    assert desktop.notify("a", "b") is False


def test_without_a_screen_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_program(tmp_path, f"touch {tmp_path}/started")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert desktop.notify("a", "b") is False
    assert not (tmp_path / "started").exists()
