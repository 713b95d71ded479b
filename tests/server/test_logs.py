"""The log: nobody outside can write a line of it."""

from __future__ import annotations

import logging
import re
import sys

import pytest

from devflow import logs

FAKE = "[2026-11-19 08:00:00 +0000] [1] [INFO] devflow.anchors: all is well"


def logged(message: str, *arguments: object, failure: Exception | None = None) -> list[str]:
    """The lines that a record becomes."""
    try:
        raise failure or RuntimeError
    except Exception:
        found = None if failure is None else sys.exc_info()
    record = logging.LogRecord("devflow.web", logging.ERROR, "", 0, message, arguments, found)
    return logs.OneLine(logs.FORMAT, logs.WHEN).format(record).splitlines()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x0b", "\x1c", "\x85", "\u2028", "\u2029"])
def test_what_came_from_outside_begins_no_line(end: str) -> None:
    (line,) = logged("%s failed", f"/setup/x{end}{FAKE}")
    assert line.endswith(f"{FAKE} failed")
    first, *others = logged("it broke", failure=ValueError(f"expected a name{end}{FAKE}"))
    assert first.endswith("devflow.web: it broke")
    assert others and all(each.startswith("  ") for each in others)


def test_what_came_from_outside_does_not_steer_a_terminal() -> None:
    (line,) = logged("%s", "a\x1b]0;title\x07\x1b[31mb\u202ec\udcffé")
    assert line.endswith(r"a\x1b]0;title\x07\x1b[31mb\u202ec\udcffé")


def test_a_line_says_when_with_the_zone() -> None:
    (line,) = logged("late")
    assert re.match(
        r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] \[ERROR\] devflow\.web: late$", line
    )
