"""Partitions: each event has a table, whatever its time, and a month goes without holding up uploads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from zoneinfo import ZoneInfo

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from devflow import db, jobs, partitions, retention, workspace
from devflow.db import Database
from devflow.models import Base, Event, Project
from devflow.partitions import Part, Partitions, ahead, attached, month_of
from devflow.rollups import Calendar
from devflow.wire import MAX_TIMESTAMP_MS, ErrorCode
from tests.build import DAY_MS, MINUTE_MS, NOW_MS, Member, World, saved
from tests.server.test_audit import context_of
from tests.server.test_concurrency import wait_for_a_lock
from tests.server.test_migrations import of_a_model
from tests.server.test_retention import at, codes, expire, keep, timestamps

on_postgres = pytest.mark.parametrize("backend", ["postgres"])  # SQLite has one table


def names(world: World) -> list[str]:
    with world.reading() as session:
        return [part.name for part in attached(session)]


def where(world: World) -> dict[int, str]:
    """The table that each event is in, by its time."""
    with world.reading() as session:
        rows = session.execute(text("SELECT timestamp, tableoid::regclass::text FROM events"))
        return {row.timestamp: row.tableoid for row in rows}


def somebody(world: World) -> tuple[Member, Project]:
    ada = world.person("Ada")
    return ada, world.project("one", ada)


# Which table


@given(st.integers(0, MAX_TIMESTAMP_MS))
def test_every_instant_is_in_its_month_whose_name_says_when_it_is(instant: int) -> None:
    month = month_of(instant)
    assert (month.start or 0) <= instant < (month.end or MAX_TIMESTAMP_MS + 1)
    assert Part.named(month.name) == month


def test_what_is_made_ahead_is_this_month_and_three_more() -> None:
    months = ahead(at("2026-11-30T23:59"))
    assert [month.name for month in months] == [
        "events_2026_11",
        "events_2026_12",
        "events_2027_01",
        "events_2027_02",
    ]
    assert [month.end for month in months[:-1]] == [month.start for month in months[1:]]


def test_the_job_makes_months_before_they_come_and_does_so_once(world: World) -> None:
    context = context_of(world, NOW_MS)
    for _ in range(2):
        jobs.make_partitions(context)
    if not world.database.is_sqlite:
        assert names(world) == [month.name for month in ahead(NOW_MS)]


@on_postgres
def test_an_upload_makes_the_months_it_needs(world: World) -> None:
    ada, one = somebody(world)
    assert names(world) == []
    times = [at("2026-10-31T23:59:59.999"), at("2026-11-01"), at("2027-02-03")]
    world.report(ada, one, *((time, saved()) for time in times))
    assert where(world) == dict(
        zip(times, ("events_2026_10", "events_2026_11", "events_2027_02"), strict=True)
    )


@on_postgres
def test_a_history_of_thirty_years_takes_a_table_a_year_and_is_known_when_it_comes_again(
    world: World,
) -> None:
    ada, one = somebody(world)
    times = [at("1996-06-01") + n * 11 * DAY_MS for n in range(1_000)]
    events = [world.event(ada, one, saved(), time) for time in times]
    assert world.send(ada, *events).success
    assert world.send(ada, *events).success
    assert timestamps(world) == times
    years = [f"events_{year}" for year in range(2000, 2025)]
    near = [f"events_{year}_{month:02}" for year in (2025, 2026) for month in range(1, 13)]
    assert names(world) == ["events_before_2000", *years, *near[: len(names(world)) - 26]]


@on_postgres
def test_clocks_that_are_far_off_make_a_bounded_number_of_tables(world: World) -> None:
    ada, one = somebody(world)
    times = [
        0,
        MAX_TIMESTAMP_MS,
        at("2000-01-01"),
        at("2000-01-01") - 1,
        at("2100-01-01") - 1,
        at("2100-01-01"),
    ]
    times += [at("1970-01-02") + n * 61 * DAY_MS for n in range(900)]
    world.report(ada, one, *((time, saved()) for time in times))
    assert timestamps(world) == sorted(times)
    assert len(names(world)) <= 2 + 97 + 36
    assert {where(world)[time] for time in times[:6]} == {
        "events_before_2000",
        "events_2000",
        "events_2099",
        "events_from_2100",
    }


@on_postgres
def test_a_year_has_one_table_or_months_and_never_both(world: World) -> None:
    ada, one = somebody(world)
    world.report(ada, one, (at("2026-03-01"), saved()), (at("2029-05-01"), saved()))
    world.now_ms = at("2029-06-01")  # 2026 is far now, and 2029 near
    world.report(ada, one, (at("2026-04-01"), saved()), (at("2029-06-01"), saved()))
    assert list(where(world).values()) == ["events_2026_03", "events_2026_04", "events_2029", "events_2029"]


@on_postgres
def test_events_that_are_too_old_to_be_taken_make_no_table(world: World) -> None:
    ada, one = somebody(world)
    keep(world, 30)
    events = [world.event(ada, one, saved(), at(day)) for day in ("2024-01-01", "2026-09-30", "2026-11-01")]
    assert codes(world.send(ada, *events)) == [ErrorCode.EXPIRED] * 2
    assert names(world) == ["events_2026_11"]


@on_postgres
def test_an_id_is_recognised_whichever_month_it_names(world: World) -> None:
    ada, one = somebody(world)
    event = world.event(ada, one, saved(), at("2026-09-15"))
    world.send(ada, event, world.event(ada, one, saved(), at("2026-10-15")))
    assert world.send(ada, event).success
    moved, elsewhere = (replace(event, timestamp=at(day)) for day in ("2026-10-16", "2021-01-01"))
    assert codes(world.send(ada, moved)) == codes(world.send(ada, elsewhere)) == [ErrorCode.CONFLICT]
    assert timestamps(world) == [at("2026-09-15"), at("2026-10-15")]


# Beside others


@on_postgres
def test_processes_that_need_the_same_months_at_once_all_get_them(
    world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "ATTEMPTS", 1)  # each waits for the other, none fails first
    months = {month_of(at(f"2026-{month:02}-01")) for month in range(1, 13)}
    processes = [Database(database_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        made = [pool.submit(Partitions().ensure, each, months, NOW_MS) for each in processes]
    for future in made:
        future.result()
    assert names(world) == sorted(month.name for month in months)
    for each in processes:
        each.close()


@on_postgres
def test_a_month_is_made_while_others_upload(world: World) -> None:
    ada, one = somebody(world)
    with world.database.writing() as upload:
        world.accept(upload, ada, [world.event(ada, one, saved(), NOW_MS)])
        world.make_partitions(at("2026-12-01"))  # would wait for ever, were it to wait
        assert names(world) == ["events_2026_11", "events_2026_12"]
    assert timestamps(world) == [NOW_MS]


@on_postgres
def test_a_month_that_somebody_took_away_is_made_again(world: World) -> None:
    ada, one = somebody(world)
    world.partitions = Partitions()  # as a server keeps them, which looks only once
    world.send(ada, world.event(ada, one, saved(), NOW_MS))
    with world.database.writing() as session:
        session.execute(text("DROP TABLE events_2026_11"))
    event = world.event(ada, one, saved(), NOW_MS)
    with pytest.raises(IntegrityError, match="no partition"):
        world.send(ada, event)
    assert world.send(ada, event).success


# Going


@on_postgres
def test_a_run_drops_whole_months_and_deletes_the_rest(world: World) -> None:
    world.calendar = Calendar(ZoneInfo("Europe/Berlin"), 15 * MINUTE_MS)
    ada, one = somebody(world)
    times = [at(text) for text in ("2024-02-01", "2026-07-01", "2026-09-30T21:59", "2026-09-30T22:00")]
    world.report(ada, one, *((time, saved()) for time in (*times, NOW_MS)))
    keep(world, 30)
    assert expire(world) == 3
    assert timestamps(world) == [times[3], NOW_MS]
    # October began two hours before the end of September's table.
    assert names(world) == ["events_2026_09", "events_2026_11"]


@on_postgres
def test_nobody_waits_long_for_a_drop_that_has_to_wait(world: World) -> None:
    ada, one = somebody(world)
    world.report(ada, one, (at("2026-07-01"), saved()), (NOW_MS, saved()))
    keep(world, 30)
    with ThreadPoolExecutor(1) as pool:
        with _somebody_reads(world):
            run = pool.submit(expire, world)
            wait_for_a_lock(world)
            assert world.send(ada, world.event(ada, one, saved(), NOW_MS + 1)).success
            assert "events_2026_07" in names(world)
        assert run.result() == 1
    assert timestamps(world) == [NOW_MS, NOW_MS + 1]
    assert names(world) == ["events_2026_11"]


@on_postgres
def test_a_month_that_is_always_in_use_is_emptied_and_dropped_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, one = somebody(world)
    world.report(ada, one, (at("2026-07-01"), saved()), (at("2026-10-05"), saved()))
    keep(world, 30)
    monkeypatch.setattr(partitions, "DROP_TRIES", 1)
    with _somebody_reads(world):
        assert expire(world) == 1
    assert timestamps(world) == [at("2026-10-05")]
    assert names(world) == ["events_2026_07", "events_2026_10"]
    world.now_ms = at("2026-12-20")
    assert expire(world) == 1
    assert names(world) == []


@on_postgres
def test_uploads_at_the_moment_of_a_drop_are_all_stored_or_refused(world: World) -> None:
    ada, one = somebody(world)
    edge = retention.cut(NOW_MS, 30, world.calendar)
    world.report(ada, one, *((edge - n * DAY_MS, saved()) for n in range(1, 120)))
    events = [world.event(ada, one, saved(), edge + (n - 20) * 10 * MINUTE_MS + n) for n in range(40)]
    keep(world, 30)
    with ThreadPoolExecutor(5) as pool:
        run = pool.submit(expire, world)
        uploads = [pool.submit(world.send, ada, event) for event in events]
    assert run.result() == 119
    taken = [e.timestamp for e, upload in zip(events, uploads, strict=True) if upload.result().success]
    assert timestamps(world) == taken
    assert taken == [event.timestamp for event in events if event.timestamp >= edge + 90 * MINUTE_MS]


@contextmanager
def _somebody_reads(world: World) -> Iterator[Session]:
    with world.reading() as session:
        session.scalars(select(Event.seq)).all()
        yield session


# The schema


@on_postgres
def test_partitions_are_as_the_models_say_and_go_with_the_table(world: World) -> None:
    world.make_partitions(NOW_MS, at("1999-01-01"), at("2010-01-01"), MAX_TIMESTAMP_MS)
    made = set(names(world))
    assert len(made) == 4
    with world.database.engine.connect() as connection:
        opts = {
            "include_object": of_a_model("postgresql"),
            "include_name": lambda name, kind, _: kind != "table" or name not in made,
        }
        assert compare_metadata(MigrationContext.configure(connection, opts=opts), Base.metadata) == []
    looking = inspect(world.database.engine)
    whole = {(tuple(index["column_names"]), index["unique"]) for index in looking.get_indexes("events")}
    for name in made:
        assert {
            (tuple(index["column_names"]), index["unique"]) for index in looking.get_indexes(name)
        } == whole
    workspace.migrate(world.database, "base")
    left = inspect(world.database.engine)
    assert (left.get_table_names(), left.get_sequence_names()) == (["alembic_version"], [])
