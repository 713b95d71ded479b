"""In how many of many sets a number is, without looking at any number by itself."""

from __future__ import annotations

from collections.abc import Iterable

from pyroaring import BitMap


class Occurrences:
    """A binary counter for each number of the sets, all of them moved by each set at once.

    The counters lie across: ``_digits[n]`` has the numbers whose counter has the digit of 2 to the n. So
    ten thousand files in each of fifty weeks are counted by some hundred operations on sets. The technique
    is known as bit-sliced arithmetic (O'Neil and Quass, Improved Query Performance with Variant Indexes,
    SIGMOD 1997).
    """

    def __init__(self, sets: Iterable[BitMap]) -> None:
        self._digits: list[BitMap] = []
        for carried in sets:
            for at, digit in enumerate(self._digits):
                if not carried:
                    break
                self._digits[at], carried = digit ^ carried, digit & carried
            if carried:
                self._digits.append(carried)

    def of(self, number: int) -> int:
        return sum(1 << at for at, digit in enumerate(self._digits) if number in digit)

    def most(self, among: BitMap, count: int) -> tuple[BitMap, BitMap]:
        """The numbers that are in more sets than the ``count``-th of ``among`` is, and those in as many."""
        more, open_ = BitMap(), among
        for digit in reversed(self._digits):
            having = open_ & digit
            if len(more) + len(having) < count:
                more |= having
                open_ = open_ - having  # not in place: it may be the caller's
            else:
                open_ = having
        return more, open_
