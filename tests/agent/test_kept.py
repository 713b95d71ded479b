"""What the agent keeps of what it counted: bounded, for a while, and never in anybody's way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from devflow_agent.analyse.kept import KEPT_FOR_MS, MOST_BYTES, Kept

ROOM = 1_000_000


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_a_value_is_good_for_its_sequence_and_for_five_minutes_by_the_clock_that_is_passed_in() -> None:
    kept = Kept()
    kept.put(key(1), 7, 1_000, b"seven")
    assert KEPT_FOR_MS == 300_000
    assert kept.get(key(1), 7, 1_000) == kept.get(key(1), 7, 1_000 + KEPT_FOR_MS) == b"seven"
    assert kept.get(key(1), 7, 1_001 + KEPT_FOR_MS) is None
    assert kept.get(key(1), 7, 999) is None, "the clock was set back"
    assert kept.get(key(1), 8, 1_000) is None, "a new event"
    assert kept.get(key(2), 7, 1_000) is None


def test_of_one_question_only_the_last_answer_is_kept_and_what_is_too_old_goes() -> None:
    kept = Kept()
    kept.put(key(1), 7, 0, b"seven")
    kept.put(key(1), 8, 1, b"eight")
    assert (len(kept), kept.get(key(1), 8, 1)) == (1, b"eight")
    kept.put(key(2), 8, KEPT_FOR_MS + 2, b"other")
    assert len(kept) == 1


@pytest.mark.parametrize("size", [100, 5_000, 200_000])
def test_it_never_takes_more_than_its_room_and_the_oldest_go(size: int) -> None:
    kept = Kept(ROOM)
    for number in range(3 * ROOM // size):
        kept.put(key(number), 1, number, number.to_bytes(4, "big") * (size // 4))
        assert kept.get(key(number), 1, number) == number.to_bytes(4, "big") * (size // 4)
        assert kept.size <= ROOM
    there = [n for n in range(number + 1) if kept.get(key(n), 1, number) is not None]
    assert there == list(range(there[0], number + 1)), "the newest, without a hole"
    assert there[0] > 0
    assert len(there) * size > ROOM // 4, "most of the room is of use"


def test_what_is_too_large_is_not_kept_and_drives_nothing_out() -> None:
    kept = Kept(ROOM)
    kept.put(key(1), 1, 0, b"small")
    kept.put(key(2), 1, 0, b"x" * 2 * ROOM)
    assert (kept.get(key(1), 1, 0), kept.get(key(2), 1, 0)) == (b"small", None)


def test_the_room_is_a_hundred_megabytes_unless_another_one_is_asked_for() -> None:
    assert MOST_BYTES == 100 * 1_000_000
    kept = Kept()
    for number in range(12):
        kept.put(key(number), 1, 0, bytes(10_000_000))
    assert 50_000_000 < kept.size <= MOST_BYTES
    assert kept.get(key(0), 1, 0) is None


def test_any_number_of_threads_may_use_it_while_it_is_full() -> None:
    kept = Kept(ROOM)

    def use(thread: int) -> int:
        found = 0
        for number in range(200):
            value = key(1_000 * thread + number) * 100
            kept.put(key(1_000 * thread + number), 1, 0, value)
            answer = kept.get(key(1_000 * thread + number), 1, 0)
            assert answer in (None, value)
            found += answer is not None
        return found

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(8))) > 0
    assert kept.size <= ROOM


def test_a_cache_that_is_broken_costs_the_time_to_count_and_is_no_error() -> None:
    kept = Kept()
    kept.put(key(1), 1, 0, b"value")
    kept._connection.execute("DROP TABLE kept")
    assert kept.get(key(1), 1, 0) is None
    kept.put(key(1), 1, 0, b"value")
