"""The operator's commands: ``python -m devflow COMMAND``, beside a running server or without one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from devflow import audit
from devflow.audit import FIRST, Flaw, Head
from devflow.config import Settings
from devflow.context import Context
from devflow.errors import DevflowError

WHOLE: Final = 0
FLAWED: Final = 1
CANNOT: Final = 2
"""The exit code of what could not be done at all; argparse's of a wrong call."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m devflow", description="Commands for a server's operator."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "verify-audit",
        help="walk the whole audit trail",
        description="Walk the whole audit trail. Exit code 0: it is as it was written. "
        "1: it is not; the first flaw is printed. 2: it could not be walked.",
    )
    command.add_argument(
        "--head",
        type=_head,
        metavar="N:HASH",
        help="an end of the trail written down earlier, as this command or the server's log printed it",
    )
    chosen = parser.parse_args(arguments)
    try:
        return verify_audit(Context.open(Settings.load(os.environ)), chosen.head)
    except (DevflowError, SQLAlchemyError, OSError) as error:
        print(f"devflow: {str(error).splitlines()[0]}", file=sys.stderr)
        return CANNOT


def verify_audit(context: Context, anchor: Head | None) -> int:
    try:
        with context.database.reading() as session:
            found = audit.examine(session, context.vault, anchor)
    finally:
        context.database.close()
    if isinstance(found, Flaw):
        print(f"the audit trail is broken: {found.what}", file=sys.stderr)
        return FLAWED
    print(found)
    return WHOLE


def _head(given: str) -> Head:
    number, _, digest = given.partition(":")
    try:
        head = Head(int(number), bytes.fromhex(digest))
    except ValueError:
        head = Head(-1, b"")
    if head.number < 0 or len(head.hash) != len(FIRST):
        raise argparse.ArgumentTypeError(f"expected N:HASH, such as 12:{'0f' * 32}, got {given!r}")
    return head


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
