"""Retention: events go, the numbers counted from them stay, whatever is sent, told or changed afterwards."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from devflow import audit, retention, wire
from devflow.accounts import people
from devflow.audit import Act, Actor
from devflow.errors import Invalid, Unauthorized
from devflow.ingest import authors
from devflow.models import AuditEntry, Cell, Event, Mark, PersonAuthor, Project, Role, Slice, Workspace
from devflow.retention import Going
from devflow.rollups import Calendar
from devflow.windows import Grain, window
from devflow.wire import ErrorCode
from tests import slicing
from tests.build import DAY_MS, HOUR_MS, MINUTE_MS, NOW_MS, STRANGER, Member, World, commit, saved
from tests.server.test_rollups import Key, Plain, recounted_from, stored


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


def keep(world: World, days: int | None) -> None:
    with world.database.writing() as session:
        session.execute(update(Workspace).values(retention_days=days))


def expire(world: World) -> int:
    return retention.run(world.database, Actor(None, world.now_ms, world.vault))


def timestamps(world: World) -> list[int]:
    with world.reading() as session:
        return sorted(session.scalars(select(Event.timestamp)))


def cells(world: World) -> dict[Key, Plain]:
    with world.reading() as session:
        return stored(session)


def codes(result: wire.BatchResult) -> list[ErrorCode]:
    return [error.code for error in result.errors]


# When


@pytest.mark.parametrize(
    ("days", "zone", "expected"),
    [
        (30, "UTC", "2026-10-01T00:00"),
        (19, "UTC", "2026-10-01T00:00"),  # Oct 31, 14:30, less an hour and a half
        (18, "UTC", "2026-11-01T00:00"),
        (18, "Europe/Berlin", "2026-10-31T23:00"),
        (365, "Asia/Kolkata", "2025-10-31T18:30"),
    ],
)
def test_the_cut_is_the_start_of_the_month_that_holds_the_oldest_day_kept(
    days: int, zone: str, expected: str
) -> None:
    assert retention.cut(NOW_MS, days, Calendar(ZoneInfo(zone), 15 * MINUTE_MS)) == at(expected)


def test_what_is_as_old_as_events_are_kept_is_always_taken() -> None:
    """Also on the first of a month: the margin lies before the days kept, not in them."""
    calendar = Calendar(ZoneInfo("UTC"), 15 * MINUTE_MS)
    for hours in range(24 * 62):
        now = NOW_MS + hours * HOUR_MS
        assert retention.cut(now, 30, calendar) + 90 * MINUTE_MS <= now - 30 * DAY_MS


def test_a_clock_before_the_first_month_deletes_nothing() -> None:
    assert retention.cut(5 * DAY_MS, 365, Calendar(ZoneInfo("Asia/Tokyo"), MINUTE_MS)) == 0


# What goes and what stays


def test_a_run_deletes_events_before_the_cut_and_leaves_every_cell(world: World) -> None:
    ada = world.person("Ada")
    one, two = world.project("one", ada), world.project("two", ada)
    times = [at("2026-09-30T23:50"), at("2026-10-01T00:00"), at("2026-10-01T00:05"), NOW_MS]
    world.report(ada, one, *((time, saved()) for time in times))
    world.report(ada, two, (at("2026-01-31T12:00"), commit(STRANGER, "b.py")))
    world.refresh()
    before = cells(world)
    keep(world, 30)
    assert expire(world) == 2
    assert timestamps(world) == times[1:]
    assert cells(world) == before


def test_a_run_leaves_one_entry_with_counts_and_one_without_work_leaves_none(world: World) -> None:
    ada = world.person("Ada")
    one, two = world.project("one", ada), world.project("two", ada)
    for project, count in ((one, 3), (two, 1)):
        world.report(ada, project, *((at("2026-02-01") + n, saved()) for n in range(count)))
    keep(world, 30)
    assert expire(world) == 4
    assert expire(world) == 0
    with world.reading() as session:
        (entry,) = session.scalars(select(AuditEntry).filter_by(act=Act.EVENTS_EXPIRED))
        assert json.loads(entry.detail) == {
            "older_than": "2026-10-01",
            "events": 4,
            "projects": {str(one.public_id): 3, str(two.public_id): 1},
        }
        assert entry.actor is None
        assert audit.verify(session, world.vault) is None


def test_kept_for_ever_nothing_goes_and_nothing_is_too_old(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    world.report(ada, one, (0, saved()))
    assert expire(world) == 0
    assert timestamps(world) == [0]


def test_events_go_in_chunks_and_an_interrupted_run_is_made_up_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    world.report(ada, one, *((at("2026-02-01") + n, saved()) for n in range(7)))
    keep(world, 30)
    with world.database.writing() as session:
        end, (project_id,) = retention.begin(session, Actor(None, NOW_MS, world.vault))
    with world.database.writing() as session:
        assert retention.delete_some(session, project_id, end, limit=3) == 3
    assert timestamps(world) == [at("2026-02-01") + n for n in range(3, 7)]
    assert expire(world) == 4
    assert timestamps(world) == []


# What comes afterwards


def test_what_is_too_old_is_expired_before_and_after_a_run_and_known_or_not(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    known = world.event(ada, one, saved(), at("2026-09-30T23:59:59.999"))
    world.send(ada, known)
    world.refresh()
    before = cells(world)
    keep(world, 30)
    assert world.send(ada, known).success  # stored still, so it is acknowledged still
    unknown = world.event(ada, one, saved(), at("2026-09-30T12:00"))
    assert codes(world.send(ada, unknown)) == [ErrorCode.EXPIRED]
    expire(world)
    result = world.send(ada, known, unknown)
    assert [(error.code, error.retryable) for error in result.errors] == [(ErrorCode.EXPIRED, False)] * 2
    assert (timestamps(world), cells(world)) == ([], before)


def test_an_upload_is_taken_from_the_margin_after_the_cut_on(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    keep(world, 30)
    edge = at("2026-10-01T01:30")  # two idle limits and an hour
    assert codes(world.send(ada, world.event(ada, one, saved(), edge - 1))) == [ErrorCode.EXPIRED]
    assert world.send(ada, world.event(ada, one, saved(), edge)).success


def test_keeping_events_longer_does_not_open_again_what_was_deleted(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    world.report(ada, one, (at("2026-09-15T10:00"), saved()))
    keep(world, 30)
    expire(world)
    for days in (365, None):
        keep(world, days)
        late = world.event(ada, one, saved(), at("2026-09-15T10:10"))
        assert codes(world.send(ada, late)) == [ErrorCode.EXPIRED]


def test_addresses_told_later_claim_no_commit_that_cannot_be_counted_anew(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    key = wire.author_key("ada@home.example")
    times = [at("2026-09-30T23:50"), at("2026-10-01T00:10"), at("2026-10-01T00:50"), at("2026-10-05T10:00")]
    world.report(ada, one, *((time, commit(key, "a.py")) for time in times))
    world.refresh()
    keep(world, 30)
    expire(world)
    archive = cells(world)

    def tell(session: Session) -> None:
        authors.add(session, world.by(session, ada), [bytes.fromhex(key)])

    world.database.transact(tell)
    with world.reading() as session:
        claimed = set(session.scalars(select(Event.timestamp).where(Event.person_id == ada.id)))
    assert claimed == {times[3]}
    hours = {key: cell for key, cell in cells(world).items() if key[1] == Grain.HOUR}
    assert {key: cell for key, cell in hours.items() if key[2] < at("2026-10-05")} == {
        key: cell for key, cell in archive.items() if key[1] == Grain.HOUR and key[2] < at("2026-10-05")
    }


OCTOBER_1: datetime = datetime(2026, 10, 1, tzinfo=UTC)
ZONES = ("UTC", "Europe/Berlin", "America/New_York")
NEAR = st.integers(-26 * 60, 30 * 60) | st.integers(-120, 150)  # minutes around the cut
DEED = st.tuples(
    st.integers(0, 1),  # who
    st.booleans(),  # on the second device
    st.integers(0, 1),  # project
    NEAR,
    st.sampled_from(["saved", "own", "told later", "other's", "stranger's"]),
    st.sampled_from(["a.py", "b.py"]),
)


@pytest.mark.parametrize("zone", ZONES)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    early=st.lists(DEED, min_size=3, max_size=25),
    late=st.lists(DEED, max_size=12),
    idle_minutes=st.sampled_from([5, 15, 90]),
    new_zone=st.sampled_from([None, None, *ZONES]),
)
def test_after_retention_every_cell_equals_the_recount_with_all_events_that_were_ever_taken(
    world: World,
    zone: str,
    early: list[tuple[int, bool, int, int, str, str]],
    late: list[tuple[int, bool, int, int, str, str]],
    idle_minutes: int,
    new_zone: str | None,
) -> None:
    """Uploads, repeats, claims and a change of zone after the run included."""
    _clear(world)
    world.calendar = Calendar(ZoneInfo(zone), idle_minutes * MINUTE_MS)
    _note_calendar(world)
    members, projects = _cast(world)
    edge = retention.cut(NOW_MS, 30, world.calendar)

    def send(deeds: list[tuple[int, bool, int, int, str, str]]) -> None:
        by_sender: dict[Member, list[wire.SyncEvent]] = defaultdict(list)
        for who, second, project, minutes, kind, path in deeds:
            sender = members[who + 2 * second]
            data = _deed(kind, path, members, who)
            by_sender[sender].append(world.event(sender, projects[project], data, edge + minutes * MINUTE_MS))
        sent.append(by_sender)
        for sender, events in by_sender.items():
            assert set(codes(world.send(sender, *events))) <= {ErrorCode.EXPIRED}

    sent: list[dict[Member, list[wire.SyncEvent]]] = []
    send(early)
    world.refresh()
    with world.reading() as session:
        archive = {event.event_id: event for event in session.scalars(select(Event))}
    before = cells(world)
    keep(world, 30)
    assert expire(world) == sum(event.timestamp < edge for event in archive.values())
    assert cells(world) == before

    send(late)
    for sender, events in sent[0].items():
        world.send(sender, *events)  # known ones again: some deleted, some not
    told = [bytes.fromhex(wire.author_key(f"told{who}@home.example")) for who in range(2)]
    for who in range(2):
        _tell(world, members[who], told[who])
    if new_zone is not None:
        world.adopt(Calendar(ZoneInfo(new_zone), world.calendar.idle_limit_ms))
        send(late)
    world.refresh()
    with world.reading() as session:
        ever = archive | {event.event_id: event for event in session.scalars(select(Event))}
        assert stored(session) == recounted_from(ever.values(), world.calendar, world.vault)
        slicing.check_they_add_up(session)


def _cast(world: World) -> tuple[list[Member], list[Project]]:
    """Two people, then their second devices; and two projects. Made once for all examples."""
    if not hasattr(world, "cast"):
        members = [world.person(name) for name in ("Ada", "Ben")]
        members += [world.second_device(member) for member in members]
        projects = [world.project(name, *members[:2]) for name in ("one", "two")]
        world.cast = members, projects  # type: ignore[attr-defined]
    return world.cast  # type: ignore[attr-defined,no-any-return]


def _clear(world: World) -> None:
    with world.database.writing() as session:
        for table in (Cell, Slice, Mark, Event):
            session.execute(delete(table))
        _forget_told(session, world)
        session.execute(update(Workspace).values(retention_days=None, events_since=0))


def _forget_told(session: Session, world: World) -> None:
    for who in range(2):
        key = people.author_key(world.vault, bytes.fromhex(wire.author_key(f"told{who}@home.example")))
        session.execute(delete(PersonAuthor).where(PersonAuthor.author_key == key))


def _note_calendar(world: World) -> None:
    with world.database.writing() as session:
        session.execute(
            update(Workspace).values(
                timezone=world.calendar.zone.key, idle_limit_ms=world.calendar.idle_limit_ms
            )
        )


def _tell(world: World, member: Member, key: bytes) -> None:
    world.database.transact(lambda session: authors.add(session, world.by(session, member), [key]))


def _deed(kind: str, path: str, members: list[Member], who: int) -> wire.EventData:
    match kind:
        case "saved":
            return saved(path)
        case "own":
            return commit(members[who].author, path, insertions=3)
        case "told later":
            return commit(wire.author_key(f"told{who}@home.example"), path, insertions=2)
        case "other's":
            return commit(members[1 - who].author, path, insertions=5)
        case _:
            return commit(STRANGER, path, insertions=7)


# A change of the calendar after a run


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns"])
def test_a_zone_off_by_part_of_an_hour_loses_and_doubles_nothing(world: World, zone: str) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    chance = random.Random(zone)
    times = [at("2026-09-30T12:00") + chance.randrange(24 * 60) * MINUTE_MS for _ in range(200)]
    for time in times:
        deed: wire.EventData = saved() if chance.random() < 0.5 else commit(STRANGER, "a.py")
        world.report(ada, one, (time, deed))
    world.refresh()
    keep(world, 30)
    expire(world)
    before = _totals(world)
    there_and_back = [Calendar(ZoneInfo(name), 15 * MINUTE_MS) for name in (zone, "UTC", zone)]
    for calendar in there_and_back:
        assert world.adopt(calendar)
        assert _totals(world) == before
    with world.reading() as session:
        horizon = retention.hold(session, NOW_MS).horizon
    late = world.event(ada, one, saved(), horizon)
    assert world.send(ada, late).success
    world.refresh()
    assert _totals(world)[0] == before[0] + 1


def _totals(world: World) -> tuple[int, int]:
    """Events and commits of all hours; those of all months must be the same."""
    found = []
    for grain in (Grain.HOUR, Grain.DAY, Grain.MONTH):
        with world.reading() as session:
            query = select(func.sum(Cell.events), func.sum(Cell.commits)).where(Cell.grain == grain)
            found.append(tuple(session.execute(query).one()))
    assert found[0] == found[1] == found[2]
    return int(found[0][0]), int(found[0][1])


@pytest.mark.parametrize("minutes", [5, 60, 24 * 60])
def test_another_idle_limit_counts_the_hours_after_the_cut_and_leaves_those_before(
    world: World, minutes: int
) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    times = [at("2026-09-28T00:00") + n * 10 * MINUTE_MS for n in range(6 * 24 * 7)]
    world.report(ada, one, *((time, saved()) for time in times))
    world.refresh()
    keep(world, 30)
    expire(world)
    with world.reading() as session:
        before = stored(session, Grain.HOUR)
        kept = list(session.scalars(select(Event)))
    world.adopt(Calendar(ZoneInfo("UTC"), minutes * MINUTE_MS))
    edge = window(Grain.HOUR, at("2026-10-01") + minutes * MINUTE_MS - 1, ZoneInfo("UTC")).end_ms
    anew = recounted_from(kept, world.calendar, world.vault)
    with world.reading() as session:
        after = stored(session, Grain.HOUR)
    assert after == {key: before[key] if key[2] < edge else anew[key] for key in before}


# Who may, and what is said before


def test_only_who_manages_retention_changes_it_and_the_trail_has_both_values(world: World) -> None:
    admin, ben = world.person("Ada", Role.ADMIN), world.person("Ben", Role.MANAGER)
    keep(world, 365)
    with pytest.raises(Unauthorized), world.database.writing() as session:
        retention.change(session, world.by(session, ben), 30)
    for days in (90, 90, None):
        with world.database.writing() as session:
            retention.change(session, world.by(session, admin), days)
    with world.reading() as session:
        assert retention.days(session) is None
        entries = session.scalars(select(AuditEntry).filter_by(act=Act.RETENTION_CHANGED)).all()
        assert [(entry.actor, json.loads(entry.detail)) for entry in entries] == [
            (admin.public_id, {"before": 365, "after": 90}),
            (admin.public_id, {"before": 90, "after": None}),
        ]


@pytest.mark.parametrize("days", [0, -1, 3_651])
def test_a_number_of_days_out_of_bounds_is_refused(world: World, days: int) -> None:
    admin = world.person("Ada", Role.ADMIN)
    with pytest.raises(Invalid, match="1 to 3650 days"), world.database.writing() as session:
        retention.change(session, world.by(session, admin), days)


def test_a_preview_counts_by_project_and_month_what_a_run_then_deletes(world: World) -> None:
    world.calendar = Calendar(ZoneInfo("Europe/Berlin"), 15 * MINUTE_MS)
    ada = world.person("Ada")
    one, two = world.project("one", ada), world.project("two", ada)
    # The second of these is in September in Berlin.
    for project, times in (
        (one, ("2026-08-31T12:00", "2026-08-31T22:00")),
        (two, ("2026-08-02", "2026-11-02")),
    ):
        world.report(ada, project, *((at(time), saved()) for time in times))
    with world.reading() as session:
        found = retention.preview(session, 30, NOW_MS)
    assert found.first_kept == date(2026, 10, 1)
    assert found.going == [
        Going("one", date(2026, 8, 1), 1),
        Going("two", date(2026, 8, 1), 1),
        Going("one", date(2026, 9, 1), 1),
    ]
    assert len(timestamps(world)) == 4
    keep(world, 30)
    assert expire(world) == found.events == 3
    with world.reading() as session:
        assert retention.preview(session, 30, NOW_MS).going == []
        assert retention.preview(session, None, NOW_MS).going == []


def test_uploads_claims_and_a_run_at_once_lose_no_number(world: World) -> None:
    both = [world.person(name) for name in ("Ada", "Ben")]
    projects = [world.project(name, *both) for name in ("one", "two")]
    chance = random.Random(3)
    edge = retention.cut(NOW_MS, 30, world.calendar)

    def events(member: Member) -> list[wire.SyncEvent]:
        deeds: list[wire.EventData] = [
            saved("a.py"),
            commit(member.author, "b.py"),
            commit(STRANGER, "c.py"),
        ]
        return [
            world.event(member, chance.choice(projects), deed, edge + chance.randrange(-150, 250) * MINUTE_MS)
            for deed in deeds
        ]

    for member in both:
        for _ in range(10):
            world.send(member, *events(member))
    with world.reading() as session:
        archive = {event.event_id: event for event in session.scalars(select(Event))}
    batches = [(member, events(member)) for _ in range(12) for member in both]
    keep(world, 30)
    with ThreadPoolExecutor(6) as pool:
        uploads = [pool.submit(world.send, member, *batch) for member, batch in batches[:8]]
        runs = [pool.submit(expire, world)]
        uploads += [pool.submit(world.send, member, *batch) for member, batch in batches[8:]]
        runs += [pool.submit(expire, world)]
    for run in runs:
        run.result()
    for upload in uploads:
        assert set(codes(upload.result())) <= {ErrorCode.EXPIRED}
    world.refresh()
    with world.reading() as session:
        assert (session.scalar(select(func.min(Event.timestamp))) or edge) >= edge
        ever = archive | {event.event_id: event for event in session.scalars(select(Event))}
        assert stored(session) == recounted_from(ever.values(), world.calendar, world.vault)
        slicing.check_they_add_up(session)
