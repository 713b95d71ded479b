"""The process's log: a line for each record, whatever text came into it from outside."""

from __future__ import annotations

import logging
import sys
from typing import Final

FORMAT: Final = "[%(asctime)s] [%(process)d] [%(levelname)s] %(name)s: %(message)s"
WHEN: Final = "%Y-%m-%d %H:%M:%S %z"
"""As gunicorn writes it beside ours: with the zone."""


def begin() -> None:
    """Log warnings and worse to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(FORMAT, WHEN))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


class OneLine(logging.Formatter):
    """Nothing that somebody sent can begin a line or steer a terminal; tracebacks are indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging calls it so
        record.message = plain(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: logging._SysExcInfoType) -> str:  # noqa: N802
        return "\n".join(f"  {plain(line)}" for line in super().formatException(ei).splitlines())


def plain(text: str) -> str:
    """The text with what does not print spelled out: a line end as ``\\n``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
