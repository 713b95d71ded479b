"""Names that people give: one line of text that shows as what it is."""

from __future__ import annotations

import itertools
import unicodedata
from typing import Final

from devflow.errors import Invalid

MAX_NAME: Final = 100
# Cc: control; Cf: bidirectional overrides, zero-width and tag characters; Co, Cs, Cn: no characters;
# Zl, Zp: line ends.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
# Emoji of families and professions, and scripts such as Persian, need these two.
_JOINERS: Final = frozenset("\u200c\u200d")
MAX_MARKS: Final = 6
"""How many accents may stand on one letter; more of them run over the lines above and below."""


def plain_name(given: str) -> str:
    """The name, its white space made single; raise Invalid for one that is empty, long or hides something."""
    name = unicodedata.normalize("NFC", " ".join(given.split()))
    if not 1 <= len(name) <= MAX_NAME:
        raise Invalid("expected a name of 1 to %(most)s characters, got %(n)s", most=MAX_NAME, n=len(name))
    hidden = sorted({c for c in name if unicodedata.category(c) in _HIDDEN and c not in _JOINERS})
    if hidden:
        raise Invalid(
            "expected a name without invisible characters, got one with %(it)s",
            it=f"U+{ord(hidden[0]):04X}",
        )
    if _most_marks(name) > MAX_MARKS:
        raise Invalid(
            "expected at most %(most)s accents on a letter, got %(n)s", most=MAX_MARKS, n=_most_marks(name)
        )
    return name


def _most_marks(name: str) -> int:
    """The longest run of combining marks."""
    runs = itertools.groupby(name, lambda c: unicodedata.category(c) in ("Mn", "Me"))
    return max((len(list(run)) for is_mark, run in runs if is_mark), default=0)
