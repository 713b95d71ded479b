"""Settings in common with the person's other PCs: if wanted, in one request a round; the last change wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from devflow import wire
from devflow.errors import Invalid
from devflow_agent import choices, settings, sharing
from devflow_agent import outbox as rows
from devflow_agent.config import now_ms
from devflow_agent.settings import Settings
from tests.agent.outbox import Outbox
from tests.agent.scripted_server import Answer, ScriptedServer, Seen, problem
from tests.cli import Cli

LAP = "ffffffff-0000-4000-8000-000000000000"
HOSTILE = "\x1b[2J\u202eevil"


@pytest.fixture
def sharing_box(outbox: Outbox, server: ScriptedServer) -> Outbox:
    server.device_id = str(outbox.store.device_id())
    settings.keep(outbox.store, {"sync_share_settings": True})
    return outbox


@pytest.fixture
def cli(sharing_box: Outbox, tmp_path: Path) -> Cli:
    return Cli(sharing_box.home.path, tmp_path)


def asked(server: ScriptedServer) -> list[str]:
    return [f"{seen.method} {seen.path}" for seen in server.seen if seen.path.startswith("/sync/settings")]


def told(server: ScriptedServer) -> list[dict[str, Any]]:
    """The changes of the last PUT."""
    return list([seen for seen in server.seen if seen.method == "PUT"][-1].json["settings"])


def chosen_on_lap(server: ScriptedServer, key: str, value: Any, at_ms: int = 5) -> None:
    server.settings[key] = {"key": key, "value": value, "changedAt": at_ms}


def test_who_does_not_share_tells_and_takes_nothing(outbox: Outbox, server: ScriptedServer) -> None:
    chosen_on_lap(server, "syncInterval", 60)
    choices.change(outbox.store, {"alert_queue_size": 7})
    outbox.record(1)
    outbox.push()
    assert asked(server) == []
    assert Settings.load(outbox.store).sync_interval_s == 300
    assert outbox.store.setting(settings.CHANGED_AT) is None


def test_what_was_chosen_elsewhere_holds_after_a_round_and_says_where(
    sharing_box: Outbox, server: ScriptedServer
) -> None:
    chosen_on_lap(server, "syncInterval", 60)
    chosen_on_lap(server, "syncMode", "batch")
    chosen_on_lap(server, "syncDownload", None)
    sharing_box.push()
    found = Settings.load(sharing_box.store)
    assert (found.sync_interval_s, found.sync_mode) == (60, "batch")
    seen = {one.choice.name: one for one in choices.seen(found, sharing_box.store)}
    assert (seen["syncInterval"].source, seen["syncInterval"].device) == ("set", "lap")
    assert seen["syncInterval"].origin == "set on lap"
    assert (seen["syncDownload"].source, seen["batchSize"].device) == ("default", None)
    choices.change(sharing_box.store, {"sync_interval_s": 60})
    seen = {one.choice.name: one for one in choices.seen(found, sharing_box.store)}
    assert seen["syncInterval"].device is None, "it was chosen here since"


def test_a_change_is_told_once_and_then_nothing_but_the_version_is_asked(
    sharing_box: Outbox, server: ScriptedServer
) -> None:
    settings.keep(sharing_box.store, {"sync_interval_s": 60}, at_ms=1_000)
    sharing_box.push()
    assert told(server) == [{"key": "syncInterval", "value": 60, "changedAt": 1_000}]
    sharing_box.push()
    sharing_box.push()
    assert [each.partition("=")[0] for each in asked(server)] == [
        "PUT /sync/settings",
        *["GET /sync/settings?known"] * 2,
    ]
    assert asked(server)[1] == asked(server)[2] != "GET /sync/settings?known=", "the answer told a version"
    settings.keep(sharing_box.store, {}, ["sync_interval_s"], at_ms=2_000)
    sharing_box.push()
    assert told(server) == [{"key": "syncInterval", "value": None, "changedAt": 2_000}]
    assert len(asked(server)) == 4


def test_only_what_no_other_pc_sends_more_by_is_told(sharing_box: Outbox, server: ScriptedServer) -> None:
    settings.keep(
        sharing_box.store,
        {
            "sync_enabled": True,
            "sync_batch_size": 10,
            "sync_ca_file": "/ca.pem",
            "alert_desktop": False,
            "sync_download": True,
        },
    )
    sharing_box.store.set_settings(author_keys=["0" * 32])
    sharing_box.push()
    assert [one["key"] for one in told(server)] == ["syncDownload"]
    assert set(sharing.FIELDS) == {
        *("syncInterval", "syncMode", "syncOnStart", "syncDownload"),
        *("alertQueue", "alertFailureRate", "alertOffline"),
    }


def test_what_was_chosen_before_gives_way_and_is_told_where_nothing_is_shared(
    outbox: Outbox, server: ScriptedServer
) -> None:
    choices.change(outbox.store, {"sync_interval_s": 90, "alert_queue_size": 7})
    chosen_on_lap(server, "syncInterval", 60)
    choices.change(outbox.store, {"sync_share_settings": True})

    def the_later_wins(_server: ScriptedServer, seen: Seen) -> None:
        for one in seen.json["settings"]:
            assert one["changedAt"] == 0
            server.settings.setdefault(one["key"], one)

    answer = server.answer

    def ordered(seen: Seen) -> Answer | None:
        if seen.method == "PUT":
            the_later_wins(server, seen)
            return answer(Seen("GET", "/sync/settings?known=", seen.headers, b"", 0))
        return answer(seen)

    server.answer = ordered  # type: ignore[method-assign]
    outbox.push()
    found = Settings.load(outbox.store)
    assert (found.sync_interval_s, found.alert_queue_size) == (60, 7)
    assert server.settings["alertQueue"]["value"] == 7


def test_a_change_made_after_another_was_seen_is_later_by_whatever_clock(
    sharing_box: Outbox, server: ScriptedServer
) -> None:
    chosen_on_lap(server, "syncInterval", 60, at_ms=9_000_000)
    sharing_box.push()
    settings.keep(sharing_box.store, {"sync_interval_s": 90}, at_ms=5)
    sharing_box.push()
    assert told(server) == [{"key": "syncInterval", "value": 90, "changedAt": 9_000_001}]


def test_a_clock_that_is_known_to_be_wrong_is_reckoned_with(
    sharing_box: Outbox, server: ScriptedServer
) -> None:
    rows.note_clock_skew(sharing_box.store, 3_600_000)
    settings.keep(sharing_box.store, {"sync_interval_s": 60}, at_ms=10_000_000)
    sharing_box.push()
    assert told(server)[0]["changedAt"] == 6_400_000


def test_a_refused_change_is_told_why_and_again_when_the_clock_is_known(
    sharing_box: Outbox, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead_ms = now_ms() + 86_400_000
    settings.keep(sharing_box.store, {"sync_interval_s": 60}, at_ms=ahead_ms)
    answer = server.answer
    with monkeypatch.context() as patched:
        refused = problem(400, "expected changes up to now: set the clock of this PC")
        patched.setattr(server, "answer", lambda seen: refused if seen.method == "PUT" else answer(seen))
        sharing_box.record(1)
        assert sharing_box.push(clock=lambda: ahead_ms).synced == 1, "events are not held up"
    assert "set the clock" in (sharing.trouble(sharing_box.store) or "")
    rows.note_clock_skew(sharing_box.store, 86_400_000)
    sharing_box.push(clock=lambda: ahead_ms)
    assert told(server)[0]["changedAt"] == ahead_ms - 86_400_000
    assert sharing.trouble(sharing_box.store) is None


def test_a_change_whose_answer_was_lost_is_told_again_with_its_time(
    sharing_box: Outbox, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.keep(sharing_box.store, {"sync_interval_s": 60}, at_ms=7)
    answer = server.answer
    with monkeypatch.context() as patched:
        patched.setattr(server, "answer", lambda seen: None if seen.method == "PUT" else answer(seen))
        sharing_box.push()
    assert sharing.trouble(sharing_box.store) is not None
    sharing_box.push()
    assert told(server) == [{"key": "syncInterval", "value": 60, "changedAt": 7}]


def test_a_change_that_a_restored_server_has_lost_is_told_again(
    sharing_box: Outbox, server: ScriptedServer
) -> None:
    settings.keep(sharing_box.store, {"sync_interval_s": 60}, at_ms=7)
    sharing_box.push()
    sharing_box.push()
    server.settings.clear()
    sharing_box.push()
    assert Settings.load(sharing_box.store).sync_interval_s == 60
    sharing_box.push()
    assert server.settings["syncInterval"]["value"] == 60


def test_an_older_change_in_its_place_does_not_hold(sharing_box: Outbox, server: ScriptedServer) -> None:
    settings.keep(sharing_box.store, {"sync_interval_s": 60}, at_ms=7)
    sharing_box.push()
    chosen_on_lap(server, "syncInterval", 90, at_ms=6)
    sharing_box.push()
    assert Settings.load(sharing_box.store).sync_interval_s == 60
    sharing_box.push()
    assert server.settings["syncInterval"]["value"] == 60


def test_what_is_changed_while_the_server_answers_stays_and_is_told_the_next_time(
    sharing_box: Outbox, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen_on_lap(server, "syncInterval", 90, at_ms=6)
    answer = server.answer

    def meanwhile(seen: Seen) -> Answer | None:
        if "/sync/settings" in seen.path:
            settings.keep(sharing_box.store, {"sync_interval_s": 60}, at_ms=5)
        return answer(seen)

    with monkeypatch.context() as patched:
        patched.setattr(server, "answer", meanwhile)
        sharing_box.push()
    assert Settings.load(sharing_box.store).sync_interval_s == 60
    assert "sync_interval_s" not in sharing.chosen_elsewhere(sharing_box.store)
    sharing_box.push()
    assert told(server) == [{"key": "syncInterval", "value": 60, "changedAt": 7}]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("syncEnabled", False),
        ("proxy", "http://evil.example:1"),
        ("sync_enabled", False),
        ("author_keys", "x"),
        ("syncInterval", 1),
        ("syncInterval", "60"),
        ("syncInterval", True),
        ("syncMode", HOSTILE),
        ("alertFailureRate", 7),
        ("ofANewerServer", 1),
    ],
)
def test_a_server_can_set_nothing_else_and_nothing_out_of_range(
    sharing_box: Outbox, server: ScriptedServer, key: str, value: Any
) -> None:
    before = Settings.load(sharing_box.store)
    chosen_on_lap(server, key, value)
    chosen_on_lap(server, "alertOffline", 120)
    sharing_box.push()
    after = Settings.load(sharing_box.store)
    assert after == before.with_values({"alert_offline_s": 120}), "the others hold"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"version": 1, "settings": []}', b'{"version":"a"}', b"\xff"])
def test_what_is_no_answer_changes_nothing(
    sharing_box: Outbox, server: ScriptedServer, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, answer = Settings.load(sharing_box.store), server.answer
    broken = Answer(200, body)
    monkeypatch.setattr(
        server, "answer", lambda seen: broken if "/sync/settings" in seen.path else answer(seen)
    )
    sharing_box.record(1)
    assert sharing_box.push().synced == 1
    assert Settings.load(sharing_box.store) == before
    assert sharing.trouble(sharing_box.store) is not None


def test_another_account_begins_anew(sharing_box: Outbox, server: ScriptedServer) -> None:
    store = sharing_box.store
    chosen_on_lap(server, "syncInterval", 60)
    sharing_box.push()
    assert sharing.chosen_elsewhere(store) == {"sync_interval_s": "lap"}

    class Nothing:
        told: wire.ChangeSettings | None = None

        def shared_settings(self, known: str) -> wire.SharedSettings:
            raise AssertionError("expected what is set here to be told")

        def change_settings(self, changes: wire.ChangeSettings) -> wire.SharedSettings:
            self.told = changes
            return wire.SharedSettings(version="v", settings=[])

    other = Nothing()
    sharing.agree(store, other, sharing.This("another", store.device_id()), now_ms())
    assert other.told is not None
    assert [(one.key, one.changed_at) for one in other.told.settings] == [("syncInterval", 0)]
    assert sharing.chosen_elsewhere(store) == {}


def test_switched_off_it_is_forgotten_and_the_values_stay(
    sharing_box: Outbox, server: ScriptedServer
) -> None:
    chosen_on_lap(server, "syncInterval", 60)
    sharing_box.push()
    choices.change(sharing_box.store, {"sync_share_settings": False})
    assert sharing_box.store.setting(settings.SHARED) is None
    assert Settings.load(sharing_box.store).sync_interval_s == 60
    asked_before = len(asked(server))
    sharing_box.push()
    assert len(asked(server)) == asked_before


def test_every_way_to_change_a_setting_is_noted(sharing_box: Outbox) -> None:
    store = sharing_box.store
    choices.change(store, {"alert_queue_size": 7}, ["sync_mode"])
    Settings.load(store).changed(interval_s=60).save_sync(store)
    assert set(store.setting(settings.CHANGED_AT)) >= {"alert_queue_size", "sync_mode", "sync_interval_s"}


EDGES = {
    "syncInterval": (settings.MIN_INTERVAL_S, settings.MAX_INTERVAL_S),
    "alertQueue": (1, settings.MAX_ALERT_QUEUE),
    "alertOffline": (settings.MIN_ALERT_OFFLINE_S, settings.MAX_ALERT_OFFLINE_S),
}


@pytest.mark.parametrize("name", EDGES)
def test_the_contract_has_the_bounds_of_the_settings(name: str) -> None:
    least, most = EDGES[name]
    for value, is_good in ((least - 1, False), (least, True), (most, True), (most + 1, False)):
        change = {"key": name, "value": value, "changedAt": 1}
        if is_good:
            msgspec.convert(change, wire.SettingChange)
            Settings().with_values({sharing.FIELDS[name]: value})
        else:
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert(change, wire.SettingChange)
            with pytest.raises(Invalid):
                Settings().with_values({sharing.FIELDS[name]: value})


# The command line


def test_it_is_switched_on_and_shown_by_the_command_line(cli: Cli, server: ScriptedServer) -> None:
    done = cli.json("sync", "configure", "--share-settings", "--download")
    assert done["shareSettings"] == {"value": True, "from": "set", "device": None}
    server.settings["syncInterval"] = {
        "key": "syncInterval",
        "value": 60,
        "changedAt": 5,
        "deviceName": HOSTILE,
        "deviceId": LAP,
    }
    cli.ok("sync", "push")
    assert cli.json("sync", "configure")["syncInterval"] == {"value": 60, "from": "set", "device": HOSTILE}
    shown = cli.ok("sync", "configure")
    assert "\x1b" not in shown and "\u202e" not in shown and "set on " in shown
    status = cli.json("sync", "status")
    assert (status["sharesSettings"], status["sharingTrouble"]) == (True, None)
    assert "settings  in common with your other PCs" in cli.ok("sync", "status")


# Names of projects


def test_a_linked_project_is_called_as_the_server_calls_it_now(
    outbox: Outbox, server: ScriptedServer
) -> None:
    outbox.record(1)
    outbox.push()
    server.projects[0]["name"] = "Shop 2"
    asked_before = len(server.seen)
    outbox.push()
    assert len(server.seen) == asked_before, "who does nothing asks nothing"
    outbox.record(1)
    outbox.push()
    assert [project.remote_name for project in outbox.store.projects()] == ["Shop 2"]


def test_a_project_that_is_not_told_of_any_more_keeps_its_name(
    outbox: Outbox, server: ScriptedServer
) -> None:
    server.projects.clear()
    outbox.record(1)
    outbox.push()
    assert [project.remote_name for project in outbox.store.projects()] == ["Shop"]
