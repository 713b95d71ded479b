"""Errors named for what the caller does next; both the agent and the server raise them."""


class DevflowError(Exception):
    """Base of every error with a message fit for the person who reads it."""


class Invalid(DevflowError):
    """The input is wrong: fix it. The message says what was expected and what came."""


class Unauthorized(DevflowError):
    """Nobody, or the wrong one, is signed in: sign in."""


class NotFound(DevflowError):
    """There is no such thing, or it is not yours to know of."""


class Offline(DevflowError):
    """The other side did not answer as itself: keep everything and try again later."""


class TooLarge(DevflowError):
    """More than the other side takes at once: send less."""


class Limited(DevflowError):
    """Too often: wait ``retry_after_s`` seconds and try again."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Busy(DevflowError):
    """Another process does this already: leave it to that one."""
