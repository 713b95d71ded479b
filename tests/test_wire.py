"""The contract's decoder: a batch as a whole is judged as each of its events would be."""

from __future__ import annotations

import random
from itertools import cycle, islice
from uuid import UUID

import pytest
from msgspec import Raw

import devflow
from devflow import wire
from devflow.errors import Invalid
from tests import malformed

SENDER = malformed.Sender("t", UUID(int=1), UUID(int=2), UUID(int=3))
SEED = 4_711
CUNNING = (
    "AAAAAAAA-0000-4000-8000-000000000000",
    "aaaaaaaa-0000-3000-8000-000000000000",
    "aaaaaaaa-0000-4000-7000-000000000000",
    "aaaaaaaa00004000-8000-000000000000-a",
    "aaaaaaaa-0000-4000-8000-00000000000",
    "aaaaaaaa-0000-4000-8000-000000000000a",
    "aaaaaaaa-0000-4000-8000-00000000000\\n",
    "aaaaaaaa-0000-4000-8000-00000000 000",
    "aaaaaaaa-0000-4000-8000-00000000000g",
    "aaaaaaaa-0000-4000-8000-0000000000-0",
    "\uff41aaaaaaa-0000-4000-8000-000000000000",  # an "a" as wide as an ideograph
    "\u0660aaaaaaa-0000-4000-8000-000000000000",  # the Arabic nought
    "",
)
"""Texts that are almost an id, as JSON has them."""


def one(raw: bytes) -> wire.Received | None:
    try:
        return wire.receive(Raw(raw))
    except Invalid:
        return None


def written(**wrong: str) -> bytes:
    fields = malformed.event(SENDER, random.Random(SEED))
    return malformed.joined(fields | wrong).encode()


def events(count: int) -> list[bytes]:
    """Of every kind, whole or with one field wrong in some way."""
    chance = random.Random(SEED)
    found = []
    for literal in islice(cycle(malformed.LITERALS), count):
        fields = malformed.event(SENDER, chance)
        if chance.random() < 0.8:
            fields[chance.choice(list(fields))] = literal
        found.append(malformed.joined(fields).encode("utf-8", "surrogatepass"))
    return found


def test_a_batch_is_received_as_each_of_its_events_is() -> None:
    judged = [(raw, one(raw)) for raw in events(600)]
    for raw, alone in judged:
        received = wire.receive_all([Raw(raw)])
        assert (received is None) == (alone is None), raw[:300]
        if received is not None and alone is not None:
            assert described(received[0]) == described(alone)
    good = [raw for raw, alone in judged if alone is not None]
    bad = next(raw for raw, alone in judged if alone is None)
    assert 50 < len(good) < 550
    assert len(wire.receive_all([*map(Raw, good)]) or []) == len(good)
    for place in (0, len(good) // 2, len(good)):
        assert wire.receive_all([*map(Raw, good[:place]), Raw(bad), *map(Raw, good[place:])]) is None


def described(event: wire.Received) -> tuple[object, ...]:
    return (
        event.id,
        event.timestamp,
        event.device_id,
        event.user_id,
        event.project_id,
        event.local_id,
        event.event_data,
    )


@pytest.mark.parametrize("field", ["id", "deviceId", "userId", "projectId"])
@pytest.mark.parametrize("text", CUNNING)
def test_what_is_almost_an_id_is_none_beside_others_either(field: str, text: str) -> None:
    raw = written(**{field: f'"{text}"'})
    for batch in ([raw], [written(), raw], [raw, written(), raw]):
        assert (wire.receive_all([*map(Raw, batch)]) is None) == (one(raw) is None)


def test_two_ids_that_are_long_enough_only_together_are_none() -> None:
    whole = "aaaaaaaa-0000-4000-8000-000000000000"
    for cut in (1, 8, 35):
        batch = [written(id=f'"{whole[:-cut]}"'), written(id=f'"{whole[-cut:]}{whole}"')]
        assert wire.receive_all([*map(Raw, batch)]) is None


def test_a_report_is_read_as_it_was_written() -> None:
    report = wire.Report(
        queue=0, success=987, latency=45, interval=300, batch=1_000, start=0, version=1_020_003
    )
    said = "queue=0, success=987, latency=45, interval=300, batch=1000, start=0, version=1020003"
    assert wire.report_header(report) == said
    assert wire.read_report(wire.report_header(report)) == report
    assert wire.report_header(wire.Report()) == ""


def test_releases_are_numbers_in_their_order() -> None:
    releases = ["0.0.0", "0.1.0", "0.9.12", "0.10.0", "1.0.0", "12.0.999"]
    numbers = [wire.version_number(each) for each in releases]
    assert numbers == sorted(numbers)
    assert [wire.version_text(each) for each in numbers] == releases
    assert wire.version_text(wire.version_number(devflow.__version__)) == devflow.__version__
    assert wire.read_report("version=1000000000") == wire.Report()


@pytest.mark.parametrize(
    ("header", "read"),
    [
        (None, wire.Report()),
        ("", wire.Report()),
        ("queue=12", wire.Report(queue=12)),
        ("queue=12, colour=7, path=src", wire.Report(queue=12)),
        ("queue=-1, success=1001, latency=86400001, interval=0, batch=1001, start=2", wire.Report()),
        ("queue=1.5, success=1e3, latency=0x10, interval=NaN", wire.Report()),
        ("queue=\u0663", wire.Report()),
        ("queue=" + "9" * 5_000, wire.Report()),
        ("queue=1\r\nSet-Cookie: a=b", wire.Report()),
        ("queue=1;success=5", wire.Report()),
        ("Queue=1", wire.Report()),
        (" queue=1 ,success=5", wire.Report(queue=1, success=5)),
        ("queue=1, queue=2", wire.Report(queue=2)),
        ("x=1," * 1_000 + "queue=1", wire.Report()),
    ],
)
def test_what_is_no_number_of_a_report_is_unknown(header: str | None, read: wire.Report) -> None:
    assert wire.read_report(header) == read
