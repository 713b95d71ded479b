"""Answers that are sent while they are made: they end when who asked may no longer have them.

A stream goes on after its request has ended, so it holds no session of the database and asks
nothing of Flask; what it needs it was given before.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from sqlalchemy.orm import Session

from devflow.context import Context
from devflow.web import guard
from devflow.web.current import context

CHECK_EVERY_MS: Final = 30_000
CHUNK_BYTES: Final = 65_536


class Ended(Exception):
    """Who asked was signed out, deactivated, or may no longer do this."""


class Aborted(OSError):
    """Ends an answer so that the other side notices: without the last chunk of HTTP/1.1.

    Gunicorn closes the connection on it, as if the other side had gone, and logs nothing.
    """

    def __init__(self) -> None:
        super().__init__(errno.EPIPE, "the answer ends before its end")


class Admission:
    """Whether who asked may go on; ``is_admitted`` looks it up."""

    def __init__(self, context: Context, is_admitted: Callable[[Session], bool]) -> None:
        self._context = context
        self._is_admitted = is_admitted
        self._looked_at = context.now()

    @classmethod
    def of_request(cls) -> Admission:
        """Of the browser that asks, for what it asks for; the door has just let it in."""
        return cls(context(), guard.admission())

    def look(self) -> None:
        """Raise Ended unless they may go on."""
        self._looked_at = self._context.now()
        with self._context.database.reading() as session:
            if not self._is_admitted(session):
                raise Ended

    def look_if_due(self) -> None:
        """``look``, if the last time is ``CHECK_EVERY_MS`` ago."""
        if self._context.now() - self._looked_at >= CHECK_EVERY_MS:
            self.look()


def chunks(pages: Iterable[Sequence[bytes]], admission: Admission) -> Iterator[bytes]:
    """The lines of the pages, some together; raise Ended as soon as who asked may have no more.

    Looked at for each page, since reading it may have taken long, and by the clock within one,
    since the other side may take long to receive it.
    """
    for page in pages:
        admission.look()
        for chunk in _chunks(page):
            admission.look_if_due()
            yield chunk


def _chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    chunk = bytearray()
    for line in lines:
        chunk += line
        if len(chunk) >= CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)
