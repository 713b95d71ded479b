"""The operator's commands: ``python -m devflow COMMAND``, beside a running server or without one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from devflow import audit, restores
from devflow.audit import FIRST, Actor, Flaw, Head
from devflow.config import Settings
from devflow.context import Context
from devflow.errors import DevflowError
from devflow.rollups import verifying
from devflow.rollups.differences import Difference, amounts

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
    command.set_defaults(run=lambda context, chosen: verify_audit(context, chosen.head))
    command = commands.add_parser(
        "restored",
        help="say that a backup was restored",
        description="Say that a backup was restored, before the server starts on it: agents then look for "
        "what it has lost and send it again. Where the data folder was kept, the server notices by itself.",
    )
    command.set_defaults(run=lambda context, chosen: restored(context))
    command = commands.add_parser(
        "verify-rollups",
        help="count all numbers anew and compare",
        description="Count every hour anew from the events, and hold days, weeks and months against the "
        "hours; a line for each number that is not what was counted. Exit code 0: there is none. 1: there "
        "are some, with --repair put right by now. 2: it could not be done.",
    )
    command.add_argument("--repair", action="store_true", help="put right what differs")
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    command.set_defaults(run=lambda context, chosen: verify_rollups(context, chosen.repair, chosen.json))
    chosen = parser.parse_args(arguments)
    try:
        context = Context.open(Settings.load(os.environ))
        try:
            return int(chosen.run(context, chosen))
        finally:
            context.database.close()
    except (DevflowError, SQLAlchemyError, OSError) as error:
        print(f"devflow: {str(error).splitlines()[0]}", file=sys.stderr)
        return CANNOT


def verify_audit(context: Context, anchor: Head | None) -> int:
    with context.database.reading() as session:
        found = audit.examine(session, context.vault, anchor)
    if isinstance(found, Flaw):
        print(f"the audit trail is broken: {found.what}", file=sys.stderr)
        return FLAWED
    print(found)
    return WHOLE


def restored(context: Context) -> int:
    by = Actor(None, context.now(), context.vault)
    epoch = restores.declare(context.database, context.settings.data_path, by, why="told")
    print(f"epoch {epoch}: agents look for what this database has lost, and send it again")
    return WHOLE


def verify_rollups(context: Context, is_repair: bool, is_json: bool) -> int:
    by = Actor(None, context.now(), context.vault) if is_repair else None
    count = 0
    for difference in verifying.verify(context.database, by):
        print(_as_json(difference) if is_json else difference)
        count += 1
    if not is_json:
        what = f"{count} numbers differ" if count else "every number is what the events say"
        print(f"{what}; put right" if count and is_repair else what)
    return FLAWED if count else WHOLE


def _as_json(found: Difference) -> str:
    told = {
        "project": found.project,
        "person": found.person,
        "grain": found.key.grain,
        "start": found.key.start,
        "stored": None if found.stored is None else amounts(found.stored),
        "counted": None if found.counted is None else amounts(found.counted),
    }
    return msgspec.json.encode(told).decode()


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
