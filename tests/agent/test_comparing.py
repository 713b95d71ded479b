"""What the server has lost is found and sent again, and nothing else is; a scripted server loses it."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from devflow import wire
from devflow_agent import outbox as outbox_module
from devflow_agent.comparing import EVERY_MS, is_due
from devflow_agent.outbox import report_to
from devflow_agent.store import Observation, Store
from devflow_agent.sync import Pushed
from tests.agent import scripted_server
from tests.agent.outbox import START_MS, Outbox
from tests.agent.scripted_server import (
    Answer,
    ScriptedServer,
    Seen,
    answer_json,
    problem,
    refuse_first,
)

DAY_MS = wire.DAY_MS


def record_over_days(outbox: Outbox, days: int, each: int = 3) -> list[str]:
    """Saves and commits of many days, sent and confirmed; return their ids."""
    for day in range(days):
        at = START_MS + day * DAY_MS
        saves = [Observation.own(at + n, wire.FileSaved(path="a.py", size_bytes=n)) for n in range(each)]
        outbox.store.add(outbox.project.id, [*saves, commit(at, f"{day:040x}")])
    assert outbox.push().synced == days * (each + 1)
    return [row["id"] for row in outbox.rows()]


def commit(at_ms: int, sha: str) -> Observation:
    data = wire.Commit(
        sha=sha,
        parents=[],
        author="0" * 32,
        committer="0" * 32,
        committed_at=at_ms,
        insertions=0,
        deletions=0,
        files_changed=0,
        files=[],
    )
    return Observation(wire.fact_id(wire.EventType.COMMIT, sha), at_ms, data)


def asked(server: ScriptedServer, kind: str) -> list[Seen]:
    return [seen for seen in server.seen if kind in seen.path]


def lose(server: ScriptedServer, ids: list[str], *, is_told: bool = True) -> None:
    """As if a backup from before these events was restored."""
    for event_id in ids:
        del server.stored[event_id]
    if is_told:
        server.epoch = str(uuid4())


def test_after_a_restore_exactly_what_is_lost_is_sent_again(outbox: Outbox, server: ScriptedServer) -> None:
    ids = record_over_days(outbox, 10)
    lost = ids[5:9] + ids[30:33]
    lose(server, lost)
    outbox.record(1)  # whatever is sent next learns of the new epoch
    before = len(server.uploads)
    assert outbox.push() == Pushed(synced=1 + len(lost), lost=len(lost))
    assert sorted(event_id for seen in server.uploads[before + 1 :] for event_id in seen.ids) == sorted(lost)
    assert server.stored.keys() >= {*ids}
    assert outbox.statuses() == {"synced": len(ids) + 1}
    outbox.assert_counters_are_true()


def test_a_loss_that_no_epoch_tells_of_is_found_within_a_day(outbox: Outbox, server: ScriptedServer) -> None:
    ids = record_over_days(outbox, 2)
    compared = outbox_module.compared(outbox.store)
    assert compared is not None
    lose(server, ids[:1], is_told=False)
    assert outbox.push(clock=lambda: compared[1] + EVERY_MS - 1) == Pushed()
    assert outbox.push(clock=lambda: compared[1] + EVERY_MS) == Pushed(synced=1, lost=1)
    assert server.stored.keys() == {*ids}


def test_what_the_first_push_has_just_sent_is_not_compared(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(300)
    assert outbox.push(clock=lambda: START_MS) == Pushed(synced=300)
    assert asked(server, "/digests?") == []
    assert outbox.push(clock=lambda: START_MS + EVERY_MS) == Pushed()
    assert len(asked(server, "/digests?")) == 1


def test_what_a_restore_in_the_middle_of_the_first_push_took_is_found_at_its_end(
    outbox: Outbox, server: ScriptedServer
) -> None:
    def restored(server: ScriptedServer, seen: Seen) -> Answer:
        lose(server, [*server.stored])
        return scripted_server.store_all(server, seen)

    outbox.record(300)
    server.script.extend([scripted_server.store_all, restored])
    assert outbox.push() == Pushed(synced=400, lost=100)
    assert len(server.stored) == 300


def test_days_that_agree_are_not_named(outbox: Outbox, server: ScriptedServer) -> None:
    record_over_days(outbox, 400)
    server.epoch = str(uuid4())
    outbox.record(1)
    server.seen.clear()
    assert outbox.push() == Pushed(synced=1)
    assert len(asked(server, "/digests?")) == 2, "a year at a time"
    assert asked(server, "/missing") == []
    server.seen.clear()
    assert outbox.push() == Pushed()
    assert server.seen == [], "nothing to send, and nothing to compare before tomorrow"


def test_a_commit_that_a_colleague_reported_too_is_only_asked_for(
    outbox: Outbox, server: ScriptedServer
) -> None:
    ids = record_over_days(outbox, 2)
    facts = [event for event in server.stored.values() if event["eventType"] == "git.commit"]
    server.stored[str(uuid4())] = {**facts[0], "id": str(uuid4())}
    server.epoch = str(uuid4())
    outbox.record(1)
    server.seen.clear()
    assert outbox.push() == Pushed(synced=1)
    (question,) = asked(server, "/missing")
    assert [event["id"] for event in question.json["events"]] == [facts[0]["id"]]
    assert len(ids) == 8


def test_what_was_refused_for_good_is_not_sent_again(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(3)
    server.script.append(refuse_first("invalid", retryable=False))
    assert outbox.push() == Pushed(synced=2, failed=1)
    lose(server, list(server.stored))
    outbox.record(1)
    assert outbox.push() == Pushed(synced=3, lost=2)
    assert outbox.statuses() == {"synced": 3, "failed": 1}


def test_what_the_server_no_longer_keeps_is_not_missed(outbox: Outbox, server: ScriptedServer) -> None:
    ids = record_over_days(outbox, 4)
    # In the middle of a day, between its first event and its second.
    server.keeps_since = START_MS + 2 * DAY_MS + 1
    lose(server, [event["id"] for event in server.stored.values() if event["timestamp"] < server.keeps_since])
    outbox.record(0)
    server.seen.clear()
    assert outbox.push(clock=lambda: START_MS * 2) == Pushed()
    assert asked(server, "/missing") == []
    assert outbox.statuses() == {"synced": len(ids)}


def test_a_project_that_is_gone_holds_nothing_up(outbox: Outbox, server: ScriptedServer) -> None:
    server.projects.append({"projectId": str(uuid4()), "name": "Bank"})
    bank = outbox.store.add_project("bank", Path("/bank"), Path("/bank/.git"), START_MS)
    outbox.link(bank, 1)
    outbox.record(2)
    outbox.record(2, bank)
    outbox.push()
    gone, kept = server.projects[0], server.projects[1]
    server.projects = [kept]
    lost = [event["id"] for event in server.stored.values() if event["projectId"] == kept["projectId"]]
    lose(server, lost)
    outbox.record(1, bank)
    assert outbox.push() == Pushed(synced=3, lost=2)
    assert gone["projectId"] in {event["projectId"] for event in server.stored.values()}


@pytest.mark.parametrize("status", [400, 413, 500, 502])
def test_a_server_that_cannot_compare_does_not_fail_the_push(
    outbox: Outbox, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    ids = record_over_days(outbox, 2)
    lose(server, ids[:1])
    outbox.record(1)
    with monkeypatch.context() as broken:
        broken.setattr("tests.agent.scripted_server.digests", lambda *_: problem(status, "not now"))
        assert outbox.push() == Pushed(synced=1)
    assert outbox.push(clock=lambda: START_MS * 2) == Pushed(synced=1, lost=1)


@pytest.mark.parametrize("stranger", [None, "0c6e1f2a-5d38-4b6c-9a57-2f1f7be0a9d4"])
def test_a_strangers_word_that_events_are_missing_moves_none(
    outbox: Outbox, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, stranger: str | None
) -> None:
    ids = record_over_days(outbox, 1)
    lose(server, ids[:1])
    outbox.record(1)

    def lie(_server: ScriptedServer, _seen: Seen) -> Answer:
        told = answer_json(200, {"ids": ids})
        return Answer(told.status, told.body, told.headers, server=stranger)

    monkeypatch.setattr("tests.agent.scripted_server.missing", lie)
    assert outbox.push() == Pushed(synced=1)
    assert outbox.statuses() == {"synced": len(ids) + 1}


def test_an_id_that_was_not_asked_for_is_not_sent_again(
    outbox: Outbox, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = record_over_days(outbox, 2)
    lose(server, ids[:1])
    outbox.record(1)
    monkeypatch.setattr(
        "tests.agent.scripted_server.missing", lambda *_: answer_json(200, {"ids": [ids[0], ids[-1]]})
    )
    assert outbox.push() == Pushed(synced=1)
    assert outbox.statuses() == {"synced": len(ids) + 1}


def test_a_server_that_knows_no_digests_and_no_epoch_is_asked_once_a_day(
    outbox: Outbox, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.epoch = None
    monkeypatch.setattr("tests.agent.scripted_server.digests", lambda *_: problem(404, "no such thing"))
    outbox.record(2)
    assert outbox.push(clock=lambda: START_MS) == Pushed(synced=2)
    assert outbox.push(clock=lambda: START_MS + EVERY_MS) == Pushed()
    assert len(asked(server, "/digests?")) == 1
    assert outbox.push(clock=lambda: START_MS + EVERY_MS + 1) == Pushed()
    assert len(asked(server, "/digests?")) == 1


def test_switching_sync_off_ends_a_comparison_between_two_questions(
    outbox: Outbox, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = record_over_days(outbox, 2)
    lose(server, ids)
    outbox.record(1)

    answer_digests = scripted_server.digests

    def switched_off(server: ScriptedServer, seen: Seen) -> Answer:
        outbox.store.set_settings(sync_enabled=False)
        return answer_digests(server, seen)

    monkeypatch.setattr("tests.agent.scripted_server.digests", switched_off)
    server.seen.clear()
    assert outbox.push() == Pushed(synced=1)
    assert asked(server, "/missing") == []
    outbox.store.set_settings(sync_enabled=True)
    monkeypatch.setattr("tests.agent.scripted_server.digests", answer_digests)
    assert outbox.push(clock=lambda: START_MS * 2) == Pushed(synced=len(ids), lost=len(ids))


def test_a_restore_in_the_middle_of_a_comparison_is_compared_again(
    outbox: Outbox, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = record_over_days(outbox, 400, each=1)
    server.epoch = str(uuid4())
    outbox.record(1)

    answer_digests = scripted_server.digests

    def restored_after_the_first(server: ScriptedServer, seen: Seen) -> Answer:
        answer = answer_digests(server, seen)
        if ids[0] in server.stored:
            lose(server, ids[:1])
        return answer

    monkeypatch.setattr("tests.agent.scripted_server.digests", restored_after_the_first)
    assert outbox.push() == Pushed(synced=1)
    assert ids[0] not in server.stored
    outbox.record(1)
    assert outbox.push() == Pushed(synced=2, lost=1)


def test_it_is_due_at_first_daily_in_a_new_epoch_and_when_the_clock_went_back(store: Store) -> None:
    epoch, at_ms = uuid4(), 10 * DAY_MS
    assert is_due(store, None, at_ms)
    outbox_module.note_compared(store, epoch, at_ms)
    assert not is_due(store, epoch, at_ms)
    assert not is_due(store, None, at_ms + EVERY_MS - 1)
    assert is_due(store, None, at_ms + EVERY_MS)
    assert is_due(store, uuid4(), at_ms)
    assert is_due(store, epoch, at_ms - 1)
    report_to(store, uuid4())
    assert is_due(store, epoch, at_ms)
