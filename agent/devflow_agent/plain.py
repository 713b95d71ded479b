"""Text for people: names from repositories and servers made safe to show, and numbers of things."""

from __future__ import annotations

import unicodedata
from typing import Final

# Control, format (all bidi overrides and invisible characters), surrogate, private use,
# unassigned, line and paragraph separators: what can move a cursor, reorder or hide text.
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(text: str, limit: int = 500) -> str:
    """``text`` on one line with unsafe characters spelled out as ``\\u{202e}``, at most ``limit`` long."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(f"\\u{{{ord(char):x}}}" if unicodedata.category(char) in _UNSAFE else char for char in cut)


def counted(number: int, noun: str) -> str:
    """``1 commit``, ``1,200 commits``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
