"""What open pages are told: views that follow the database, drawn once for all who look."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event

from devflow import audit
from devflow.audit import Act, Actor
from devflow.live import MOST, Full, Hub, News, Over, State, View, Watched
from devflow.models import Project
from tests import build
from tests.build import Member, World
from tests.visitor import within

FAR_S = 100.0


def drawing(*texts: str) -> Iterator[dict[str, str]]:
    yield from ({"one": text, "two": "same"} for text in texts)


def view(*texts: str) -> View:
    drawn = drawing(*texts)
    return View("key", Watched({1: 5}), lambda: next(drawn))


def follow(shown: View, state: State, now_s: float) -> bool:
    """Draw it, as the hub does, if there is reason to and it may be."""
    watched = shown.changed(state)
    if watched is None or not shown.may_draw(state, now_s):
        return False
    shown.take(watched, shown.draw(), now_s)
    return True


def test_a_view_is_drawn_when_what_it_watches_has_moved_and_else_never() -> None:
    shown = view("first")
    assert not follow(shown, State({1: 5, 2: 7}), 0)
    assert not follow(shown, State({1: 5, 2: 8}), 10)
    assert follow(shown, State({1: 6}), 20)
    assert not follow(shown, State({1: 6}), 30)


def test_a_view_is_drawn_once_a_second_at_most_and_the_last_change_is_in_it() -> None:
    shown = view(*map(str, range(100)))
    drawn = [n for n in range(1, 51) if follow(shown, State({1: 5 + n}), n / 10)]
    assert len(drawn) == 5
    assert follow(shown, State({1: 55}), 6)
    assert panels(shown, version(55)) is None


def test_what_is_being_counted_is_waited_for_but_not_for_ever() -> None:
    shown = view("first", "second")
    counting = State({1: 6}, counting=frozenset({1}))
    assert [follow(shown, counting, now_s) for now_s in (0, 1, 1.9)] == [False] * 3
    assert follow(shown, counting, 2)
    assert follow(shown, State({1: 7}, counting=frozenset({2})), 4)


def panels(shown: View, version: str) -> dict[str, str] | None:
    news = shown.news_for(version)
    return None if news is None else dict(news.panels)


def version(generation: int) -> str:
    return Watched({1: generation}).version("key")


def test_who_was_there_gets_what_differs_and_who_comes_gets_all() -> None:
    shown = view("first", "second", "third")
    follow(shown, State({1: 6}), 0)
    assert panels(shown, version(5)) == {"one": "first", "two": "same"}
    follow(shown, State({1: 7}), 2)
    assert panels(shown, version(6)) == {"one": "second"}
    assert panels(shown, version(5)) == {"one": "second", "two": "same"}
    assert panels(shown, version(7)) is None
    assert shown.news_for(version(6)) is shown.news_for(version(6))


def test_a_change_that_is_not_seen_is_told_to_nobody() -> None:
    shown = view("first", "second", "second", "third")
    for n in range(1, 4):
        follow(shown, State({1: 5 + n}), 2 * n)
    assert panels(shown, version(7)) is panels(shown, version(8)) is None
    assert panels(shown, version(6)) == {"one": "second"}
    follow(shown, State({1: 9}), 10)
    assert panels(shown, version(7)) == panels(shown, version(8)) == {"one": "third"}
    assert panels(shown, version(6)) == {"one": "third", "two": "same"}


def test_a_view_that_cannot_be_drawn_keeps_what_it_has_until_the_next_change() -> None:
    shown = view("first", "second")
    follow(shown, State({1: 6}), 0)
    shown.take(Watched({1: 7}), None, 1)
    assert panels(shown, version(6)) is None
    assert panels(shown, "older") == {"one": "first", "two": "same"}
    assert not follow(shown, State({1: 7}), 5)
    assert follow(shown, State({1: 8}), 6)


def test_a_version_is_of_all_that_decides_what_is_shown() -> None:
    watched = Watched({1: 5}, {3: 9}, 2)
    other = [
        Watched({1: 6}, {3: 9}, 2).version("key"),
        Watched({1: 5}, {3: 10}, 2).version("key"),
        Watched({1: 5}, {3: 9}, 3).version("key"),
        watched.version("another"),
    ]
    assert len({watched.version("key"), *other}) == 5
    assert Watched({1: 5}, {3: 9}, 2).version("key") == watched.version("key")


# The hub on a real database


@pytest.fixture
def hub(world: World) -> Iterator[Hub]:
    hub = Hub(world.database, lambda: build.NOW_MS)
    yield hub
    hub.end()
    within(20, lambda: not [one for one in threading.enumerate() if one.name == "live"])


def watched(world: World, project: Project) -> Watched:
    with world.reading() as session:
        return Watched.of([session.get_one(Project, project.id)], (), build.NOW_MS)


def save(world: World, who: Member, project: Project) -> None:
    world.report(who, project, (build.NOW_MS, build.saved()))
    world.refresh()


def test_however_many_look_a_change_is_drawn_once_and_read_by_as_many_statements(
    world: World, hub: Hub
) -> None:
    ada = world.person("Ada")
    atlas = world.project("atlas", ada)
    now = watched(world, atlas)
    drawn: list[int] = []

    def draw() -> dict[str, str]:
        drawn.append(1)
        return {"one": str(len(drawn))}

    def told(many: int) -> tuple[int, list[News | None]]:
        """How many statements a change takes with so many viewers, and what they got."""
        got: list[News | None] = []
        ready = threading.Barrier(many + 1)

        def watch() -> None:
            version = watched(world, atlas).version("key")
            with hub.joined("key", version, watched(world, atlas), draw) as shown:
                ready.wait()
                got.append(hub.wait(shown, version, hub.rights, 30))

        threads = [threading.Thread(target=watch) for _ in range(many)]
        for thread in threads:
            thread.start()
        ready.wait()
        with counted() as statements:
            save(world, ada, atlas)
            hub.stir()
            for thread in threads:
                thread.join()
        return len(statements), got

    hub.note_rights()
    few, _ = told(2)
    drawn.clear()
    many, got = told(40)
    assert len(drawn) == 1
    assert many <= few + 8, "two more looks at most"
    # Slices may follow later, as another change.
    assert len({news.version for news in got if news} - {now.version("key")}) == 1
    assert len(got) == 40


@contextmanager
def counted() -> Iterator[list[str]]:
    """Every statement of whatever database while in the block."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield sent
    event.remove(Engine, "before_cursor_execute", note)


