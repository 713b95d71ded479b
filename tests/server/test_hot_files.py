"""Which files are hottest: counted by sets, against counting file by file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from devflow.activity.files import MOST, hottest
from devflow.activity.occurrences import Occurrences

# Few different files, so that many are in as many sets; and some beyond the first container of a bitmap.
FILES = st.one_of(st.integers(0, 60), st.integers(65_530, 65_560))
SETS = st.lists(st.sets(FILES, max_size=60), max_size=12)


def one_by_one(sets: Iterable[set[int]]) -> Counter[int]:
    return Counter(file for files in sets for file in files)


@settings(max_examples=200)
@given(SETS, st.sets(FILES), st.integers(1, 30))
def test_occurrences_are_those_that_counting_one_by_one_finds(
    sets: list[set[int]], among: set[int], count: int
) -> None:
    found, counted = Occurrences(map(BitMap, sets)), one_by_one(sets)
    assert {file: found.of(file) for file in among} == {file: counted[file] for file in among}
    asked = BitMap(among)
    more, as_many = found.most(asked, count)
    assert {*asked} == among, "it is the caller's"
    if len(among) < count:
        assert {*more, *as_many} == among
    else:
        last = sorted((counted[file] for file in among), reverse=True)[count - 1]
        assert {*more} == {file for file in among if counted[file] > last}
        assert {*as_many} == {file for file in among if counted[file] == last}


@settings(max_examples=200)
@given(SETS, SETS)
def test_the_hottest_are_the_first_of_all_in_order(in_periods: list[set[int]], by: list[set[int]]) -> None:
    periods, people = one_by_one(in_periods), one_by_one(by)
    expected = sorted(periods, key=lambda file: (-periods[file], -people[file], file))[:MOST]
    found = hottest(BitMap(periods), Occurrences(map(BitMap, in_periods)), Occurrences(map(BitMap, by)))
    assert found == expected


@pytest.mark.parametrize("sets", [0, 1, 2, 3, 4, 53, 130])
def test_a_file_of_every_set_is_counted_as_often_as_there_are_sets(sets: int) -> None:
    assert Occurrences([BitMap([7])] * sets).of(7) == sets
