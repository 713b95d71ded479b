"""The feed: events one by one for who did them, and days for everybody else."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from devflow import own_feed, windows, wire
from devflow.models import Device, Event, Person, Project
from devflow.own_feed import Day, Entry
from devflow.wire import EventState, EventType
from tests import build
from tests.build import DAY_MS, MINUTE_MS, NOW_MS, Member, World

EARLIER = NOW_MS - DAY_MS


def entries(
    world: World, member: Member, *projects: Project, kind: EventType | None = None, since: int = 0
) -> list[Entry]:
    with world.reading() as session:
        ids = [project.id for project in projects]
        return own_feed.entries(session, world.vault, member.id, ids, kind, since)


def others(
    world: World, member: Member, *projects: Project, kind: EventType | None = None, days: int = 7
) -> list[Day]:
    today = windows.day_of(NOW_MS, world.calendar.zone)
    asked = [today - timedelta(days=number) for number in range(days)]
    with world.reading() as session:
        ids = [project.id for project in projects]
        return own_feed.days_of_others(session, member.id, ids, kind, asked, world.calendar)


def test_who_did_it_reads_each_event_with_what_it_is_about_and_nobody_else_does(world: World) -> None:
    ada, ben, eve = world.person("Ada"), world.person("Ben"), world.person("Eve")
    shop, bank = world.project("shop", ada, ben), world.project("bank", ada)
    world.report(
        ada,
        shop,
        (EARLIER, build.saved("a.py")),
        (NOW_MS, wire.FileRenamed(path="new.py", old_path="old.py")),
        (NOW_MS - 1, build.commit(ada.author, "a.py", "b.py", insertions=5, deletions=2, sha="c" * 40)),
        (NOW_MS - 2, wire.BranchSwitched(branch=None, previous="main")),
    )
    world.report(ada, bank, (NOW_MS - 3, wire.TagCreated(tag="v1", sha="d" * 40, author=ada.author)))
    world.report(ben, shop, (NOW_MS, build.saved("bens.py")))
    found = entries(world, ada, shop, bank)
    assert [(each.kind, each.about, each.files) for each in found] == [
        (EventType.FILE_RENAMED, "old.py → new.py", None),
        (EventType.COMMIT, "c" * 12, 2),
        (EventType.BRANCH_SWITCHED, None, None),
        (EventType.TAG_CREATED, "v1", None),
        (EventType.FILE_SAVED, "a.py", None),
    ]
    assert (found[1].insertions, found[1].deletions) == (5, 2)
    assert [each.about for each in entries(world, ada, bank)] == ["v1"]
    assert [each.about for each in entries(world, ada, shop, kind=EventType.FILE_SAVED)] == ["a.py"]
    assert len(entries(world, ada, shop, bank, since=EARLIER + 1)) == 4
    assert [each.about for each in entries(world, ben, shop, bank)] == ["bens.py"]
    assert entries(world, eve, shop, bank) == entries(world, ada) == []


def test_a_feed_has_a_hundred_rows_at_most_the_newest(world: World) -> None:
    ada = world.person("Ada")
    shop = world.project("shop", ada)
    world.report(
        ada, shop, *((NOW_MS - number * 1_000, build.saved(f"{number}.py")) for number in range(120))
    )
    assert [each.about for each in entries(world, ada, shop)] == [f"{number}.py" for number in range(100)]


def test_what_was_erased_or_is_damaged_is_listed_without_a_word_of_it(world: World) -> None:
    ada = world.person("Ada")
    shop = world.project("shop", ada)
    world.report(ada, shop, (NOW_MS, build.saved("a.py")), (EARLIER, build.saved("b.py")))
    with world.database.writing() as session:
        for event, data in zip(
            session.query(Event).order_by(Event.timestamp), (b"", b"\x01" * 60), strict=True
        ):
            event.data = data
    states = [(each.state, each.about) for each in entries(world, ada, shop)]
    assert states == [(EventState.DAMAGED, None), (EventState.ERASED, None)]


def test_of_others_there_are_totals_of_project_and_day(world: World) -> None:
    ada, ben, cem = world.person("Ada"), world.person("Ben"), world.person("Cem")
    shop, bank = world.project("shop", ada, ben, cem), world.project("bank", ben)
    for who, saves in ((ada, 5), (ben, 2), (cem, 1)):
        deeds = [(NOW_MS - number * MINUTE_MS, build.saved()) for number in range(saves)]
        world.report(who, shop, *deeds, (EARLIER, build.commit(who.author, "a.py")))
    world.report(ben, bank, (NOW_MS, build.saved()))
    world.report(ben, shop, (NOW_MS, build.commit(build.STRANGER, "b.py")))
    world.refresh()
    today = windows.day_of(NOW_MS, world.calendar.zone)
    assert others(world, ada, shop) == [
        Day(shop.id, today, 2, {EventType.FILE_SAVED: 3, EventType.COMMIT: 1}),
        Day(shop.id, today - timedelta(days=1), 2, {EventType.COMMIT: 2}),
    ]
    assert others(world, ada, shop, kind=EventType.FILE_SAVED) == [
        Day(shop.id, today, 2, {EventType.FILE_SAVED: 3})
    ]
    assert [day.people for day in others(world, ben, shop, bank, days=1)] == [2]
    assert others(world, ada) == []


def test_who_is_not_known_here_is_counted_with_what_they_did_and_not_as_a_person(world: World) -> None:
    ada = world.person("Ada")
    shop = world.project("shop", ada)
    world.report(ada, shop, (NOW_MS, build.commit(build.STRANGER, "b.py")))
    world.refresh()
    (day,) = others(world, ada, shop)
    assert (day.people, day.events) == (0, {EventType.COMMIT: 1})


def time_of(
    world: World, member: Member, event_id: UUID, span: tuple[int, int] | None, *, has_index: bool
) -> int | None:
    with world.reading() as session:
        person = session.get_one(Person, member.id)
        return own_feed.time_of(session, person, event_id, span, has_index=has_index)


def test_an_event_is_found_by_its_id_among_the_last_or_in_its_day(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    shop = world.project("shop", ada, ben)
    old, new = uuid4(), uuid4()
    world.send(ada, world.event(ada, shop, build.saved(), EARLIER, old))
    world.send(
        ada, *(world.event(ada, shop, build.saved(), NOW_MS - n, id) for n, id in enumerate((new, uuid4())))
    )
    monkeypatch.setattr(own_feed, "LOOKED_AT", 2)
    assert time_of(world, ada, new, None, has_index=False) == NOW_MS
    assert time_of(world, ada, old, None, has_index=False) is None, "too many came after it"
    assert time_of(world, ada, old, (EARLIER, EARLIER + 1), has_index=False) == EARLIER
    assert time_of(world, ada, old, (EARLIER + 1, NOW_MS + 1), has_index=False) is None
    assert time_of(world, ada, old, None, has_index=True) == EARLIER
    assert time_of(world, ben, new, None, has_index=False) is None, "among the own PCs alone"
    with world.database.writing() as session:
        session.delete(session.get_one(Device, ben.device))
    assert time_of(world, ben, new, None, has_index=False) is None


def test_what_a_pc_last_sent_of_a_project_is_told_from_what_it_sent_of_others(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    second = world.second_device(ada)
    shop, bank = world.project("shop", ada, ben), world.project("bank", ada)
    world.report(ben, shop, (NOW_MS, build.saved("bens.py")))

    def newest(*devices: int) -> str | None:
        with world.reading() as session:
            found = own_feed.newest_sent(session, world.vault, devices, shop.id)
            return None if found is None else found.about

    assert newest(ada.device, second.device) is None
    assert newest() is None
    world.report(ada, bank, (NOW_MS, build.saved("bank.py")))
    assert newest(ada.device, second.device) is None
    world.report(second, shop, (EARLIER, build.saved("first.py")))
    assert newest(ada.device, second.device) == "first.py"
    assert newest(ada.device) is None
    world.report(ada, shop, (EARLIER - 1, build.saved("then.py")))
    assert newest(ada.device, second.device) == "then.py", "by when it came, not when it was"


def test_a_conflict_of_ones_own_is_found_in_the_trail_by_the_id(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    shop = world.project("shop", ada, ben)
    event_id = uuid4()
    for path in ("a.py", "b.py"):
        world.send(ada, world.event(ada, shop, build.saved(path), NOW_MS, event_id))

    def refused(member: Member, of: UUID) -> list[int]:
        with world.reading() as session:
            found = own_feed.refusals(session, session.get_one(Person, member.id), of)
            return [each.at for each in found]

    assert refused(ada, event_id) == [NOW_MS]
    assert refused(ada, uuid4()) == refused(ben, event_id) == []
