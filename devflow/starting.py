"""What is made ready before a server serves, in a process of its own: what that loads goes with it."""

from __future__ import annotations

import logging
import os
from typing import NoReturn

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from devflow import workspace
from devflow.config import Settings
from devflow.errors import DevflowError, Invalid

log = logging.getLogger(__name__)


class _Prepared(msgspec.Struct, frozen=True):
    """The token of the set-up link, if there is to be one, or why the server cannot start."""

    setup_token: str | None = None
    failure: str | None = None


def prepare(settings: Settings, now_ms: int) -> str | None:
    """As ``workspace.prepare``; raise Invalid with a sentence that an operator can do something about."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _answer(writing, settings, now_ms)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 - a pipe has no path
        said = pipe.read()
    os.waitpid(child, 0)
    if not said:
        raise Invalid("expected the database to be prepared, but that failed: the log says why")
    prepared = msgspec.json.decode(said, type=_Prepared)
    if prepared.failure is not None:
        raise Invalid(prepared.failure)
    return prepared.setup_token


def _answer(writing: int, settings: Settings, now_ms: int) -> NoReturn:
    try:
        try:
            prepared = _Prepared(setup_token=workspace.prepare(settings, now_ms))
        except (DevflowError, SQLAlchemyError, OSError) as error:
            prepared = _Prepared(failure=str(error).splitlines()[0])
        os.write(writing, msgspec.json.encode(prepared))
    except Exception:
        log.exception("could not prepare the database")
    finally:
        os._exit(0)
