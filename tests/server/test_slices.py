"""Slices against a slow and obvious count of the events, whatever comes late, and after retention."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from devflow import languages, wire
from devflow.models import Cell, Event, Mark, Project, Slice, Workspace
from devflow.rollups import Calendar
from tests import slicing
from tests.build import DAY_MS, HOUR_MS, MINUTE_MS, STRANGER, Member, World, commit, merge, saved
from tests.slicing import NO_FILE, NOT_KEPT, SEVERAL

PYTHON, TYPESCRIPT, SASS = (languages.of(name) for name in ("a.py", "a.ts", "a.scss"))
SAVED, DELETED, COMMIT, MERGE = 1, 3, 5, 6


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


# As the events say


MIDNIGHT = at("2026-03-02")
DEED = st.tuples(
    st.integers(0, 1),  # who
    st.integers(0, 1),  # project
    st.integers(-5, 5).map(lambda steps: steps * 5),  # minutes from midnight
    st.sampled_from(["saved", "deleted", "commit", "of a stranger", "of the other", "merge"]),
    st.sampled_from([("a.py",), ("a.py", "b.ts"), ("c.scss",), ()]),
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(uploads=st.lists(st.lists(DEED, min_size=1, max_size=3), max_size=4))
def test_slices_equal_a_recount_and_add_up_to_the_cells_of_days(
    world: World, uploads: list[list[tuple[int, int, int, str, tuple[str, ...]]]]
) -> None:
    people, projects = _cast(world)
    for deeds in uploads:
        for who, project, minutes, kind, paths in deeds:
            data = _data(kind, paths, people[who], people[1 - who])
            world.report(people[who], projects[project], (MIDNIGHT + minutes * MINUTE_MS, data))
        world.refresh()
    with world.reading() as session:
        assert slicing.stored(session) == slicing.recounted(session, world.calendar)
        slicing.check_they_add_up(session)


def _data(kind: str, paths: tuple[str, ...], own: Member, other: Member) -> wire.EventData:
    match kind:
        case "saved":
            return saved((*paths, "d.py")[0])
        case "deleted":
            return wire.FileDeleted(path=(*paths, "d.py")[0])
        case "merge":
            return merge(own.author)
        case _:
            author = {"commit": own.author, "of the other": other.author}.get(kind, STRANGER)
            return commit(author, *paths, insertions=len(paths) + 1, deletions=1)


def _cast(world: World) -> tuple[list[Member], list[Project]]:
    """Two people and two projects, made once for all examples, who have done nothing yet."""
    with world.database.writing() as session:
        for table in (Cell, Slice, Mark, Event):
            session.execute(delete(table))
    if not hasattr(world, "cast"):
        people = [world.person(name) for name in ("Ada", "Ben")]
        world.cast = people, [world.project(name, *people) for name in ("one", "two")]  # type: ignore[attr-defined]
    return world.cast  # type: ignore[attr-defined,no-any-return]


def numbers(world: World, dimension: str, day: int = MIDNIGHT, measure: str = "events") -> dict[int, int]:
    """One number of a day by what the dimension cuts it by, of everybody."""
    found: dict[int, int] = {}
    with world.reading() as session:
        for row in session.scalars(select(Slice).filter_by(dimension=dimension, day=day)):
            found[row.value] = found.get(row.value, 0) + getattr(row, measure)
    return found


def minutes(world: World, dimension: str, day: int = MIDNIGHT) -> dict[int, int]:
    return {
        value: milliseconds // MINUTE_MS
        for value, milliseconds in numbers(world, dimension, day, "active_ms").items()
    }


def test_time_across_midnight_belongs_to_who_took_it_over_the_day_before(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    world.report(ada, one, *((MIDNIGHT + each * MINUTE_MS, saved()) for each in (-8, 4)))
    world.refresh()
    assert minutes(world, "type") == {SAVED: 4}
    world.report(ada, one, (MIDNIGHT - 5 * MINUTE_MS, wire.FileDeleted(path="a.ts")))
    world.refresh()
    assert minutes(world, "type") == {SAVED: 0, DELETED: 4}
    assert minutes(world, "language") == {PYTHON: 0, TYPESCRIPT: 4}


def test_a_late_event_leaves_the_time_that_came_over_midnight(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    world.report(ada, one, (MIDNIGHT - 8 * MINUTE_MS, commit(ada.author, "a.py", "b.ts")))
    world.report(ada, one, (MIDNIGHT + 4 * MINUTE_MS, saved()))
    world.refresh()
    world.report(ada, one, (MIDNIGHT + 10 * HOUR_MS, saved()))
    world.refresh()
    assert minutes(world, "type") == {COMMIT: 4, SAVED: 0}
    assert minutes(world, "language") == {SEVERAL: 4, PYTHON: 0}
    assert numbers(world, "language") == {SEVERAL: 0, PYTHON: 2}


def test_a_gap_that_ends_on_the_next_day_or_elsewhere_counts_where_it_began(world: World) -> None:
    ada = world.person("Ada")
    one, two = world.project("one", ada), world.project("two", ada)
    world.report(ada, one, *((MIDNIGHT + DAY_MS + each * MINUTE_MS, saved()) for each in (-7, 5)))
    world.refresh()
    world.report(ada, two, (MIDNIGHT + DAY_MS - 3 * MINUTE_MS, wire.FileDeleted(path="x")))
    world.refresh()
    assert minutes(world, "type") == {SAVED: 4, DELETED: 3}
    world.report(ada, one, (MIDNIGHT - HOUR_MS, saved()))  # after which this day is derived along
    world.refresh()
    assert minutes(world, "type") == {SAVED: 4, DELETED: 3}


def test_an_event_counts_in_each_language_and_its_lines_and_time_only_in_one(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    deeds = [
        commit(ada.author, "a.py", "b.ts", "c.ts", insertions=9),
        commit(ada.author, "d.ts", insertions=2),
    ]
    noon = MIDNIGHT + 12 * HOUR_MS
    world.report(ada, one, *((noon + n * MINUTE_MS, each) for n, each in enumerate(deeds)))
    world.report(
        ada, one, (noon + 3 * MINUTE_MS, merge(ada.author)), (noon + 10 * MINUTE_MS, saved("e.scss"))
    )
    world.refresh()
    assert numbers(world, "language") == {PYTHON: 1, TYPESCRIPT: 2, SEVERAL: 0, NO_FILE: 1, SASS: 1}
    lines = numbers(world, "language", measure="insertions")
    assert lines == {PYTHON: 0, TYPESCRIPT: 2, SEVERAL: 9, NO_FILE: 0, SASS: 0}
    assert minutes(world, "language") == {PYTHON: 0, TYPESCRIPT: 2, SEVERAL: 1, NO_FILE: 7, SASS: 0}
    assert numbers(world, "type") == {COMMIT: 2, MERGE: 1, SAVED: 1}


# Languages


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("src/app.py", "Python"),
        ("A/B/App.TSX", "TypeScript"),
        ("Dockerfile", "Dockerfile"),
        ("deploy/prod.dockerfile", "Dockerfile"),
        ("go.sum", "Go"),
        ("CMakeLists.txt", "CMake"),
        ("notes.txt", "Text"),
        (".gitignore", "Git"),
        ("x.py/README", "Text"),
        ("archive.tar.gz", "other"),
        ("py", "other"),
        (".", "other"),
        ("trailing.", "other"),
    ],
)
def test_a_language_is_told_by_the_name_alone(path: str, name: str) -> None:
    assert languages.NAME[languages.of(path)] == name


def test_the_table_of_languages_says_each_thing_once() -> None:
    assert [each.number for each in languages.TABLE] == list(range(1, len(languages.TABLE) + 1))
    assert len({each.name for each in languages.TABLE}) == len(languages.TABLE)
    for column in ("endings", "names"):
        words = [word for each in languages.TABLE for word in getattr(each, column).split()]
        assert len(set(words)) == len(words)
        assert all(word == word.lower() for word in words)


# What retention deleted


def expire(world: World, before: int) -> None:
    """Delete the events from before, as retention does, and say so."""
    with world.database.writing() as session:
        session.execute(delete(Event).where(Event.timestamp < before))
        session.execute(update(Workspace).values(events_since=before))


def test_slices_outlive_their_events_and_what_comes_late_is_told_apart(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    old = MIDNIGHT - 10 * HOUR_MS
    world.report(ada, one, (old, saved()), (old + MINUTE_MS, wire.FileDeleted(path="a.ts")))
    world.report(ada, one, *((MIDNIGHT + each * MINUTE_MS, saved()) for each in (-8, 4)))
    world.refresh()
    before = slices(world)
    expire(world, MIDNIGHT)
    mark(world, one, MIDNIGHT - DAY_MS)
    world.refresh()
    # The gap from before midnight has no event any more that says what it was.
    assert minutes(world, "type") == {SAVED: 0, NOT_KEPT: 4}
    assert minutes(world, "language") == {PYTHON: 0, NOT_KEPT: 4}
    assert {key: each for key, each in slices(world).items() if key[2] < MIDNIGHT} == {
        key: each for key, each in before.items() if key[2] < MIDNIGHT
    }
    world.report(ada, one, (MIDNIGHT + 5 * HOUR_MS, wire.FileDeleted(path="a.ts")))
    world.refresh()
    assert numbers(world, "type") == {SAVED: 1, DELETED: 1, NOT_KEPT: 0}
    with world.reading() as session:
        slicing.check_they_add_up(session)


def test_in_another_zone_days_without_events_are_no_longer_told_apart(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    world.report(ada, one, *((MIDNIGHT + hour * HOUR_MS, saved()) for hour in (-30, -3, 30)))
    world.refresh()
    expire(world, MIDNIGHT)
    assert world.adopt(Calendar(ZoneInfo("Asia/Seoul"), 15 * MINUTE_MS))
    days = [at(day) - 9 * HOUR_MS for day in ("2026-03-01", "2026-03-02", "2026-03-03")]
    assert [numbers(world, "type", day) for day in days] == [{NOT_KEPT: 1}, {NOT_KEPT: 1}, {SAVED: 1}]
    with world.reading() as session:
        slicing.check_they_add_up(session)
        assert {day for _, _, day, *_ in slicing.stored(session)} == set(days)


def slices(world: World) -> dict[slicing.Key, slicing.Plain]:
    with world.reading() as session:
        return slicing.stored(session)


def mark(world: World, project: Project, day: int) -> None:
    with world.database.writing() as session:
        session.add(Mark(project_id=project.id, day=day))


def test_by_another_idle_limit_slices_are_counted_anew(world: World) -> None:
    ada = world.person("Ada")
    one = world.project("one", ada)
    world.report(ada, one, *((MIDNIGHT + minute * MINUTE_MS, saved()) for minute in (0, 3, 13)))
    world.refresh()
    assert minutes(world, "type") == {SAVED: 13}
    assert world.adopt(Calendar(ZoneInfo("UTC"), 5 * MINUTE_MS))
    assert minutes(world, "type") == {SAVED: 3}
    with world.reading() as session:
        slicing.check_they_add_up(session)