def test_an_act_that_may_change_rights_wakes_all_and_one_that_does_not_wakes_nobody(
    world: World, hub: Hub
) -> None:
    ada = world.person("Ada")
    atlas = world.project("atlas", ada)
    version = watched(world, atlas).version("key")
    hub.note_rights()
    with hub.joined("key", version, watched(world, atlas), dict) as shown:
        for act, moves in ((Act.PERSON_VIEWED, False), (Act.PROJECT_MEMBER_REMOVED, True)):
            before = hub.rights
            with world.database.writing() as session:
                audit.record(session, Actor(None, build.NOW_MS, world.vault), act, ada.public_id)
            hub.stir()
            assert hub.wait(shown, version, before, 20 if moves else 2) is None
            assert (hub.rights != before) is moves


def test_there_is_room_for_so_many_and_a_place_is_given_back(hub: Hub) -> None:
    places = [hub.joined(number, "v", Watched({}), dict) for number in range(MOST)]
    for place in places:
        place.__enter__()
    with pytest.raises(Full), hub.joined("one more", "v", Watched({}), dict):
        pass
    places[0].__exit__(None, None, None)
    with hub.joined("one more", "v", Watched({}), dict):
        assert len(hub) == MOST
    for place in places[1:]:
        place.__exit__(None, None, None)
    assert len(hub) == 0


def test_when_the_server_stops_all_go_and_nobody_comes(hub: Hub) -> None:
    hub.note_rights()
    with hub.joined("one", "v", Watched({}), dict) as shown:
        threading.Timer(0.1, hub.end).start()
        with pytest.raises(Over):
            while True:
                hub.wait(shown, "v", hub.rights, FAR_S)
    with pytest.raises(Over), hub.joined("one more", "v", Watched({}), dict):
        pass
