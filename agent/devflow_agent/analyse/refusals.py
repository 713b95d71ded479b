"""What the server refused, why, and what to do about each: the words of ``wire.ErrorCode`` made steps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from devflow.wire import ErrorCode
from devflow_agent import outbox
from devflow_agent.outbox import Record
from devflow_agent.store import Store

_AGAIN: Final = "`devflow sync retry ID` lets it wait again"
STEPS: Final[dict[str, str]] = {
    ErrorCode.INVALID: f"upgrade the older of agent and server, then {_AGAIN}",
    ErrorCode.CONFLICT: "nothing: the server keeps what it has under this id, this PC keeps its own",
    ErrorCode.PROJECT: "ask the project's lead to add you, or `devflow sync enable` links another project",
    ErrorCode.DEVICE: f"`devflow sync auth` signs in as this PC, then {_AGAIN}",
    ErrorCode.PERSON: f"`devflow sync auth` signs in as whom it names, then {_AGAIN}",
    ErrorCode.DAMAGED: "nothing here: it waits until the server's operator restores a backup",
    ErrorCode.EXPIRED: "nothing: it is older than the server keeps events, and stays on this PC",
    # The two that are the answer to a whole request, not a verdict; see ``sync``.
    "refused": f"upgrade the older of agent and server, then {_AGAIN}",
    "too_large": f"ask the operator whether a proxy limits uploads, then {_AGAIN}",
}
_CODE: Final = re.compile(r"([a-z0-9_-]{1,40}): (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Refusal:
    """``code`` is None if what was said names none; ``is_final`` is False for what waits on."""

    record: Record
    code: str | None
    reason: str
    is_final: bool
    step: str


def latest(store: Store, limit: int) -> list[Refusal]:
    """What was refused and is not taken yet, the last refused first."""
    return [found for record in outbox.refused(store, limit) if (found := of(record)) is not None]


def of(record: Record) -> Refusal | None:
    """The refusal the event is left with, None if it was never refused or is taken by now."""
    said = record.event.last_sync_error
    if said is None or record.event.sync_status == "synced":
        return None
    code, reason = split(said)
    is_final = record.event.sync_status == "failed"
    return Refusal(record, code, reason, is_final, _step(code, is_final=is_final))


def split(said: str) -> tuple[str | None, str]:
    """The code and the words of what ``sync`` wrote down."""
    match = _CODE.fullmatch(said)
    return (None, said) if match is None else (match[1], match[2])


def _step(code: str | None, *, is_final: bool) -> str:
    if code is not None and code in STEPS and (is_final or code in (ErrorCode.PROJECT, ErrorCode.DAMAGED)):
        return STEPS[code]
    return f"upgrade the agent, then {_AGAIN}" if is_final else "nothing: it is sent again with the next push"
