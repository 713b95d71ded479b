"""What can be said of an event without the database: it is well-formed, and its sender's own."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec import Raw

from devflow import wire
from devflow.errors import Invalid
from devflow.wire import ErrorCode, Received, Refusal

Indexed = tuple[int, Received]
"""An event and its place in the batch."""


def judge(events: Sequence[Raw], device_id: UUID, person_id: UUID) -> tuple[list[Indexed], list[Refusal]]:
    """The events that may be stored, and refusals of the others."""
    device, person = str(device_id), str(person_id)
    received = wire.receive_all(events)
    if received is not None and {(each.device_id, each.user_id) for each in received} <= {(device, person)}:
        return _without_contradictions(list(enumerate(received)), [])
    return _judge_each(events, device, person)


def _judge_each(events: Sequence[Raw], device: str, person: str) -> tuple[list[Indexed], list[Refusal]]:
    """As ``judge``, which only looks whether anything is wrong at all."""
    received: list[Indexed] = []
    refusals: list[Refusal] = []
    for index, raw in enumerate(events):
        try:
            event = wire.receive(raw)
        except Invalid as error:
            refusals.append(_unreadable(index, raw, str(error)))
            continue
        if event.device_id != device:
            refusals.append(refuse(index, event, ErrorCode.DEVICE, "expected the device that is signed in"))
        elif event.user_id != person:
            refusals.append(refuse(index, event, ErrorCode.PERSON, "expected the person who is signed in"))
        else:
            received.append((index, event))
    return _without_contradictions(received, refusals)


def _unreadable(index: int, raw: Raw, message: str) -> Refusal:
    return Refusal(
        id=wire.claimed_id(raw), index=index, code=ErrorCode.INVALID, message=message, retryable=False
    )


def _without_contradictions(
    received: list[Indexed], refusals: list[Refusal]
) -> tuple[list[Indexed], list[Refusal]]:
    """One id, one verdict: an id that came twice with different content is refused each time."""
    refused = {refusal.id for refusal in refusals}
    if len({event.id for _, event in received} - refused) == len(received):
        return received, refusals
    first = {event.id: event for _, event in reversed(received)}
    torn = {e.id for _, e in received if first[e.id] != e or e.id in refused}
    twice = "this id came more than once in the batch, with different content"
    contradicting = [refuse(i, e, ErrorCode.CONFLICT, twice) for i, e in received if e.id in torn]
    return [(i, e) for i, e in received if e.id not in torn], refusals + contradicting


def refuse(index: int, event: Received, code: ErrorCode, message: str, *, retryable: bool = False) -> Refusal:
    return Refusal(id=event.id, index=index, code=code, message=message, retryable=retryable)
