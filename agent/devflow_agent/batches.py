"""Events as they leave this PC: envelope, batch and bytes. What is shown beforehand is made here too."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, cast
from uuid import UUID

from msgspec import Raw

from devflow import pseudonyms, wire
from devflow.errors import Invalid
from devflow_agent import outbox
from devflow_agent.outbox import Target, Waiting
from devflow_agent.store import Store

# Level 6 makes a batch 14 % smaller than level 3 for 1.5 ms more a thousand events.
GZIP_LEVEL: Final = 6
_UNREADABLE: Final = b"{}"
"""For what may hold names, nobody can say where: the server refuses it, and the developer is told."""
_ENVELOPE_BYTES: Final = 256  # more than {"events":[],"deviceId":"..."} takes


class Sendable(NamedTuple):
    """An event and the bytes it goes out as."""

    event: Waiting
    body: bytes


def sendable(store: Store, device_id: UUID, user_id: UUID, events: Sequence[Waiting]) -> list[Sendable]:
    """Those of projects that share anything, with what they share.

    The envelope is made only now: who, where to and how much may have changed since.
    """
    targets = outbox.targets(store)
    return [
        Sendable(event, _envelope(event, device_id, user_id, target))
        for event in events
        if (target := targets.get(event.project_id)) is not None
    ]


def _envelope(event: Waiting, device_id: UUID, user_id: UUID, target: Target) -> bytes:
    return wire.encode(
        wire.SyncEvent(
            id=event.id,
            timestamp=event.timestamp_ms,
            device_id=device_id,
            user_id=user_id,
            project_id=target.remote_id,
            local_id=event.local_id,
            event_type=cast(wire.EventType, event.event_type),
            event_data=Raw(_data(event, target.pseudonym_key)),
        )
    )


def _data(event: Waiting, pseudonym_key: bytes | None) -> bytes:
    """The bytes that were recorded, or with a key the same without names."""
    if pseudonym_key is None:
        return event.data_json.encode()
    try:
        recorded = wire.decode(event.data_json.encode(), wire.DATA[wire.EventType(event.event_type)])
    except (Invalid, ValueError):
        return _UNREADABLE
    return wire.encode(pseudonyms.without_names(pseudonym_key, recorded))


def cut_to_size(
    events: Sequence[Sendable], most_bytes: int = wire.MAX_INFLATED_BYTES
) -> Iterator[list[Sendable]]:
    """The events in order, in batches the server will take; one too large stands alone."""
    batch: list[Sendable] = []
    size = _ENVELOPE_BYTES
    for one in events:
        if batch and size + len(one.body) + 1 > most_bytes:
            yield batch
            batch, size = [], _ENVELOPE_BYTES
        batch.append(one)
        size += len(one.body) + 1
    if batch:
        yield batch


def halves(part: list[Sendable]) -> tuple[list[Sendable], list[Sendable]]:
    middle = len(part) // 2
    return part[:middle], part[middle:]


def as_json(part: Sequence[Sendable], device_id: UUID) -> bytes:
    """The body of an upload, before it is compressed."""
    return wire.encode(wire.Batch(events=[Raw(one.body) for one in part], device_id=device_id))


def compressed(body: bytes) -> bytes:
    return gzip.compress(body, GZIP_LEVEL, mtime=0)


def fits(packed: bytes, part: Sequence[Sendable]) -> bool:
    """Whether to send these; a single event that is too large is for the server to refuse."""
    return len(packed) <= wire.MAX_BODY_BYTES or len(part) == 1


@dataclass(frozen=True, slots=True)
class Preview:
    """The next upload: ``body`` are its bytes before they are compressed to ``packed_bytes``."""

    events: int
    body: bytes
    packed_bytes: int
    by_type: Mapping[wire.EventType, int]


def preview(store: Store, user_id: UUID, limit: int) -> Preview:
    """What an upload of at most ``limit`` events would send now, to the byte; sends nothing."""
    device_id = store.device_id()
    part = next(cut_to_size(sendable(store, device_id, user_id, outbox.pending(store, limit))), [])
    body = as_json(part, device_id)
    while not fits(packed := compressed(body), part):
        part, _ = halves(part)
        body = as_json(part, device_id)
    by_type: dict[wire.EventType, int] = {}
    for one in part:
        kind = wire.EventType(one.event.event_type)
        by_type[kind] = by_type.get(kind, 0) + 1
    return Preview(len(part), body, len(packed), by_type)
