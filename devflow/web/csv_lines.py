"""Lines of CSV (RFC 4180) that no spreadsheet program takes for anything but text and numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Final

# What spreadsheet programs take for the beginning of a formula (OWASP, CSV Injection), full-width forms too.
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def line(cells: Iterable[object]) -> str:
    """None is an empty cell; a text that could be calculated gets an apostrophe before it."""
    text = io.StringIO()
    csv.writer(text).writerow(["" if cell is None else plain(str(cell)) for cell in cells])
    return text.getvalue()


def plain(text: str) -> str:
    """The text as one that no spreadsheet runs."""
    return f"'{text}" if text.startswith(FORMULA) else text
