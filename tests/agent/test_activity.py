"""The developer's own numbers from the store alone; test_local_numbers.py holds them to the server's."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from devflow import wire
from devflow.errors import Invalid
from devflow.windows import Grain
from devflow_agent.analyse import activity, asking
from devflow_agent.analyse.activity import Activity, Numbers, Question
from devflow_agent.analyse.kept import KEPT_FOR_MS, Kept
from devflow_agent.local_calendar import Calendar
from devflow_agent.plain import plain
from devflow_agent.store import Observation, Store

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
ME, BOB = "a" * 32, "b" * 32
UTC = Calendar(ZoneInfo("UTC"))
BERLIN = Calendar(ZoneInfo("Europe/Berlin"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "home" / "devflow.db")
    store.set_settings(author_keys=[ME])
    return store


def record(store: Store, *observations: Observation, name: str = "shop") -> None:
    project = store.add_project(name, Path("/src") / name, Path("/src") / name / ".git", 0)
    store.add(project.id, observations)


def save(timestamp_ms: int, path: str = "a.py") -> Observation:
    return Observation.own(timestamp_ms, wire.FileSaved(path=path, size_bytes=1))


def commit(timestamp_ms: int, author: str, insertions: int, path: str = "a.py") -> Observation:
    data = wire.Commit(
        sha="0" * 40,
        parents=[],
        author=author,
        committer=author,
        committed_at=timestamp_ms,
        insertions=insertions,
        deletions=1,
        files_changed=1,
        files=[wire.FileChange(path=path, insertions=insertions, deletions=1)],
    )
    return Observation(uuid4(), timestamp_ms, data)


def at(text: str, calendar: Calendar = BERLIN) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=calendar.zone).timestamp() * 1_000)


def days(
    store: Store, first: int, end: int, calendar: Calendar = UTC, project_id: UUID | None = None
) -> Activity:
    return activity.count(store, Question(Grain.DAY, first, end, calendar, (ME,), project_id))


def test_a_day_is_one_of_the_calendar_also_when_the_clock_changes(store: Store) -> None:
    midnight, next_midnight = at("2026-10-25"), at("2026-10-26")
    assert next_midnight - midnight == 25 * HOUR
    record(
        store,
        save(midnight - 1),
        save(midnight),
        save(next_midnight - 1),
        save(next_midnight + 5 * MINUTE - 1),
    )
    found = days(store, midnight - 1, next_midnight + HOUR, BERLIN)
    assert [(part.group, part.numbers.events) for part in found.parts] == [
        ("2026-10-24", 1),
        ("2026-10-25", 2),
        ("2026-10-26", 1),
    ]
    assert [part.numbers.active_ms for part in found.parts] == [1, 1, 5 * MINUTE - 1]
    assert found.zone == "Europe/Berlin"


def test_the_hour_that_a_clock_shows_twice_is_two_hours(store: Store) -> None:
    first = at("2026-10-25T02:10")
    record(store, save(first), save(first + 5 * MINUTE), save(first + HOUR))
    asked = Question(Grain.HOUR, first, first + HOUR + 1, BERLIN, (ME,))
    assert [(part.group, part.numbers.events) for part in activity.count(store, asked).parts] == [
        ("2026-10-25T02:00+02:00", 2),
        ("2026-10-25T02:00+01:00", 1),
    ]


def test_a_gap_is_known_also_where_it_reaches_over_the_ends_of_what_is_asked(store: Store) -> None:
    record(store, save(DAY - 5 * MINUTE), save(DAY + 5 * MINUTE))
    record(store, save(2 * DAY - 2 * MINUTE), save(2 * DAY + 8 * MINUTE))
    assert days(store, DAY, 2 * DAY).total == Numbers(events=2, files=1, active_ms=7 * MINUTE)


def test_what_others_did_is_told_apart_and_is_no_active_time(store: Store) -> None:
    noon = DAY + 12 * HOUR
    record(
        store,
        commit(noon, ME, 5),
        commit(noon + 5 * MINUTE, BOB, 100, path="b.py"),
        save(noon + 10 * MINUTE, "a.py"),
        save(noon + 60 * MINUTE, "c.py"),
        commit(noon + 70 * MINUTE, BOB, 100),
    )
    assert days(store, DAY, 2 * DAY).total == Numbers(
        events=3,
        commits=1,
        insertions=5,
        deletions=1,
        files=2,
        active_ms=10 * MINUTE,
        events_by_others=2,
        commits_by_others=2,
        files_by_others=1,
    )


def test_a_light_tag_is_nobodys_work(store: Store) -> None:
    tag = wire.TagCreated(tag="v1", sha="0" * 40, author=None)
    record(store, save(DAY), Observation(uuid4(), DAY + MINUTE, tag))
    assert days(store, DAY, 2 * DAY).total == Numbers(events=1, files=1, events_by_others=1)


def test_the_projects_of_a_day_add_up_to_the_person(store: Store) -> None:
    record(store, save(DAY), save(DAY + 12 * MINUTE), name="shop")
    record(store, save(DAY + 6 * MINUTE), save(DAY + 20 * MINUTE), name="till")
    whole = days(store, DAY, DAY + HOUR).total.active_ms
    parts = [
        days(store, DAY, DAY + HOUR, project_id=project.id).total.active_ms for project in store.projects()
    ]
    assert whole == sum(parts) == 20 * MINUTE
    assert parts == [14 * MINUTE, 6 * MINUTE]


def test_the_same_path_in_two_projects_is_two_files(store: Store) -> None:
    record(store, save(DAY), save(DAY + 1), name="shop")
    record(store, save(DAY + 2), name="till")
    assert days(store, DAY, 2 * DAY).total.files == 2


# Questions


@pytest.mark.parametrize(
    ("by", "first", "windows"),
    [
        (Grain.HOUR, "2026-10-25T01:00", 24),
        (Grain.DAY, "2026-10-19", 7),
        (Grain.WEEK, "2026-08-31", 8),
        (Grain.MONTH, "2025-11-01", 12),
    ],
)
def test_without_a_range_it_is_the_last_windows_with_the_one_under_way(
    store: Store, by: Grain, first: str, windows: int
) -> None:
    now_ms = at("2026-10-25T23:30")
    # The day has 25 hours: the first of 24 is at one o'clock.
    asked = asking.question(store, BERLIN, now_ms, by=by)
    assert asked.since_ms == at(first)
    assert asked.since_ms < now_ms < asked.until_ms
    assert len(activity.count(store, asked).parts) == windows


def test_a_range_is_widened_to_the_whole_windows_that_hold_it_and_ends_with_the_one_under_way(
    store: Store,
) -> None:
    now_ms = at("2026-11-19T15:30")
    asked = asking.question(
        store, BERLIN, now_ms, by=Grain.WEEK, since="2026-11-04T10:00:00+00:00", until="2026-11-09"
    )
    assert (asked.since_ms, asked.until_ms) == (at("2026-11-02"), at("2026-11-09"))
    asked = asking.question(store, BERLIN, now_ms, since="2026-11-19", until="2027-01-01")
    assert (asked.since_ms, asked.until_ms) == (at("2026-11-19"), at("2026-11-20"))


@pytest.mark.parametrize(
    ("by", "since", "until", "message"),
    [
        (Grain.DAY, "2026-11-20", None, "expected since before until and not in the future"),
        (Grain.DAY, "2026-11-02", "2026-11-02", "expected since before until"),
        (Grain.HOUR, "2026-01-01", None, "expected at most 92 days by hour, got 32"),
        (Grain.DAY, "yesterday", None, "since: expected an ISO 8601 date"),
        (Grain.DAY, None, "1960-01-01", "until: expected an ISO 8601 date"),
        (Grain.DAY, "9999-12-31T23:59:59", None, "since: expected an ISO 8601 date"),
    ],
)
def test_a_range_that_is_none_is_refused_in_words(
    store: Store, by: Grain, since: str | None, until: str | None, message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        asking.question(store, BERLIN, at("2026-11-19T15:30"), by=by, since=since, until=until)


# What is kept


def test_what_was_counted_is_told_again_until_an_event_comes(store: Store) -> None:
    record(store, save(DAY))
    kept, asked = Kept(), Question(Grain.DAY, DAY, 2 * DAY, UTC, (ME,))
    first = activity.answer(store, asked, kept, 0)
    forget_events(store)
    assert activity.answer(store, asked, kept, KEPT_FOR_MS) == first, "nothing was counted"
    record(store, save(DAY + MINUTE, "b.py"), save(DAY + MINUTE, "c.py"))
    assert activity.answer(store, asked, kept, 0).total.events == 2, "a new event shows at once"


def test_what_was_counted_is_counted_anew_after_five_minutes(store: Store) -> None:
    record(store, save(DAY))
    kept, asked = Kept(), Question(Grain.DAY, DAY, 2 * DAY, UTC, (ME,))
    activity.answer(store, asked, kept, 0)
    forget_events(store)
    assert activity.answer(store, asked, kept, KEPT_FOR_MS + 1).total.events == 0


def test_each_question_has_an_answer_of_its_own(store: Store) -> None:
    record(store, save(DAY - MINUTE), save(DAY + 5 * MINUTE), commit(DAY + HOUR, BOB, 1), name="shop")
    record(store, save(DAY + 10 * MINUTE), name="till")
    kept = Kept()
    till = store.projects()[1].id
    questions = [
        Question(by, DAY, until, calendar, author_keys, project_id)
        for by in Grain
        for until in (DAY + 1, 2 * DAY)
        for calendar in (UTC, BERLIN, Calendar(UTC.zone, 5 * MINUTE))
        for author_keys in ((ME,), (ME, BOB))
        for project_id in (None, till)
    ]
    for _ in range(2):
        for asked in questions:
            assert activity.answer(store, asked, kept, 0) == activity.count(store, asked)
    assert len(kept) == len(questions)


def forget_events(store: Store) -> None:
    """Change what would be counted, behind the back of whoever remembers: nothing was recorded."""
    with store.write() as connection:
        connection.execute("UPDATE events SET timestamp = 0")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("src/größe.py", "src/größe.py"),
        ("日本語/🙂.md", "日本語/🙂.md"),
        ("a\x1b[0mb", r"a\u{1b}[0mb"),
        ("a\nb\tc\r", r"a\u{a}b\u{9}c\u{d}"),
        ("\u202egpj.exe", r"\u{202e}gpj.exe"),
        ("a\u2028b\u200b\ufeff", r"a\u{2028}b\u{200b}\u{feff}"),
        ("\udcff", r"\u{dcff}"),
        ("\U000e0001\ue000", r"\u{e0001}\u{e000}"),
        ("x" * 600, "x" * 499 + "…"),
    ],
)
def test_text_is_shown_with_what_is_unsafe_spelled_out(text: str, shown: str) -> None:
    assert plain(text) == shown
