"""The layers of the cache: each keeps within its bounds, and none is believed for more than it can prove."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
import redis
from sqlalchemy import delete, func, select, update

from devflow.cache import LARGEST_BYTES, Cache, Place
from devflow.cache import stored as database_layer
from devflow.cache.memory import ENTRY_BYTES, Memory
from devflow.cache.shared import PREFIX, Shared
from devflow.models import KeptAnswer, Project
from tests import valkey as valkey_server
from tests.build import NOW_MS, World
from tests.valkey import Valkey

HASHED = "c3675c17e5b80ac31c20451668a5aaea1a2bd53721baa3deb350fae5593dc307"
"""`printf project:1:metric:commits:range:1-2 | sha256sum`"""


@pytest.fixture(scope="module")
def running() -> Iterator[Valkey]:
    with valkey_server.running() as server:
        yield server


@pytest.fixture
def valkey(running: Valkey) -> Valkey:
    with running.client() as client:
        client.flushall()
    return running


@dataclass
class Counting:
    """What is counted, and how often that was asked for."""

    value: list[int]
    times: int = 0

    def __call__(self) -> list[int]:
        self.times += 1
        return self.value


def place(
    project: Project, generation: int = 1, question: str = "project:x", *, costly: bool = False
) -> Place:
    return Place(question, project.id, generation, costly)


def ask(world: World, cache: Cache, where: Place, value: list[int]) -> tuple[list[int], bool]:
    """The answer, and whether it was counted for it."""
    count = Counting(value)
    with world.reading() as session:
        answer = cache.get(session, where, list[int], count)
    return answer, count.times == 1


# Memory


def test_what_was_not_used_for_longest_makes_room() -> None:
    memory = Memory(3 * (ENTRY_BYTES + 100))
    for name in (b"a", b"b", b"c"):
        memory.put(name, 1, bytes(100))
    assert memory.get(b"a", 1) == bytes(100)
    memory.put(b"d", 1, bytes(100))
    assert [memory.get(name, 1) is None for name in (b"a", b"b", b"c", b"d")] == [False, True, False, False]
    memory.put(b"e", 1, bytes(10_000))
    assert memory.get(b"e", 1) is None
    memory.put(b"f", 1, bytes(3 * 100 + 2 * ENTRY_BYTES))
    assert (len(memory), memory.size) == (1, 3 * (ENTRY_BYTES + 100))


def test_a_question_takes_room_once_however_often_its_project_changes() -> None:
    memory = Memory()
    for generation in range(100):
        memory.put(b"key", generation, bytes(generation))
    assert (len(memory), memory.size) == (1, 99 + ENTRY_BYTES)
    assert memory.get(b"key", 98) is None
    assert memory.get(b"key", 99) == bytes(99)


def test_memory_keeps_count_of_itself_whoever_comes_at_once() -> None:
    memory = Memory(50 * (ENTRY_BYTES + 10))

    def use(seed: int) -> None:
        for number in range(2_000):
            key = bytes([(seed * number) % 100])
            memory.put(key, 1, bytes(10))
            memory.get(key, 1)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in (1, 3, 7, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.size == len(memory) * (ENTRY_BYTES + 10) <= 50 * (ENTRY_BYTES + 10)


# All layers


def test_a_value_is_counted_once_a_generation(world: World) -> None:
    cache, atlas = Cache(world.vault), world.project("atlas")
    assert ask(world, cache, place(atlas), [1]) == ([1], True)
    assert ask(world, cache, place(atlas), [2]) == ([1], False)
    assert ask(world, cache, place(atlas, generation=2), [3]) == ([3], True)
    assert ask(world, cache, place(atlas, question="project:y"), [4]) == ([4], True)


def test_the_key_is_the_sha_256_of_the_question(world: World, valkey: Valkey) -> None:
    cache, atlas = Cache(world.vault, Shared(valkey.url, timeout_s=5)), world.project("atlas")
    ask(world, cache, place(atlas, question="project:1:metric:commits:range:1-2"), [1])
    with valkey.client() as client:
        [key] = client.keys("*")
        kept = client.get(key)
    assert key == PREFIX + bytes.fromhex(HASHED)
    assert kept is not None
    assert json.loads(kept)["value"] == [1]


def test_another_process_finds_what_one_has_counted(world: World, valkey: Valkey) -> None:
    one, other = (Cache(world.vault, Shared(valkey.url, timeout_s=5)) for _ in range(2))
    atlas = world.project("atlas")
    assert ask(world, one, place(atlas), [1]) == ([1], True)
    assert ask(world, other, place(atlas), [2]) == ([1], False)
    assert ask(world, other, place(atlas, generation=2), [2]) == ([2], True)
    assert ask(world, one, place(atlas, generation=2), [3]) == ([2], False)


def test_what_was_costly_is_found_after_a_restart(world: World) -> None:
    before, atlas = Cache(world.vault), world.project("atlas")
    costly = place(atlas, question="project:costly", costly=True)
    ask(world, before, costly, [1])
    ask(world, before, place(atlas), [2])
    assert world.database.transact(lambda session: before.flush(session, NOW_MS)) == 1
    assert not before.stored.is_waiting
    after = Cache(world.vault)
    assert ask(world, after, costly, [3]) == ([1], False)
    assert ask(world, after, place(atlas), [3]) == ([3], True)
    assert ask(world, after, replace(costly, generation=2), [4]) == ([4], True)


def test_the_table_holds_so_many_rows_and_none_of_a_project_that_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_layer, "MOST_ROWS", 10)
    cache, atlas, gone = Cache(world.vault), world.project("atlas"), world.project("gone")
    for turn in range(6):
        for number in range(4):
            ask(world, cache, place(atlas, question=f"{turn}:{number}", costly=True), [turn])
        with world.database.writing() as session:
            cache.flush(session, NOW_MS + turn)
    with world.reading() as session:
        assert session.scalar(select(func.count()).select_from(KeptAnswer)) == 10
        assert session.scalar(select(func.min(KeptAnswer.kept_at))) == NOW_MS + 3
    ask(world, cache, place(gone, question="gone", costly=True), [1])
    with world.database.writing() as session:
        session.execute(delete(Project).where(Project.id == gone.id))
    assert world.database.transact(lambda session: cache.flush(session, NOW_MS)) == 0


def test_what_waits_to_be_stored_is_bounded(world: World) -> None:
    cache, atlas = Cache(world.vault), world.project("atlas")
    for number in range(200):
        ask(world, cache, place(atlas, question=str(number), costly=True), [1])
    ask(world, cache, place(atlas, question="0", costly=True), list(range(100_000)))
    assert (
        world.database.transact(lambda session: cache.flush(session, NOW_MS)) == database_layer.MOST_WAITING
    )


def test_what_is_too_large_is_counted_each_time(world: World) -> None:
    cache, atlas = Cache(world.vault), world.project("atlas")
    large = [10**12] * (LARGEST_BYTES // 10)
    for _ in range(2):
        assert ask(world, cache, place(atlas), large) == (large, True)


# Who lies is not believed

FORGERIES: list[Callable[[bytes], bytes]] = [
    lambda kept: kept.replace(b'"value":[1]', b'"value":[666]'),
    lambda kept: kept.replace(b'"generation":1', b'"generation":2'),
    lambda kept: kept.replace(b"project:x", b"project:y"),
    lambda kept: kept[:-10],
    lambda _: b"",
    lambda _: b"\xff\xfe",
    lambda _: b"null",
    lambda _: b'{"question":"project:x","generation":1,"seal":"","value":[666]}',
    lambda _: b"[" * 100_000,
    lambda kept: kept + kept,
    lambda _: bytes(3 * LARGEST_BYTES),
]


@pytest.mark.parametrize("forge", FORGERIES, ids=range(len(FORGERIES)))
@pytest.mark.parametrize("generation", [1, 2])
def test_what_was_changed_in_redis_is_counted_anew(
    world: World, valkey: Valkey, forge: Callable[[bytes], bytes], generation: int
) -> None:
    atlas = world.project("atlas")
    ask(world, Cache(world.vault, Shared(valkey.url, timeout_s=5)), place(atlas), [1])
    with valkey.client() as client:
        [key] = client.keys("*")
        client.set(key, forge(client.get(key)))
        # The same for another question, by its key.
        client.set(PREFIX + place(atlas, question="project:y").key, client.get(key))
    for question in ("project:x", "project:y"):
        cache = Cache(world.vault, Shared(valkey.url, timeout_s=5))
        where = place(atlas, generation, question)
        assert ask(world, cache, where, [7]) == ([7], True)


def test_a_key_that_holds_something_else_is_no_answer_and_no_outage(world: World, valkey: Valkey) -> None:
    atlas, shared = world.project("atlas"), Shared(valkey.url, timeout_s=5)
    with valkey.client() as client:
        client.lpush(PREFIX + place(atlas).key, "x")
    assert ask(world, Cache(world.vault, shared), place(atlas), [1]) == ([1], True)
    assert ask(world, Cache(world.vault, shared), place(atlas), [2]) == ([1], False)


def test_what_was_changed_in_the_table_is_counted_anew(world: World) -> None:
    cache, atlas = Cache(world.vault), world.project("atlas")
    ask(world, cache, place(atlas, costly=True), [1])
    world.database.transact(lambda session: cache.flush(session, NOW_MS))
    with world.database.writing() as session:
        kept = session.scalars(select(KeptAnswer.value)).one()
        session.execute(update(KeptAnswer).values(value=kept.replace(b"[1]", b"[666]")))
    assert ask(world, Cache(world.vault), place(atlas, costly=True), [2]) == ([2], True)


def test_another_servers_seal_is_not_ours(world: World, valkey: Valkey, tmp_path: object) -> None:
    atlas = world.project("atlas")
    ask(world, Cache(world.vault, Shared(valkey.url, timeout_s=5)), place(atlas), [1])
    stranger = replace(world.vault.ring, hashes=bytes(32))
    world.vault.use(stranger)
    assert ask(world, Cache(world.vault, Shared(valkey.url, timeout_s=5)), place(atlas), [2]) == ([2], True)


# Redis that is not there


class Time:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    with valkey_server.running() as server:
        yield server


def test_a_redis_that_is_gone_costs_nothing_until_it_is_tried_again(
    world: World, own_valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    clock, atlas = Time(), world.project("atlas")
    shared = Shared(own_valkey.url, timeout_s=5, pause_s=10, clock=clock)

    def answers(question: str) -> bool:
        """Whether what one process keeps is there for another."""
        ask(world, Cache(world.vault, shared), place(atlas, question=question), [1])
        return ask(world, Cache(world.vault, shared), place(atlas, question=question), [2]) == ([1], False)

    assert answers("first")
    own_valkey.kill()
    with caplog.at_level(logging.WARNING):
        assert not answers("killed")
        own_valkey.start()
        assert not answers("too early")
        clock.now_s += 11
        assert answers("again")
    said = [record.getMessage() for record in caplog.records if record.name == "devflow.cache.shared"]
    assert said == ["doing without Redis: ConnectionError", "Redis answers again"]
    with own_valkey.client() as client:
        client.flushall()
    assert answers("flushed")


def test_a_redis_that_hangs_costs_one_short_wait_in_a_while(world: World, own_valkey: Valkey) -> None:
    clock, atlas = Time(), world.project("atlas")
    shared = Shared(own_valkey.url, timeout_s=0.2, pause_s=10, clock=clock)
    cache = Cache(world.vault, shared)
    ask(world, cache, place(atlas), [1])
    own_valkey.hang()
    began = time.monotonic()
    assert ask(world, cache, place(atlas, question="slow"), [2]) == ([2], True)
    waited = time.monotonic() - began
    assert 0.2 <= waited < 2
    began = time.monotonic()
    for number in range(50):
        assert ask(world, cache, place(atlas, question=str(number)), [3]) == ([3], True)
    assert time.monotonic() - began < 2, "none of them waited"
    own_valkey.go_on()
    clock.now_s += 11
    ask(world, cache, place(atlas, question="after"), [4])
    assert ask(world, Cache(world.vault, shared), place(atlas, question="after"), [5]) == ([4], False)


def test_of_many_who_ask_a_redis_that_hangs_one_tries_again(world: World, own_valkey: Valkey) -> None:
    clock = Time()
    shared = Shared(own_valkey.url, timeout_s=0.3, pause_s=10, clock=clock)
    own_valkey.hang()
    assert shared.get(b"key", 10) is None
    clock.now_s += 11
    took: list[float] = []

    def look() -> None:
        began = time.monotonic()
        shared.get(b"key", 10)
        took.append(time.monotonic() - began)

    threads = [threading.Thread(target=look) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(each >= 0.3 for each in took) == 1
    own_valkey.go_on()


@pytest.mark.parametrize("speech", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$x\r\n", b"\x00" * 100, b""])
def test_what_is_no_redis_is_none(speech: bytes) -> None:
    """Something listens there that speaks otherwise."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(speech)

        thread = threading.Thread(target=serve)
        thread.start()
        shared = Shared(f"redis://127.0.0.1:{listener.getsockname()[1]}", timeout_s=1)
        assert shared.get(b"key", 10) is None
        assert shared.get(b"key", 10) is None, "and not asked again so soon"
        thread.join()


def test_a_redis_that_nobody_named_is_not_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("asked a Redis")

    monkeypatch.setattr(redis.Redis, "execute_command", asked)
    assert ask(world, Cache(world.vault), place(world.project("atlas")), [1]) == ([1], True)
