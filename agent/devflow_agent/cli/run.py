"""What all commands share: where the store is, how to answer, and how it ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from devflow_agent.config import Home
from devflow_agent.store import Store

if TYPE_CHECKING:
    import requests


class Exit(IntEnum):
    """What the exit code says; docs/cli.md has the same table."""

    OK = 0
    UNEXPECTED = 1
    INVALID = 2
    NOT_SIGNED_IN = 3
    OFFLINE = 4
    REFUSED = 5
    BUSY = 6
    INTERRUPTED = 130


@dataclass
class Run:
    """One run of the command line."""

    home: Home
    debug: bool = False
    exit_code: Exit = Exit.OK

    @cached_property
    def store(self) -> Store:
        return self.home.store()

    @cached_property
    def http(self) -> requests.Session:
        from devflow_agent.connection import Connection

        return Connection.of(self.store)


def as_json(value: Any) -> None:
    """Print for a script: one JSON document, ASCII only, so that no text can hide in it."""
    click.echo(json.dumps(value, indent=2))


def as_json_line(value: Any) -> None:
    """Print one of several JSON documents, each on a line of its own, as soon as it is known."""
    click.echo(json.dumps(value))


json_option = click.option("--json", "to_json", is_flag=True, help="Print JSON for a script.")
path_argument = click.argument("path", default=".", type=click.Path(exists=True, file_okay=False))
