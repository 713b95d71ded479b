"""Errors named for what the caller does next; both the agent and the server raise them."""

from __future__ import annotations


def phrase(text: str) -> str:
    """The text itself. Marks a message that does not stand where its error is made, for the catalogs."""
    return text


class DevflowError(Exception):
    """Base of every error with a message fit for the person who reads it.

    ``values`` fill the ``%(name)s`` of the message; unfilled, it is what catalogs of other languages know,
    as they know each sentence of ``more``, which follow on it.
    """

    def __init__(self, message: str = "", *more: str, **values: object) -> None:
        super().__init__(" ".join((message % values if values else message, *more)))
        self.message = message
        self.more = more
        self.values = values


class Invalid(DevflowError):
    """The input is wrong: fix it. The message says what was expected and what came."""


class Unauthorized(DevflowError):
    """Nobody, or the wrong one, is signed in: sign in."""


class CodeNeeded(Unauthorized):
    """The password is right, and a code of the second factor is missing or wrong: ask for it."""


class Limited(DevflowError):
    """Too many tries: wait ``retry_after_s`` seconds, then try again."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotFound(DevflowError):
    """There is no such thing, or it is not yours to know of."""


class Offline(DevflowError):
    """The other side did not answer as itself: keep everything and try again later."""


class TooLarge(DevflowError):
    """More than the other side takes at once: send less."""


class Busy(DevflowError):
    """Another process does this already: leave it to that one."""
